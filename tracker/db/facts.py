"""Facts about fixes, from PostGIS, for a whole batch at once: distance, places, zones.

The distance is to the *whole* route: the nearest piece is found by the index, and every piece that
could be nearer on the ellipsoid, or that could be the place meant, is then measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

import psycopg
from msgspec import Struct

from tracker.db.arrays import numbers
from tracker.model import FixFacts, ProgressCandidate, ZoneHit
from tracker.routes import DRAWN_M, merge_candidates, slack_m
from tracker.track import FixPosition

# The fixes of a batch, each with its point, its point in the plane of the pieces, and the planar
# metres to one metre on the ground there.
_FIXES: LiteralString = """
WITH fix AS MATERIALIZED (
    SELECT f.i, f.route_id, f.t_ms, f.slack_m, f.lat,
           1 / cos(radians(least(85, abs(f.lat)))) AS scale,
           ST_SetSRID(ST_MakePoint(f.lon, f.lat), 4326) AS pt,
           CASE
               -- The first fix, and the way across the antimeridian, which in this plane would be
               -- the way round the globe.
               WHEN f.from_lon IS NULL OR abs(f.from_lon - f.lon) > 180
                   THEN ST_SetSRID(ST_MakePoint(f.lon, f.lat), 4326)
               WHEN abs(f.from_lon - f.lon) + abs(f.from_lat - f.lat) < 0.2 THEN ST_SetSRID(
                   ST_MakeLine(ST_MakePoint(f.from_lon, f.from_lat), ST_MakePoint(f.lon, f.lat)),
                   4326
               )
               -- A long way is the geodesic, kilometres off the straight line of this plane.
               ELSE ST_Segmentize(ST_SetSRID(
                   ST_MakeLine(ST_MakePoint(f.from_lon, f.from_lat), ST_MakePoint(f.lon, f.lat)),
                   4326
               )::geography, 10000)::geometry
           END AS way,
           ST_Transform(
               ST_SetSRID(ST_MakePoint(f.lon, greatest(-85, least(85, f.lat))), 4326), 3857
           ) AS plane
    FROM unnest(
        %(route_id)s::bigint[], %(lon)s::float8[], %(lat)s::float8[], %(slack_m)s::float8[],
        %(t_ms)s::bigint[], %(from_lon)s::float8[], %(from_lat)s::float8[]
    ) WITH ORDINALITY AS f (route_id, lon, lat, slack_m, t_ms, from_lon, from_lat, i)
)
"""

# Pieces are looked up in Web Mercator, which is conformal but whose scale grows with latitude by
# 1/cos: over a distance d it changes by up to tan(lat) * d / R. So a piece whose planar distance
# is within that margin of the smallest (doubled, plus 1 % for the ellipsoid) may be the nearest
# on the ellipsoid; farther than 300 km away the margin would be most of the route, and beyond 85
# degrees there is no plane: there all pieces are measured. `slack_m` widens the search by the fix's
# own accuracy, since on a route that passes twice the noise must not decide which pass is meant.
_REACH: LiteralString = """
    CASE WHEN {d} > 300000 OR abs(fix.lat) > 85 THEN 1e9
    ELSE {d} * (1.01 + 3 * tan(radians(abs(fix.lat))) * {d} / 6371000)
         + fix.slack_m * fix.scale END
"""

# How far along the route: the foot of the perpendicular in the plane.
_ALONG: LiteralString = """
        p.start_m + p.length_m * ST_LineLocatePoint(p.geom_plane, fix.plane)
"""

# Near a piece the planar foot is the true one to second order, and the distance to it is geodesic.
_PLACE: LiteralString = (
    "ARRAY["
    + _ALONG
    + """,
        ST_Distance(
            ST_Transform(ST_ClosestPoint(p.geom_plane, fix.plane), 4326)::geography,
            fix.pt::geography
        ),
        p.half_width_m
    ]
"""
)

# Far from it the foot lies d * d * tan(lat) / 2R beside the true one, and the distance to it is too
# long by up to 0.3 % at 1,000 km in the north: there the piece is measured whole, as the geodesics
# between its points, which are a kilometre apart. That is dear; since the planar foot lies on the
# piece too, the distance to it is too long by the piece's length at most, and only those pieces are
# measured that may be the nearest, or the place meant.
_FAR_PLACES: LiteralString = (
    """
    SELECT array_agg(ARRAY[
        p.along_m,
        ST_Distance(ST_Transform(p.geom_plane, 4326)::geography, fix.pt::geography),
        p.half_width_m
    ]) AS places
    FROM (
        SELECT at_foot.*, min(at_foot.foot_m) OVER () AS least_m
        FROM (
            SELECT p.geom_plane, p.length_m, p.half_width_m,"""
    + _ALONG
    + """ AS along_m,
                ST_Distance(
                    ST_Transform(ST_ClosestPoint(p.geom_plane, fix.plane), 4326)::geography,
                    fix.pt::geography
                ) AS foot_m
            FROM route_pieces p
            WHERE p.route_id = fix.route_id AND ST_DWithin(p.geom_plane, fix.plane, """
    + _REACH.replace("{d}", "nearest.d")
    + """)
        ) at_foot
    ) p
    WHERE p.foot_m <= p.least_m + p.length_m + fix.slack_m
"""
)

# Zones that the fix lies in or that the way to it touches, each with whether the fix lies in it;
# and of territories, which are vast and contain nearly every fix, only whether there are any and
# whether one of them contains it.
_ZONES: LiteralString = """
    zoned.zones, coalesce(zoned.home, false) AS home,
    EXISTS (
        SELECT FROM zones z
        WHERE z.kind = 'territory'
          AND (z.valid_from IS NULL OR z.valid_from <= to_timestamp(fix.t_ms / 1000.0))
          AND (z.valid_to IS NULL OR z.valid_to > to_timestamp(fix.t_ms / 1000.0))
    ) AS bounded
"""

_ZONED: LiteralString = """
LEFT JOIN LATERAL (
    SELECT bool_or(z.kind = 'territory' AND hit.inside) AS home,
           jsonb_agg(jsonb_build_array(z.code, z.kind, z.max_dwell_s, hit.inside) ORDER BY z.code)
               FILTER (WHERE z.kind <> 'territory') AS zones
    FROM (
        SELECT p.zone_id, bool_or(ST_Intersects(p.geom, fix.pt)) AS inside
        FROM zone_pieces p WHERE ST_Intersects(p.geom, fix.way) GROUP BY p.zone_id
    ) hit
    JOIN zones z ON z.id = hit.zone_id
    WHERE (z.valid_from IS NULL OR z.valid_from <= to_timestamp(fix.t_ms / 1000.0))
      AND (z.valid_to IS NULL OR z.valid_to > to_timestamp(fix.t_ms / 1000.0))
) AS zoned ON true
"""

# facts_near: for fixes that are on the road or beside it, as nearly all are. One look at the pieces
# within a radius answers for the whole route if the reach that the nearest of them asks for lies
# within that radius; `whole` says whether it does.
_NEAR: LiteralString = (
    _FIXES
    + "SELECT fix.i, near.places, "
    + _ZONES
    + """, coalesce(near.reach <= %(radius_m)s * fix.scale, false) AS whole
FROM fix
CROSS JOIN LATERAL (
    SELECT array_agg(piece.place) AS places,
"""
    + _REACH.replace("{d}", "min(piece.d)")
    + """ AS reach
    FROM (
        SELECT ST_Distance(p.geom_plane, fix.plane) AS d, """
    + _PLACE
    + """ AS place
        FROM route_pieces p
        WHERE p.route_id = fix.route_id
          AND ST_DWithin(p.geom_plane, fix.plane, %(radius_m)s * fix.scale)
    ) piece
) AS near
"""
    + _ZONED
    + "ORDER BY fix.i"
)

# facts_anywhere: for the others. The nearest piece by the index tells how far to look.
_ANYWHERE: LiteralString = (
    _FIXES
    + "SELECT fix.i, near.places, "
    + _ZONES
    + """, true AS whole
FROM fix
CROSS JOIN LATERAL (
    SELECT p.geom_plane <-> fix.plane AS d
    FROM route_pieces p
    WHERE p.route_id = fix.route_id
    ORDER BY p.geom_plane <-> fix.plane
    LIMIT 1
) AS nearest
CROSS JOIN LATERAL ("""
    + _FAR_PLACES
    + """) AS near
"""
    + _ZONED
    + "ORDER BY fix.i"
)

NEAR_M = 1_000.0
"""Radius of the first look: the usual half-width of a corridor. Wider finds more pieces to measure,
narrower sends more fixes to the second look."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A fix to be looked at: on which route, where, and when (for zones that come and go).

    ``route``: which of the delivery's routes that is. ``came_from``: (lon, lat) of the valid fix
    before it; None: it is the first.
    """

    route_id: int
    t_ms: int
    position: FixPosition
    route: int = 0
    came_from: tuple[float, float] | None = None


def facts_of_fixes(conn: psycopg.Connection[Any], wanted: Sequence[Wanted]) -> list[FixFacts]:
    """The facts of each fix, in the order given; a statement or two, whatever the number."""
    if not wanted:
        return []
    found = dict(enumerate(_ask(conn, _NEAR, wanted)))
    far = [i for i, answer in found.items() if not answer.whole]
    if far:
        found |= dict(zip(far, _ask(conn, _ANYWHERE, [wanted[i] for i in far]), strict=True))
    return [_facts(w, found[i]) for i, w in enumerate(wanted)]


class Answer(NamedTuple):
    """What the database says of a fix: places are [progress_m, distance_m, half_width_m]."""

    places: list[list[float]]
    zones: list[list[Any]] | None
    home: bool
    bounded: bool
    whole: bool


def _ask(
    conn: psycopg.Connection[Any], query: LiteralString, wanted: Sequence[Wanted]
) -> list[Answer]:
    params = {
        "radius_m": NEAR_M,
        "route_id": numbers([w.route_id for w in wanted]),
        "lon": numbers([w.position.lon for w in wanted]),
        "lat": numbers([w.position.lat for w in wanted]),
        "slack_m": numbers([_slack_m(w.position) for w in wanted]),
        "t_ms": numbers([w.t_ms for w in wanted]),
        "from_lon": numbers([None if w.came_from is None else w.came_from[0] for w in wanted]),
        "from_lat": numbers([None if w.came_from is None else w.came_from[1] for w in wanted]),
    }
    return [Answer(*row[1:]) for row in conn.execute(query, params, binary=True)]


def _slack_m(position: FixPosition) -> float:
    """How much farther off than the nearest a place may be the one meant."""
    return slack_m(position.acc_m) + DRAWN_M


def _facts(wanted: Wanted, answer: Answer) -> FixFacts:
    position = wanted.position
    distance_m = min(place[1] for place in answer.places)
    near = distance_m + _slack_m(position)
    return FixFacts(
        fix_ms=position.fix_ms,
        lon=position.lon,
        lat=position.lat,
        acc_m=position.acc_m,
        distance_m=distance_m,
        candidates=merge_candidates(ProgressCandidate(*p) for p in answer.places if p[1] <= near),
        zones=_zone_hits(answer.zones, inside=True) if answer.zones else (),
        crossed=_zone_hits(answer.zones, inside=False) if answer.zones else (),
        home=answer.home,
        abroad=answer.bounded and not answer.home,
        route=wanted.route,
        speed_kmh=position.speed_kmh,
        heading_deg=position.heading_deg,
    )


def _zone_hits(zones: Sequence[list[Any]], *, inside: bool) -> tuple[ZoneHit, ...]:
    return tuple(
        ZoneHit(code=code, kind=kind, max_dwell_s=dwell)
        for code, kind, dwell, contains in zones
        if contains is inside
    )
