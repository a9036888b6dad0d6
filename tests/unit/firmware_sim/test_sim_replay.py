"""Recorded tracks: reading, motion computed from places and times, shifting."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from firmware_sim.device import Device, DeviceConfig
from firmware_sim.errors import PlanError
from firmware_sim.replay import Replay, TrackPoint, read_track, shifted, with_motion
from firmware_sim.world import shift
from tests.unit.firmware_sim.sims import NOW, T0, records

BUS = Path(__file__).parents[4] / "shared" / "data" / "bus_304.gpx"
bus = pytest.mark.skipif(not BUS.exists(), reason="shared/data/bus_304.gpx lies beside no clone")


def eastward(*metres: float, every_s: int = 5) -> list[TrackPoint]:
    places = [shift(43.0, 76.0, m, 0.0) for m in metres]
    return [
        TrackPoint(t_ms=T0 + i * every_s * 1000, lat=lat, lon=lon)
        for i, (lat, lon) in enumerate(places)
    ]


def replay(points: list[TrackPoint]) -> list[dict[str, object]]:
    unit = Device(DeviceConfig(id="bus", kind="gps"), random.Random(1))
    unit.connect()
    unit.connected(T0)
    actor = Replay(unit, points)
    sent = []
    while not actor.ended:
        sent += [m for _, messages in actor.tick() for m in messages]
    return list(records(sent))


def test_speed_and_heading_come_from_the_track() -> None:
    points = with_motion(eastward(*(i * 50.0 for i in range(10))))
    assert points[5].speed_kmh == pytest.approx(36, abs=0.2)
    assert points[5].heading_deg == pytest.approx(90, abs=0.2)


def test_what_was_recorded_is_kept() -> None:
    points = [
        TrackPoint(t_ms=T0 + i * 1000, lat=43, lon=76, speed_kmh=7, heading_deg=8) for i in (0, 1)
    ]
    assert with_motion(points) == points


def test_every_fix_is_a_record_and_motion_changes_are_marked() -> None:
    ride = [0.0] * 12 + [i * 40.0 for i in range(20)] + [760.0] * 20
    made = replay(eastward(*ride))
    fixes = [r["fix"]["t"] for r in made]  # type: ignore[index]
    assert sorted(set(fixes)) == [T0 + i * 5000 for i in range(len(ride))]
    changes = [r["mot"]["mov"] for r in made if r["why"] == "mot"]  # type: ignore[index]
    assert changes == [True, False]
    assert made[-1]["mot"]["odo"] == pytest.approx(760, abs=2)  # type: ignore[index]


@pytest.mark.parametrize(("anchor", "index"), [("first", 0), ("last", -1)])
def test_shift_to_now(anchor: str, index: int) -> None:
    points = eastward(0, 10, 20)
    later = datetime(2026, 1, 1, tzinfo=UTC)
    moved = shifted(points, now=later, anchor=anchor)  # type: ignore[arg-type]
    assert moved[index].t_ms == later.timestamp() * 1000
    assert moved[1].t_ms - moved[0].t_ms == 5000


def test_csv(tmp_path: Path) -> None:
    file = tmp_path / "track.csv"
    file.write_text(
        "lon,lat,time,speed_kmh,alt\n"
        "76.0,43.0,2025-11-20T08:00:00Z,50,\n"
        "76.1,43.0,2025-11-20T13:01:00+05:00,,700\n"
        "76.1,43.0,2025-11-20T08:01:00,60,700\n"
    )
    first, second = read_track(file)
    start_ms = round(NOW.timestamp() * 1000)
    assert first == TrackPoint(t_ms=start_ms, lat=43, lon=76, speed_kmh=50)
    assert second == TrackPoint(t_ms=start_ms + 60_000, lat=43, lon=76.1, alt_m=700)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "time,lat\n", "no column lon"),
        ("t.csv", "time,lat,lon\nx,1,2\n", "line 2"),
        ("t.csv", "time,lat,lon\n2025-01-01T00:00:00Z,91,2\n", "no place on earth"),
        ("t.csv", "time,lat,lon\n2025-01-01T00:00:00Z,9,2\n", "fewer than two fixes"),
        ("t.csv", "time,lat,lon\n2025-01-01T00:00:00Z,9\n", "line 2"),
        ("t.gpx", "<gpx", "t.gpx"),
        ("t.gpx", "<gpx><trk><trkseg><trkpt lat='1' lon='2'/></trkseg></trk></gpx>", "no time"),
        ("t.kml", "", "give a .gpx or .csv file"),
    ],
)
def test_a_bad_track_is_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PlanError, match=words) as caught:
        read_track(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_an_absent_track(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="give the name of a track file"):
        read_track(tmp_path / "absent.gpx")


@bus
def test_a_real_bus_ride() -> None:
    points = read_track(BUS)
    assert len(points) == 2144
    assert datetime.fromtimestamp(points[0].t_ms / 1000, UTC).year == 2019
    made = replay(points)
    speeds = [r["fix"]["spd"] for r in made]  # type: ignore[index]
    assert 30 < max(speeds) < 80
    assert sum(r["why"] == "mot" for r in made) > 10
