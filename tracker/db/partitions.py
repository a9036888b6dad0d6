"""Partitions of telemetry by week of reception: made ahead, so that storing never waits for one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

WEEKS_AHEAD = 4
"""Four weeks: the watch process may be away for most of a month before the default partition,
which is slower to split than to avoid, takes a row."""

DEFAULT = "telemetry_default"
"""The partition of what no other takes."""

LOCK_TIMEOUT_MS = 2000
"""What needs telemetry or its default partition to itself waits no longer: whoever comes to it
meanwhile, to read or to store, queues behind the one that waits."""

ALONE_MS = 15_000
"""A transaction in the way of others ends when its client has left it alone for so long."""


def let_go_soon(conn: psycopg.Connection) -> None:
    """Have the server end the transaction if its client stands still: others are kept waiting."""
    conn.execute(
        "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", (f"{ALONE_MS}ms",)
    )


def be_brief(conn: psycopg.Connection) -> None:
    """For the rest of the transaction: neither wait long for a lock, nor keep one standing still.

    What follows may raise psycopg.errors.LockNotAvailable: somebody else is busy with it.
    """
    conn.execute("SELECT set_config('lock_timeout', %s, true)", (f"{LOCK_TIMEOUT_MS}ms",))
    let_go_soon(conn)


def week_start(day: date) -> date:
    """The Monday of the week that ``day`` is in."""
    return day - timedelta(days=day.weekday())


def ensure_partitions(conn: psycopg.Connection, now: datetime, weeks: int = WEEKS_AHEAD) -> int:
    """Create the partitions from this week to ``weeks`` ahead that do not exist; how many it made.

    Idempotent and safe to call from several processes at once; inside a transaction.

    Raises:
        psycopg.errors.LockNotAvailable: telemetry was busy for too long; try again later.
    """
    first = week_start(now.astimezone(UTC).date())
    be_brief(conn)
    # Two processes may look at the same moment: the lock makes the second see the first's work.
    conn.execute("SELECT pg_advisory_xact_lock(7238246)")
    return sum(_ensure(conn, first + timedelta(weeks=i)) for i in range(weeks + 1))


def partition_name(monday: date) -> str:
    """The table of a week."""
    return f"telemetry_{monday:%Y%m%d}"


def _ensure(conn: psycopg.Connection, monday: date) -> int:
    return 0 if _exists(conn, monday) else adopt(conn, monday)


def _exists(conn: psycopg.Connection, monday: date) -> bool:
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (partition_name(monday),)).fetchone()
    return bool(row and row[0])


def adopt(conn: psycopg.Connection, monday: date) -> int:
    """Make the partition of a week, with the rows of it that the default partition has taken.

    PostgreSQL refuses a partition while the default one holds rows of it: so after weeks without
    ``watch``, or for records of a week that was dropped, they are moved first. How many it made:
    0 if another process was quicker.

    Raises:
        psycopg.errors.LockNotAvailable: telemetry was busy for too long; try again later.
    """
    be_brief(conn)
    name, default = sql.Identifier(partition_name(monday)), sql.Identifier(DEFAULT)
    start, end = (
        sql.Literal(datetime(d.year, d.month, d.day, tzinfo=UTC).isoformat())
        for d in (monday, monday + timedelta(7))
    )
    conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(default))
    if _exists(conn, monday):
        return 0
    conn.execute(sql.SQL("CREATE TABLE {} (LIKE telemetry INCLUDING ALL)").format(name))
    conn.execute(
        sql.SQL(
            "WITH moved AS (DELETE FROM {} WHERE received_at >= {} AND received_at < {}"
            " RETURNING *) INSERT INTO {} SELECT * FROM moved"
        ).format(default, start, end, name)
    )
    conn.execute(
        sql.SQL("ALTER TABLE telemetry ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            name, start, end
        )
    )
    return 1
