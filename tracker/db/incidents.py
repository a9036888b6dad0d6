"""What telemetry knows around the time of an incident, and the alerts that it may explain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tracker.db.findings import StoredAnomaly, standing_anomalies
from tracker.incidents import IncidentFacts
from tracker.model import Severity

NEAR_IN_TIME = timedelta(minutes=30)
"""A parked seal reports twice an hour: there is a fix of every bound device within that."""

AROUND = timedelta(minutes=10)

# incident_position: the fix of the delivery's devices that is nearest in time, how far it lies from
# the place that was named and from the declared route (the one in force then), and the corridor's
# half-width there.
_POSITION: LiteralString = """
WITH seen AS (
    SELECT t.t_star, t.geom
    FROM bindings b
    JOIN telemetry t ON t.device_no = b.device_no
        AND t.t_star BETWEEN %(since)s AND %(until)s
        AND t.t_star >= b.bound_from AND t.t_star <= coalesce(b.bound_to, 'infinity')
    WHERE b.delivery_id = %(id)s AND b.bound_from IS NOT NULL AND t.geom IS NOT NULL
    ORDER BY abs(extract(epoch FROM t.t_star - %(at)s)), t.t_star
    LIMIT 1
), declared AS (
    SELECT coalesce(
        (SELECT r.route_id FROM delivery_routes r
         WHERE r.delivery_id = %(id)s AND r.from_t <= %(at)s ORDER BY r.from_t DESC LIMIT 1),
        (SELECT d.route_id FROM deliveries d WHERE d.id = %(id)s)
    ) AS route_id
)
SELECT s.t_star, ST_X(s.geom), ST_Y(s.geom),
       CASE WHEN %(lon)s::float8 IS NULL THEN NULL
            ELSE ST_Distance(s.geom::geography,
                 ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326)::geography) END,
       ST_Distance(s.geom::geography, ST_Transform(near.geom_plane, 4326)::geography),
       near.half_width_m
FROM seen s
CROSS JOIN declared
CROSS JOIN LATERAL (
    SELECT p.geom_plane, p.half_width_m FROM route_pieces p
    WHERE p.route_id = declared.route_id
    ORDER BY p.geom_plane <-> ST_Transform(s.geom, 3857) LIMIT 1
) AS near
"""

# incident_moved: how far apart the fixes within ten minutes around it lie, of one device.
_MOVED: LiteralString = """
SELECT max(apart) FROM (
    SELECT ST_Length(ST_BoundingDiagonal(ST_Extent(t.geom)::geometry)::geography) AS apart
    FROM bindings b
    JOIN telemetry t ON t.device_no = b.device_no
        AND t.t_star BETWEEN %(since)s AND %(until)s
        AND t.t_star >= b.bound_from AND t.t_star <= coalesce(b.bound_to, 'infinity')
    WHERE b.delivery_id = %(id)s AND b.bound_from IS NOT NULL AND t.geom IS NOT NULL
    GROUP BY t.device_no HAVING count(*) > 1
) AS devices
"""

_STANDING: LiteralString = """
SELECT coalesce(array_agg(DISTINCT a.code), '{}')
FROM anomalies a
WHERE a.delivery_id = %(id)s AND a.status <> 'retracted'
  AND a.start_at <= %(until)s AND coalesce(a.end_at, 'infinity') >= %(since)s
"""

_SEALS: LiteralString = """
SELECT EXISTS (
    SELECT FROM bindings b JOIN devices v USING (device_no)
    WHERE b.delivery_id = %(id)s AND v.kind = 'seal' AND b.bound_from <= %(at)s
      AND coalesce(b.bound_to, 'infinity') > %(at)s
)
"""


def incident_facts(
    conn: psycopg.Connection[Any], delivery_id: UUID, at: datetime, place: Sequence[float] | None
) -> IncidentFacts:
    """What is stored of the time around ``at``; ``place``: (lon, lat) that was named."""
    base = {"id": delivery_id, "at": at}
    wide = base | {"since": at - NEAR_IN_TIME, "until": at + NEAR_IN_TIME}
    named = {"lon": place[0] if place else None, "lat": place[1] if place else None}
    seen = conn.execute(_POSITION, wide | named).fetchone()
    near = base | {"since": at - AROUND, "until": at + AROUND}
    moved = conn.execute(_MOVED, near).fetchone()
    standing = conn.execute(_STANDING, wide).fetchone()
    seals = conn.execute(_SEALS, base).fetchone()
    return IncidentFacts(
        position=(seen[1], seen[2]) if seen else None,
        position_at=seen[0] if seen else None,
        from_place_m=seen[3] if seen else None,
        outside_m=max(0.0, seen[4] - seen[5]) if seen else None,
        moved_m=moved[0] if moved else None,
        standing=frozenset(standing[0]) if standing else frozenset(),
        has_seal=bool(seals and seals[0]),
    )


class OpenAlert:
    """An unresolved alert with its anomalies that stand."""

    __slots__ = ("anomalies", "code", "id", "severity")

    def __init__(
        self, id_: UUID, code: str, severity: Severity, anomalies: list[StoredAnomaly]
    ) -> None:
        self.id = id_
        self.code = code
        self.severity = severity
        self.anomalies = anomalies


def open_alerts(conn: psycopg.Connection[Any], delivery_id: UUID) -> list[OpenAlert]:
    """The unresolved alerts of a delivery, locked, by when they were raised."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT id, code, severity FROM alerts WHERE delivery_id = %s"
            " AND status IN ('open', 'acknowledged') ORDER BY raised_at, id FOR UPDATE",
            (delivery_id,),
        ).fetchall()
    if not rows:
        return []
    standing = standing_anomalies(conn, [delivery_id])[delivery_id]
    return [
        OpenAlert(
            row["id"],
            row["code"],
            Severity(row["severity"]),
            [a for a in standing if a.alert_id == row["id"]],
        )
        for row in rows
    ]
