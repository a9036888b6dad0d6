"""Facts about fixes, from PostGIS, for a whole batch at once: distance, places, zones.

The distance is to the *whole* route: the nearest piece is found by the index, and every piece that
could be nearer on the ellipsoid, or that could be the place meant, is then measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from msgspec import Struct

from tracker.db.arrays import numbers
from tracker.model import FixFacts, ProgressCandidate, ZoneHit
from tracker.routes import merge_candidates
from tracker.track import FixPosition

# facts_of_fixes ---------------------------------------------------------------
# For each fix: the places on its route that may be meant, and the zones around it.
#
# Pieces are looked up in Web Mercator, which is conformal but whose scale grows with latitude by
# 1/cos: over a distance d it changes by up to tan(lat) * d / R. So a piece whose planar distance
# is within that margin of the smallest (doubled, plus 1 % for the ellipsoid) may be the nearest
# on the ellipsoid; farther than 300 km away the margin would be most of the route, and all pieces
# are measured. The foot of the perpendicular is exact to second order on a short piece, and the
# distance to it is geodesic.
#
# `slack_m` widens the search by the fix's own accuracy, since on a route that passes twice the
# noise must not decide which pass is meant.
_FACTS: LiteralString = """
WITH fix AS MATERIALIZED (
    SELECT f.i, f.route_id, f.t_ms, f.slack_m, f.lat,
           ST_SetSRID(ST_MakePoint(f.lon, f.lat), 4326) AS pt,
           ST_Transform(
               ST_SetSRID(ST_MakePoint(f.lon, greatest(-85, least(85, f.lat))), 4326), 3857
           ) AS plane
    FROM unnest(
        %(route_id)s::bigint[], %(lon)s::float8[], %(lat)s::float8[], %(slack_m)s::float8[],
        %(t_ms)s::bigint[]
    ) WITH ORDINALITY AS f (route_id, lon, lat, slack_m, t_ms, i)
)
SELECT fix.i,
       near.places,
       (
           SELECT jsonb_agg(
               jsonb_build_array(z.code, z.kind, z.max_dwell_s) ORDER BY z.code
           )
           FROM zones z
           WHERE ST_Intersects(z.geom, fix.pt)
             AND (z.valid_from IS NULL OR z.valid_from <= to_timestamp(fix.t_ms / 1000.0))
             AND (z.valid_to IS NULL OR z.valid_to > to_timestamp(fix.t_ms / 1000.0))
       ) AS zones
FROM fix
CROSS JOIN LATERAL (
    SELECT p.geom_plane <-> fix.plane AS d
    FROM route_pieces p
    WHERE p.route_id = fix.route_id
    ORDER BY p.geom_plane <-> fix.plane
    LIMIT 1
) AS nearest
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN nearest.d > 300000 THEN 1e9
        ELSE nearest.d * (1.01 + 3 * tan(radians(least(85, abs(fix.lat)))) * nearest.d / 6371000)
             + fix.slack_m / cos(radians(least(85, abs(fix.lat))))
    END AS m
) AS reach
CROSS JOIN LATERAL (
    SELECT array_agg(
        ARRAY[
            p.start_m + p.length_m * ST_LineLocatePoint(p.geom_plane, fix.plane),
            ST_Distance(
                ST_Transform(ST_ClosestPoint(p.geom_plane, fix.plane), 4326)::geography,
                fix.pt::geography
            ),
            p.half_width_m
        ]
    ) AS places
    FROM route_pieces p
    WHERE p.route_id = fix.route_id AND ST_DWithin(p.geom_plane, fix.plane, reach.m)
) AS near
ORDER BY fix.i
"""

SLACK_ACCURACIES = 3.0
SLACK_M = 50.0
"""Places within three accuracies and two carriageways of the nearest may be the one meant."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A fix to be looked at: on which route, where, and when (for zones that come and go)."""

    route_id: int
    t_ms: int
    position: FixPosition


def facts_of_fixes(conn: psycopg.Connection[Any], wanted: Sequence[Wanted]) -> list[FixFacts]:
    """The facts of each fix, in the order given. One statement, whatever the number of routes."""
    if not wanted:
        return []
    params = {
        "route_id": numbers([w.route_id for w in wanted]),
        "lon": numbers([w.position.lon for w in wanted]),
        "lat": numbers([w.position.lat for w in wanted]),
        "slack_m": numbers([_slack_m(w.position) for w in wanted]),
        "t_ms": numbers([w.t_ms for w in wanted]),
    }
    rows = conn.execute(_FACTS, params, binary=True).fetchall()
    return [_facts(wanted[i - 1], places, zones or ()) for i, places, zones in rows]


def _slack_m(position: FixPosition) -> float:
    return SLACK_ACCURACIES * position.acc_m + SLACK_M


def _facts(wanted: Wanted, places: list[list[float]], zones: Sequence[list[Any]]) -> FixFacts:
    position = wanted.position
    distance_m = min(place[1] for place in places)
    near = distance_m + _slack_m(position)
    return FixFacts(
        fix_ms=position.fix_ms,
        lon=position.lon,
        lat=position.lat,
        acc_m=position.acc_m,
        distance_m=distance_m,
        candidates=merge_candidates(ProgressCandidate(*p) for p in places if p[1] <= near),
        zones=tuple(ZoneHit(code=c, kind=k, max_dwell_s=d) for c, k, d in zones),
        speed_kmh=position.speed_kmh,
        heading_deg=position.heading_deg,
    )
