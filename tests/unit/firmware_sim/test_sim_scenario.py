"""Scenario files: what is read, and that each fault is one line that names place and remedy."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.errors import PlanError
from firmware_sim.geo import distance_m
from firmware_sim.plots import PLOTS
from firmware_sim.scenario import LIBRARY, library, parse_scenario, read_scenario, town
from firmware_sim.scenario_schema import schema_text
from tests.unit.firmware_sim.scenes import raw, scene

DOCS = Path(__file__).parents[3] / "docs"


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    altered = copy.deepcopy(raw())
    change(altered)
    return altered


def group(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda r: r["deliveries"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (group(road="a3"), "deliveries.0.road: no 'a3' here; there are a2"),
        (group(roads="a2"), "deliveries.0.roads: unknown key; did you mean road?"),
        (group(count=0), "deliveries.0.count: Input should be greater"),
        (group(plot="theft"), "deliveries.0.plot.0: unknown plot theft; known are"),
        (
            group(plot={"name": "diversion", "params": {"km": {"uniform": [-5, 1]}}}),
            "deliveries.0.plot.0: plot diversion: km: Input should be greater than 0",
        ),
        (
            group(plot={"name": "diversion", "params": {"km": {"uniform": [1, -5]}}}),
            "km: uniform: give the lower value first",
        ),
        (group(plot={"name": "diversion", "parms": {}}), "parms: unknown key; did you mean params"),
        (group(departures={}), "give exactly one of over_hours and every_minutes"),
        (group(stops=[{"minutes": 5}]), "give either at (a place) or part"),
        (group(goods="gold"), "deliveries.0.goods: no 'gold' here"),
        (
            lambda r: r["roads"]["a2"].update(via=["Khorgos", "Zarkent"]),
            "roads.a2: no town 'Zarkent'; did you mean Zharkent?",
        ),
        (lambda r: r["roads"]["a2"].update(line=[[80, 44], [79, 44]]), "give exactly one of via"),
        (lambda r: r["roads"]["a2"].update(corridor_m=60_000), "roads.a2.corridor_m"),
        (
            lambda r: r["roads"]["a2"].update(via=None, file="no.geojson"),
            "give an existing GeoJSON",
        ),
        (
            lambda r: r.update(zones=[{"code": "z", "kind": "parkng", "at": "Shelek"}]),
            "zones.0.kind: Input should be 'post', 'border'",
        ),
        (
            lambda r: r.update(
                zones=[
                    {"code": "z", "kind": "rest", "at": {"road": "x", "part": 0.5}, "radius_m": 9}
                ]
            ),
            "zones.0.at.road: no 'x' here",
        ),
        (
            lambda r: r.update(zones=[{"code": "z", "kind": "rest", "at": "Shelek"}]),
            "zones.0: give either at with radius_m, or ring",
        ),
        (lambda r: r.update(begin="yesterday"), "begin: start 'yesterday' is no time"),
        (lambda r: r["deliveries"].append(r["deliveries"][0]), "group honest occurs twice"),
        (lambda r: r.pop("roads"), "roads: Field required"),
    ],
)
def test_a_fault_is_one_line_with_place_and_remedy(
    change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    with pytest.raises(PlanError) as caught:
        parse_scenario(changed(change), name="s.yaml")
    assert str(caught.value).startswith("s.yaml: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_scenarios(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(PlanError, match="a scenario is a mapping"):
        read_scenario(str(tmp_path / "list.yaml"))
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(PlanError, match="not YAML or JSON"):
        read_scenario(str(tmp_path / "bad.yaml"))
    with pytest.raises(PlanError, match="give a scenario file or one of national, training-"):
        read_scenario("absent")


def test_a_road_may_be_a_geojson_file_beside_the_scenario(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[80.0, 44.0, 7], [79.5, 44.0, 9]]}
    (tmp_path / "way.geojson").write_text(json.dumps(line))
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(raw(roads={"a2": {"file": "way.geojson"}})))
    assert read_scenario(str(file)).line("a2") == ((80.0, 44.0), (79.5, 44.0))


def test_places_are_towns_points_and_parts_of_roads() -> None:
    found = scene(posts=[{"code": "P", "at": {"road": "a2", "part": 0.5}}])
    middle = found.point(found.posts[0].at)
    start, end = found.line("a2")
    assert distance_m(start, middle) == pytest.approx(distance_m(middle, end), rel=1e-3)
    assert found.point("zhibek-zholy") == town("Zhibek Zholy") == (69.3650, 41.4759)


def test_the_outline_of_a_round_zone_lies_at_its_radius() -> None:
    zone = {"code": "z", "kind": "rest", "at": "Shelek", "radius_m": 800}
    found = scene(zones=[zone])
    ring = found.ring(found.zones[0])
    assert ring[0] == ring[-1]
    assert all(distance_m(town("Shelek"), corner) == pytest.approx(800) for corner in ring)


@given(st.integers(1, 3000))
def test_a_scaled_mix_has_the_size_that_was_asked_for(total: int) -> None:
    national = _NATIONAL
    scaled = national.scaled(total)
    together = sum(g.together - 1 for g in scaled.deliveries)
    kept = len(national.deliveries) if total >= len(national.deliveries) else 0
    assert total - kept <= scaled.count <= total + kept + together
    assert all(g.count % g.together == 0 for g in scaled.deliveries)
    if kept:
        assert len(scaled.deliveries) == kept


_NATIONAL = read_scenario("national")


def test_the_national_mix_is_mostly_honest_and_has_every_story() -> None:
    used = {use.name for group in _NATIONAL.deliveries for use in group.plot}
    from firmware_sim.plots import STORIES

    assert set(STORIES) - used == set()
    assert 990 <= _NATIONAL.count <= 1010
    honest = sum(
        group.count
        for group in _NATIONAL.deliveries
        if all(PLOTS[use.name]().outcome().honest for use in group.plot)
    )
    assert 0.6 <= honest / _NATIONAL.count <= 0.9


@pytest.mark.parametrize("name", library())
def test_the_library_fits_the_published_schema(name: str) -> None:
    published = json.loads((DOCS / "scenario.schema.json").read_text())
    plain = yaml.safe_load((LIBRARY / f"{name}.yaml").read_text())
    jsonschema.Draft202012Validator(published).validate(plain)
    assert read_scenario(name).name == name


def test_the_published_schema_is_that_of_the_models() -> None:
    text = (DOCS / "scenario.schema.json").read_text()
    assert text == schema_text(), "run: python scripts/write_scenario_schema.py"


@pytest.mark.parametrize(
    "change",
    [
        group(plot={"name": "diversion", "params": {"kmm": 1}}),
        group(plot={"name": "theft"}),
        group(colour="red"),
        group(plot={"name": "diversion", "params": {"km": {"uniform": [1]}}}),
    ],
)
def test_the_schema_refuses_what_the_models_refuse(change: Callable[[dict[str, Any]], Any]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert validator.is_valid(raw())
    assert not validator.is_valid(changed(change))
    with pytest.raises(PlanError):
        parse_scenario(changed(change))
