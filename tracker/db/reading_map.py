"""What a map of one delivery shows around its route: the zones and posts near it."""

from __future__ import annotations

from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Row

#: Degrees around the route's bounds: a detour of some tens of kilometres stays on the map.
NEAR_DEG: Final = 0.3
MAX_SHAPES: Final = 500

# The routes that were declared for it, and the versions of zones in force while it was on its way.
_DECLARED: LiteralString = """
WITH declared AS (
    SELECT r.geom FROM routes r
    WHERE r.id IN (
        SELECT d.route_id FROM deliveries d WHERE d.id = %(delivery_id)s
        UNION ALL
        SELECT w.route_id FROM delivery_routes w WHERE w.delivery_id = %(delivery_id)s
    )
)
"""

_ZONES: LiteralString = (
    _DECLARED
    + """
SELECT n.code, n.name, n.kind, ST_AsGeoJSON(n.geom, 6)::jsonb AS geometry
FROM deliveries d
JOIN zones n ON EXISTS (SELECT FROM declared r WHERE n.geom && ST_Expand(r.geom, %(near)s))
WHERE d.id = %(delivery_id)s AND n.kind <> 'territory'
  AND coalesce(n.valid_from, '-infinity') <= coalesce(d.arrived_at, now())
  AND coalesce(n.valid_to, 'infinity') > coalesce(d.released_at, now())
ORDER BY n.code, n.version LIMIT %(limit)s
"""
)

_POSTS: LiteralString = (
    _DECLARED
    + """
SELECT p.code, p.name, p.kind, ST_AsGeoJSON(p.geom, 6)::jsonb AS geometry
FROM deliveries d
JOIN posts p ON EXISTS (SELECT FROM declared r WHERE p.geom && ST_Expand(r.geom, %(near)s))
             OR p.code IN (d.departure_post, d.destination_post)
WHERE d.id = %(delivery_id)s
ORDER BY p.code LIMIT %(limit)s
"""
)


def zones_near(conn: psycopg.Connection[Any], delivery_id: UUID) -> list[Row]:
    """Zones near the declared routes, as they were on the way. Territories would cover the map."""
    return _near(conn, _ZONES, delivery_id)


def posts_near(conn: psycopg.Connection[Any], delivery_id: UUID) -> list[Row]:
    """Posts near the declared routes, and those at its ends."""
    return _near(conn, _POSTS, delivery_id)


def _near(conn: psycopg.Connection[Any], query: LiteralString, delivery_id: UUID) -> list[Row]:
    params = {"delivery_id": delivery_id, "near": NEAR_DEG, "limit": MAX_SHAPES}
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params).fetchall()
