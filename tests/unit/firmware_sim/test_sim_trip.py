"""The vehicle's true motion: legal, smooth, on its path, with its stops."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.geo import Path, distance_m
from firmware_sim.trip import Drive, Itinerary, Slow, Stop, bend_kmh
from firmware_sim.world import Truth
from tests.unit.firmware_sim.sims import ROUTE, T0

PATH = Path([(lon, lat) for lon, lat in ROUTE])


def play(*, seed: int = 1, path: Path = PATH, **changes: object) -> list[Truth]:
    itinerary = Itinerary(path=path, start_ms=T0, **changes)  # type: ignore[arg-type]
    drive = Drive(itinerary, random.Random(seed))
    seen = [drive.truth()]
    while not drive.arrived:
        assert len(seen) < 50_000, "does not arrive"
        seen.append(drive.advance())
    return seen


def test_a_trip_is_legal_smooth_and_arrives() -> None:
    seen = play()
    assert max(t.speed_kmh for t in seen) <= 80
    for before, after in pairwise(seen):
        dt_s = (after.t_ms - before.t_ms) / 1000
        change_ms2 = (after.speed_kmh - before.speed_kmh) / 3.6 / dt_s
        # A stop's last metre is taken at a crawl, so its end is a small jerk.
        assert -2.1 <= change_ms2 <= 0.51
        assert after.driven_m >= before.driven_m
    assert seen[-1].driven_m == pytest.approx(PATH.length_m)
    assert (seen[-1].lat, seen[-1].lon) == pytest.approx((43.2525, 76.9115))
    hours = (seen[-1].t_ms - T0) / 3_600_000
    assert 60 < PATH.length_m / 1000 / hours < 80


def test_speed_and_odometer_agree_with_the_places() -> None:
    seen = play()
    for before, after in pairwise(seen[::60]):
        straight_m = distance_m((before.lon, before.lat), (after.lon, after.lat))
        assert straight_m <= (after.odo_m - before.odo_m) * 1.001 + 0.01


def test_a_stop_is_made_where_and_as_long_as_planned() -> None:
    seen = play(stops=(Stop(at_m=30_000, duration_s=1500),))
    still = [t for t in seen if t.driven_m == pytest.approx(30_000, abs=0.1) and not t.moving]
    assert (still[-1].t_ms - still[0].t_ms) / 1000 == pytest.approx(1500, abs=2)
    assert not still[5].ignition
    assert still[5].ext_mv == 25_200
    after = next(t for t in seen if t.driven_m > 30_100)
    assert after.ignition


def test_the_engine_runs_through_a_short_stop() -> None:
    seen = play(stops=(Stop(at_m=30_000, duration_s=120),))
    assert all(t.ignition for t in seen[:-1])


def test_towns_and_bends_are_taken_slowly() -> None:
    seen = play(slow=(Slow(from_m=20_000, to_m=25_000, limit_kmh=60),))
    assert max(t.speed_kmh for t in seen if 20_010 < t.driven_m < 25_000) <= 60.5
    corner = Path([(76.0, 43.0), (76.1, 43.0), (76.1, 43.1)])
    bend_m = Path([(76.0, 43.0), (76.1, 43.0)]).length_m
    around = [t.speed_kmh for t in play(path=corner) if abs(t.driven_m - bend_m) < 8]
    assert min(around) < bend_kmh(90) + 5


def test_a_trip_may_begin_midway() -> None:
    seen = play(start_m=50_000, stops=(Stop(at_m=10_000, duration_s=60),))
    assert seen[0].driven_m == 50_000
    assert seen[30].driven_m > 50_000


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    stops=st.lists(st.tuples(st.floats(0, 20_000), st.floats(1, 4000)), max_size=5),
)
def test_any_stops_are_passed(seed: int, stops: list[tuple[float, float]]) -> None:
    path = Path([(76.0, 43.0), (76.15, 43.05), (76.2, 43.0)])
    planned = tuple(Stop(at_m=a, duration_s=d) for a, d in stops if a < path.length_m)
    seen = play(seed=seed, path=path, stops=planned)
    lasted_s = (seen[-1].t_ms - T0) / 1000
    assert lasted_s >= sum(stop.duration_s for stop in planned) + path.length_m / (80 / 3.6)


def test_a_path_needs_two_places() -> None:
    with pytest.raises(ValueError, match="two different points"):
        Path([(76.0, 43.0), (76.0, 43.0)])


def test_nearest_place_on_a_path() -> None:
    along_m, off_m = PATH.nearest_m((77.9, 43.52))
    assert off_m < 1
    assert along_m == pytest.approx(Path([(78.2575, 43.5962), (77.9, 43.52)]).length_m, abs=1)
