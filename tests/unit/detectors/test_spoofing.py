"""Forged positions: the four signs at their edges, and what honest devices do."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.unit.detectors.trips import at, episodes, findings, record
from tracker.model import Observation, TimeFlag


def shown(trip: list[Observation], **more: Any) -> list[tuple[float | None, float | None]]:
    return episodes(trip, code="spoofing_suspected", **more)


def drive(
    from_s: int,
    to_s: int,
    *,
    kmh: float = 60,
    step_s: int = 30,
    odo: float = 1.0,
    base_m: float = 0,
) -> list[Observation]:
    """A drive along the road with an odometer of ``odo`` times the way."""
    return [
        at(s, kmh / 3.6 * (s - from_s), odometer_m=odo * kmh / 3.6 * (s - from_s))
        for s in range(from_s, to_s + 1, step_s)
    ]


# ---------------------------------------------------------------- a place out of reach


@pytest.mark.parametrize(
    ("fixes", "expected"), [([60, 61, 62], [(60, None)]), ([60, 120], [(60, None)])]
)
def test_a_place_out_of_reach_that_holds(fixes: list[float], expected: object) -> None:
    trip = [at(0), at(30, 100), *(at(s, 20_000 + s) for s in fixes)]
    assert shown(trip) == expected


@pytest.mark.parametrize("fixes", [[60], [60, 119]])
def test_a_place_that_does_not_hold_yet_says_nothing(fixes: list[float]) -> None:
    assert shown([at(0), at(30, 100), *(at(s, 20_000 + s) for s in fixes)]) == []


def test_a_jump_and_back_is_an_accident() -> None:
    assert shown([at(0), at(30, 600), at(60, 60_000), at(90, 1800), at(120, 2400)]) == []


@pytest.mark.parametrize(("kmh", "found"), [(199, False), (201, True)])
def test_the_bound_is_200_kmh_beyond_both_accuracies(kmh: float, found: bool) -> None:
    there_m = kmh / 3.6 * 600 + 10
    trip = [at(0), at(600, there_m), at(630, there_m + 100), at(660, there_m + 200)]
    assert bool(shown(trip)) is found


def test_it_closes_after_ten_consistent_minutes() -> None:
    trip = [at(0), *(at(60 + s, 50_000 + 10 * s) for s in range(0, 631, 30))]
    assert shown(trip) == [(60, 90)]
    assert shown(trip[:-1]) == [(60, None)]


@pytest.mark.parametrize(("jump_m", "found"), [(299, False), (301, True)])
def test_a_street_of_high_houses_is_no_forger(jump_m: float, found: bool) -> None:
    """Reflected once a second, a receiver is faster than any lorry, there as well as back."""
    road = [at(s, 10 * s) for s in range(60)]
    reflected = [at(s, 10 * s, jump_m) for s in range(60, 90)]
    after = [at(s, 10 * s) for s in range(90, 200)]
    assert bool(shown([*road, *reflected, *after])) is found


def test_what_a_receiver_corrects_after_a_tunnel_is_no_forgery() -> None:
    """It has gone straight on by its own reckoning, and finds itself 250 m off the road."""
    reckoned = [at(s, 15 * s, 3.5 * max(0, s - 30)) for s in range(101)]
    assert shown([*reckoned, *(at(s, 15 * s) for s in range(101, 300))]) == []


@pytest.mark.parametrize("odo", [None, 1.02])
@pytest.mark.parametrize("wrong_m", [700, 2500])
def test_one_wrong_fix_that_could_just_be_reached_is_no_forgery(
    wrong_m: float, odo: float | None
) -> None:
    """A unit that reports each minute, and each 500 m: so it reports the outlier, and the return a
    second after."""
    trip = []
    for n in range(60):
        trip.append(at(60 * n, 900 * n, odometer_m=odo and odo * 900 * n))
        if n % 10 == 5:
            out_m = 900 * n + 825
            trip.append(at(60 * n + 55, out_m, wrong_m, odometer_m=odo and odo * out_m))
            trip.append(at(60 * n + 56, out_m + 15, odometer_m=odo and odo * (out_m + 15)))
    assert shown(trip) == []


def test_one_wrong_fix_of_a_vehicle_that_hardly_moves_is_no_forgery() -> None:
    """Farther from where it is than from where it was: it moves away from the wrong place."""
    trip = [at(10 * n, 3 * n) for n in range(12)]
    trip += [at(170, 33, 1382), at(171, 33, -30), *(at(180 + 10 * n, 40) for n in range(60))]
    assert shown(trip) == []


def test_a_jump_back_along_the_road_is_one() -> None:
    trip = [at(60 * n, 900 * n) for n in range(10)]
    there = [at(600 + 60 * n, 4600 + n) for n in range(3)]
    assert shown([*trip, *there]) == [(600, None)]


def test_a_jump_from_the_road_ahead_is_one_though_the_fix_before_could_reach_it() -> None:
    trip = [at(60 * n, 900 * n) for n in range(10)]
    there = [at(s, 8100, 2000) for s in (545, 560, 575, 620)]
    assert shown([*trip, *there]) == [(545, None)]


@pytest.mark.parametrize(("odo", "found"), [(1.02, False), (0.0, True), (None, True)])
def test_a_position_repeated_in_a_tunnel_jumps_as_far_as_the_wheels_have_turned(
    odo: float | None, found: bool
) -> None:
    """1,500 m of tunnel at 54 km/h, all the while at its mouth; the device says that it is new."""
    trip = [at(s, 15 * s, odometer_m=None if odo is None else 15.0 * s) for s in range(0, 60, 5)]
    for s in range(60, 400, 5):
        seen_m = 15.0 * (60 if s < 160 else s)
        turned_m = 15.0 * 60 + (odo or 0) * 15.0 * (s - 60)
        trip.append(at(s, seen_m, odometer_m=None if odo is None else turned_m))
    assert bool(shown(trip)) is found


# ---------------------------------------------------------------- the odometer


def test_a_track_longer_than_the_wheels_turned() -> None:
    ((start_s, end_s),) = shown(drive(0, 720, odo=1 / 1.35))
    assert (start_s, end_s) == (0, None)
    (found,) = findings(drive(0, 720, odo=1 / 1.35), code="spoofing_suspected")
    assert found.evidence["signs"] == ["path"]
    assert found.evidence["path_m"] >= 10_000
    assert found.evidence["odometer_m"] == pytest.approx(found.evidence["path_m"] / 1.35, rel=0.01)


@pytest.mark.parametrize(("factor", "to_s"), [(1.29, 7200), (1.35, 570)])
def test_neither_a_third_less_nor_under_ten_km(factor: float, to_s: int) -> None:
    assert shown(drive(0, to_s, odo=1 / factor)) == []


def test_a_drag_after_an_honest_drive_is_found_where_it_began() -> None:
    honest = drive(0, 1800)
    there_m, odo_m = 30_000.0, 30_000.0
    dragged = [
        at(1800 + s, there_m + 20 * s, odometer_m=odo_m + 10 * s) for s in range(30, 901, 30)
    ]
    ((start_s, _),) = shown(honest + dragged)
    assert start_s == pytest.approx(1800, abs=120)


def test_an_odometer_that_is_reset_starts_anew() -> None:
    trip = drive(0, 500)
    trip += [at(500 + s, 500 / 0.06 + s / 0.06, odometer_m=s / 0.06) for s in range(30, 1000, 30)]
    assert shown(trip) == []


def test_a_frozen_position_while_the_wheels_turn_two_km() -> None:
    trip = [at(60 * n, 0, odometer_m=500.0 * n) for n in range(5)]
    assert shown(trip) == [(0, None)]
    assert shown(trip[:-1]) == []


def test_a_frozen_position_begins_when_the_wheels_do() -> None:
    parked = [at(60 * n, 0, odometer_m=7.0) for n in range(10)]
    trip = parked + [at(540 + 60 * n, 0, odometer_m=7.0 + 1000 * n) for n in range(1, 3)]
    assert shown(trip) == [(540, None)]


def test_a_set_odometer_is_no_driving() -> None:
    trip = [at(0, odometer_m=1000.0), at(60, odometer_m=900_000.0), at(120, odometer_m=900_000.0)]
    assert shown(trip) == []


# ---------------------------------------------------------------- the device's own word


def test_the_device_says_so_by_level_or_event() -> None:
    assert shown([at(0), at(30, 600, spoof=True)]) == [(30, None)]
    assert shown([at(0), record(30, event="spoof_on"), at(60, 600)]) == [(30, None)]
    assert shown([at(0), at(30, 600, spoof=False)]) == []


def test_it_is_over_ten_minutes_after_the_last_word() -> None:
    trip = [at(0, spoof=True), at(30, 600, spoof=True)]
    trip += [at(s, 20 * s) for s in range(60, 661, 30)]
    assert shown(trip) == [(0, 60)]


def test_the_device_says_so_while_a_jump_is_undecided() -> None:
    trip = [at(0), at(30, 100), at(60, 20_000), at(61, 20_020), record(62, event="spoof_on")]
    trip += [at(s, 20_000 + 20 * (s - 60)) for s in range(70, 671, 30)]
    assert shown(trip) == [(60, 70)]
    assert shown(trip[:-1]) == [(60, None)]


# ---------------------------------------------------------------- honest devices


def test_a_ferry_carries_a_vehicle_that_says_it_stands() -> None:
    trip = drive(0, 600)
    odo_m = trip[-1].odometer_m
    trip += [
        at(600 + s, 10_000 + 8 * s, odometer_m=odo_m, moving=False, ignition=False)
        for s in range(60, 14_400, 60)
    ]
    assert shown(trip) == []


def test_a_fix_repeated_without_a_time_of_its_own_says_nothing() -> None:
    trip = [at(60 * n, 0, odometer_m=1000.0 * n, flags=int(TimeFlag.FROM_TS)) for n in range(10)]
    assert shown(trip) == []


def test_a_tunnel_without_fixes_is_no_jump_and_no_drag() -> None:
    trip = drive(0, 600)
    trip += [record(600 + s, odometer_m=10_000 + s / 0.06, no_fix=True) for s in (60, 120, 180)]
    trip += [o for o in drive(0, 2400) if o.t_ms > trip[0].t_ms + 800_000]
    assert shown(trip) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_standing_receiver_wanders_all_night(seed: int) -> None:
    rng = random.Random(seed)
    trip = [at(10 * n, rng.gauss(0, 8), rng.gauss(0, 8), odometer_m=5000.0) for n in range(4000)]
    assert shown(trip) == []


@pytest.mark.parametrize("seed", range(5))
def test_honest_noise_over_2000_km(seed: int) -> None:
    """Noise of 15 m, an odometer 8 % short that counts in 100 m, outliers of 1 km within reach."""
    rng = random.Random(seed)
    way_m, trip = 0.0, []
    for n in range(400 * 10):
        way_m += rng.choice([0, 5, 12, 20, 24]) * 30
        off_m = 900.0 if rng.random() < 0.003 else rng.gauss(0, 15)
        odo_m = way_m * 0.92 // 100 * 100
        trip.append(
            at(30 * n, way_m + rng.gauss(0, 15), off_m, odometer_m=odo_m, acc_m=15, moving=True)
        )
    assert shown(trip, limits=None) == []
