"""Reading what was refused, raw, with the reason."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Page, Row, page_of, rfc3339

# list_quarantine: newest first; the key is the id, which grows with time.
_LIST: LiteralString = """
SELECT id, received_at, topic, device_id, reason, detail, gen, seq, size_bytes, payload,
       message_id
FROM quarantine
WHERE (%(device)s::text IS NULL OR device_id = %(device)s)
  AND (%(reason)s::text[] IS NULL OR reason = ANY(%(reason)s))
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(after)s::bigint IS NULL OR id < %(after)s)
ORDER BY id DESC
LIMIT %(limit)s + 1
"""


def list_quarantine(
    conn: psycopg.Connection[Any],
    *,
    device: str | None,
    reason: list[str] | None,
    since: datetime | None,
    page: Page,
) -> tuple[list[Row], str | None]:
    """Refused records, newest first, and the next cursor."""
    params = {
        "device": device,
        "reason": reason or None,
        "since": since,
        "after": page.after[0] if page.after else None,
        "limit": page.limit,
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_LIST, params).fetchall()
    kept, following = page_of(rows, page.limit, lambda row: [row["id"]])
    return [_quarantine_json(row) for row in kept], following


# one_refused: the row with the signed message that it is a part of.
_ONE: LiteralString = """
SELECT q.*, m.payload AS message
FROM quarantine q LEFT JOIN devices d ON d.id = q.device_id
LEFT JOIN signed_messages m ON m.device_no = d.device_no AND m.id = q.message_id
WHERE q.id = %s
"""


def one_refused(conn: psycopg.Connection[Any], id_: int) -> Row | None:
    """A row of quarantine, and the signed message it came in if that is kept apart."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_ONE, (id_,)).fetchone()
    if row is None:
        return None
    message = row["message"]
    kept = None if message is None else base64.b64encode(message).decode("ascii")
    return _quarantine_json(row) | {"message_base64": kept}


# refused_counts: what each sender has in quarantine, and what its bounds kept out.
_COUNTS: LiteralString = """
SELECT device_id, kept, kept_bytes, over_limit, over_limit_bytes FROM quarantine_counts
WHERE %(after)s::text IS NULL OR device_id > %(after)s
ORDER BY device_id LIMIT %(limit)s + 1
"""


def refused_counts(conn: psycopg.Connection[Any], page: Page) -> tuple[list[Row], str | None]:
    """What each sender has in quarantine, by name, and the next cursor."""
    params = {"after": page.after[0] if page.after else None, "limit": page.limit}
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_COUNTS, params).fetchall()
    kept, following = page_of(rows, page.limit, lambda row: [row["device_id"]])
    return list(kept), following


EXPORT_ROWS = 200
"""Rows read at once: with the largest payloads some 13 MB."""


def export_lines(
    begin: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
    *,
    device: str | None,
    reason: list[str] | None,
    since: datetime | None,
) -> Iterator[bytes]:
    """All that matches as lines of JSON, newest first; each page in a transaction of its own.

    A client that reads slowly so holds no transaction open.
    """
    after: tuple[int] | None = None
    while True:
        with begin() as conn:
            rows, following = list_quarantine(
                conn,
                device=device,
                reason=reason,
                since=since,
                page=Page(limit=EXPORT_ROWS, after=after),
            )
        for row in rows:
            yield msgspec.json.encode(row) + b"\n"
        if following is None:
            return
        after = (rows[-1]["id"],)


def _quarantine_json(row: Row) -> Row:
    payload = bytes(row["payload"])
    return {
        "id": row["id"],
        "received_at": rfc3339(row["received_at"]),
        "topic": row["topic"],
        "device_id": row["device_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "gen": row["gen"],
        "seq": row["seq"],
        "size_bytes": row["size_bytes"],
        "message_id": row["message_id"],
        "payload_base64": base64.b64encode(payload).decode("ascii"),
        "text": _text(payload),
    }


def _text(payload: bytes) -> str | None:
    """The payload as text, where it is UTF-8."""
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
