"""Marking deliveries as not yet judged. Called inside the transaction that makes them so."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import psycopg

DIRTY_CHANNEL = "tracker_dirty"


def mark_dirty(
    conn: psycopg.Connection, delivery_ids: Iterable[UUID | str], *, from_t: datetime | None = None
) -> None:
    """Have the deliveries judged again, from t* ``from_t`` on (None: from their start).

    Use it for whatever detection depends on: acts of people, routes, zones, bindings. The
    evaluator is notified when the caller's transaction commits. One delivery alone is urgent: the
    person who did something to it waits to see what comes of it.
    """
    ids = [str(i) for i in delivery_ids]
    conn.execute(
        "INSERT INTO dirty (delivery_id, from_t, urgent) SELECT unnest(%s::uuid[]), %s, %s",
        (ids, from_t, len(ids) == 1),
    )
    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))


def tidy_marks(conn: psycopg.Connection) -> None:
    """Make room where marks were taken; outside a transaction, and not if another is at it."""
    conn.execute("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF) dirty")
