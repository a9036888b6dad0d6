"""The receiver's error: its size, how long it lingers, and what it claims of itself."""

from __future__ import annotations

import random
import statistics

import pytest

from firmware_sim.geo import distance_m
from firmware_sim.world import Fix, Receiver, Wander, shift
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
