"""``wrong_direction`` and ``checkpoint_missed``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import at, episodes, findings, ms, record, zone
from tracker.model import Basis, Checkpoint, DeclaredRoute, Observation, Severity

wrong = partial(episodes, code="wrong_direction")

MINUTE = 60


def driving(*progress_m: float, **more: Any) -> list[Observation]:
    """A fix every ten minutes; whatever is given goes to each."""
    return [at(n * 10 * MINUTE, metres, **more) for n, metres in enumerate(progress_m)]


# ---------------------------------------------------------------- wrong_direction


@pytest.mark.parametrize(("back_m", "opens"), [(4999.9, False), (5000, True)])
def test_five_kilometres_below_the_maximum_open_it_at_the_maximum(
    back_m: float, opens: bool
) -> None:
    trip = driving(0, 20_000, 20_000 - back_m)
    assert wrong(trip) == ([(10 * MINUTE, None)] if opens else [])


def test_it_starts_with_the_last_fix_at_the_maximum() -> None:
    assert wrong(driving(0, 20_000, 20_000, 19_990, 14_000)) == [(20 * MINUTE, None)]


def test_the_way_back_may_be_in_small_steps() -> None:
    trip = driving(0, 20_000, *(20_000 - 500 * n for n in range(1, 12)))
    assert wrong(trip) == [(10 * MINUTE, None)]


@pytest.mark.parametrize(("forward_m", "closes"), [(1999.9, False), (2000, True)])
def test_two_kilometres_above_the_minimum_close_it(forward_m: float, closes: bool) -> None:
    trip = driving(0, 20_000, 14_000, 12_000, 12_000 + forward_m)
    assert wrong(trip) == [(10 * MINUTE, 40 * MINUTE if closes else None)]


def test_the_maximum_restarts_where_it_closes() -> None:
    back_again = driving(0, 20_000, 14_000, 16_000, 12_000, 11_000)
    assert wrong(back_again) == [(10 * MINUTE, 30 * MINUTE), (30 * MINUTE, None)]
    assert wrong(back_again[:-1]) == [(10 * MINUTE, 30 * MINUTE)], "4 km below the new maximum"


def test_a_fix_outside_the_corridor_ends_the_spell_and_its_maximum() -> None:
    outside = [*driving(0, 20_000), at(15 * MINUTE, 19_000, 1006), at(20 * MINUTE, 14_000)]
    assert wrong(outside) == []
    assert wrong([*outside, at(30 * MINUTE, 9_000)]) == [(20 * MINUTE, None)]
    at_its_edge = [*driving(0, 20_000), at(15 * MINUTE, 19_000, 1005), at(20 * MINUTE, 14_000)]
    assert wrong(at_its_edge) == [(10 * MINUTE, None)], "outside is beyond the fix's own accuracy"


def test_fixes_outside_the_corridor_neither_open_nor_close_it() -> None:
    off = [*driving(0, 20_000), at(20 * MINUTE, 14_000, 2000)]
    assert wrong(off) == []
    lasting = [*driving(0, 20_000, 14_000), at(25 * MINUTE, 17_000, 2000)]
    assert wrong(lasting) == [(10 * MINUTE, None)]
    assert wrong([*lasting, at(30 * MINUTE, 16_000)]) == [(10 * MINUTE, 30 * MINUTE)]


def test_records_without_a_valid_fix_say_nothing_of_direction() -> None:
    frozen = at(10 * MINUTE, 20_000).fix
    trip = [*driving(0, 20_000), record(15 * MINUTE, fix=frozen), record(16 * MINUTE)]
    assert wrong([*trip, at(20 * MINUTE, 15_000)]) == [(10 * MINUTE, None)]


def test_evidence_says_where_it_turned_and_how_far_it_came() -> None:
    (found,) = findings(driving(0, 20_000, 14_000, 12_000, 13_000), code="wrong_direction")
    assert found.evidence == {
        "turned_at_progress_m": 20_000,
        "lowest_progress_m": 12_000,
        "driven_back_m": 8_000,
    }
    assert (found.severity, found.basis) == (Severity.MEDIUM, Basis.DATA)


def test_another_declared_route_ends_it_and_begins_anew() -> None:
    old = driving(0, 20_000, 14_000)
    new = [at(30 * MINUTE, 12_000, route=1), at(40 * MINUTE, 8_000, route=1)]
    routes = two_routes()
    assert wrong(old + new, routes=routes) == [(10 * MINUTE, 30 * MINUTE)]
    back = at(50 * MINUTE, 7_000, route=1)
    assert wrong([*old, *new, back], routes=routes)[1:] == [(30 * MINUTE, None)]


# ---------------------------------------------------------------- checkpoint_missed

ASKED = Checkpoint(zone="C", progress_m=30_000)
THROUGH = zone("post", "C")


def route(*checkpoints: Checkpoint, from_s: float | None = None) -> DeclaredRoute:
    return DeclaredRoute(
        route_id=1,
        length_m=200_000,
        from_ms=None if from_s is None else ms(from_s),
        checkpoints=checkpoints,
    )


def two_routes(*checkpoints: Checkpoint) -> tuple[DeclaredRoute, ...]:
    return route(), route(*checkpoints, from_s=25 * MINUTE)


def missed(trip: list[Observation], *checkpoints: Checkpoint, **more: Any) -> list[Any]:
    routes = more.pop("routes", (route(*(checkpoints or (ASKED,))),))
    return episodes(trip, code="checkpoint_missed", routes=routes, **more)


@pytest.mark.parametrize(("past_m", "opens"), [(4999.9, False), (5000, True)])
def test_five_kilometres_past_it_open_it_and_nothing_closes_it(past_m: float, opens: bool) -> None:
    trip = driving(0, 20_000, 30_000 + past_m)
    assert missed(trip) == ([(20 * MINUTE, None)] if opens else [])
    if opens:
        assert missed([*trip, at(40 * MINUTE, 29_000, zones=[THROUGH])]) == [(20 * MINUTE, None)]


def test_a_fix_in_its_zone_is_going_through() -> None:
    assert (
        missed(
            [*driving(0, 20_000), at(20 * MINUTE, 29_000, zones=[THROUGH]), at(30 * MINUTE, 40_000)]
        )
        == []
    )


def test_so_is_the_way_between_two_fixes() -> None:
    trip = [*driving(0, 20_000), at(20 * MINUTE, 40_000, crossed=(THROUGH,))]
    assert missed(trip) == []


def test_another_zone_is_not_it() -> None:
    trip = [*driving(0, 20_000), at(20 * MINUTE, 40_000, crossed=(zone("post", "D"),))]
    assert missed(trip) == [(20 * MINUTE, None)]


def test_an_optional_checkpoint_cannot_be_missed() -> None:
    optional = Checkpoint(zone="C", progress_m=30_000, mandatory=False)
    assert missed(driving(0, 20_000, 40_000), optional) == []


def test_each_checkpoint_is_a_finding_of_its_own() -> None:
    second = Checkpoint(zone="D", progress_m=60_000)
    trip = driving(0, 20_000, 40_000, 50_000, 65_000)
    assert missed(trip, ASKED, second) == [(20 * MINUTE, None), (40 * MINUTE, None)]
    found = findings(trip, code="checkpoint_missed", routes=(route(ASKED, second),))
    assert [f.evidence["zone"] for f in found] == ["C", "D"]
    assert found[0].evidence["checkpoint_progress_m"] == 30_000
    assert found[0].evidence["progress_m"] == 40_000


def test_a_device_with_no_fix_before_it_has_missed_it_too() -> None:
    assert missed([at(0, 50_000)]) == [(0, None)]


def test_a_device_bound_on_the_way_answers_for_what_lies_ahead() -> None:
    later = Checkpoint(zone="D", progress_m=60_000)
    trip = driving(32_000, 40_000, 65_000)
    assert missed(trip, ASKED, later, released_ms=ms(-3600)) == [(20 * MINUTE, None)]
    assert missed(trip, ASKED, later) == [(10 * MINUTE, None), (20 * MINUTE, None)]


def test_of_a_route_declared_on_the_way_only_what_lies_ahead_can_be_missed() -> None:
    behind = Checkpoint(zone="B", progress_m=10_000)
    old = driving(0, 20_000, 30_000)
    new = [at(30 * MINUTE, 32_000, route=1), at(40 * MINUTE, 50_000, route=1)]
    ahead = Checkpoint(zone="D", progress_m=40_000)
    assert missed(old + new, routes=two_routes(behind, ASKED, ahead)) == [(40 * MINUTE, None)]


def test_gone_through_by_the_old_route_is_gone_through() -> None:
    old = [*driving(0), at(20 * MINUTE, 20_000, zones=[zone("post", "D")])]
    new = [at(30 * MINUTE, 32_000, route=1), at(40 * MINUTE, 50_000, route=1)]
    ahead = Checkpoint(zone="D", progress_m=40_000)
    assert missed(old + new, routes=two_routes(ahead)) == []


def test_missed_by_the_old_route_stays_missed() -> None:
    old = driving(0, 20_000, 40_000)
    routes = (route(ASKED), route(from_s=25 * MINUTE))
    assert missed([*old, at(30 * MINUTE, 5_000, route=1)], routes=routes) == [(20 * MINUTE, None)]


@pytest.mark.parametrize(
    ("from_s", "to_s", "opens"),
    [
        (None, None, True),
        (20 * MINUTE, None, True),
        (20 * MINUTE + 0.001, None, False),
        (None, 20 * MINUTE, False),
        (None, 20 * MINUTE + 0.001, True),
    ],
)
def test_it_can_be_missed_only_while_its_zone_is_in_force(
    from_s: float | None, to_s: float | None, opens: bool
) -> None:
    version = Checkpoint(
        zone="C",
        progress_m=30_000,
        from_ms=None if from_s is None else ms(from_s),
        to_ms=None if to_s is None else ms(to_s),
    )
    trip = driving(0, 20_000, 40_000, 50_000)
    assert missed(trip, version) == ([(20 * MINUTE, None)] if opens else [])


def test_what_was_missed_is_not_missed_again_by_another_route_or_version() -> None:
    old = driving(0, 20_000, 40_000)
    new = [at(30 * MINUTE, 20_000, route=1), at(40 * MINUTE, 50_000, route=1)]
    assert missed(old + new, routes=(route(ASKED), two_routes(ASKED)[1])) == [(20 * MINUTE, None)]
    moved = Checkpoint(zone="C", progress_m=60_000, from_ms=ms(25 * MINUTE))
    trip = driving(0, 20_000, 40_000, 60_000, 70_000)
    assert missed(trip, ASKED, moved) == [(20 * MINUTE, None)]


def test_what_another_device_of_the_delivery_touched_is_not_missed() -> None:
    """A seal that reports seldom cuts the bends; the vehicle's unit shows that it was there."""
    seal = driving(0, 20_000, 40_000, device="seal-1", kind="seal")
    unit = [at(0, 0), at(15 * MINUTE, 30_000, zones=[zone("fuel", "C")]), at(20 * MINUTE, 40_000)]
    both = {"devices": ("gps-1", "seal-1")}
    assert missed([*seal, *unit], **both) == []
    elsewhere = [at(0, 0), at(15 * MINUTE, 30_000), at(20 * MINUTE, 40_000)]
    assert len(missed([*seal, *elsewhere], **both)) == 2
