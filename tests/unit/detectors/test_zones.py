"""``restricted_zone`` and ``border_exit``, word by word (contract detection.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import at, episodes, findings, record, zone
from tracker.model import Observation, PlanPost, Severity, ZoneKind

restricted = partial(episodes, code="restricted_zone")
BAD = zone("restricted", "X")
OTHER = zone("restricted", "Y")


def clear(*seconds: float) -> list[Observation]:
    return [at(s, 10 * s) for s in seconds]


def within(*seconds: float) -> list[Observation]:
    return [at(s, 10 * s, zones=[BAD]) for s in seconds]


def across(at_s: float) -> Observation:
    return at(at_s, 10 * at_s, crossed=(BAD,))


# ---------------------------------------------------------------- restricted_zone


def test_entering_opens_it_at_the_first_fix_inside() -> None:
    assert restricted(clear(0, 60) + within(120, 180)) == [(120, None)]


def test_it_closes_at_the_first_of_two_fixes_outside() -> None:
    trip = clear(0) + within(60) + clear(120)
    assert restricted(trip) == [(60, None)]
    assert restricted(trip + clear(180)) == [(60, 120)]


def test_one_fix_outside_does_not_close_it() -> None:
    trip = clear(0) + within(60) + clear(120) + within(180) + clear(240, 300)
    assert restricted(trip) == [(60, 240)]


def test_crossing_between_two_fixes_is_an_episode_of_that_moment() -> None:
    trip = [*clear(0), across(60)]
    assert restricted(trip) == [(60, None)]
    assert restricted([*trip, *clear(120)]) == [(60, 60)]


def test_entering_again_after_the_first_fix_outside_goes_on() -> None:
    assert restricted([*clear(0), across(60), *within(120), *clear(180, 240)]) == [(60, 180)]


def test_crossing_on_the_way_back_is_a_second_episode() -> None:
    trip = [*clear(0), across(60), across(120), *clear(180)]
    assert restricted(trip) == [(60, 60), (120, 120)]


def test_records_without_a_valid_fix_do_not_close_it() -> None:
    frozen = at(60).fix
    trip = [*clear(0), *within(60), record(90), record(100, fix=frozen), *clear(120)]
    assert restricted(trip) == [(60, None)]


@pytest.mark.parametrize("kind", list(ZoneKind))
def test_only_restricted_zones_are(kind: ZoneKind) -> None:
    trip = [*clear(0), at(60, zones=[zone(kind)]), at(120, crossed=(zone(kind),))]
    assert bool(restricted(trip)) is (kind == "restricted")


def test_each_zone_is_an_episode_of_its_own() -> None:
    trip = [*clear(0), at(60, 600, crossed=(BAD, OTHER)), *clear(120, 180)]
    found = findings(trip, code="restricted_zone")
    assert [f.evidence["zone"] for f in found] == ["X", "Y"]
    assert restricted(trip) == [(60, 60), (60, 60)]


def test_a_device_that_begins_inside_or_a_zone_drawn_around_it_opens_it() -> None:
    (found,) = findings(within(0, 60), code="restricted_zone")
    assert found.evidence["way_from"] is None
    assert restricted(within(0, 60)) == [(0, None)]


def test_evidence_names_the_zone_and_the_way_into_it() -> None:
    trip = clear(0) + within(60, 120)
    (found,) = findings(trip, code="restricted_zone")
    came = trip[0].fix
    assert came is not None
    assert found.severity is Severity.HIGH
    assert found.evidence["zone"] == "X"
    assert found.evidence["fixes_in_zone"] == 2
    assert (found.evidence["way_from"], found.evidence["way_from_ms"]) == (
        [came.lon, came.lat],
        came.fix_ms,
    )


# ---------------------------------------------------------------- border_exit


def home(at_s: float, **more: Any) -> Observation:
    return at(at_s, 10 * at_s, home=True, **more)


def abroad(at_s: float, **more: Any) -> Observation:
    return at(at_s, 10 * at_s, abroad=True, **more)


def post(code: str, kind: str = "border") -> PlanPost:
    return PlanPost(code=code, kind=kind, zone=f"Z-{code}", lon=76.0, lat=43.5)


def exits(trip: list[Observation], **plan: Any) -> list[tuple[float | None, float | None]]:
    plan = {"direction": "transit", "departure": post("IN"), "destination": post("OUT")} | plan
    return episodes(trip, code="border_exit", **plan)


def test_outside_after_inside_opens_it_until_back_inside() -> None:
    assert exits([home(0), abroad(60), abroad(120)]) == [(60, None)]
    assert exits([home(0), abroad(60), abroad(120), home(180)]) == [(60, 180)]


def test_one_fix_is_enough_either_way() -> None:
    trip = [home(0), abroad(60), home(120), abroad(180)]
    assert exits(trip) == [(60, 120), (180, None)]


def test_outside_before_any_inside_is_none() -> None:
    assert exits([abroad(0), abroad(60), home(120)]) == []


def test_no_territory_no_code() -> None:
    assert exits(clear(0, 60, 120)) == []


def test_a_territory_drawn_later_does_not_make_of_what_was_before_an_inside() -> None:
    assert exits([*clear(0), abroad(60), abroad(120)]) == []


Seen = Callable[[str], dict[str, Any]]
by_fix_or_way = pytest.mark.parametrize(
    "seen",
    [
        lambda code: {"zones": [zone("border", code)]},
        lambda code: {"crossed": (zone("border", code),)},
    ],
    ids=["fix", "way"],
)


@by_fix_or_way
def test_at_the_declared_exit_post_it_is_lawful_and_stays_so(seen: Seen) -> None:
    trip = [home(0), abroad(60, **seen("Z-OUT")), abroad(120), abroad(180)]
    assert exits(trip) == []
    assert exits([*trip, home(240), abroad(300)]) == [(300, None)]


@by_fix_or_way
def test_at_another_post_it_is_not(seen: Seen) -> None:
    assert exits([home(0), abroad(60, **seen("Z-ELSEWHERE"))]) == [(60, None)]


@by_fix_or_way
@pytest.mark.parametrize(
    ("direction", "end", "kind", "lawful"),
    [
        ("transit", "destination", "inland", True),
        ("export", "destination", "sea", True),
        ("import", "destination", "inland", False),
        ("import", "destination", "border", True),
        ("import", "departure", "border", True),
        ("transit", "departure", "border", True),
        ("transit", "departure", "inland", False),
    ],
)
def test_which_posts_are_exit_posts(
    seen: Seen, direction: str, end: str, kind: str, lawful: bool
) -> None:
    posts = {"departure": post("A", "inland"), "destination": post("B", "inland")}
    posts[end] = post("P", kind)
    trip = [home(0), abroad(60, **seen("Z-P"))]
    assert exits(trip, direction=direction, **posts) == ([] if lawful else [(60, None)])


def test_evidence_names_the_last_place_inside() -> None:
    trip = [home(0), record(30), abroad(60), abroad(120)]
    (found,) = findings(trip, code="border_exit", direction="transit", destination=post("OUT"))
    inside = trip[0].fix
    assert inside is not None
    assert found.severity is Severity.CRITICAL
    assert found.evidence["last_inside"] == [inside.lon, inside.lat]
    assert found.evidence["fixes_outside"] == 2
    assert found.evidence["exit_post_zones"] == ["Z-OUT"]
