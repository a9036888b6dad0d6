"""What a re-drive reads from quarantine and changes there. Runs inside one transaction a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from msgspec import Struct
from psycopg.rows import class_row

from tracker.db.quarantine import Refused, plain
from tracker.payload import Reason

Connection = psycopg.Connection[Any]

BATCH_ROWS = 500
BATCH_BYTES = 8 * 1024 * 1024
"""A batch is in memory several times over; one larger row is a batch of its own."""


class Filter(Struct, frozen=True, kw_only=True):
    """Which rows of quarantine; None or empty: any."""

    ids: Sequence[int] | None = None
    device: str | None = None
    reason: Sequence[str] | None = None
    since: datetime | None = None

    def params(self) -> dict[str, Any]:
        """As the parameters of the queries."""
        return {
            "ids": None if self.ids is None else list(self.ids),
            "device": self.device,
            "reason": list(self.reason) if self.reason else None,
            "since": self.since,
        }


class Held(Struct, frozen=True, kw_only=True):
    """A row of quarantine."""

    id: int
    received_at: datetime
    topic: str
    device_id: str | None
    reason: str
    detail: str
    gen: int | None
    seq: int | None
    size_bytes: int
    payload: bytes
    message_id: int | None


MATCHES: LiteralString = """
    (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
    AND (%(device)s::text IS NULL OR device_id = %(device)s)
    AND (%(reason)s::text[] IS NULL OR reason = ANY(%(reason)s))
    AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
"""

# next_batch: in the order of arrival, since the first of two bodies is the one that counts; rows
# that another re-drive holds are its own.
_NEXT: LiteralString = f"""
WITH sized AS (
    SELECT id, sum(size_bytes) OVER (ORDER BY id) - size_bytes AS before FROM (
        SELECT id, size_bytes FROM quarantine
        WHERE {MATCHES} AND id > %(after)s AND id <= %(last)s ORDER BY id LIMIT %(rows)s
    ) AS q
)
SELECT id, received_at, topic, device_id, reason, detail, gen, seq, size_bytes, payload, message_id
FROM quarantine WHERE id IN (SELECT id FROM sized WHERE before = 0 OR before < %(bytes)s)
ORDER BY id FOR UPDATE SKIP LOCKED
"""


def last_id(conn: Connection) -> int:
    """The newest row: a re-drive ends there, and never meets what it has put back itself."""
    row = conn.execute("SELECT coalesce(max(id), 0) FROM quarantine").fetchone()
    return int(row[0]) if row else 0


def next_batch(conn: Connection, wanted: Filter, *, after: int, last: int) -> list[Held]:
    """The next rows after an id, locked."""
    bounds = {"after": after, "last": last, "rows": BATCH_ROWS, "bytes": BATCH_BYTES}
    with conn.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(_NEXT, wanted.params() | bounds).fetchall()


def delete(conn: Connection, ids: Sequence[int]) -> None:
    """Take rows out of quarantine."""
    conn.execute("DELETE FROM quarantine WHERE id = ANY(%s)", (list(ids),))


def put_back(conn: Connection, held: Sequence[tuple[Held, Refused]]) -> None:
    """Put rows back as they were, under their own ids, with the reason as it is now."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO quarantine (id, received_at, topic, device_id, reason, detail, gen, seq,"
            " size_bytes, payload, message_id) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    row.id,
                    row.received_at,
                    row.topic,
                    row.device_id,
                    str(now.reason),
                    plain(now.detail),
                    now.gen,
                    now.seq,
                    row.size_bytes,
                    row.payload,
                    row.message_id,
                )
                for row, now in held
            ],
        )


# in_telemetry: which identities stand in telemetry.
_IN_TELEMETRY: LiteralString = """
SELECT d.id, t.gen, t.seq
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS w (id, gen, seq)
JOIN devices d USING (id)
JOIN telemetry t ON t.device_no = d.device_no AND t.gen = w.gen AND t.seq = w.seq
"""


def in_telemetry(
    conn: Connection, identities: Sequence[tuple[str, int, int]]
) -> set[tuple[str, int, int]]:
    """Which of these identities (device, gen, seq) are stored."""
    columns = list(zip(*identities, strict=True)) or [(), (), ()]
    return {
        (row[0], row[1], row[2]) for row in conn.execute(_IN_TELEMETRY, list(map(list, columns)))
    }


# first_bodies: identities whose first body is still held in quarantine.
_FIRST: LiteralString = """
SELECT q.device_id, q.gen, q.seq
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS w (device_id, gen, seq)
JOIN quarantine q USING (device_id, gen, seq)
WHERE q.reason <> %s
"""


def in_quarantine(
    conn: Connection, identities: Sequence[tuple[str, int, int]]
) -> set[tuple[str, int, int]]:
    """Which of these identities have a first body in quarantine, refused for its content."""
    columns = list(zip(*identities, strict=True)) or [(), (), ()]
    params = [*map(list, columns), str(Reason.IDENTITY_CONFLICT)]
    return {(row[0], row[1], row[2]) for row in conn.execute(_FIRST, params)}


def lock_devices(conn: Connection, ids: Iterable[str]) -> None:
    """Lock all numbers received from these devices, in the order in which storing locks them."""
    conn.execute(
        """
        SELECT 1 FROM device_received
        WHERE device_no IN (SELECT device_no FROM devices WHERE id = ANY(%s))
        ORDER BY device_no, gen FOR UPDATE
        """,
        (sorted(ids),),
    )


# reopen, close_again: numbers that were received only into quarantine count as not received until
# the stage, in the same transaction, has had its say; afterwards they are received again.
_SET_RECEIVED: LiteralString = """
WITH w AS (
    SELECT d.device_no, u.gen, range_agg(int8range(u.seq, u.seq + 1)) AS seqs
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS u (id, gen, seq)
    JOIN devices d USING (id) GROUP BY d.device_no, u.gen
)
UPDATE device_received r SET received = r.received {sign} w.seqs, version = r.version + 1
FROM w WHERE r.device_no = w.device_no AND r.gen = w.gen
"""


def reopen(conn: Connection, identities: Sequence[tuple[str, int, int]]) -> None:
    """Let these identities be stored, though their numbers were received."""
    _set_received(conn, identities, "-")


def close_again(conn: Connection, identities: Sequence[tuple[str, int, int]]) -> None:
    """Count these identities as received, as they were before."""
    _set_received(conn, identities, "+")


def _set_received(
    conn: Connection, identities: Sequence[tuple[str, int, int]], sign: LiteralString
) -> None:
    if identities:
        columns = list(map(list, zip(*identities, strict=True)))
        conn.execute(_SET_RECEIVED.format(sign=sign), columns)
