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


def week_start(day: date) -> date:
    """The Monday of the week that ``day`` is in."""
    return day - timedelta(days=day.weekday())


def ensure_partitions(conn: psycopg.Connection, now: datetime, weeks: int = WEEKS_AHEAD) -> int:
    """Create the partitions from this week to ``weeks`` ahead that do not exist; how many it made.

    Idempotent and safe to call from several processes at once.
    """
    first = week_start(now.astimezone(UTC).date())
    # Two processes may look at the same moment: the lock makes the second see the first's work.
    conn.execute("SELECT pg_advisory_xact_lock(7238246)")
    return sum(_ensure(conn, first + timedelta(weeks=i)) for i in range(weeks + 1))


def partition_name(monday: date) -> str:
    """The table of a week."""
    return f"telemetry_{monday:%Y%m%d}"


def _ensure(conn: psycopg.Connection, monday: date) -> int:
    exists = conn.execute(
        "SELECT to_regclass(%s) IS NOT NULL", (partition_name(monday),)
    ).fetchone()
    return 0 if exists and exists[0] else adopt(conn, monday)


def adopt(conn: psycopg.Connection, monday: date) -> int:
    """Make the partition of a week, with the rows of it that the default partition has taken.

    PostgreSQL refuses a partition while the default one holds rows of it: so after weeks without
    ``watch``, or for records of a week that was dropped, they are moved first. Returns 1.
    """
    name, default = sql.Identifier(partition_name(monday)), sql.Identifier(DEFAULT)
    start, end = (
        sql.Literal(datetime(d.year, d.month, d.day, tzinfo=UTC).isoformat())
        for d in (monday, monday + timedelta(7))
    )
    conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(default))
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
