"""The guide's tables are what plots and behaviours say of themselves; its example is a plan."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from firmware_sim.build import build_vehicle
from firmware_sim.plan import parse_plan
from firmware_sim.plots import PLOTS
from tests.unit.firmware_sim.sims import NOW

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    file = ROOT / "scripts/write_simulator.py"
    spec = importlib.util.spec_from_file_location("write_simulator", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_up_to_date(writer: ModuleType) -> None:
    written = writer.TARGET.read_text(encoding="utf-8")
    assert written == writer.render(written), "run .venv/bin/python scripts/write_simulator.py"


@pytest.mark.parametrize("name", PLOTS)
def test_each_has_a_row(name: str, writer: ModuleType) -> None:
    assert writer.TARGET.read_text(encoding="utf-8").count(f"\n| `{name}` |") == 1


def test_the_example_can_be_driven(writer: ModuleType) -> None:
    text = writer.TARGET.read_text(encoding="utf-8")
    example = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    vehicle = build_vehicle(parse_plan(example).vehicles[0], now=NOW, life=1)
    vehicle.tick()
    assert [mount.device.config.id for mount in vehicle.mounts] == ["seal-1", "gps-1"]
