"""Reading what was refused, raw, with the reason."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Page, Row, page_of, rfc3339

# list_quarantine: newest first; the key is the id, which grows with time.
_LIST: LiteralString = """
SELECT id, received_at, topic, device_id, reason, detail, gen, seq, size_bytes, payload
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
        "payload_base64": base64.b64encode(payload).decode("ascii"),
        "text": _text(payload),
    }


def _text(payload: bytes) -> str | None:
    """The payload as text, where it is UTF-8."""
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
