"""A recorded track played as a vehicle unit: GPX, or CSV with a header.

CSV columns, in any order: ``time`` (RFC 3339; without offset: UTC), ``lat``, ``lon`` (degrees
WGS 84) and, if known, ``speed_kmh``, ``heading_deg``, ``alt`` (m). What is missing is computed
from the track. Every fix becomes a record, and each change of motion is marked as one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import gpxpy
from pyproj import Geod

from firmware_sim.device import Device
from firmware_sim.errors import PlanError
from firmware_sim.triggers import Trigger
from firmware_sim.wire import Message
from firmware_sim.world import Condition, Fix, Truth, World

Anchor = Literal["first", "last"]

_GEOD = Geod(ellps="WGS84")
# Speed is taken over so long around a fix: between neighbours a second apart it is mostly noise.
_WINDOW_S = 10.0
_MOVING_KMH = 4.0
# Under this the course between two fixes says nothing.
_COURSE_M = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPoint:
    """A recorded fix: ms UTC, degrees, m, km/h, degrees."""

    t_ms: int
    lat: float
    lon: float
    alt_m: float | None = None
    speed_kmh: float | None = None
    heading_deg: float | None = None


def read_track(file: Path) -> list[TrackPoint]:
    """Fixes in order of time, repeats left out. PlanError says what is wrong with the file."""
    readers = {".gpx": _read_gpx, ".csv": _read_csv}
    if file.suffix.lower() not in readers:
        raise PlanError(f"{file}: give a .gpx or .csv file")
    try:
        points = list(readers[file.suffix.lower()](file))
    except OSError as error:
        raise PlanError(f"{file}: {error.strerror}; give the name of a track file") from error
    except (ValueError, gpxpy.gpx.GPXException) as error:
        raise PlanError(f"{file}: {' '.join(str(error).split())}") from error
    points = _in_order(points)
    if len(points) < 2:
        raise PlanError(f"{file}: holds fewer than two fixes with different times")
    return points


def shifted(points: Sequence[TrackPoint], *, now: datetime, anchor: Anchor) -> list[TrackPoint]:
    """The same track with its first or last fix at `now`."""
    fixed = points[0] if anchor == "first" else points[-1]
    by_ms = int(now.timestamp()) * 1000 - fixed.t_ms
    return [replace(point, t_ms=point.t_ms + by_ms) for point in points]


def with_motion(points: Sequence[TrackPoint]) -> list[TrackPoint]:
    """Fill in speed and heading where the recording has none."""
    along = _along(points)
    filled, heading = [], 0.0
    for i, point in enumerate(points):
        first, last = _window(points, i)
        dt_s = (points[last].t_ms - points[first].t_ms) / 1000
        speed_kmh = (along[last] - along[first]) / dt_s * 3.6
        a, b = points[first], points[last]
        course, _, moved_m = _GEOD.inv(a.lon, a.lat, b.lon, b.lat)
        if moved_m >= _COURSE_M:
            heading = round(float(course) % 360.0, 1) % 360.0
        filled.append(
            replace(
                point,
                speed_kmh=round(speed_kmh, 1) if point.speed_kmh is None else point.speed_kmh,
                heading_deg=heading if point.heading_deg is None else point.heading_deg,
            )
        )
    return filled


class Replay:
    """A recorded track as an actor of a run: one device, one tick a fix."""

    def __init__(self, device: Device, points: Sequence[TrackPoint]) -> None:
        self.label = device.config.id
        self.device = device
        self.wants_link = True
        self.leaves_cleanly = False
        self.mounts = (self,)
        self._points = with_motion(points)
        self._odo_m = _along(points)
        self._next = 0
        self.start_ms = points[0].t_ms

    @property
    def now_ms(self) -> int:
        """Time of the last fix played; before the first, its time."""
        return self._points[max(self._next - 1, 0)].t_ms

    @property
    def next_ms(self) -> int:
        """Time of the next fix; after the last, its time."""
        return self._points[min(self._next, len(self._points) - 1)].t_ms

    @property
    def ended(self) -> bool:
        """Whether the whole track has been played."""
        return self._next == len(self._points)

    def tick(self) -> list[tuple[Replay, list[Message]]]:
        """The next fix: one record, or more where the motion changes; none after the end."""
        if self.ended:
            return []
        point, odo_m = self._points[self._next], self._odo_m[self._next]
        self._next += 1
        world = _world(point, odo_m)
        made = self.device.store.made
        messages = self.device.step(point.t_ms, world)
        if self.device.store.made == made:
            messages = self.device.record(point.t_ms, world, Trigger(why="time"))
        return [(self, messages)]


def _world(point: TrackPoint, odo_m: float) -> World:
    speed_kmh = point.speed_kmh or 0.0
    truth = Truth(
        t_ms=point.t_ms,
        driven_m=odo_m,
        lat=point.lat,
        lon=point.lon,
        speed_kmh=speed_kmh,
        heading_deg=point.heading_deg or 0.0,
        moving=speed_kmh >= _MOVING_KMH,
        ignition=None,
        odo_m=odo_m,
        ext_mv=None,
    )
    fix = Fix(
        t_ms=point.t_ms,
        lat=point.lat,
        lon=point.lon,
        alt_m=point.alt_m,
        speed_kmh=point.speed_kmh,
        heading_deg=point.heading_deg,
    )
    return World(truth=truth, condition=Condition(), locate=lambda _: fix)


def _along(points: Sequence[TrackPoint]) -> list[float]:
    """Metres from the first fix along the track, for each fix."""
    line = [(point.lon, point.lat) for point in points]
    lons, lats = zip(*line, strict=True)
    lengths = _GEOD.inv(lons[:-1], lats[:-1], lons[1:], lats[1:])[2]
    along = [0.0]
    for length_m in lengths:
        along.append(along[-1] + float(length_m))
    return along


def _window(points: Sequence[TrackPoint], i: int) -> tuple[int, int]:
    """Neighbours of fix i at least the window apart, as far as there are any."""
    first = max(i - 1, 0)
    last = min(i + 1, len(points) - 1)
    while points[last].t_ms - points[first].t_ms < _WINDOW_S * 1000:
        if first == 0 and last == len(points) - 1:
            break
        first, last = max(first - 1, 0), min(last + 1, len(points) - 1)
    return first, last


def _in_order(points: Sequence[TrackPoint]) -> list[TrackPoint]:
    ordered: list[TrackPoint] = []
    for point in sorted(points, key=lambda p: p.t_ms):
        if not ordered or point.t_ms > ordered[-1].t_ms:
            ordered.append(point)
    return ordered


def _read_gpx(file: Path) -> Iterator[TrackPoint]:
    with file.open(encoding="utf-8") as stream:
        gpx = gpxpy.parse(stream)
    for found in gpx.walk(only_points=True):
        if found.time is None:
            raise ValueError("a point has no time; record the track with times")
        yield _point(found.time, found.latitude, found.longitude, found.elevation)


def _read_csv(file: Path) -> Iterator[TrackPoint]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream)
        missing = {"time", "lat", "lon"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(
                f"no column {', '.join(sorted(missing))}; the header must name "
                "time,lat,lon and may name speed_kmh,heading_deg,alt"
            )
        for number, row in enumerate(rows, start=2):
            try:
                yield _row(row)
            except (TypeError, ValueError) as error:
                raise ValueError(f"line {number}: {error}") from error


def _row(row: dict[str, str]) -> TrackPoint:
    time = datetime.fromisoformat(row["time"])
    point = _point(time, float(row["lat"]), float(row["lon"]), _number(row, "alt"))
    return replace(
        point, speed_kmh=_number(row, "speed_kmh"), heading_deg=_number(row, "heading_deg")
    )


def _number(row: dict[str, str], name: str) -> float | None:
    text = row.get(name)
    return float(text) if text else None


def _point(time: datetime, lat: float, lon: float, alt_m: float | None) -> TrackPoint:
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError(f"{lat},{lon} is no place on earth; lat comes first, in degrees")
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return TrackPoint(t_ms=round(aware.timestamp() * 1000), lat=lat, lon=lon, alt_m=alt_m)
