"""The plan file: what is accepted, and that each fault is one line that names place and remedy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from firmware_sim.build import build_fleet, build_vehicle
from firmware_sim.errors import PlanError
from firmware_sim.plan import parse_plan, read_plan, start_time
from tests.unit.firmware_sim.sims import NOW, ROUTE, vehicle_plan


def plan(**changes: Any) -> dict[str, Any]:
    one = {"vehicle": "A", "devices": [{"id": "d1", "kind": "gps"}], "route": ROUTE}
    return {"vehicles": [{**one, **changes}]}


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_plan_file_is_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "way.geojson").write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
                    {
                        "type": "Feature",
                        "geometry": {"type": "LineString", "coordinates": [[*p, 5] for p in ROUTE]},
                    },
                ],
            }
        )
    )
    file = tmp_path / f"plan.{suffix}"
    raw = {"seed": 9, **plan(route="way.geojson", plot="rope_cut", start="2025-11-20T08:00:00Z")}
    file.write_text(yaml.safe_dump(raw) if suffix == "yaml" else json.dumps(raw))
    (vehicle,) = read_plan(file).vehicles
    assert [list(p) for p in vehicle.route] == ROUTE
    assert vehicle.seed == 9
    assert [plot.name for plot in vehicle.plot] == ["rope_cut"]


def test_the_documented_example_is_valid() -> None:
    from firmware_sim import plan as module

    text = (module.__doc__ or "").partition("    version:")[2]
    example = yaml.safe_load("version:" + text.replace("\n    ", "\n").replace("00ff…", "00ff"))
    vehicle = parse_plan(example).vehicles[0]
    assert vehicle.devices[0].key is not None
    assert build_vehicle(vehicle, now=NOW, life=1).mounts[0].device.gen == 0


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([], "list `vehicles`"),
        ({"vehicles": []}, "vehicles"),
        (plan(route=[[1, 2]]), "vehicles.0.route"),
        (plan(route=[[1, 2], [200, 3]]), "vehicles.0.route.1.0"),
        (plan(devices=[{"id": "d 1", "kind": "gps"}]), "vehicles.0.devices.0.id"),
        (plan(devices=[{"id": "d1", "kind": "sea"}]), "'seal' or 'gps'"),
        (plan(devices=[{"id": "d1", "kind": "gps"}] * 2), "d1 occurs twice"),
        (plan(colour="red"), "vehicles.0.colour"),
        (plan(plot="theft"), "known are honest, diversion"),
        (plan(plot={"name": "diversion", "params": {"km": -1}}), "km: Input should be greater"),
        (plan(plot={"name": "diversion", "parms": {}}), "give a plot as {name, params}"),
        (plan(start="yesterday"), "give now, now-12h"),
        (plan(start="2025-11-20T08:00:00"), "give now, now-12h"),
        (plan(route="absent.geojson"), "give an existing GeoJSON file"),
    ],
)
def test_a_fault_is_one_line_with_its_place(raw: Any, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(raw)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start_at_m": 10_000_000}, "start_at_m"),
        ({"stops": [{"at": [70, 43], "minutes": 5}]}, "within 5 km"),
        ({"route": [[76, 43], [76, 43]]}, "two different points"),
    ],
)
def test_places_must_fit_the_route(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        build_vehicle(vehicle_plan(**changes), now=NOW, life=1)


def test_unreadable_files(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1, 2")
    with pytest.raises(PlanError, match="not YAML or JSON"):
        read_plan(bad)
    with pytest.raises(PlanError, match="give the name of a plan file"):
        read_plan(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("now-90m", NOW - timedelta(minutes=90)),
        ("now-1.5d", NOW - timedelta(hours=36)),
        ("2025-11-20T13:00:00+05:00", datetime(2025, 11, 20, 8, tzinfo=UTC)),
    ],
)
def test_start_times(text: str, expected: datetime) -> None:
    assert start_time(text, NOW) == expected


def test_a_run_is_a_new_life_unless_the_plan_names_a_gen() -> None:
    devices = [
        {"id": "a", "kind": "gps"},
        {"id": "b", "kind": "gps", "gen": 4},
        {"id": "c", "kind": "gps", "gen": "ask"},
    ]
    (vehicle,) = build_fleet(parse_plan(plan(devices=devices)), now=NOW, life=77)
    assert [mount.device.gen for mount in vehicle.mounts] == [77, 4, None]
    assert {mount.device.conn for mount in vehicle.mounts} == {77}
