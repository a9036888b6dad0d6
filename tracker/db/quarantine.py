"""Quarantine: what was refused, kept raw up to a bound for each sender; all of it is counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from msgspec import Struct

from tracker.payload import Reason

Connection = psycopg.Connection[Any]

UNKNOWN_SENDERS = "(unknown)"
"""One bound for all senders that are not registered: names cost a forger nothing."""

DEFAULT_BYTES = 16 * 1024 * 1024
"""Some 250 of the largest messages, or a month of refused records of the usual size."""


class Bounds(Struct, frozen=True, kw_only=True):
    """How much is kept for one sender; what comes when either is full is only counted."""

    records: int
    bytes: int = DEFAULT_BYTES


class Refused(Struct, frozen=True, kw_only=True):
    """Something for quarantine. ``device``: the name in the topic; ``known``: it is registered.

    ``message``: id of the signed message that it is a part of. ``retained``: an old message, read
    again at a subscription.
    """

    received_at: datetime
    topic: str
    device: str | None
    known: bool
    reason: Reason
    detail: str
    payload: bytes
    gen: int | None = None
    seq: int | None = None
    message: int | None = None
    retained: bool = False

    @property
    def sender(self) -> str:
        """Whose bound it counts against."""
        return self.device if self.known and self.device else UNKNOWN_SENDERS


class _Account(Struct):
    """What a sender has in quarantine, and what the bounds have kept out of it."""

    kept: int = 0
    kept_bytes: int = 0
    over_limit: int = 0
    over_limit_bytes: int = 0

    def take(self, size: int, bounds: Bounds) -> bool:
        """Count something of this size in; whether it may be kept."""
        if self.kept < bounds.records and self.kept_bytes + size <= bounds.bytes:
            self.kept += 1
            self.kept_bytes += size
            return True
        self.over_limit += 1
        self.over_limit_bytes += size
        return False


def count_in(conn: Connection, refused: Sequence[Refused], bounds: Bounds) -> list[bool]:
    """Count what was refused against the bounds of its senders; for each, whether to keep it."""
    if not refused:
        return []
    accounts = _lock_accounts(conn, {r.sender for r in refused})
    kept = [accounts[r.sender].take(len(r.payload), bounds) for r in refused]
    _save_accounts(conn, accounts)
    return kept


def _lock_accounts(conn: Connection, senders: Iterable[str]) -> dict[str, _Account]:
    """The senders' rows, locked in one order so that no two batches wait in a circle."""
    ordered = sorted(senders)
    conn.execute(
        "INSERT INTO quarantine_counts (device_id) SELECT * FROM unnest(%s::text[])"
        " ON CONFLICT DO NOTHING",
        (ordered,),
    )
    rows = conn.execute(
        """
        SELECT device_id, kept, kept_bytes, over_limit, over_limit_bytes FROM quarantine_counts
        WHERE device_id = ANY(%s) ORDER BY device_id COLLATE "C" FOR UPDATE
        """,
        (ordered,),
    ).fetchall()
    return {sender: _Account(*counts) for sender, *counts in rows}


def _save_accounts(conn: Connection, accounts: Mapping[str, _Account]) -> None:
    conn.execute(
        """
        UPDATE quarantine_counts c
        SET kept = a.kept, kept_bytes = a.kept_bytes,
            over_limit = a.over_limit, over_limit_bytes = a.over_limit_bytes
        FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
            AS a (device_id, kept, kept_bytes, over_limit, over_limit_bytes)
        WHERE c.device_id = a.device_id
        """,
        (
            list(accounts),
            [a.kept for a in accounts.values()],
            [a.kept_bytes for a in accounts.values()],
            [a.over_limit for a in accounts.values()],
            [a.over_limit_bytes for a in accounts.values()],
        ),
    )


def recount(conn: Connection, senders: Iterable[str]) -> None:
    """Set what senders have in quarantine to what is there, after rows were taken out of it."""
    totals: dict[str, _Account] = defaultdict(_Account)
    accounts = _lock_accounts(conn, senders)
    rows = conn.execute(
        """
        SELECT coalesce(d.id, %(unknown)s), count(*), sum(q.size_bytes)
        FROM quarantine q LEFT JOIN devices d ON d.id = q.device_id
        WHERE coalesce(d.id, %(unknown)s) = ANY(%(senders)s) GROUP BY 1
        """,
        {"unknown": UNKNOWN_SENDERS, "senders": list(accounts)},
    )
    for sender, kept, size in rows:
        totals[sender] = _Account(kept, int(size))
    for sender, account in accounts.items():
        account.kept, account.kept_bytes = totals[sender].kept, totals[sender].kept_bytes
    _save_accounts(conn, accounts)
    conn.execute(
        "DELETE FROM quarantine_counts WHERE device_id = ANY(%s) AND kept = 0 AND over_limit = 0",
        (list(accounts),),
    )


def keep(conn: Connection, refused: Iterable[Refused]) -> list[int]:
    """Put into quarantine what has been counted in; the ids of the rows, in order."""
    rows = list(refused)
    if not rows:
        return []
    ids = _new_ids(conn, len(rows))
    copy = (
        "COPY quarantine (id, received_at, topic, device_id, reason, detail, gen, seq, size_bytes,"
        " payload, message_id) FROM STDIN"
    )
    with conn.cursor() as cursor, cursor.copy(copy) as out:
        for id_, r in zip(ids, rows, strict=True):
            out.write_row(
                (
                    id_,
                    r.received_at,
                    plain(r.topic),
                    r.device,
                    str(r.reason),
                    plain(r.detail),
                    r.gen,
                    r.seq,
                    len(r.payload),
                    r.payload,
                    r.message,
                )
            )
    return ids


def _new_ids(conn: Connection, count: int) -> list[int]:
    rows = conn.execute(
        "SELECT nextval(pg_get_serial_sequence('quarantine', 'id')) FROM generate_series(1, %s)",
        (count,),
    )
    return [int(row[0]) for row in rows]


def plain(text: str) -> str:
    """A text that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
