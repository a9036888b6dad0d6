"""A real bus ride, replayed as a vehicle unit against routes through its line's real stops."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import ride
from tests.support.customs import Customs, hours
from tests.support.stack import STOP_S, Stack, start_stack
from tracker.embedded import children

SHIFT_DEG = 3000 / 111_200
"""3 km of latitude."""

STOP_ZONE_DEG = 0.0006


@pytest.fixture(scope="module")
def years_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose backdating allows a ride of 2019."""
    ride.require_ride()
    home = tmp_path_factory.mktemp("ride") / "data"
    running = start_stack(home, env={"TRACKER_BACKDATING_DAYS": "5000"})
    yield running
    children.end(running.process, timeout_s=STOP_S)


def zones_at(customs: Customs, stops: list[ride.Point]) -> None:
    for n, (lon, lat) in enumerate(stops):
        d = STOP_ZONE_DEG
        ring = [(lon - d, lat - d), (lon + d, lat - d), (lon + d, lat + d), (lon - d, lat + d)]
        customs.zone(f"stop{n}", [*ring, ring[0]], "terminal")


def replayed(customs: Customs, line: list[ride.Point], *, name: str) -> str:
    """The ride with its own times as a device of its own; the delivery's id once it is judged."""
    fixes = ride.track()
    device = customs.device(name, "gps")
    delivery = customs.delivery(
        line,
        [device],
        departure=fixes[0][0] - timedelta(seconds=1),
        deadline=datetime.now(UTC) + hours(5),
    )
    customs.firmware_sim("replay", str(ride.TRACK), "--device", device, "--flat-out")
    customs.settle(delivery)
    return delivery


def test_the_real_ride_raises_no_false_finding(years_back: Stack) -> None:
    customs = Customs(years_back, "ride")
    stops = ride.stops()
    zones_at(customs, stops)
    delivery = replayed(customs, stops, name="bus")

    found = {a["code"] for a in customs.anomalies(delivery)}
    # The ride ended years ago: the unit has been silent since.
    assert found <= {"silence"}
    silences = [a for a in customs.anomalies(delivery) if a["code"] == "silence"]
    assert all(a["basis"] == "clock" for a in silences)

    (line,) = customs.get(f"/deliveries/{delivery}/track")["features"]
    assert len(line["geometry"]["coordinates"]) > 2000


def test_a_route_3_km_away_is_found_within_30_s_of_its_own_time(years_back: Stack) -> None:
    customs = Customs(years_back, "shifted")
    shifted = [(lon, lat + SHIFT_DEG) for lon, lat in ride.stops()]
    delivery = replayed(customs, shifted, name="bus")

    deviations = [a for a in customs.anomalies(delivery) if a["code"] == "route_deviation"]
    first = min(datetime.fromisoformat(a["start"]) for a in deviations)
    assert first - ride.track()[0][0] <= timedelta(seconds=30)
    offsets = [a["evidence"]["max_offset_m"] for a in deviations]
    assert max(offsets) > 2000


def test_a_ride_of_2019_needs_the_backdating_setting(stack: Stack) -> None:
    ride.require_ride()
    customs = Customs(stack, "old")
    fixes = ride.track()
    device = customs.device("bus", "gps")
    with pytest.raises(AssertionError, match="TRACKER_BACKDATING_DAYS"):
        customs.delivery(
            ride.stops(), [device], departure=fixes[0][0], deadline=datetime.now(UTC) + hours(1)
        )


def test_the_ride_moved_to_now_is_on_the_map(stack: Stack, tmp_path: Path) -> None:
    ride.require_ride()
    customs = Customs(stack, "now")
    device = customs.device("bus", "gps")
    now = datetime.now(UTC)
    delivery = customs.delivery(
        ride.stops(), [device], departure=now - hours(3), deadline=now + hours(3)
    )
    customs.firmware_sim(
        "replay", str(ride.TRACK), "--device", device, "--shift-to-now", "--flat-out"
    )
    customs.settle(delivery)
    assert not [a for a in customs.anomalies(delivery) if a["code"] == "route_deviation"]
    shown = [p for p in customs.get("/positions")["items"] if p["device_id"] == device]
    assert [p["delivery_id"] for p in shown] == [delivery]
