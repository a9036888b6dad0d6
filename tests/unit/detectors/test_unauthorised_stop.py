"""``unauthorised_stop``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.detectors.trips import at, episodes, findings, record, zone
from tracker.model import STOP_ZONES, Observation, ZoneKind

stops = partial(episodes, code="unauthorised_stop")
MINUTE = 60


def standing(from_min: float, to_min: float, progress_m: float = 0.0) -> list[Observation]:
    """A fix each minute at one place, both ends included."""
    steps = round(to_min - from_min)
    return [at((from_min + n) * MINUTE, progress_m) for n in range(steps + 1)]


def leaving(from_min: float, from_m: float = 1000.0) -> list[Observation]:
    return [at((from_min + n) * MINUTE, from_m + 1000 * n) for n in range(2)]


def test_fifteen_minutes_at_a_place_are_a_stop() -> None:
    assert stops(standing(0, 15)) == [(0, None)]
    assert stops(standing(0, 15) + leaving(16)) == [(0, 15 * MINUTE)]


def test_a_millisecond_less_is_none() -> None:
    trip = [*standing(0, 14), at(15 * MINUTE - 0.001)]
    assert stops(trip) == []
    assert stops(trip + leaving(16)) == []


def test_time_is_counted_to_the_last_fix_inside_not_to_the_first_outside() -> None:
    assert stops(standing(0, 14) + leaving(30)) == []


@pytest.mark.parametrize(("off_m", "inside"), [(149.99, True), (150.01, False)])
def test_the_run_reaches_150_metres_from_its_anchor(off_m: float, inside: bool) -> None:
    trip = [at(0), *(at(n * MINUTE, off_m) for n in range(1, 16))]
    # Outside, the next anchor is the first of the two: 14 minutes from there.
    assert stops(trip) == ([(0, None)] if inside else [])


def test_the_distance_is_from_the_anchor_so_a_slow_crawl_is_no_stop() -> None:
    assert stops([at(n * MINUTE, 100 * n) for n in range(60)]) == []


def test_one_fix_away_does_not_end_the_run() -> None:
    trip = [*standing(0, 7), at(8 * MINUTE, 400), *standing(9, 15)]
    assert stops(trip) == [(0, None)]


def test_nor_do_two_that_are_not_in_a_row() -> None:
    trip = [at(n * MINUTE, 400 if n in (5, 7) else 0) for n in range(16)]
    assert stops(trip) == [(0, None)]


def test_two_fixes_away_in_a_row_end_it_though_it_comes_back() -> None:
    trip = [*standing(0, 7), at(8 * MINUTE, 400), at(9 * MINUTE, 400), *standing(10, 20)]
    assert stops(trip) == []


def test_the_next_anchor_is_the_first_of_the_two() -> None:
    trip = [*standing(0, 2), *standing(3, 18, progress_m=5000)]
    assert stops(trip) == [(3 * MINUTE, None)]


def test_silence_inside_does_not_break_it() -> None:
    assert stops([at(0), at(5 * 3600)]) == [(0, None)]


def test_records_without_a_fix_neither_lengthen_nor_break_it() -> None:
    trip = [*standing(0, 10), *(record(n * MINUTE) for n in range(11, 30))]
    assert stops(trip) == []
    assert stops([*trip, at(30 * MINUTE)]) == [(0, None)]


# ---------------------------------------------------------------- zones


def partly_in_zones(inside: int, outside: int, kind: str = "parking") -> list[Observation]:
    return [
        at(n * 2 * MINUTE, zones=[zone(kind)] if n < inside else [])
        for n in range(inside + outside)
    ]


def test_half_of_the_fixes_in_zones_explain_a_stop() -> None:
    assert stops(partly_in_zones(5, 5)) == []


def test_fewer_than_half_do_not() -> None:
    assert stops(partly_in_zones(5, 6)) == [(0, None)]


@pytest.mark.parametrize("kind", list(ZoneKind))
def test_which_zones_allow_a_stop(kind: ZoneKind) -> None:
    allowed = {"post", "border", "parking", "rest", "fuel", "terminal"}
    assert set(STOP_ZONES) == allowed
    assert bool(stops(partly_in_zones(10, 0, kind))) is (kind not in allowed)


def test_evidence_counts_fixes_and_names_zones_even_of_the_anchor() -> None:
    (stop,) = findings(partly_in_zones(1, 9), code="unauthorised_stop")
    assert stop.evidence["fixes"] == 10
    assert stop.evidence["fixes_in_allowed_zones"] == 1
    assert stop.evidence["zones"] == ["Z-parking"]
    assert stop.evidence["duration_s"] == 18 * MINUTE
