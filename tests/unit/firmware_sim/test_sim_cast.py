"""Drawing deliveries: chance within its bounds, repeatable, and ready for the server."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.cast import draw_cast, plate
from firmware_sim.draws import as_draw, drawn, extremes
from firmware_sim.errors import PlanError
from firmware_sim.perform import checked_cast, new_prefix
from firmware_sim.setup import delivery_body, derived_keys, device_bodies, post_bodies, zone_body
from tests.unit.firmware_sim.scenes import NOW, scene

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))
pairs = st.tuples(numbers, numbers).map(sorted)
draws = st.one_of(
    pairs.map(lambda p: {"uniform": p}),
    st.tuples(pairs, st.floats(0.1, 1e3)).map(
        lambda t: {"normal": {"mean": sum(t[0]) / 2, "sd": t[1], "min": t[0][0], "max": t[0][1]}}
    ),
    st.tuples(st.floats(0.1, 100), st.floats(0.01, 3)).map(
        lambda t: {"lognormal": {"median": t[0], "sigma": t[1], "max": t[0] * 10}}
    ),
    st.lists(numbers, min_size=1).map(lambda c: {"choice": c}),
)


@given(draws, st.integers())
def test_a_draw_stays_within_its_ends_and_is_repeatable(raw: dict[str, Any], seed: int) -> None:
    draw = as_draw(raw)
    assert draw is not None
    value = draw.draw(random.Random(seed))
    assert value == draw.draw(random.Random(seed))
    ends = [float(end) for end in draw.extremes()]
    if "lognormal" in raw:
        assert 0 <= float(value) <= max(ends)
    else:
        assert min(ends) <= float(value) <= max(ends)


@given(st.dictionaries(st.sampled_from("abcdef"), st.one_of(numbers, draws)), st.integers())
def test_parameters_do_not_depend_on_their_order(params: dict[str, Any], seed: int) -> None:
    backwards = dict(reversed(params.items()))
    assert drawn(params, random.Random(seed)) == drawn(backwards, random.Random(seed))
    assert all(set(found) == set(params) for found in extremes(params))


def test_a_mapping_that_is_no_draw_is_a_value() -> None:
    assert as_draw({"lon": 1}) is None
    assert as_draw([1, 2]) is None
    with pytest.raises(ValueError, match=r"normal\.sd"):
        as_draw({"normal": {"mean": 1, "sd": -1, "min": 0, "max": 2}})


def test_the_same_seed_gives_the_same_cast_and_another_seed_another() -> None:
    first, again = (draw_cast(scene(), prefix="p", now=NOW) for _ in range(2))
    assert first.roles == again.roles
    other = draw_cast(scene(seed=6), prefix="p", now=NOW)
    assert [r.departs for r in first.roles] != [r.departs for r in other.roles]


def test_a_group_more_leaves_the_others_as_they_were() -> None:
    before = draw_cast(scene(), prefix="p", now=NOW).roles
    groups = [{"group": "new", "road": "a2"}, *(g.model_dump() for g in scene().deliveries)]
    after = draw_cast(scene(deliveries=groups), prefix="p", now=NOW).roles[1:]
    assert [r.departs for r in before] == [r.departs for r in after]
    assert [r.plan.seed for r in before] == [r.plan.seed for r in after]
    assert [r.plan.plot for r in before] == [r.plan.plot for r in after]


def test_those_who_leave_together_share_time_road_and_draws() -> None:
    group = {
        "group": "meeting",
        "count": 4,
        "together": 2,
        "road": {"a2": 1, "b2": 1},
        "plot": {"name": "transloading", "params": {"at": {"uniform": [0.2, 0.8]}}},
    }
    roads = {"a2": {"via": ["Khorgos", "Zharkent"]}, "b2": {"via": ["Shelek", "Almaty"]}}
    roles = draw_cast(scene(roads=roads, deliveries=[group]), prefix="p", now=NOW).roles
    for one, other in (roles[:2], roles[2:]):
        assert one.departs == other.departs
        assert one.lane == other.lane
        assert one.plan.plot == other.plan.plot
        assert one.plan.seed != other.plan.seed
    assert roles[0].departs != roles[2].departs


def test_departures_one_after_another() -> None:
    departures = {"every_minutes": 7, "first_minutes": 3}
    group = {"group": "g", "count": 3, "road": "a2", "departures": departures}
    cast = draw_cast(scene(deliveries=[group]), prefix="p", now=NOW)
    gaps = [role.departs - cast.begin for role in cast.roles]
    assert gaps == [timedelta(minutes=n) for n in (3, 10, 17)]
    assert cast.begin == NOW - timedelta(hours=12)


@given(st.integers(-500, 500), st.floats(0.1, 400), st.booleans())
def test_no_deadline_lies_in_the_past(hours: int, takes: float, ahead: bool) -> None:
    deadline = {"minutes_ahead": 2} if ahead else {"hours": takes}
    group = {"group": "g", "road": "a2", "deadline": deadline}
    (role,) = draw_cast(scene(deliveries=[group]), prefix="p", now=NOW).roles
    now = NOW + timedelta(hours=hours)
    assert role.deadline(now) > now
    if ahead:
        assert role.deadline(now) == now + timedelta(minutes=2)


@given(st.sets(st.integers(0, 10**7), min_size=2, max_size=50))
def test_plates_are_unique(ns: set[int]) -> None:
    assert len({plate(n) for n in ns}) == len(ns)


def test_bodies_fit_what_they_are_for() -> None:
    zone = {"code": "z", "kind": "rest", "at": "Shelek", "radius_m": 800, "max_dwell_minutes": 2}
    cast = draw_cast(scene(zones=[zone]), prefix="p", now=NOW)
    assert zone_body(cast, cast.scenario.zones[0])["max_dwell_s"] == 120
    assert [post["code"] for post in post_bodies(cast)] == ["scene-Khorgos", "scene-Zharkent"]
    role = cast.roles[0]
    seal, gps = device_bodies(role, logins=False)
    assert (seal["hmac_required"], gps["hmac_required"]) == (True, False)
    body = delivery_body(role, carrier="c", declarant="d", deadline=role.deadline(NOW))
    assert body["devices"] == ["p-00001-S1", "p-00001-G2"]
    assert body["departure_post"] == "scene-Khorgos"
    keys = derived_keys(cast)
    assert set(keys) == {f"p-{n:05d}-S1" for n in (1, 2, 3)}
    assert keys == derived_keys(cast)
    assert len({key.secret for key in keys.values()}) == 3


@pytest.mark.parametrize("prefix", ["a b", "a/b", "ä", "x" * 51, ""])
def test_a_prefix_must_fit_a_topic(prefix: str) -> None:
    with pytest.raises(PlanError, match="--prefix"):
        checked_cast(scene(), prefix=prefix, now=NOW)


def test_the_usual_prefix_is_new_each_second() -> None:
    assert new_prefix(scene(), NOW) != new_prefix(scene(), NOW + timedelta(seconds=1))


def test_places_that_do_not_fit_the_road_name_the_group() -> None:
    group = {"group": "far", "road": "a2", "stops": [{"at": "Astana", "minutes": 5}]}
    with pytest.raises(PlanError, match=r"group far: .*within 5 km"):
        checked_cast(scene(deliveries=[group]), prefix="p", now=NOW)


def test_only_reroutings_leave_the_corridor() -> None:
    checked = checked_cast(scene(), prefix="p", now=NOW)
    assert set(checked.leaves_at_m) == {"p-00003"}
    (left_m,) = checked.leaves_at_m["p-00003"]
    # It turns off at half of the way and is outside 1,000 m a little later.
    assert 1_000 < left_m - checked.cast.lanes["a2"].length_m / 2 < 4_000
