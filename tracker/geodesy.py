"""Distances and lines on the WGS 84 ellipsoid, for the pure layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import cos, hypot, radians, sin, sqrt

from pyproj import Geod

Point = tuple[float, float]
"""(lon, lat) in degrees, as in GeoJSON."""

_GEOD = Geod(ellps="WGS84")
_A_M = 6378137.0
_E2 = 0.0066943799901413165

# Below this many degrees the flat formula is good to a centimetre (tested against PROJ);
# most distances that detectors ask for are between neighbouring fixes.
_NEAR_DEG = 0.05


def distance_m(a: Point, b: Point) -> float:
    """Geodesic distance between two points, metres.

    Near points use the ellipsoid's radii of curvature at the mean latitude (within 1 cm of the
    geodesic at these distances, and ten times as quick); others use PROJ's geodesic.
    """
    d_lon, d_lat = b[0] - a[0], b[1] - a[1]
    if abs(d_lon) < _NEAR_DEG and abs(d_lat) < _NEAR_DEG and abs(a[1]) < 80:
        return _flat_m(d_lon, d_lat, (a[1] + b[1]) / 2)
    return float(_GEOD.inv(a[0], a[1], b[0], b[1])[2])


def is_farther(a: Point, b: Point, limit_m: float) -> bool:
    """Whether two points are more than ``limit_m`` apart: as `distance_m` says, but mostly known
    without it. For limits of some kilometres: what a place, a yard or a stop is wide."""
    if abs(b[1] - a[1]) * _LEAST_M_PER_DEG > limit_m:
        return True
    # A tenth is more than the meridians draw together within such limits.
    if abs(a[1]) < 80:
        across_m = abs(b[0] - a[0]) * _LEAST_M_PER_DEG * cos(radians(a[1]))
        if limit_m * 1.1 < across_m < _FAR_M:
            return True
    return distance_m(a, b) > limit_m


_LEAST_M_PER_DEG = 110_000.0
"""Less than a degree of a meridian, or of the equator, has anywhere on the ellipsoid."""

_FAR_M = 1_000_000.0
"""Beyond it a difference in longitude may be the short way round the globe."""


def _flat_m(d_lon: float, d_lat: float, lat: float) -> float:
    s2 = 1 - _E2 * sin(radians(lat)) ** 2
    prime_vertical_m = _A_M / sqrt(s2)
    meridian_m = prime_vertical_m * (1 - _E2) / s2
    return hypot(radians(d_lon) * prime_vertical_m * cos(radians(lat)), radians(d_lat) * meridian_m)


def heading_deg(a: Point, b: Point) -> float:
    """Azimuth from a to b, degrees clockwise from north, -180 to 180."""
    return float(_GEOD.inv(a[0], a[1], b[0], b[1])[0])


def towards(a: Point, azimuth_deg: float, length_m: float) -> Point:
    """The point at a distance from a, in a direction clockwise from north."""
    lon, lat, _ = _GEOD.fwd(a[0], a[1], azimuth_deg, length_m)
    return float(lon), float(lat)


def along(a: Point, b: Point, fraction: float) -> Point:
    """The point at a fraction of the geodesic from a to b."""
    azimuth, _, length_m = _GEOD.inv(a[0], a[1], b[0], b[1])
    lon, lat, _ = _GEOD.fwd(a[0], a[1], azimuth, length_m * fraction)
    return float(lon), float(lat)


def densify(points: Sequence[Point], longest_m: float) -> Iterator[tuple[Point, float]]:
    """Walk the geodesic line through ``points`` in steps of at most ``longest_m``.

    Yields each point with the length from the step before it (0 for the first). So a declared
    line means the geodesic between its points, whatever plane it is later looked at in.
    """
    yield points[0], 0.0
    for a, b in pairwise(points):
        azimuth, _, length_m = _GEOD.inv(a[0], a[1], b[0], b[1])
        steps = max(1, int(-(-length_m // longest_m)))
        for i in range(1, steps):
            lon, lat, _ = _GEOD.fwd(a[0], a[1], azimuth, length_m * i / steps)
            yield (float(lon), float(lat)), length_m / steps
        yield b, length_m / steps
