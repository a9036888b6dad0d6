"""Gaps: what could have been done while a device was not heard, or not located. Pure.

A gap lies between two fixes. The declared way between them takes some time at legal speed; what is
left is slack, in which a vehicle can leave the road, be unloaded and come back (detection.md, gap
reasoning). Shared by the detectors of silence and of jamming.
"""

from __future__ import annotations

from math import cos, radians
from typing import Any

from msgspec import Struct

from tracker.detectors.limits import Limits
from tracker.geodesy import distance_m, heading_deg, towards

REACH_CORNERS = 24
"""Of the polygon that stands for the region: an ellipse of so many corners is 1 % too small."""

MOST_REACH_M = 2_000_000.0
"""A way longer than this reaches most of the country: a region would say nothing."""

_STEPS = 6
"""Newton's steps from the plane's ellipse to the ellipsoid's: each squares the error."""


class GapFix(Struct, frozen=True, kw_only=True):
    """A valid fix at an end of a gap. ``progress_m``: along the declared route, if on one."""

    t_ms: int
    lon: float
    lat: float
    progress_m: float | None = None


def legal_speed_ms(limits: Limits) -> float:
    """The legal speed, metres a second."""
    return limits.legal_speed_kmh / 3.6


def route_distance_m(a: GapFix | None, b: GapFix | None) -> float:
    """Metres along the declared route between the fixes at the ends of a gap; 0 if not known."""
    if a is None or b is None or a.progress_m is None or b.progress_m is None:
        return 0.0
    return abs(b.progress_m - a.progress_m)


def shortest_s(a: GapFix | None, b: GapFix | None, limits: Limits) -> float:
    """The shortest time for the way between two fixes along the declared route at legal speed."""
    return route_distance_m(a, b) / legal_speed_ms(limits)


def slack_s(gap_s: float, a: GapFix | None, b: GapFix | None, limits: Limits) -> float:
    """Time of a gap that the declared road at legal speed does not account for, seconds.

    The way is known between two fixes, so the time for it is taken from between them: of a way that
    began before the gap (records without a fix) not all was made in it. Without a fix at either end
    nothing is accounted for.
    """
    if a is None or b is None:
        return gap_s
    between_s = (b.t_ms - a.t_ms) / 1000
    return min(gap_s, max(0.0, between_s - shortest_s(a, b, limits)))


def farthest_off_m(slack: float, limits: Limits) -> float:
    """How far off its road a vehicle can go, and come back, in ``slack`` seconds."""
    return slack / 2 * legal_speed_ms(limits)


def reach(a: GapFix | None, b: GapFix | None, limits: Limits) -> dict[str, Any] | None:
    """Where a vehicle can have been between two fixes at legal speed: a GeoJSON polygon.

    All places from which the ways to both fixes together take no longer than the time between them:
    an ellipse with the fixes as its foci. As the crow flies, since roads that are not declared are
    not known: so it holds every place that a road can have led to. None: an end is not known, the
    time does not even suffice for the straight way, or the region would be a country.
    """
    if a is None or b is None:
        return None
    way_m = (b.t_ms - a.t_ms) / 1000 * legal_speed_ms(limits)
    here, there = (a.lon, a.lat), (b.lon, b.lat)
    apart_m = distance_m(here, there)
    if not apart_m < way_m <= MOST_REACH_M:
        return None
    ahead_deg = heading_deg(here, there) if apart_m > 0 else 0.0
    ring = []
    for corner in range(REACH_CORNERS):
        off_deg = 360.0 * corner / REACH_CORNERS
        lon, lat = _corner(here, there, ahead_deg, off_deg, way_m, apart_m)
        ring.append([round(lon, 4), round(lat, 4)])
    ring.reverse()  # GeoJSON goes round against the clock
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def _corner(
    here: tuple[float, float],
    there: tuple[float, float],
    ahead_deg: float,
    off_deg: float,
    way_m: float,
    apart_m: float,
) -> tuple[float, float]:
    """The farthest place in one direction from ``here`` with ``way_m`` left to get ``there``.

    The plane's ellipse in polar form about its focus is the first guess; Newton's method then finds
    the place on the ellipsoid.
    """
    turn = cos(radians(off_deg))
    out_m = (way_m**2 - apart_m**2) / 2 / (way_m - apart_m * turn)
    place = towards(here, ahead_deg + off_deg, out_m)
    for _ in range(_STEPS):
        back_m = distance_m(place, there)
        over_m = out_m + back_m - way_m
        if abs(over_m) < 1.0 or back_m == 0:
            break
        slope = 1 + (out_m - apart_m * turn) / back_m
        out_m = max(0.0, out_m - over_m / max(0.1, slope))
        place = towards(here, ahead_deg + off_deg, out_m)
    return place


def gap_evidence(
    gap_s: float, a: GapFix | None, b: GapFix | None, limits: Limits
) -> dict[str, Any]:
    """What is known of a gap that is over: distance, shortest time, slack, and how far it led."""
    slack = slack_s(gap_s, a, b, limits)
    evidence: dict[str, Any] = {
        "route_distance_m": round(route_distance_m(a, b), 1),
        "shortest_min": round(shortest_s(a, b, limits) / 60, 1),
        "slack_min": round(slack / 60, 1),
        "farthest_off_m": round(farthest_off_m(slack, limits)),
    }
    region = reach(a, b, limits)
    if region is not None:
        evidence["reach"] = region
    return evidence
