"""Seal and vehicle apart: word by word of the contract, at its exact edges."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.detectors.trips import DEVICE, at, episodes, findings
from tracker.model import Finding, Observation

SEAL = "seal-1"
BOTH = (DEVICE, SEAL)
FAR_M = 311.0
"""Just over 300 m and twice 5 m."""


def seal(at_s: float, progress_m: float = 0.0, off_m: float = 0.0, **more: Any) -> Observation:
    return at(at_s, progress_m, off_m, device=SEAL, **more)


def apart(trip: list[Observation], **more: Any) -> list[tuple[float | None, float | None]]:
    return episodes(trip, code="separation", devices=BOTH, **more)


def one(trip: list[Observation], **more: Any) -> Finding:
    (found,) = findings(trip, code="separation", devices=BOTH, **more)
    return found


def side_by_side(until_s: int, off_m: float, step_s: int = 60) -> list[Observation]:
    """Both report at the same moments, the seal so far north of the vehicle."""
    times = range(0, until_s + 1, step_s)
    return [o for s in times for o in (at(s, 10 * s), seal(s, 10 * s, off_m))]


def test_far_for_five_minutes_opens_at_the_first_comparison() -> None:
    found = one(side_by_side(300, FAR_M))
    assert (found.device, found.severity, found.end_ms) == (SEAL, "critical", None)
    assert found.evidence["distance_m"] == pytest.approx(FAR_M, abs=0.2)
    assert found.evidence["vehicle_units"] == [DEVICE]
    assert apart(side_by_side(300, FAR_M)) == [(0, None)]


@pytest.mark.parametrize("off_m", [0.0, 299.0, 309.9])
def test_300_m_and_both_accuracies_are_near(off_m: float) -> None:
    assert apart(side_by_side(3600, off_m)) == []


def test_less_than_five_minutes_is_not_enough() -> None:
    assert apart(side_by_side(299, FAR_M, step_s=23)) == []


def test_one_near_comparison_breaks_the_run() -> None:
    trip = side_by_side(540, FAR_M)
    trip[10] = at(300, 3000)
    trip[11] = seal(300, 3000, 100)
    assert apart(trip) == []


def test_it_closes_at_the_first_of_five_near_minutes() -> None:
    trip = side_by_side(600, FAR_M)
    trip += [o for s in range(660, 1021, 60) for o in (at(s, 10 * s), seal(s, 10 * s, 50))]
    assert apart(trip) == [(0, 660)]
    assert apart(trip[:-4]) == [(0, None)], "240 s are not yet five minutes"


def test_a_position_between_fixes_up_to_150_s_apart_is_interpolated() -> None:
    trip = [seal(s, 10 * s, 400) for s in (0, 150, 300, 450)]
    trip += [at(s, 10 * s) for s in (75, 225, 375)]
    assert apart(trip) == [(75, None)]


def test_between_fixes_farther_apart_nothing_is_compared() -> None:
    trip = [seal(s, 10 * s, 400) for s in (0, 151, 302, 453)]
    trip += [at(s, 10 * s) for s in (75, 225, 375)]
    assert apart(trip) == []


def test_what_has_stood_is_compared_over_any_gap() -> None:
    """The trailer stands in a yard with its seal, which sleeps for an hour; the tractor drives."""
    trip = [seal(0), seal(3600, 149)]
    trip += [at(s, 10 * s) for s in range(0, 601, 30)]
    assert apart(trip) == [(60, None)]


def test_over_a_gap_whose_ends_are_apart_nothing_is_compared() -> None:
    trip = [seal(0), seal(3600, 152)]
    trip += [at(s, 10 * s) for s in range(30, 601, 30)]
    assert apart(trip) == []


def test_nothing_is_known_before_the_other_is_heard_of_again() -> None:
    trip = [seal(0)] + [at(s, 10 * s) for s in range(30, 1801, 30)]
    assert apart(trip) == []
    assert apart([*trip, seal(1800)]) == [(60, None)]


def test_a_jumped_track_that_waits_comes_late_and_finds_the_same() -> None:
    trip = side_by_side(900, FAR_M)
    jump = seal(301, 3010, 60_000)
    assert apart([*trip, jump]) == apart(trip)


def test_a_very_long_wait_keeps_a_bounded_number_of_fixes() -> None:
    trip = [seal(0)] + [at(s, min(s, 3000)) for s in range(30, 40_000, 30)]
    assert apart([*trip, seal(40_000)])[0][1] is None


def test_each_seal_with_each_unit_and_one_episode_a_seal() -> None:
    devices = ("gps-1", "gps-2", "seal-1", "seal-2")
    trip: list[Observation] = []
    for s in range(0, 1501, 60):
        trip += [at(s, 10 * s, device=name) for name in ("gps-1", "gps-2", "seal-1")]
        trip.append(at(s, 10 * s, 5000 if s < 900 else 0, device="seal-2"))
    (found,) = findings(trip, code="separation", devices=devices)
    assert found.device == "seal-2"
    assert found.evidence["vehicle_units"] == ["gps-1", "gps-2"]
    assert episodes(trip, code="separation", devices=devices) == [(0, 900)]


def test_units_are_not_compared_with_units() -> None:
    trip = [o for s in range(0, 901, 60) for o in (at(s), at(s, 9000, device="gps-2"))]
    assert episodes(trip, code="separation", devices=("gps-1", "gps-2")) == []
