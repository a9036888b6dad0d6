"""Partitions of telemetry by week of reception: made ahead, so that storing never waits for one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

WEEKS_AHEAD = 4
"""Four weeks: the watch process may be away for most of a month before the default partition,
which is slower to split than to avoid, takes a row."""


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


def _ensure(conn: psycopg.Connection, monday: date) -> int:
    name = f"telemetry_{monday:%Y%m%d}"
    exists = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    if exists and exists[0]:
        return 0
    bounds = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in (monday, monday + timedelta(7))]
    conn.execute(
        sql.SQL("CREATE TABLE {} PARTITION OF telemetry FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier(name), *(sql.Literal(b.isoformat()) for b in bounds)
        )
    )
    return 1
