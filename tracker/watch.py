"""Watch: the clocks. Silence and deadlines come without a record; partitions are made ahead, and
leave when they have reached their age.

One leader at a time, by advisory lock; the others wait to take over. It decides nothing itself: it
marks the deliveries whose clock has come, and evaluation judges them with the same functions. It
also passes on the alerts whose time has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter

from tracker import archiving, tidying
from tracker.db import workers
from tracker.db.dead_zones import Learning, make_layer
from tracker.db.escalation import escalate_due
from tracker.db.evaluation import mark_clocks
from tracker.db.marks import DIRTY_CHANNEL
from tracker.db.partitions import ensure_partitions
from tracker.errors import TrackerError
from tracker.exporter import exported_metrics
from tracker.settings import Settings, parse_roles

log = structlog.get_logger(__name__)

LEADER_LOCK = 7238247
RETRY_S = 1.0
STANDS_STILL_S = 15.0
"""A leader that has not ticked for so long is stopped: its session ends and another leads."""

PARTITIONS_EVERY = timedelta(hours=1)
RETENTION_EVERY = timedelta(hours=1)

RETENTION_FAILED = Counter("tracker_retention_failures_total", "Runs of retention that failed.")
ESCALATED = Counter("tracker_alerts_escalated_total", "Alerts whose time passed, passed on.")
CLOCKS = Counter("tracker_clocks_total", "Deliveries marked because a clock of theirs had come.")


class Watch:
    """The clocks of all deliveries."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._partitions_at: datetime | None = None
        self._retained_at: datetime | None = None
        self._retention: threading.Thread | None = None

    def run(self) -> None:
        """Watch until ``stop`` is set; after a lost database, connect and lead again."""
        tick_s = self._settings.watch_tick_s
        while not self._stop.is_set():
            try:
                with self._connect(idle_s=max(STANDS_STILL_S, 3 * tick_s)) as conn:
                    if self._lead(conn):
                        self._tick_until_stopped(conn)
                    else:
                        self._stop.wait(self._settings.watch_tick_s)
            except workers.LOST as exc:
                log.error("the database is away, trying again", error=str(exc))
                self._stop.wait(RETRY_S)
        if self._retention is not None:
            self._retention.join()

    def _connect(self, *, idle_s: float = 0) -> psycopg.Connection[Any]:
        return workers.connect(
            self._settings.database_url,
            "tracker-watch",
            idle_in_transaction_s=idle_s,
            idle_s=idle_s,
        )

    def _lead(self, conn: psycopg.Connection[Any]) -> bool:
        row = conn.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()
        return bool(row and row[0])

    def _tick_until_stopped(self, conn: psycopg.Connection[Any]) -> None:
        log.info("leading")
        while not self._stop.is_set():
            now = datetime.now(UTC)
            self.tick(conn, now)
            self._retain(now)
            self._stop.wait(self._settings.watch_tick_s)

    def tick(self, conn: psycopg.Connection[Any], now: datetime) -> int:
        """Mark what is due at ``now``; how many deliveries."""
        with conn.transaction():
            marked = mark_clocks(conn, now)
            if marked:
                conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))
        CLOCKS.inc(marked)
        with conn.transaction():
            ESCALATED.inc(escalate_due(conn, now, parse_roles(self._settings.escalate_to)))
        if self._partitions_at is None or now - self._partitions_at >= PARTITIONS_EVERY:
            with conn.transaction():
                ensure_partitions(conn, now)
            with conn.transaction():
                self._learn(conn, now)
            self._partitions_at = now
        return marked

    def _learn(self, conn: psycopg.Connection[Any], now: datetime) -> None:
        """Make the day's layer of dead zones, once a day."""
        learning = Learning(
            devices=self._settings.dead_zone_devices,
            gaps=self._settings.dead_zone_gaps,
            days=self._settings.dead_zone_days,
        )
        day = now.astimezone(UTC).date()
        cells = make_layer(conn, day, learning)
        if cells is not None:
            log.info("learnt dead zones", layer_date=str(day), cells=cells)

    def _retain(self, now: datetime) -> None:
        """Let what is old leave the database, beside the clocks: an export may take an hour."""
        if self._retained_at is not None and now - self._retained_at < RETENTION_EVERY:
            return
        if self._retention is None or not self._retention.is_alive():
            self._retained_at = now
            self._retention = threading.Thread(target=self._retire, args=(now,), name="retention")
            self._retention.start()

    def _retire(self, now: datetime) -> None:
        for work in (archiving.run, tidying.run):
            self._attempt(work, now)

    def _attempt(self, work: Callable[..., object], now: datetime) -> None:
        try:
            with self._connect() as conn:
                work(conn, self._settings, now, stopped=self._stop.is_set)
        except (psycopg.Error, TrackerError) as exc:
            # What was to go stays in the database and is tried again in an hour.
            RETENTION_FAILED.inc()
            log.error("retention failed", error=str(exc))


def run(settings: Settings, stop: threading.Event) -> None:
    """Watch until ``stop`` is set."""
    with exported_metrics(settings):
        Watch(settings, stop).run()
