"""``route_deviation``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.detectors.trips import at, episodes, findings, record
from tracker.model import Severity

deviations = partial(episodes, code="route_deviation")
found = partial(findings, code="route_deviation")

BACK = [at(100, 3000), at(110, 3200)]


def test_two_fixes_outside_for_thirty_seconds_open_it_at_the_first() -> None:
    assert deviations([at(0, 0), at(60, 900, 1500), at(90, 1300, 1500)]) == [(60, None)]


def test_a_millisecond_under_thirty_seconds_is_too_short() -> None:
    assert deviations([at(0), at(60, 900, 1500), at(89.999, 1300, 1500)]) == []


def test_many_fixes_within_thirty_seconds_are_too_short_and_then_long_enough() -> None:
    outside = [at(60 + s, 900 + 15 * s, 1500) for s in range(31)]
    assert deviations(outside[:-1]) == []
    assert deviations(outside) == [(60, None)]


@pytest.mark.parametrize(("off_m", "opens"), [(1005.0, False), (1005.1, True)])
def test_accuracy_is_taken_off_the_distance(off_m: float, opens: bool) -> None:
    trip = [at(0, 0, off_m, acc_m=5), at(30, 300, off_m, acc_m=5)]
    assert bool(deviations(trip)) is opens


def test_a_fix_inside_breaks_the_run() -> None:
    trip = [at(0, 0, 1500), at(20, 200, 999), at(40, 400, 1500), at(69, 700, 1500)]
    assert deviations(trip) == []
    assert deviations([*trip, at(70, 710, 1500)]) == [(40, None)]


def test_records_without_a_valid_fix_are_skipped_and_break_nothing() -> None:
    frozen = at(0, 0, 1500).fix
    trip = [at(0, 0, 1500), record(10), record(20, fix=frozen), at(30, 300, 1500)]
    assert deviations(trip) == [(0, None)]


def test_the_width_is_that_of_the_leg_at_the_fix() -> None:
    narrow = [at(s, 10 * s, 400, half_width_m=300) for s in (0, 30)]
    wide = [at(s, 10 * s, 4000, half_width_m=5000) for s in (0, 30)]
    assert deviations(narrow) == [(0, None)]
    assert deviations(wide) == []


# ---------------------------------------------------------------- provisional


@pytest.mark.parametrize(("off_m", "opens"), [(3005.0, False), (3005.1, True)])
def test_one_fix_beyond_three_widths_opens_it_provisionally(off_m: float, opens: bool) -> None:
    trip = found([at(0), at(600, 900, off_m)])
    assert [f.provisional for f in trip] == [True] * opens


def test_the_next_fix_ends_the_provisional_one() -> None:
    first = [at(0), at(600, 900, 4000)]
    assert found([*first, at(610, 1000, 0)]) == []
    assert found([*first, at(610, 1000, 2000)]) == [], "not beyond three widths, not yet 30 s"
    (lasting,) = found([*first, at(630, 1000, 2000)])
    assert (lasting.provisional, lasting.start_ms) == (False, first[1].t_ms)


def test_the_next_fix_may_open_it_provisionally_again() -> None:
    (still,) = found([at(0), at(600, 900, 4000), at(610, 1000, 4000)])
    assert still.provisional


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize(("off_m", "closes"), [(900.0, True), (900.1, False)])
def test_it_ends_at_the_first_of_two_fixes_within_nine_tenths(off_m: float, closes: bool) -> None:
    trip = [at(0, 0, 1500), at(30, 300, 1500), at(60, 600, off_m), at(70, 700, off_m)]
    assert deviations(trip) == [(0, 60 if closes else None)]


def test_one_fix_inside_does_not_end_it() -> None:
    trip = [at(0, 0, 1500), at(30, 300, 1500), at(60, 600), at(90, 900, 950), *BACK]
    assert deviations(trip) == [(0, 100)]


def test_a_poor_accuracy_does_not_help_back_inside() -> None:
    trip = [at(0, 0, 1500), at(30, 300, 1500)]
    trip += [at(s, 10 * s, 950, acc_m=200) for s in (60, 70, 80)]
    assert deviations(trip) == [(0, None)]


def test_a_second_deviation_is_an_episode_of_its_own() -> None:
    first = [at(0, 0, 1500), at(30, 300, 1500), at(60, 600), at(70, 700)]
    second = [at(s + 200, 2000 + 10 * s, 1500) for s in (0, 30)]
    assert deviations(first + second) == [(0, 60), (200, None)]


def test_evidence_names_the_farthest_fix() -> None:
    trip = [at(0, 0, 1500), at(60, 900, 2500), at(90, 1300, 1200), *BACK]
    (deviation,) = found(trip)
    assert deviation.severity is Severity.HIGH
    assert deviation.evidence["max_offset_m"] == 2500
    assert deviation.evidence["half_width_m"] == 1000
    assert deviation.evidence["fixes_outside"] == 3
    assert deviation.geometry is not None
    fix = trip[1].fix
    assert fix is not None
    assert deviation.geometry["coordinates"] == [fix.lon, fix.lat]
