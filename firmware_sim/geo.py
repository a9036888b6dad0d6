"""A path on the WGS 84 ellipsoid, measured in metres from its start."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from pyproj import Geod

LonLat = tuple[float, float]

_GEOD = Geod(ellps="WGS84")
# Within a piece this short a straight line in degrees lies within centimetres of the geodesic.
_PIECE_M = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place on a path: degrees, and the true course there (0–360)."""

    lat: float
    lon: float
    heading_deg: float


class Path:
    """A line of geodesics through the given points, pieces of at most a kilometre."""

    def __init__(self, points: Sequence[LonLat]) -> None:
        """Raises ValueError unless there are two different points."""
        self.corners = tuple(_without_repeats(points))
        if len(self.corners) < 2:
            raise ValueError("a route needs at least two different points")
        self._points = list(_densified(self.corners))
        lons, lats = zip(*self._points, strict=True)
        headings, _, lengths = _GEOD.inv(lons[:-1], lats[:-1], lons[1:], lats[1:])
        self._headings = [float(heading) % 360.0 for heading in headings]
        self._starts = [0.0]
        for length_m in lengths:
            self._starts.append(self._starts[-1] + float(length_m))
        self.length_m = self._starts[-1]

    def at(self, distance_m: float) -> Spot:
        """The place `distance_m` from the start; before and after it, the ends."""
        distance_m = min(max(distance_m, 0.0), self.length_m)
        i = min(bisect_right(self._starts, distance_m) - 1, len(self._headings) - 1)
        piece_m = self._starts[i + 1] - self._starts[i]
        part = (distance_m - self._starts[i]) / piece_m
        (lon0, lat0), (lon1, lat1) = self._points[i], self._points[i + 1]
        return Spot(
            lat=lat0 + (lat1 - lat0) * part,
            lon=lon0 + (lon1 - lon0) * part,
            heading_deg=self._headings[i],
        )

    def turns(self) -> Iterator[tuple[float, float]]:
        """(metres from the start, degrees turned) at each bend of a degree or more."""
        for i, (before, after) in enumerate(pairwise(self._headings), start=1):
            turned = abs((after - before + 180.0) % 360.0 - 180.0)
            if turned >= 1.0:
                yield self._starts[i], turned

    def nearest_m(self, point: LonLat) -> tuple[float, float]:
        """(metres along the path of the place nearest to the point, distance to it in metres)."""
        lon, lat = point
        best = min(range(len(self._headings)), key=lambda i: self._rough(i, lon, lat)[0])
        part = self._rough(best, lon, lat)[1]
        along_m = self._starts[best] + part * (self._starts[best + 1] - self._starts[best])
        spot = self.at(along_m)
        return along_m, distance_m((spot.lon, spot.lat), point)

    def cut(self, from_m: float, to_m: float) -> list[LonLat]:
        """The points of a part of the path, its two ends included."""
        first, last = self.at(from_m), self.at(to_m)
        inner = [
            point
            for point, at_m in zip(self._points, self._starts, strict=True)
            if from_m < at_m < to_m
        ]
        return [(first.lon, first.lat), *inner, (last.lon, last.lat)]

    def _rough(self, i: int, lon: float, lat: float) -> tuple[float, float]:
        """(squared planar distance of a point from piece i, where on the piece: 0–1)."""
        squeeze = math.cos(math.radians(lat))
        (lon0, lat0), (lon1, lat1) = self._points[i], self._points[i + 1]
        px, py = (lon - lon0) * squeeze, lat - lat0
        dx, dy = (lon1 - lon0) * squeeze, lat1 - lat0
        part = min(1.0, max(0.0, (px * dx + py * dy) / (dx * dx + dy * dy)))
        return (px - part * dx) ** 2 + (py - part * dy) ** 2, part


@lru_cache(maxsize=256)
def shared_path(points: tuple[LonLat, ...]) -> Path:
    """The path through these points; vehicles of one road share it, for it never changes."""
    return Path(points)


def distance_m(a: LonLat, b: LonLat) -> float:
    """Geodesic distance of two points, m."""
    return float(_GEOD.inv(a[0], a[1], b[0], b[1])[2])


def away(point: LonLat, heading_deg: float, by_m: float) -> LonLat:
    """The point `by_m` metres from another in a direction."""
    lon, lat, _ = _GEOD.fwd(point[0], point[1], heading_deg, by_m)
    return float(lon), float(lat)


def _without_repeats(points: Sequence[LonLat]) -> Iterator[LonLat]:
    last: LonLat | None = None
    for lon, lat in points:
        if last is None or distance_m(last, (lon, lat)) > 0.01:
            last = (float(lon), float(lat))
            yield last


def _densified(points: Sequence[LonLat]) -> Iterator[LonLat]:
    yield points[0]
    for a, b in pairwise(points):
        pieces = math.ceil(distance_m(a, b) / _PIECE_M)
        if pieces > 1:
            yield from _GEOD.npts(a[0], a[1], b[0], b[1], pieces - 1)
        yield b
