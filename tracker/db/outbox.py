"""The outbox: events in commit order, for the stream and for other systems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

OUTBOX_CHANNEL = "tracker_outbox"
_LOCK = 0x7472_6B6F  # any constant: serialises the writers for the short end of their transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event: ``kind`` is anomaly, alert, risk or delivery; ``payload`` as the API shows it."""

    kind: str
    delivery_id: UUID | str | None
    payload: dict[str, Any]


def append(conn: psycopg.Connection, events: Sequence[Event]) -> None:
    """Append events as the last act before commit; wakes the listeners when it commits.

    The lock makes ids follow the order of commits, so a reader that has seen N misses nothing
    below N. Take it last: what comes after it delays every other writer.
    """
    if not events:
        return
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    # One statement: whoever stands still between two holds up every other writer.
    conn.execute(
        """
        WITH told AS (
            INSERT INTO outbox (kind, delivery_id, payload)
            SELECT e ->> 'kind', (e ->> 'delivery_id')::uuid, e -> 'payload'
            FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS listed (e, n) ORDER BY n)
        SELECT pg_notify(%s, '')
        """,
        (json.dumps([_told(event) for event in events]), OUTBOX_CHANNEL),
    )


def _told(event: Event) -> dict[str, Any]:
    delivery_id = None if event.delivery_id is None else str(event.delivery_id)
    return {"kind": event.kind, "delivery_id": delivery_id, "payload": event.payload}
