"""The recorded bus ride beside the clone: its track and the stops of its line, in driving order."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import gpxpy
import pytest
from shapely import from_wkb

from tracker.geodesy import distance_m

Point = tuple[float, float]
DATA = Path(__file__).parents[2].parent / "shared" / "data"
TRACK = DATA / "bus_304.gpx"
STOPS = DATA / "bus_304_stops.gpkg"
_ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}


def require_ride() -> None:
    """Skip a test where the recorded ride is absent, as it is in a clone alone."""
    if not (TRACK.exists() and STOPS.exists()):
        pytest.skip("the recorded ride (../shared/data) is not here")


def track() -> list[tuple[datetime, Point]]:
    """The recorded fixes in order."""
    with TRACK.open() as file:
        gpx = gpxpy.parse(file)
    return [
        (p.time.astimezone(UTC), (p.longitude, p.latitude))
        for t in gpx.tracks
        for s in t.segments
        for p in s.points
        if p.time is not None
    ]


def stops() -> list[Point]:
    """The line's stops as the bus passed them, from where the ride began to where it ended."""
    fixes = track()
    ends = [fixes[0][1], fixes[-1][1]]
    passed = sorted(_raw_stops(), key=lambda stop: _when_nearest(stop, fixes))
    return [ends[0], *passed, ends[1]]


def _raw_stops() -> list[Point]:
    with sqlite3.connect(f"{STOPS.as_uri()}?mode=ro&immutable=1", uri=True) as db:
        rows = db.execute("SELECT geom FROM stops_304_to_ul").fetchall()
    return [_point(row[0]) for row in rows]


def _point(blob: bytes) -> Point:
    """A GeoPackage geometry: a header with an envelope of known size, then WKB."""
    header = 8 + _ENVELOPE_BYTES[(blob[3] >> 1) & 7]
    point = from_wkb(blob[header:])
    return point.x, point.y


def _when_nearest(stop: Point, fixes: list[tuple[datetime, Point]]) -> datetime:
    return min(fixes, key=lambda fix: distance_m(stop, fix[1]))[0]
