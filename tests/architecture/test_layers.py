"""A module imports only from lower layers, and the pure layers stay pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.layers import FAMILIES, LAYERS, PURE, breaches

ROOT = Path(__file__).parents[2]
PACKAGES = ("tracker", "maps", "firmware_sim")


def test_the_product_keeps_its_layers() -> None:
    found = breaches(ROOT, PACKAGES)
    assert not found, "\n".join(map(str, found))


def test_the_checker_sees_the_whole_product() -> None:
    for name in ("tracker.model", "tracker.db", "tracker.cli", "maps"):
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{name} has moved"


def test_families_stay_on_one_layer() -> None:
    for family in set(FAMILIES.values()):
        members = [name for name, own in FAMILIES.items() if own == family]
        assert len({LAYERS[name] for name in members}) == 1, members


BAD = {
    "an import from above": ("tracker/routes.py", "from tracker.db import tables"),
    "a hidden import from above": (
        "tracker/settings.py",
        "def f():\n    import tracker.pipeline",
    ),
    "an import from the same layer": ("tracker/routes.py", "from tracker.alerts import x"),
    "a relative import from above": ("tracker/riskblock/corridor.py", "from ..db import tables"),
    "a module in no layer": ("tracker/helpers.py", ""),
    "a driver in a pure layer": ("tracker/riskblock/corridor.py", "import sqlalchemy.orm"),
    "the environment in a pure layer": ("tracker/anomalies.py", "from os import environ"),
    "chance in a pure layer": ("tracker/payload.py", "import uuid"),
    "the clock in a pure layer": (
        "tracker/deliveries.py",
        "import datetime\nx = datetime.datetime.now()",
    ),
    "today in a pure layer": (
        "tracker/deliveries.py",
        "from datetime import date\nx = date.today()",
    ),
    "the product in the simulator": ("firmware_sim/device.py", "from tracker.model import Record"),
    "the database in the maps": ("maps/report.py", "from tracker.db import reading"),
    "the simulator in the product": ("tracker/demo/run.py", "import firmware_sim.device"),
}

GOOD = {
    "from below": ("tracker/db/tables.py", "from tracker.model import Record"),
    "within a package": (
        "tracker/riskblock/corridor.py",
        "from tracker.riskblock.corridor import x",
    ),
    "within a family": ("tracker/anomalies.py", "from tracker.detectors.stop import x"),
    "the clock above the pure layers": (
        "tracker/watch.py",
        "from datetime import UTC, datetime\nx = datetime.now(UTC)",
    ),
    "the type datetime.time": ("tracker/deliveries.py", "from datetime import time"),
}


@pytest.mark.parametrize(("path", "text"), BAD.values(), ids=BAD)
def test_the_checker_finds(path: str, text: str, tmp_path: Path) -> None:
    _write(tmp_path, path, text)
    assert len(breaches(tmp_path, PACKAGES)) == 1


@pytest.mark.parametrize(("path", "text"), GOOD.values(), ids=GOOD)
def test_the_checker_allows(path: str, text: str, tmp_path: Path) -> None:
    _write(tmp_path, path, text)
    assert breaches(tmp_path, PACKAGES) == []


def test_the_pure_layers_are_those_of_the_design() -> None:
    pure = {name for name, layer in LAYERS.items() if layer <= PURE}
    named = {"model", "errors", "payload", "routes", "deliveries", "anomalies", "participants"}
    assert {f"tracker.{name}" for name in (*named, "risk")} <= pure


def _write(root: Path, path: str, text: str) -> None:
    for package in ("db", "riskblock"):
        (root / "tracker" / package).mkdir(parents=True, exist_ok=True)
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
