"""The newest positions of bound devices, for the live map and the stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Row, Scope, rfc3339

#: West, south, east, north in degrees. West above east: the box crosses the 180th meridian.
Box = tuple[float, float, float, float]

FINISHED = ["completed", "discrepancy", "non_delivery", "cancelled"]

POSITIONS: LiteralString = """
SELECT p.device_no, p.delivery_id, d.registration_number, d.carrier_id, v.id AS device_id, v.kind,
       p.t, ST_X(p.geom) AS lon, ST_Y(p.geom) AS lat, p.speed_kmh, p.heading_deg, p.moving,
       p.progress_m, p.distance_m, s.level, p.updated_at, coalesce(o.open_alerts, 0) AS open_alerts
FROM device_positions p
JOIN devices v USING (device_no)
JOIN deliveries d ON d.id = p.delivery_id
LEFT JOIN delivery_state s ON s.delivery_id = p.delivery_id
LEFT JOIN LATERAL (
    SELECT count(*) AS open_alerts FROM alerts a
    WHERE a.delivery_id = p.delivery_id AND a.status IN ('open', 'acknowledged')
) o ON true
"""

_IN_SCOPE: LiteralString = (
    POSITIONS
    + """
WHERE d.status <> ALL(%(finished)s)
  AND (%(scope_carrier)s::uuid IS NULL OR d.carrier_id = %(scope_carrier)s)
  AND (%(west)s::float8 IS NULL
       OR p.geom && ST_MakeEnvelope(%(west)s, %(south)s, %(east1)s, %(north)s, 4326)
       OR p.geom && ST_MakeEnvelope(%(west2)s, %(south)s, %(east)s, %(north)s, 4326))
ORDER BY p.delivery_id, v.kind DESC, v.id
LIMIT %(limit)s
"""
)

CHANGED: LiteralString = POSITIONS + "WHERE p.updated_at > %(since)s ORDER BY p.updated_at"
"""Positions stored since a moment. ``updated_at`` is set before the commit: look back a little."""


def list_positions(
    conn: psycopg.Connection[Any], scope: Scope, box: Box | None, limit: int
) -> list[Row]:
    """Newest positions of the devices of unfinished deliveries, as the API shows them."""
    params = scope.params() | {"finished": FINISHED, "limit": limit} | _box_params(box)
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_IN_SCOPE, params).fetchall()
    return [position_json(row, scope) for row in rows]


def _box_params(box: Box | None) -> Row:
    """One box as the two that a crossing of the 180th meridian makes of it."""
    west, south, east, north = box or (None, None, None, None)
    crosses = west is not None and east is not None and west > east
    return {
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "east1": 180 if crosses else east,
        "west2": -180 if crosses else west,
    }


def inside(box: Box, lon: float, lat: float) -> bool:
    """Whether a point lies in the box."""
    west, south, east, north = box
    across = west <= lon <= east if west <= east else lon >= west or lon <= east
    return across and south <= lat <= north


def position_json(row: Row, scope: Scope) -> Row:
    """A position as the API and the stream show it. A carrier is not told the level."""
    return {
        "delivery_id": str(row["delivery_id"]),
        "registration_number": row["registration_number"],
        "device_id": row["device_id"],
        "kind": row["kind"],
        "t": rfc3339(row["t"]),
        "lon": row["lon"],
        "lat": row["lat"],
        "speed_kmh": row["speed_kmh"],
        "heading_deg": row["heading_deg"],
        "moving": row["moving"],
        "progress_m": row["progress_m"],
        "distance_m": row["distance_m"],
        "level": row["level"] if scope.carrier is None else None,
        "open_alerts": row["open_alerts"],
    }


def newest_update(conn: psycopg.Connection[Any]) -> datetime | None:
    """When the newest position was stored."""
    row = conn.execute("SELECT max(updated_at) FROM device_positions").fetchone()
    return row[0] if row else None
