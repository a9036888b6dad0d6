"""What the stream reads: new outbox events and new positions, on one connection a process."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Row
from tracker.db.reading_alerts import RANKS_OF
from tracker.db.reading_positions import CHANGED

# outbox_after: events in order of commit, with what the filters need: whose delivery it is, and
# where its devices are now (for events that have no place of their own).
_AFTER: LiteralString = """
SELECT o.id, o.kind, o.delivery_id, o.payload, d.carrier_id,
       (SELECT array_agg(ARRAY[ST_X(p.geom), ST_Y(p.geom)]) FROM device_positions p
        WHERE p.delivery_id = o.delivery_id) AS places
FROM outbox o LEFT JOIN deliveries d ON d.id = o.delivery_id
WHERE o.id > %(after)s ORDER BY o.id LIMIT %(limit)s
"""


async def outbox_after(conn: psycopg.AsyncConnection[Any], after: int, limit: int) -> list[Row]:
    """Events after an id, in order. Unresolved alerts among them carry their present rank."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_AFTER, {"after": after, "limit": limit})
        rows = await cursor.fetchall()
    await _add_ranks(conn, [row["payload"] for row in rows if row["kind"] == "alert"])
    return rows


async def _add_ranks(conn: psycopg.AsyncConnection[Any], alerts: list[Row]) -> None:
    if not alerts:
        return
    ids = [alert["id"] for alert in alerts]
    cursor = await conn.execute(RANKS_OF, {"ids": ids, "scope_carrier": None})
    ranks = {str(row[0]): row[1] for row in await cursor.fetchall()}
    for alert in alerts:
        alert["rank"] = ranks.get(alert["id"])


async def newest_event(conn: psycopg.AsyncConnection[Any]) -> int:
    """Id of the newest event; 0 if there has been none."""
    cursor = await conn.execute("SELECT coalesce(max(id), 0) FROM outbox")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def database_now(conn: psycopg.AsyncConnection[Any]) -> datetime:
    """The database's clock, by which positions are stamped."""
    cursor = await conn.execute("SELECT clock_timestamp()")
    row = await cursor.fetchone()
    assert row is not None, "a SELECT of one value gives one row"
    now: datetime = row[0]
    return now


async def positions_since(conn: psycopg.AsyncConnection[Any], since: datetime) -> list[Row]:
    """Positions stored after a moment of the database's clock, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CHANGED, {"since": since})
        return await cursor.fetchall()
