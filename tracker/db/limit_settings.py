"""Dated settings of thresholds: storing, listing, what is in force for a delivery, and the
thresholds behind each version that a finding names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tracker.db.marks import mark_dirty
from tracker.db.reading import Page, Row, page_of, rfc3339
from tracker.detectors.limits import DatedSettings, Limits, LimitsInForce, in_force
from tracker.model import to_ms

Connection = psycopg.Connection[Any]

_COLUMNS: LiteralString = (
    "s.id, s.scope, s.key, s.from_t, s.values, s.reason, s.created_at, s.created_by"
)

_LIST: LiteralString = (
    "SELECT "
    + _COLUMNS
    + """
FROM limit_settings s
WHERE (%(scope)s::text IS NULL OR s.scope = %(scope)s)
  AND (%(key)s::text IS NULL OR s.key = %(key)s)
  AND (%(name)s::text IS NULL OR s.values ? %(name)s)
  AND (%(at)s::timestamptz IS NULL OR s.from_t <= %(at)s)
  AND (%(after)s::bigint IS NULL OR s.id < %(after)s)
ORDER BY s.id DESC
LIMIT %(limit)s + 1
"""
)

# settings_of: those that concern a delivery, in the order in which evaluation applies them.
_OF: LiteralString = (
    "SELECT "
    + _COLUMNS
    + """
FROM deliveries d
JOIN limit_settings s ON
    s.scope = 'national'
    OR s.scope = 'post' AND s.key IN (d.departure_post, d.destination_post)
    OR s.scope = 'lane' AND s.key = d.departure_post || '>' || d.destination_post
    OR s.scope = 'delivery' AND s.key = d.id::text
WHERE d.id = %(id)s
ORDER BY s.from_t, s.id
"""
)

# deliveries_concerned: those that a setting may change: on their way at or after its time, and not
# retired. Their version changes with it, so that no plan read before is used again.
_CONCERNED: LiteralString = """
WITH concerned AS MATERIALIZED (
SELECT d.id FROM deliveries d
WHERE d.released_at IS NOT NULL
  AND coalesce(d.arrived_at, 'infinity') >= %(from_t)s
  AND d.status <> 'cancelled'
  AND NOT EXISTS (SELECT FROM delivery_state s
                  WHERE s.delivery_id = d.id AND s.retired_at IS NOT NULL)
  AND (%(scope)s = 'national'
       OR %(scope)s = 'post' AND %(key)s IN (d.departure_post, d.destination_post)
       OR %(scope)s = 'lane' AND %(key)s = d.departure_post || '>' || d.destination_post
       OR %(scope)s = 'delivery' AND %(key)s = d.id::text)
-- In the order in which evaluation, too, writes several.
ORDER BY d.id FOR NO KEY UPDATE)
UPDATE deliveries d SET version = version + 1
FROM concerned WHERE d.id = concerned.id RETURNING d.id
"""


def list_settings(
    conn: Connection,
    page: Page,
    *,
    scope: str | None = None,
    key: str | None = None,
    name: str | None = None,
    at: datetime | None = None,
) -> tuple[list[Row], str | None]:
    """Settings, the last entered first; ``name``: that set this threshold; ``at``: in force by
    then."""
    params = {
        "scope": scope,
        "key": key,
        "name": name,
        "at": at,
        "after": page.after[0] if page.after else None,
        "limit": page.limit,
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_LIST, params).fetchall()
    kept, following = page_of(rows, page.limit, lambda row: (row["id"],))
    return [_json(row) for row in kept], following


def _json(row: Row) -> Row:
    return {
        "id": row["id"],
        "scope": row["scope"],
        "key": row["key"] or None,
        "from": rfc3339(row["from_t"]),
        "values": row["values"],
        "reason": row["reason"],
        "created_at": rfc3339(row["created_at"]),
        "created_by": row["created_by"],
    }


def add_setting(
    conn: Connection,
    *,
    scope: str,
    key: str,
    from_t: datetime,
    values: Mapping[str, Any],
    reason: str,
    who: str,
) -> tuple[Row, int]:
    """Store a setting and have all that it concerns judged again: the setting, and how many."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "INSERT INTO limit_settings AS s (scope, key, from_t, values, reason, created_by)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING " + _COLUMNS,
            (scope, key, from_t, Jsonb(dict(values)), reason, who),
        ).fetchone()
    assert row is not None
    concerned = conn.execute(_CONCERNED, {"scope": scope, "key": key, "from_t": from_t}).fetchall()
    mark_dirty(conn, [id_ for (id_,) in concerned])
    return _json(row), len(concerned)


def key_exists(conn: Connection, scope: str, key: str) -> bool:
    """Whether there is what a setting is for: the post, both posts of the lane, the delivery."""
    if scope == "delivery":
        query: LiteralString = "SELECT EXISTS (SELECT FROM deliveries WHERE id::text = %s)"
        row = conn.execute(query, (key,)).fetchone()
        return bool(row and row[0])
    codes = [key] if scope == "post" else key.split(">")
    found = conn.execute("SELECT count(*) FROM posts WHERE code = ANY(%s)", (codes,)).fetchone()
    return found is not None and found[0] == len(set(codes))


def in_force_of(conn: Connection, delivery_id: UUID) -> tuple[LimitsInForce, list[Row]]:
    """The thresholds of a delivery over time, and the settings that make them."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_OF, {"id": delivery_id}).fetchall()
    dated = [
        DatedSettings(scope=row["scope"], from_ms=to_ms(row["from_t"]), values=row["values"])
        for row in rows
    ]
    return in_force(Limits(), dated), [_json(row) for row in rows]


def in_force_of_national(conn: Connection) -> LimitsInForce:
    """The thresholds over time where no narrower scope says otherwise."""
    rows = conn.execute(
        "SELECT from_t, values FROM limit_settings WHERE scope = 'national' ORDER BY from_t, id"
    )
    dated = [DatedSettings(scope="national", from_ms=to_ms(t), values=v) for t, v in rows]
    return in_force(Limits(), dated)


def in_force_of_scope(conn: Connection, scope: str, key: str, at: datetime) -> Limits:
    """The thresholds at a time for all of a scope: its own settings upon the national ones."""
    rows = conn.execute(
        "SELECT scope, from_t, values FROM limit_settings"
        " WHERE (scope = 'national' OR (scope = %s AND key = %s)) AND from_t <= %s"
        " ORDER BY from_t, id",
        (scope, key, at),
    )
    dated = [DatedSettings(scope=s, from_ms=to_ms(t), values=values) for s, t, values in rows]
    return in_force(Limits(), dated).at(to_ms(at))


# ---------------------------------------------------------------- versions


def keep_versions(conn: Connection, used: Collection[LimitsInForce]) -> None:
    """Keep the thresholds behind the versions that findings name, the first time each is used."""
    if not used:
        return
    # In one order, so that two batches cannot wait for each other's rows.
    rows = sorted((one.version, Jsonb(msgspec.to_builtins(one))) for one in set(used))
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO limit_versions (version, in_force) VALUES (%s, %s)"
            " ON CONFLICT (version) DO NOTHING",
            rows,
        )


def read_version(conn: Connection, version: str) -> tuple[LimitsInForce, datetime] | None:
    """The thresholds behind a version, and when it was first used."""
    row = conn.execute(
        "SELECT in_force, first_used_at FROM limit_versions WHERE version = %s", (version,)
    ).fetchone()
    return None if row is None else (msgspec.convert(row[0], LimitsInForce), row[1])
