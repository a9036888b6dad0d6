"""Reading the risk of a delivery, its rank, and everything that happened to it in order."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Row, Scope, rfc3339
from tracker.errors import NotFound

#: Deliveries on which something can still be lost: from the release until control is over.
ACTIVE = ["released", "in_transit", "overdue", "enquiry", "arrived", "under_control"]

_DELIVERY: LiteralString = """
SELECT d.id, d.registration_number, d.direction, d.carrier_id, d.status, d.goods, d.vehicle,
       d.deadline, d.declared_at, d.released_at, d.arrived_at, d.route_id,
       d.departure_post, d.destination_post, c.facts AS carrier_facts, e.facts AS declarant_facts,
       c.name AS carrier, e.name AS declarant
FROM deliveries d
JOIN participants c ON c.id = d.carrier_id
JOIN participants e ON e.id = d.declarant_id
WHERE d.id = %(delivery_id)s
"""


def require_delivery(conn: psycopg.Connection[Any], scope: Scope, delivery_id: UUID) -> Row:
    """The delivery, if the caller may know of it.

    Raises:
        NotFound: there is none, or none that the caller may know of.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_DELIVERY, {"delivery_id": delivery_id}).fetchone()
    if row is None or not scope.sees(row["carrier_id"]):
        raise NotFound(f"no delivery {delivery_id}")
    return row


def newest_assessment(conn: psycopg.Connection[Any], delivery_id: UUID) -> Row | None:
    """The newest assessment of a delivery; None if it has not been assessed yet."""
    query = """
        SELECT at, probability, consequence_kzt, expected_loss_kzt, level, corridor, reasons,
               weights_version
        FROM risk_assessments WHERE delivery_id = %s ORDER BY id DESC LIMIT 1"""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, (delivery_id,)).fetchone()


# delivery_rank: 1 for the highest expected loss among the active deliveries. Ties in favour of the
# likelier, then of the smaller id, so that no two share a rank.
_RANK: LiteralString = """
WITH own AS (
    SELECT d.id, coalesce(s.expected_loss_kzt, -1) AS loss, coalesce(s.probability, 0) AS p
    FROM deliveries d LEFT JOIN delivery_state s ON s.delivery_id = d.id
    WHERE d.id = %(delivery_id)s AND d.status = ANY(%(active)s)
)
SELECT 1 + (
    SELECT count(*) FROM deliveries d LEFT JOIN delivery_state s ON s.delivery_id = d.id
    WHERE d.status = ANY(%(active)s) AND d.id <> own.id
      AND (-coalesce(s.expected_loss_kzt, -1), -coalesce(s.probability, 0), d.id)
          < (-own.loss, -own.p, own.id)
) FROM own
"""


def delivery_rank(conn: psycopg.Connection[Any], delivery_id: UUID) -> int | None:
    """The rank of an active delivery by expected loss; None for one that is not active."""
    params = {"delivery_id": delivery_id, "active": ACTIVE}
    row = conn.execute(_RANK, params).fetchone()
    return int(row[0]) if row else None


# timeline: acts of people when they happened, anomalies when they began, lines of the alerts'
# histories when they were written.
_TIMELINE: LiteralString = """
SELECT at, 'act' AS kind, kind AS what, NULL AS text, recorded_by AS who, id::text AS ref,
       recorded_at AS recorded_at, NULL AS code, NULL AS severity, NULL::timestamptz AS until
FROM delivery_acts WHERE delivery_id = %(delivery_id)s
UNION ALL
SELECT declared_at, 'act', 'declared', NULL, NULL, id::text, declared_at, NULL, NULL, NULL
FROM deliveries WHERE id = %(delivery_id)s
UNION ALL
SELECT start_at, 'anomaly', status, NULL, device_id, id::text, found_at, code, severity, end_at
FROM anomalies WHERE delivery_id = %(delivery_id)s
UNION ALL
SELECT h.at, 'alert', h.what, h.text, h.who, a.id::text, h.at, a.code, a.severity, NULL
FROM alerts a JOIN alert_history h ON h.alert_id = a.id
WHERE a.delivery_id = %(delivery_id)s AND (NOT %(plain)s OR h.what <> 'commented')
ORDER BY at, recorded_at, ref
LIMIT %(limit)s
"""


def timeline(
    conn: psycopg.Connection[Any], scope: Scope, delivery_id: UUID, limit: int
) -> list[Row]:
    """Everything that happened to a delivery, in order of when it happened."""
    params = {
        "delivery_id": delivery_id,
        "plain": scope.carrier is not None,
        "limit": limit,
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_TIMELINE, params).fetchall()
    return [{name: _json(value) for name, value in row.items()} for row in rows]


def _json(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value
