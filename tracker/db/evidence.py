"""What goes into an evidence pack, as it lies in the database: records, messages, decisions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.rows import dict_row

from tracker.db.reading import Row

Connection = psycopg.Connection[Any]

ROWS = 500
"""Rows read at once: some hundred kilobytes."""


class StoredEvidence(Struct, frozen=True):
    """A record as it is stored, with the signed message it came in, if it was signed."""

    device: str
    device_no: int
    gen: int
    seq: int
    received_at: datetime
    t_star: datetime | None
    flags: int
    body: bytes
    topic: str | None
    payload: bytes | None


# evidence_records: every record of a delivery's devices that belongs to their binding by its time
# t*, or, where it has none, by when it was received; in the order in which devices made them.
_RECORDS: LiteralString = """
SELECT v.id, t.device_no, t.gen, t.seq, t.received_at, t.t_star, t.flags, t.body,
       coalesce(t.topic, m.topic), coalesce(t.body || t.trailer, m.payload)
FROM bindings b
JOIN devices v USING (device_no)
JOIN telemetry t ON t.device_no = b.device_no
    AND coalesce(t.t_star, t.received_at) >= b.bound_from
    AND coalesce(t.t_star, t.received_at) <= coalesce(b.bound_to, 'infinity')
LEFT JOIN signed_messages m ON m.device_no = t.device_no AND m.id = t.message_id
WHERE b.delivery_id = %s AND b.bound_from IS NOT NULL
ORDER BY v.id, t.gen, t.seq
"""


def records_of(conn: Connection, delivery_id: UUID) -> Iterator[StoredEvidence]:
    """The records of a delivery, a few at a time."""
    with conn.cursor(name="evidence_records", binary=True) as cursor:
        cursor.itersize = ROWS
        cursor.execute(_RECORDS, (delivery_id,))
        for row in cursor:
            yield StoredEvidence(*row)


def keys_of(conn: Connection, delivery_id: UUID) -> dict[tuple[int, str], bytes]:
    """The signing keys of a delivery's devices, old ones too, by device and key id."""
    rows = conn.execute(
        """
        SELECT k.device_no, k.kid, k.secret FROM device_keys k
        WHERE k.device_no IN (SELECT device_no FROM bindings WHERE delivery_id = %s)
        """,
        (delivery_id,),
    )
    return {(no, kid): bytes(secret) for no, kid, secret in rows}


# Each part is a query of its own; what it shows is in its name. {id} is the delivery.
_PARTS: dict[str, LiteralString] = {
    "acts": """
        SELECT kind, at, recorded_at, recorded_by, data FROM delivery_acts
        WHERE delivery_id = %(id)s ORDER BY at, id""",
    "bindings": """
        SELECT v.id AS device_id, v.kind, v.model, v.hmac_required, v.moving_s, v.parked_s,
               b.bound_from, b.bound_to
        FROM bindings b JOIN devices v USING (device_no)
        WHERE b.delivery_id = %(id)s AND b.bound_from IS NOT NULL ORDER BY b.bound_from, v.id""",
    "alerts": """
        SELECT a.id, a.code, a.status, a.severity, a.raised_at, a.due_at, a.count, a.finding,
               (SELECT jsonb_agg(jsonb_build_object('at', h.at, 'who', h.who, 'what', h.what,
                                                    'text', h.text) ORDER BY h.at, h.id)
                FROM alert_history h WHERE h.alert_id = a.id) AS history,
               (SELECT jsonb_agg(n.id ORDER BY n.start_at) FROM anomalies n
                WHERE n.alert_id = a.id) AS anomaly_ids
        FROM alerts a WHERE a.delivery_id = %(id)s ORDER BY a.raised_at, a.id""",
    "assessments": """
        SELECT at, probability, consequence_kzt, expected_loss_kzt, level, corridor, reasons,
               weights_version
        FROM risk_assessments WHERE delivery_id = %(id)s ORDER BY id""",
    "refused": """
        SELECT q.id, q.received_at, q.topic, q.device_id, q.reason, q.detail, q.gen, q.seq,
               encode(q.payload, 'base64') AS payload_base64
        FROM quarantine q
        JOIN devices v ON v.id = q.device_id
        JOIN bindings b ON b.device_no = v.device_no AND b.delivery_id = %(id)s
            AND q.received_at >= b.bound_from
            AND q.received_at <= coalesce(b.bound_to, 'infinity')
        ORDER BY q.id""",
    "routes": """
        SELECT r.id, r.code, r.name, r.corridor_m, r.legs, r.checkpoints, r.length_m, w.from_t,
               ST_AsGeoJSON(r.geom, 9)::jsonb AS geometry
        FROM (
            SELECT route_id, NULL::timestamptz AS from_t FROM deliveries WHERE id = %(id)s
            UNION ALL
            SELECT route_id, from_t FROM delivery_routes WHERE delivery_id = %(id)s
        ) w JOIN routes r ON r.id = w.route_id
        ORDER BY w.from_t NULLS FIRST""",
}


def part(conn: Connection, name: str, delivery_id: UUID) -> list[Row]:
    """A part of what is known of a delivery, by its name."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_PARTS[name], {"id": delivery_id}).fetchall()
