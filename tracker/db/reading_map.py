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

_ZONES: LiteralString = """
SELECT n.code, n.name, n.kind, ST_AsGeoJSON(n.geom, 6)::jsonb AS geometry
FROM deliveries d
JOIN routes r ON r.id = d.route_id
JOIN zones n ON n.geom && ST_Expand(r.geom, %(near)s)
WHERE d.id = %(delivery_id)s AND n.kind <> 'territory'
ORDER BY n.code LIMIT %(limit)s
"""

_POSTS: LiteralString = """
SELECT p.code, p.name, p.kind, ST_AsGeoJSON(p.geom, 6)::jsonb AS geometry
FROM deliveries d
JOIN routes r ON r.id = d.route_id
JOIN posts p ON p.geom && ST_Expand(r.geom, %(near)s)
             OR p.code IN (d.departure_post, d.destination_post)
WHERE d.id = %(delivery_id)s
ORDER BY p.code LIMIT %(limit)s
"""


def zones_near(conn: psycopg.Connection[Any], delivery_id: UUID) -> list[Row]:
    """Zones near the declared route, but for territories, which would cover the map."""
    return _near(conn, _ZONES, delivery_id)


def posts_near(conn: psycopg.Connection[Any], delivery_id: UUID) -> list[Row]:
    """Posts near the declared route, and those at its ends."""
    return _near(conn, _POSTS, delivery_id)


def _near(conn: psycopg.Connection[Any], query: LiteralString, delivery_id: UUID) -> list[Row]:
    params = {"delivery_id": delivery_id, "near": NEAR_DEG, "limit": MAX_SHAPES}
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, params).fetchall()
