"""Towns and the stretches without a network between them."""

from __future__ import annotations

import pytest

from firmware_sim.errors import PlanError
from firmware_sim.geo import Path, away
from firmware_sim.places import DEAD_STRETCHES, TOWNS, DeadStretch, dead_parts, describe
from tests.unit.firmware_sim.sims import vehicle


@pytest.mark.parametrize("stretch", DEAD_STRETCHES, ids=lambda s: f"{s.name}-{s.between[0]}")
def test_each_stretch_is_dead_on_its_road_and_nowhere_near_its_towns(stretch: DeadStretch) -> None:
    a, b = (TOWNS[name] for name in stretch.between)
    path = Path([a, b])
    parts = [(f, t) for n, f, t in dead_parts(path) if n == stretch.name]
    wanted = [(f * path.length_m, t * path.length_m) for f, t in stretch.parts]
    for (from_m, to_m), (begin_m, end_m) in zip(parts, wanted, strict=True):
        assert from_m == pytest.approx(begin_m, abs=2_500)
        assert to_m == pytest.approx(end_m, abs=2_500)
    assert parts[0][0] > 10_000
    assert parts[-1][1] < path.length_m - 10_000


def test_a_stretch_is_wide_enough_for_the_roads_bends_and_no_wider() -> None:
    line = Path([TOWNS["Priozersk"], TOWNS["Balkhash"]])
    heading = line.at(0).heading_deg + 90
    beside = Path([away(p, heading, 20_000) for p in line.corners])
    far = Path([away(p, heading, 60_000) for p in line.corners])
    assert dead_parts(beside, ["m36_balkhash"])
    assert dead_parts(far) == []


def test_the_roads_of_the_domain_are_named() -> None:
    assert {s.name for s in DEAD_STRETCHES} == {
        *("almaty_bishkek", "almaty_taldykorgan", "m36_balkhash", "m32_kyzylorda_aktobe")
    }
    with pytest.raises(PlanError, match="known are almaty_bishkek"):
        vehicle(plot={"name": "dead_zones", "params": {"stretches": ["m1"]}})


def test_a_place_in_words() -> None:
    assert describe(TOWNS["Taraz"]) == "Taraz"
    assert describe(away(TOWNS["Taraz"], 90, 30_000)) == "30 km from Taraz"
