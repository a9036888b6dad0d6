"""What retention reads and changes: weeks of telemetry, whose records stay, the swap of a week.

Everything about one week happens in one transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import dict_row

from tracker.db.partitions import DEFAULT, adopt, be_brief, partition_name
from tracker.retention import Week, holds

Connection = psycopg.Connection[Any]

LOCK = 7238248
BATCH = 10_000


def lead(conn: Connection) -> bool:
    """Take the right to run retention until the transaction ends; False: another process has it."""
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone()
    return bool(row and row[0])


def weeks(conn: Connection) -> list[Week]:
    """The weeks that have a partition."""
    rows = conn.execute(
        """
        SELECT to_date(substring(c.relname FROM '^telemetry_(\\d{8})$'), 'YYYYMMDD')
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'telemetry'::regclass AND c.relname ~ '^telemetry_\\d{8}$'
        """
    )
    return [Week(monday=row[0]) for row in rows]


def adopt_strays(conn: Connection) -> int:
    """Give the weeks whose records lie in the default partition one of their own; how many.

    Raises:
        psycopg.errors.LockNotAvailable: telemetry was busy for too long.
    """
    rows = conn.execute(
        sql.SQL(
            "SELECT DISTINCT date_trunc('week', received_at AT TIME ZONE 'UTC')::date FROM {}"
        ).format(sql.Identifier(DEFAULT))
    ).fetchall()
    return sum(adopt(conn, monday) for (monday,) in rows)


def lock_week(conn: Connection, week: Week) -> None:
    """Let nobody write to a week; reading goes on."""
    conn.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(_table(week)))


def _table(week: Week) -> sql.Identifier:
    return sql.Identifier(partition_name(week.monday))


# ---------------------------------------------------------------- what stays

# cases: deliveries that had a device bound before a time, with what decides on them.
_CASES: LiteralString = """
SELECT d.id, d.status, d.ended_at, coalesce(array_agg(ARRAY[a.status, a.finding])
           FILTER (WHERE a.id IS NOT NULL), '{}') AS alerts,
       EXISTS (SELECT 1 FROM dirty WHERE dirty.delivery_id = d.id) AS unjudged
FROM (
    SELECT d.id, d.status,
           CASE WHEN bool_or(b.bound_to IS NULL) THEN NULL ELSE max(b.bound_to) END AS ended_at
    FROM deliveries d JOIN bindings b ON b.delivery_id = d.id
    WHERE b.bound_from < %(end)s AND (%(ids)s::uuid[] IS NULL OR d.id = ANY(%(ids)s))
    GROUP BY d.id
) AS d LEFT JOIN alerts a ON a.delivery_id = d.id
GROUP BY d.id, d.status, d.ended_at
"""


def hold_cases(conn: Connection, week: Week, before: datetime) -> int:
    """Find whose records of a week stay, for the length of the transaction; how many deliveries.

    A record made before the week's end lies in it or in a later one, so only bindings that began
    before its end can have records in it.
    """
    held = [id_ for id_, stays in _decided(conn, week.end, before) if stays]
    conn.execute("DROP TABLE IF EXISTS pg_temp.held_bindings")
    conn.execute(
        "CREATE TEMP TABLE held_bindings ON COMMIT DROP AS"
        " SELECT device_no, delivery_id, bound_from, coalesce(bound_to, 'infinity') AS bound_to"
        " FROM bindings WHERE bound_from IS NOT NULL AND delivery_id = ANY(%s)",
        (held,),
    )
    conn.execute("CREATE INDEX ON held_bindings (device_no)")
    conn.execute("ANALYZE held_bindings")
    return len(held)


def let_go(conn: Connection, ids: Collection[UUID], before: datetime) -> list[UUID]:
    """Those of some deliveries that are no cases and ended before a time."""
    decided = _decided(conn, before, before, list(ids)) if ids else ()
    return [id_ for id_, stays in decided if not stays]


def _decided(
    conn: Connection, end: datetime, before: datetime, ids: list[UUID] | None = None
) -> list[tuple[UUID, bool]]:
    """Deliveries (None: all) with a device bound before ``end``, and whether they are to stay."""
    with conn.cursor(row_factory=dict_row) as cursor:
        cases = cursor.execute(_CASES, {"end": end, "ids": ids}).fetchall()
    return [
        (
            case["id"],
            case["unjudged"]
            or holds(
                status=case["status"],
                ended_at=case["ended_at"],
                alerts=case["alerts"],
                before=before,
            ),
        )
        for case in cases
    ]


# A record without a time may belong anywhere after the binding began: 5 min for a clock ahead.
_HELD: LiteralString = """
EXISTS (
    SELECT 1 FROM held_bindings b WHERE b.device_no = t.device_no
    AND ((t.t_star >= b.bound_from AND t.t_star <= b.bound_to)
         OR (t.t_star IS NULL AND t.received_at >= b.bound_from - interval '5 minutes'))
)
"""

_MESSAGES: LiteralString = """
SELECT m.device_no, m.id FROM signed_messages m
WHERE m.received_at >= %(start)s AND m.received_at < %(end)s
  AND NOT EXISTS (
      SELECT 1 FROM {table} t WHERE t.device_no = m.device_no AND t.message_id = m.id
      AND t.received_at = m.received_at AND {held})
  AND NOT EXISTS (
      SELECT 1 FROM quarantine q JOIN devices d ON d.id = q.device_id
      WHERE d.device_no = m.device_no AND q.message_id = m.id)
"""


class Size(Struct, frozen=True, kw_only=True):
    """How much of a week would go and stay, and how much disk it takes now."""

    removed: int
    kept: int
    bytes: int


def size_of(conn: Connection, week: Week) -> Size:
    """Count a week after `hold_cases`."""
    query = sql.SQL(
        "SELECT count(*) FILTER (WHERE NOT {held}), count(*) FILTER (WHERE {held}),"
        " pg_total_relation_size({name}::regclass) FROM {table} t"
    ).format(held=sql.SQL(_HELD), name=sql.Literal(partition_name(week.monday)), table=_table(week))
    row = conn.execute(query).fetchone()
    assert row is not None  # an aggregate always has one
    return Size(removed=row[0], kept=row[1], bytes=row[2])


# ---------------------------------------------------------------- what goes


class RecordRow(NamedTuple):
    """A record as it is archived: the device by name, the place as numbers."""

    device: str
    gen: int
    seq: int
    received_at: datetime
    t_star: datetime | None
    flags: int
    lon: float | None
    lat: float | None
    body: bytes
    message_id: int | None
    topic: str | None
    trailer: bytes | None


class MessageRow(NamedTuple):
    """A signed message of several records as it is archived."""

    device: str
    id: int
    received_at: datetime
    topic: str
    payload: bytes


def removed_records(conn: Connection, week: Week) -> Iterator[list[RecordRow]]:
    """The records of a week that go, in the order of their identity, in batches."""
    query = sql.SQL(
        "SELECT d.id, t.gen, t.seq, t.received_at, t.t_star, t.flags, ST_X(t.geom), ST_Y(t.geom),"
        " t.body, t.message_id, t.topic, t.trailer"
        " FROM {} t JOIN devices d USING (device_no) WHERE NOT {}"
        " ORDER BY t.device_no, t.gen, t.seq"
    ).format(_table(week), sql.SQL(_HELD))
    with conn.cursor(name="removed_records", withhold=False) as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(BATCH):
            yield [RecordRow(*row) for row in rows]


def removed_messages(conn: Connection, week: Week) -> Iterator[list[MessageRow]]:
    """The signed messages of a week that go, in batches."""
    query = sql.SQL(
        "SELECT d.id, m.id, m.received_at, m.topic, m.payload FROM ({}) AS gone"
        " JOIN signed_messages m USING (device_no, id) JOIN devices d USING (device_no)"
        " ORDER BY device_no, m.id"
    ).format(_gone(week))
    with conn.cursor(name="removed_messages") as cursor:
        cursor.execute(query, {"start": week.start, "end": week.end})
        while rows := cursor.fetchmany(BATCH):
            yield [MessageRow(*row) for row in rows]


def _gone(week: Week) -> sql.Composed:
    return sql.SQL(_MESSAGES).format(table=_table(week), held=sql.SQL(_HELD))


def delete_messages(conn: Connection, week: Week) -> int:
    """Delete the signed messages of a week that go; how many. Before `swap`."""
    query = sql.SQL(
        "DELETE FROM signed_messages m USING ({}) AS gone"
        " WHERE m.device_no = gone.device_no AND m.id = gone.id"
    ).format(_gone(week))
    return conn.execute(query, {"start": week.start, "end": week.end}).rowcount


def retire(conn: Connection, week: Week) -> list[UUID]:
    """Let the deliveries whose records go stand as they were judged; which. Before `swap`.

    Judged again from what is left, they would lose their anomalies.
    """
    query = sql.SQL(
        """
        INSERT INTO delivery_state (delivery_id, retired_at)
        SELECT DISTINCT b.delivery_id, now() FROM bindings b
        WHERE b.bound_from IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM held_bindings h WHERE h.delivery_id = b.delivery_id)
          AND EXISTS (
              SELECT 1 FROM {} t WHERE t.device_no = b.device_no
              AND t.t_star >= b.bound_from AND t.t_star <= coalesce(b.bound_to, 'infinity'))
        ON CONFLICT (delivery_id) DO UPDATE
            SET retired_at = now(), next_clock_at = NULL WHERE delivery_state.retired_at IS NULL
        RETURNING delivery_id
        """
    ).format(_table(week))
    ids = [row[0] for row in conn.execute(query)]
    conn.execute("DELETE FROM checkpoints WHERE delivery_id = ANY(%s)", (ids,))
    return ids


def prepare_kept(conn: Connection, week: Week) -> int:
    """Copy what stays into a table that will take the partition's place; how many records."""
    conn.execute(
        sql.SQL("CREATE TABLE {} (LIKE telemetry INCLUDING ALL)").format(_kept_table(week))
    )
    query = sql.SQL("INSERT INTO {} SELECT t.* FROM {} t WHERE {}").format(
        _kept_table(week), _table(week), sql.SQL(_HELD)
    )
    return conn.execute(query).rowcount


def swap(conn: Connection, week: Week, *, kept: int) -> None:
    """Drop the partition; what stays takes its place.

    Raises:
        psycopg.errors.LockNotAvailable: telemetry was busy for too long.
    """
    be_brief(conn)
    table, kept_table = _table(week), _kept_table(week)
    conn.execute(sql.SQL("ALTER TABLE telemetry DETACH PARTITION {}").format(table))
    conn.execute(sql.SQL("DROP TABLE {}").format(table))
    if not kept:
        conn.execute(sql.SQL("DROP TABLE {}").format(kept_table))
        return
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(kept_table, table))
    conn.execute(
        sql.SQL("ALTER TABLE telemetry ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            table, sql.Literal(week.start.isoformat()), sql.Literal(week.end.isoformat())
        )
    )


def _kept_table(week: Week) -> sql.Identifier:
    return sql.Identifier(partition_name(week.monday) + "_kept")


# ---------------------------------------------------------------- the register of archives


def next_run(conn: Connection, week: Week) -> int:
    """The number of the next archive of a week: 1, unless something stayed or came later."""
    row = conn.execute(
        "SELECT coalesce(max(run), 0) + 1 FROM archives WHERE partition = %s",
        (partition_name(week.monday),),
    ).fetchone()
    return int(row[0]) if row else 1


def register(
    conn: Connection,
    week: Week,
    *,
    run: int,
    records: int,
    messages: int,
    kept: int,
    path: str | None,
    sha256: str | None,
) -> None:
    """Note what has left telemetry, and where it is."""
    conn.execute(
        "INSERT INTO archives (partition, run, records, messages, kept, path, sha256)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (partition_name(week.monday), run, records, messages, kept, path, sha256),
    )
