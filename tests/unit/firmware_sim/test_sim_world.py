"""The receiver's error: its size, how long it lingers, and what it claims of itself."""

from __future__ import annotations

import random
import statistics
from itertools import pairwise

import pytest

from firmware_sim.geo import distance_m
from firmware_sim.world import CANYON_SIGMA_M, NOISE_SIGMA_M, Fix, Receiver, Sky, Wander, shift
from tests.unit.firmware_sim.sims import world


def track(seed: int, *, step_s: float, count: int) -> list[Fix]:
    receiver = Receiver(random.Random(seed))
    return [receiver(world(i * step_s, speed_kmh=50).truth) for i in range(count)]


@pytest.mark.parametrize("step_s", [1, 10, 60])
def test_the_error_has_its_size_and_memory_at_any_step(step_s: float) -> None:
    wander = Wander(random.Random(1), sigma=2.0, tau_s=60.0)
    values = [wander.step(step_s) for _ in range(60_000)]
    assert statistics.fmean(values) == pytest.approx(0, abs=0.25)
    assert statistics.pstdev(values) == pytest.approx(2.0, rel=0.08)
    lag = int(60 / step_s)
    correlation = statistics.correlation(values[:-lag], values[lag:])
    assert correlation == pytest.approx(0.368, abs=0.06)


def test_a_fix_lies_within_metres_and_says_so() -> None:
    fixes = track(3, step_s=300, count=4000)
    errors = [distance_m((f.lon, f.lat), (76.9, 43.25)) for f in fixes]
    within = sum(e <= (f.acc_m or 0) for e, f in zip(errors, fixes, strict=True)) / len(fixes)
    # acc is the 68 % radius.
    assert within == pytest.approx(0.68, abs=0.04)
    assert max(errors) < 12


def test_fields_stay_in_their_ranges() -> None:
    for fix in track(4, step_s=60, count=2000):
        assert fix.hdop is not None
        assert fix.heading_deg is not None
        assert fix.speed_kmh is not None
        assert fix.sat is not None
        assert 0.6 <= fix.hdop <= 2
        assert 5 <= fix.sat <= 20
        assert 0 <= fix.heading_deg < 360
        assert 0 <= fix.speed_kmh < 60


def test_one_instant_has_one_fix() -> None:
    receiver = Receiver(random.Random(1))
    truth = world(5).truth
    assert receiver(truth) is receiver(truth)


@pytest.mark.parametrize("lat", [0.0, 43.0, -43.0, 55.0])
def test_metres_are_metres(lat: float) -> None:
    lat2, lon2 = shift(lat, 70.0, 30.0, 40.0)
    assert distance_m((70.0, lat), (lon2, lat2)) == pytest.approx(50, rel=0.001)


HOME = (76.9, 43.25)


def errors_m(seed: int, *, step_s: float, count: int, sky: Sky, speed_kmh: float) -> list[float]:
    """East errors, m, of a receiver that is at one place but told that it moves or stands."""
    receiver = Receiver(random.Random(seed))
    found = []
    for i in range(count):
        fix = receiver(world(i * step_s, speed_kmh=speed_kmh).truth, sky)
        far_m = distance_m((fix.lon, HOME[1]), HOME)
        found.append(far_m if fix.lon >= HOME[0] else -far_m)
    return found


@pytest.mark.parametrize(("sky", "sigma_m"), [("open", NOISE_SIGMA_M), ("canyon", CANYON_SIGMA_M)])
def test_the_whole_error_has_the_sigma_of_its_sky(sky: Sky, sigma_m: float) -> None:
    found = errors_m(5, step_s=600, count=8000, sky=sky, speed_kmh=50)
    # Reflections are apart: the bulk has the sigma, they have the tails.
    bulk = [e for e in found if abs(e) < 4 * sigma_m]
    assert statistics.pstdev(bulk) == pytest.approx(sigma_m, rel=0.05)
    assert statistics.fmean(bulk) == pytest.approx(0, abs=0.06 * sigma_m)
    assert len(bulk) / len(found) > (0.999 if sky == "open" else 0.96)


def test_most_of_the_error_is_gone_after_minutes_and_the_rest_after_an_hour() -> None:
    found = errors_m(6, step_s=10, count=60_000, sky="open", speed_kmh=50)

    def kept(lag_s: float) -> float:
        lag = int(lag_s / 10)
        return statistics.correlation(found[:-lag], found[lag:])

    slow = 0.9**2 / NOISE_SIGMA_M**2
    for lag_s in (60, 180, 600):
        fast = (1 - slow) * 2.718281828 ** (-lag_s / 60)
        expected = fast + slow * 2.718281828 ** (-lag_s / 1800)
        assert kept(lag_s) == pytest.approx(expected, abs=0.06)


def test_a_parked_receiver_drifts_farther_than_a_driving_one() -> None:
    parked = errors_m(7, step_s=60, count=20_000, sky="open", speed_kmh=0)
    moving = errors_m(7, step_s=60, count=20_000, sky="open", speed_kmh=50)
    assert statistics.pstdev(parked) == pytest.approx((2.0**2 + 1.5**2) ** 0.5, rel=0.07)
    assert statistics.pstdev(parked) > statistics.pstdev(moving) * 1.15
    # It drifts: an hour of it stays within metres, no step is a jump.
    assert max(abs(b - a) for a, b in pairwise(parked)) < 14


def test_the_axes_err_independently() -> None:
    fixes = track(8, step_s=300, count=6000)
    east = [f.lon for f in fixes]
    north = [f.lat for f in fixes]
    assert abs(statistics.correlation(east, north)) < 0.05


def test_reflections_are_single_and_rare() -> None:
    found = [abs(e) for e in errors_m(9, step_s=600, count=20_000, sky="canyon", speed_kmh=50)]
    wild = [e > 60 for e in found]
    assert 0.01 < sum(wild) / len(wild) < 0.035
    assert sum(a and b for a, b in pairwise(wild)) < 0.1 * sum(wild)
    assert max(found) < 400


def test_a_cell_is_far_and_says_so() -> None:
    receiver = Receiver(random.Random(1))
    cells = [receiver.cell(world(i).truth) for i in range(2000)]
    errors = [distance_m((c.lon, c.lat), HOME) for c in cells]
    within = sum(e <= (c.acc_m or 0) for e, c in zip(errors, cells, strict=True)) / len(cells)
    assert within == pytest.approx(0.68, abs=0.05)
    assert {c.src for c in cells} == {"lbs"}
