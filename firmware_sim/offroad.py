"""Where a driven path leaves the corridor of the declared road. Pure geometry, for the truth."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np
import shapely
from pyproj import Transformer

from firmware_sim.cast import Lane
from firmware_sim.geo import Path
from firmware_sim.scenario import Scenario

_STEP_M = 50.0
# Kinds of zones in which the contract allows a stop.
_ALLOWED = frozenset({"post", "border", "parking", "rest", "fuel", "terminal"})


def leaves_at_m(path: Path, lane: Lane) -> list[float]:
    """Metres along the path of each place where it leaves the corridor; to within 50 m.

    Distances are planar around the lane's middle: true to 0.1 % over some hundreds of km.
    """
    if tuple(path.corners) == tuple(lane.points):
        return []
    at_m = np.append(np.arange(0.0, path.length_m, _STEP_M), path.length_m)
    spots = [path.at(float(m)) for m in at_m]
    flat = _flattener(lane)
    points = shapely.points(*flat.transform([s.lon for s in spots], [s.lat for s in spots]))
    dense = Path(lane.points)
    lons, lats = zip(*dense.cut(0.0, dense.length_m), strict=True)
    line = shapely.LineString(np.column_stack(flat.transform(lons, lats)))
    off_m = shapely.distance(points, line)
    along_m = shapely.line_locate_point(line, points)
    outside = off_m > np.array([_half_width(lane, float(m)) for m in along_m])
    left = outside[1:] & ~outside[:-1]
    return [float(m) for m in at_m[1:][left]]


def _flattener(lane: Lane) -> Transformer:
    lon = (min(p[0] for p in lane.points) + max(p[0] for p in lane.points)) / 2
    lat = (min(p[1] for p in lane.points) + max(p[1] for p in lane.points)) / 2
    plane = f"+proj=aeqd +lat_0={lat} +lon_0={lon} +ellps=WGS84"
    return Transformer.from_crs("EPSG:4326", plane, always_xy=True)


def _half_width(lane: Lane, along_m: float) -> float:
    legs = sorted(lane.spec.legs, key=lambda leg: leg.from_m)
    at = bisect_right([leg.from_m for leg in legs], along_m) - 1
    if at >= 0 and along_m <= legs[at].to_m:
        return legs[at].corridor_m
    return lane.spec.corridor_m


def stopping_zones(scenario: Scenario) -> Callable[[float, float], bool]:
    """Whether a place (lon, lat) lies in a zone of the scenario where vehicles may stop."""
    outlines = [shapely.Polygon(scenario.ring(z)) for z in scenario.zones if z.kind in _ALLOWED]
    tree = shapely.STRtree(outlines)
    return lambda lon, lat: len(tree.query(shapely.Point(lon, lat), predicate="within")) > 0


def first_after(times_ms: Sequence[int], from_ms: int) -> int | None:
    """The first of some times at or after an instant."""
    at = bisect_right(times_ms, from_ms - 1)
    return times_ms[at] if at < len(times_ms) else None
