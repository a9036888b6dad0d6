"""``silence``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.detectors.trips import (
    LIMIT_MOVING_S,
    LIMIT_PARKED_S,
    at,
    episodes,
    findings,
    ms,
    record,
    scenery,
    seconds,
)
from tests.unit.detectors.trips import zone as in_zone
from tracker.anomalies import Fold, fold, present
from tracker.model import Basis, Observation, PlanPost, Severity

silences = partial(episodes, code="silence")


def after(first: Observation, gap_s: float) -> list[Observation]:
    start_s = seconds(first.t_ms)
    assert start_s is not None
    return [first, record(start_s + gap_s)]


def moving(at_s: float = 0.0) -> Observation:
    return record(at_s, moving=True)


def test_two_periods_and_a_minute_are_kept() -> None:
    assert silences(after(moving(), LIMIT_MOVING_S)) == []


def test_a_millisecond_more_is_silence_from_the_last_record_to_the_next() -> None:
    gap_s = LIMIT_MOVING_S + 0.001
    assert silences(after(moving(), gap_s)) == [(0, gap_s)]


def test_parked_the_parked_period_is_in_force() -> None:
    parked = record(0, moving=False)
    assert silences(after(parked, LIMIT_PARKED_S)) == []
    assert silences(after(parked, LIMIT_PARKED_S + 1)) == [(0, LIMIT_PARKED_S + 1)]


def test_the_period_follows_the_last_record_not_the_next() -> None:
    trip = [moving(), record(LIMIT_MOVING_S + 1, moving=False)]
    assert silences(trip) == [(0, LIMIT_MOVING_S + 1)]


def test_motion_not_stated_is_as_last_stated() -> None:
    trip = [record(0, moving=False), record(60), record(60 + LIMIT_PARKED_S)]
    assert silences(trip) == []


def test_motion_never_stated_is_moving() -> None:
    assert silences(after(record(0), LIMIT_MOVING_S + 1)) == [(0, LIMIT_MOVING_S + 1)]


def test_an_announced_sleep_is_added() -> None:
    asleep = record(0, moving=True, sleep_s=3600)
    assert silences(after(asleep, 3600 + LIMIT_MOVING_S)) == []
    assert silences(after(asleep, 3600 + LIMIT_MOVING_S + 1)) != []


def test_a_sleep_is_over_with_the_next_record() -> None:
    trip = [record(0, moving=True, sleep_s=3600), record(10), record(10 + LIMIT_MOVING_S + 1)]
    assert silences(trip) == [(10, 10 + LIMIT_MOVING_S + 1)]


def test_a_record_without_time_breaks_no_silence() -> None:
    trip = [moving(), record(100, timed=False, event="rope_cut"), record(600)]
    assert silences(trip) == [(0, 600)]


def test_an_invalid_fix_is_a_record_all_the_same() -> None:
    frozen = at(0).fix
    trip = [at(0, moving=True), record(170, fix=frozen), record(340)]
    assert silences(trip) == []


# ---------------------------------------------------------------- the clock


def test_with_no_record_after_it_opens_by_the_clock() -> None:
    assert silences([moving()], now_s=LIMIT_MOVING_S) == []
    (lasting,) = findings([moving()], code="silence", now_s=LIMIT_MOVING_S + 0.001)
    assert (lasting.provisional, lasting.basis, lasting.end_ms) == (True, Basis.CLOCK, None)
    (over,) = findings(after(moving(), 600), code="silence")
    assert (over.provisional, over.basis) == (False, Basis.DATA)


def test_before_the_first_record_there_is_no_neighbour_and_no_silence() -> None:
    assert silences([], now_s=10**6) == []


def test_the_clock_wakes_when_the_limit_has_passed_and_when_it_weighs_more() -> None:
    def next_s(now_s: float) -> float | None:
        scene = scenery(now_s=now_s)
        state, _ = fold(Fold(), [moving()], scene)
        return seconds(present(state, scene).next_clock_ms)

    assert next_s(0) == LIMIT_MOVING_S + 0.001
    assert next_s(LIMIT_MOVING_S + 0.001) == 900
    assert present(fold(Fold(), [moving()], scenery())[0], scenery(now_s=900)).next_clock_ms != 900


def test_silence_ends_with_the_binding() -> None:
    assert silences([moving()], bound_to_s=LIMIT_MOVING_S, now_s=10**5) == []
    assert silences([moving()], bound_to_s=600, now_s=10**5) == [(0, 600)]


@pytest.mark.parametrize(
    ("zone", "bound_to_s", "arrived_s", "silent"),
    [
        ("post:B", 600, 600, False),
        ("post:A", 600, 600, True),
        ("post:B", 600, None, True),
        ("post:B", 600, 900, True),
    ],
    ids=["arrived", "elsewhere", "not arrived", "taken off before"],
)
def test_at_the_destination_the_arrival_explains_it(
    zone: str, bound_to_s: float, arrived_s: float | None, silent: bool
) -> None:
    post = PlanPost(code="B", kind="inland", zone="post:B", lon=0, lat=0)
    there = at(0, moving=True, zones=[in_zone("post", zone)])
    blind = record(60)
    plan = {"destination": post, "arrived_ms": None if arrived_s is None else ms(arrived_s)}
    for trip in ([there], [there, blind]):
        found = silences(trip, bound_to_s=bound_to_s, now_s=10**5, **plan)
        assert bool(found) is silent
    # Until the arrival is confirmed it is silent.
    assert silences([there], now_s=10**5, destination=post) == [(0, None)]
    # Away from there again it is silent too.
    away = at(60, 3_000, moving=True)
    assert silences([there, away], bound_to_s=bound_to_s, now_s=10**5, **plan) == [(60, 600)]


# ---------------------------------------------------------------- what could have been done


@pytest.mark.parametrize(("gap_s", "severity"), [(899.9, Severity.MEDIUM), (900, Severity.HIGH)])
def test_fifteen_minutes_unaccounted_for_weigh_more(gap_s: float, severity: Severity) -> None:
    (gap,) = findings([at(0, moving=True), at(gap_s)], code="silence")
    assert gap.severity is severity


def test_the_declared_way_at_legal_speed_is_accounted_for() -> None:
    # 30 km take 20 minutes at 90 km/h.
    (gap,) = findings([at(0, 0, moving=True), at(30 * 60, 30_000)], code="silence")
    assert gap.severity is Severity.MEDIUM
    assert gap.evidence["route_distance_m"] == 30_000
    assert gap.evidence["shortest_min"] == 20
    assert gap.evidence["slack_min"] == 10
    # Five minutes out and five back.
    assert gap.evidence["farthest_off_m"] == 7500


def test_a_gap_quicker_than_the_law_allows_has_no_slack() -> None:
    (gap,) = findings([at(0, 0, moving=True), at(600, 20_000)], code="silence")
    assert gap.evidence["slack_min"] == 0
    assert gap.severity is Severity.MEDIUM


def test_the_way_made_before_the_silence_does_not_excuse_it() -> None:
    blind = [record(60 * n, moving=True) for n in range(1, 101)]
    trip = [at(0, 0), *blind, at(6000 + 1800, 150_000)]
    (gap,) = findings(trip, code="silence")
    # Between the fixes 130 min, 100 of them needed; the gap itself is 30.
    assert gap.evidence["slack_min"] == 30
    assert gap.severity is Severity.HIGH


def test_without_a_fix_on_either_side_the_whole_gap_is_slack() -> None:
    (gap,) = findings(after(moving(), 1200), code="silence")
    assert gap.evidence["slack_min"] == 20
    assert gap.geometry is None
