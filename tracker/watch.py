"""Watch: the clocks. Silence and deadlines come without a record; partitions are made ahead, and
leave when they have reached their age.

One leader at a time, by advisory lock; the others wait to take over. It decides nothing itself: it
marks the deliveries whose clock has come, and evaluation judges them with the same functions. It
also passes on the alerts whose time has passed.

What time it is the database says: with a host's clock a year ahead, retention would drop the
records of yesterday. How long ago something was done is told by a clock that nobody sets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
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

NAME = "tracker-watch"
LEADER_LOCK = 7238247
RETRY_S = 1.0
STANDS_STILL_S = 15.0
"""A leader that has not ticked for so long is stopped: its session ends and another leads."""

LOCK_TIMEOUT_S = 10.0
"""A tick waits no longer for what somebody else is at: the next may find that one ended."""

PARTITIONS_EVERY_S = 3600.0
PARTITIONS_AGAIN_S = 60.0
"""After telemetry was too busy to be given a partition: readers must not be held up more often."""

RETENTION_EVERY_S = 3600.0

RETENTION_FAILED = Counter("tracker_retention_failures_total", "Runs of retention that failed.")
ESCALATED = Counter("tracker_alerts_escalated_total", "Alerts whose time passed, passed on.")
CLOCKS = Counter("tracker_clocks_total", "Deliveries marked because a clock of theirs had come.")
PUT_OFF = Counter(
    "tracker_watch_put_off_total", "Work put off: somebody else kept what it needs.", ["work"]
)
STALLED = Counter(
    "tracker_watch_sessions_ended_total", "Sessions ended that had left a statement half told."
)
for _work in ("clocks", "escalation", "partitions", "dead_zones"):
    PUT_OFF.labels(_work)  # served as 0, so that the first one is seen as growth


class Watch:
    """The clocks of all deliveries."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        # By time.monotonic().
        self._partitions_due_s = 0.0
        self._retention_due_s = 0.0
        self._learnt: date | None = None
        self._retention: threading.Thread | None = None

    def run(self) -> None:
        """Watch until ``stop`` is set; after a lost database, connect and lead again."""
        idle_s = max(STANDS_STILL_S, 3 * self._settings.watch_tick_s)
        while not self._stop.is_set():
            try:
                with workers.connect(
                    self._settings.database_url,
                    NAME,
                    idle_in_transaction_s=idle_s,
                    idle_s=idle_s,
                    lock_timeout=round(LOCK_TIMEOUT_S * 1000),
                ) as conn:
                    self._tick_until_stopped(conn)
            except workers.LOST as exc:
                log.error("the database is away, trying again", error=str(exc))
                self._stop.wait(RETRY_S)
        if self._retention is not None:
            self._retention.join()

    def _lead(self, conn: psycopg.Connection[Any]) -> bool:
        row = conn.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()
        return bool(row and row[0])

    def _tick_until_stopped(self, conn: psycopg.Connection[Any]) -> None:
        leads = False
        while not self._stop.is_set():
            # Before whatever may wait for a lock of theirs; and by any watch, for the one that
            # leads may itself be the one that stands still.
            _end_stalled(conn)
            if not leads and self._lead(conn):
                leads = True
                log.info("leading")
            if leads:
                now = workers.now(conn)
                self.tick(conn, now)
                self._retain(now)
            self._stop.wait(self._settings.watch_tick_s)

    def tick(self, conn: psycopg.Connection[Any], now: datetime) -> int:
        """Mark what is due at ``now``; how many deliveries. What somebody is busy with waits."""
        marked = 0
        with _put_off_if_busy("clocks"):
            with conn.transaction():
                marked = mark_clocks(conn, now)
                if marked:
                    conn.execute("SELECT pg_notify(%s, '')", (DIRTY_CHANNEL,))
            CLOCKS.inc(marked)
        with _put_off_if_busy("escalation"):
            with conn.transaction():
                escalated = escalate_due(conn, now, parse_roles(self._settings.escalate_to))
            ESCALATED.inc(escalated)
        self._make_partitions(conn, now)
        self._learn(conn, now)
        return marked

    def _make_partitions(self, conn: psycopg.Connection[Any], now: datetime) -> None:
        if time.monotonic() < self._partitions_due_s:
            return
        again_s = PARTITIONS_AGAIN_S
        with _put_off_if_busy("partitions"):
            with conn.transaction():
                ensure_partitions(conn, now)
            again_s = PARTITIONS_EVERY_S
        self._partitions_due_s = time.monotonic() + again_s

    def _learn(self, conn: psycopg.Connection[Any], now: datetime) -> None:
        """Make the day's layer of dead zones, once a day."""
        day = now.astimezone(UTC).date()
        if day == self._learnt:
            return
        learning = Learning(
            devices=self._settings.dead_zone_devices,
            gaps=self._settings.dead_zone_gaps,
            days=self._settings.dead_zone_days,
        )
        with _put_off_if_busy("dead_zones"):
            with conn.transaction():
                cells = make_layer(conn, day, learning)
            self._learnt = day
            if cells is not None:
                log.info("learnt dead zones", layer_date=str(day), cells=cells)

    def _retain(self, now: datetime) -> None:
        """Let what is old leave the database, beside the clocks: an export may take an hour."""
        if time.monotonic() < self._retention_due_s:
            return
        if self._retention is None or not self._retention.is_alive():
            self._retention_due_s = time.monotonic() + RETENTION_EVERY_S
            # A daemon: it must not keep a process without clocks, whose main thread has died. What
            # it was at is undone; the orderly end waits for it.
            self._retention = threading.Thread(
                target=self._retire, args=(now,), name="retention", daemon=True
            )
            self._retention.start()

    def _retire(self, now: datetime) -> None:
        self._attempt(archiving.run, archiving.IDLE_IN_TRANSACTION_S, now)
        self._attempt(tidying.run, tidying.IDLE_IN_TRANSACTION_S, now)

    def _attempt(self, work: Callable[..., object], idle_s: float, now: datetime) -> None:
        try:
            with workers.connect(
                self._settings.database_url, NAME, idle_in_transaction_s=idle_s
            ) as conn:
                work(conn, self._settings, now, stopped=self._stop.is_set)
        except (psycopg.Error, TrackerError) as exc:
            # What was to go stays in the database and is tried again in an hour.
            RETENTION_FAILED.inc()
            log.error("retention failed", error=str(exc))


def _end_stalled(conn: psycopg.Connection[Any]) -> None:
    ended = workers.end_stalled(conn)
    if ended:
        STALLED.inc(ended)
        log.warning("ended sessions that stood still in the middle of a statement", ended=ended)


@contextmanager
def _put_off_if_busy(work: str) -> Iterator[None]:
    """Leave for a later tick what waits for somebody else; the rest of the tick goes on."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as exc:
        PUT_OFF.labels(work).inc()
        log.warning("put off, somebody else keeps what it needs", work=work, error=str(exc))


def run(settings: Settings, stop: threading.Event) -> None:
    """Watch until ``stop`` is set."""
    with exported_metrics(settings):
        Watch(settings, stop).run()
