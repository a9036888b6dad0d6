"""Tidying: tables beside telemetry that would only grow are kept to their policies.

Each batch in a transaction of its own. What goes is counted, in the log and in a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg
import structlog
from msgspec import Struct
from prometheus_client import Counter

from tracker.db import tidying as db
from tracker.retention import cutoff
from tracker.settings import Settings
from tracker.tracing import JAM_WITHIN

Connection = psycopg.Connection[Any]

log = structlog.get_logger(__name__)

IDLE_IN_TRANSACTION_S = 60.0
"""One that is stopped in the middle of a batch keeps nobody from the rows, or judging from the
traces, for longer; between two statements it only tells cases from others."""

TIDIED = Counter(
    "tracker_tidied_rows_total", "Rows that left tables beside telemetry by policy.", ["table"]
)


class Tidied(Struct, frozen=True, kw_only=True):
    """What a run took out of a table, or would: rows from before a time."""

    table: str
    removed: int
    before: datetime


def policies(settings: Settings, now: datetime) -> Iterator[tuple[db.Table, datetime]]:
    """The tables that have a policy, each with the time before which rows go.

    What deliveries are judged by follows the age of their records. Acts may be recorded so long
    afterwards as ``backdating_days`` says, so nothing younger goes.
    """
    evidence_days = settings.retention_days and max(
        settings.retention_days, settings.backdating_days
    )
    for table, days in (
        (db.trace_table(JAM_WITHIN), evidence_days),
        (db.REFUSALS, evidence_days),
        (db.DEAD_ZONES, evidence_days),
        (db.QUARANTINE, settings.quarantine_days),
        (db.SIGNED_MESSAGES, settings.retention_days),
        (db.SCAN_FILES, settings.scan_file_days),
        (db.CHECKPOINTS, settings.checkpoint_days),
        (db.OUTBOX, settings.events_days),
        (db.IDEMPOTENCY_KEYS, settings.idempotency_days),
    ):
        before = cutoff(now, days)
        if before is not None:
            yield table, before


def plan(conn: Connection, settings: Settings, now: datetime) -> list[Tidied]:
    """What a run at ``now`` would take out; changes nothing."""
    return [
        Tidied(table=table.name, removed=table.count(conn, before), before=before)
        for table, before in policies(settings, now)
    ]


def run(
    conn: Connection,
    settings: Settings,
    now: datetime,
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Tidied]:
    """Keep every table to its policy.

    Args:
        conn: in autocommit.
        stopped: asked between batches; when true, the rest is left for the next run.
    """
    done = []
    for table, before in policies(settings, now):
        removed = 0
        while not stopped() and (batch := _remove(conn, table, before)):
            TIDIED.labels(table.name).inc(batch)
            removed += batch
        if removed:
            log.info("tidied", table=table.name, removed=removed, before=before.isoformat())
        done.append(Tidied(table=table.name, removed=removed, before=before))
    return done


def _remove(conn: Connection, table: db.Table, before: datetime) -> int:
    """One batch; 0 also if another process is at it."""
    with conn.transaction():
        return table.remove(conn, before) if db.lead(conn) else 0
