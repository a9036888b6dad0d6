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
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO outbox (kind, delivery_id, payload) VALUES (%s, %s, %s::jsonb)",
            [
                (e.kind, str(e.delivery_id) if e.delivery_id else None, json.dumps(e.payload))
                for e in events
            ],
        )
    conn.execute("SELECT pg_notify(%s, '')", (OUTBOX_CHANNEL,))
