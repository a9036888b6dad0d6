"""Evaluate: judge the deliveries that new records, acts or clocks have touched.

Woken by NOTIFY, and looking by itself every second, since a notification lost with a connection
must not leave a delivery unjudged. Any number may run: each takes what no other holds.

Deliveries with an event, or that a person has acted on, come in batches of their own between the
others: a cut seal must not wait behind thousands of positions. Therefore a batch is bounded by its
records too: one whose deliveries have too many of them is tried again with fewer deliveries.
"""

from __future__ import annotations

import gc
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from prometheus_client import Counter, Histogram

from tracker.db import workers
from tracker.db.evaluation import TooMany, record_fault, waiting
from tracker.db.marks import DIRTY_CHANNEL, tidy_marks
from tracker.exporter import exported_metrics
from tracker.judging import Remembered
from tracker.pipeline import judge
from tracker.settings import Settings

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 1.0
RETRY_S = 1.0
PACE_S = 0.1
"""From one batch to the next, unless more is waiting than one batch holds: what comes meanwhile
shares the cost of a batch. A fifth of what an alert may take is left for it."""

FEWER = 4
"""So many times fewer deliveries are tried when a batch of them has too many records; each batch
that is judged lets the next have a quarter more. What is read in vain is then some per cent."""

REMEMBERED = 60_000
"""Deliveries remembered, some kilobytes each: six times a national fleet's active ones."""

TIDY_AFTER = 20_000
"""Deliveries judged, whose marks are then dead rows that each look at the marks passes over;
autovacuum comes too seldom for a table that is all churn."""

IDLE_IN_TRANSACTION_S = 300.0
"""One that is stopped in the middle of a batch leaves it to others after so long; the folding of
the longest backlogs, between two statements, takes a fraction of it."""

FAULT_RETRY = timedelta(minutes=1)
"""A fault of a detector lasts until its code changes or late data comes: once a minute will do."""

JUDGED = Counter("tracker_deliveries_judged_total", "Deliveries judged.")
FAULTS = Counter("tracker_judging_faults_total", "Deliveries that could not be judged.")
BATCH_SECONDS = Histogram("tracker_judge_batch_seconds", "Duration of a judging transaction.")


class Evaluator:
    """One worker of the second stage."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._memory: dict[UUID, Remembered] = {}
        # Of urgent batches and of others: what heavy ones have taught says nothing of the rest.
        self._limits = dict.fromkeys((True, False), settings.evaluate_batch)

    def run(self) -> None:
        """Work until ``stop`` is set; after a lost database, connect again."""
        while not self._stop.is_set():
            try:
                with self._connect() as work, self._connect() as ears:
                    ears.execute(f"LISTEN {DIRTY_CHANNEL}")
                    self._work(work, ears)
            except workers.LOST as exc:
                log.error("the database is away, trying again", error=str(exc))
                self._stop.wait(RETRY_S)

    def _connect(self) -> psycopg.Connection[Any]:
        return workers.connect(
            self._settings.database_url,
            "tracker-evaluate",
            idle_in_transaction_s=IDLE_IN_TRANSACTION_S,
            # The planner's estimates for unnested batches make JIT compile for nothing.
            jit="off",
        )

    def _work(self, work: psycopg.Connection[Any], ears: psycopg.Connection[Any]) -> None:
        judged_since = 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            urgent = self.judge_batch(work, urgent=True)
            judged = self.judge_batch(work)
            judged_since += urgent + judged
            if judged_since >= TIDY_AFTER:
                tidy_marks(work)
                judged_since = 0
            if not judged and not urgent:
                for _ in ears.notifies(timeout=LOOK_AGAIN_S, stop_after=1):
                    pass
            elif judged < self._settings.evaluate_batch:
                self._stop.wait(max(0.0, PACE_S - (time.monotonic() - began_s)))

    def judge_batch(self, conn: psycopg.Connection[Any], *, urgent: bool = False) -> int:
        """Judge one batch; if that fails, find the delivery that it fails on."""
        while True:
            limit = self._limits[urgent]
            try:
                judged = self._judge(conn, limit, urgent=urgent)
            except TooMany as exc:
                self._limits[urgent] = max(1, exc.deliveries // FEWER)
                log.info("batch too large", reason=str(exc), next_deliveries=self._limits[urgent])
            except Exception as exc:
                if _is_away(exc):
                    raise
                log.exception("batch not judged, judging its deliveries one by one")
                return self._judge_singly(conn, limit, urgent=urgent)
            else:
                more = limit + max(1, limit // FEWER)
                self._limits[urgent] = min(self._settings.evaluate_batch, more)
                return judged

    @BATCH_SECONDS.time()
    def _judge(
        self,
        conn: psycopg.Connection[Any],
        limit: int,
        only: UUID | None = None,
        *,
        urgent: bool = False,
    ) -> int:
        while len(self._memory) > REMEMBERED:
            del self._memory[next(iter(self._memory))]
        with conn.transaction():
            judged = judge(
                conn,
                now=workers.now(conn),
                limit=limit,
                only=only,
                memory=self._memory,
                urgent=urgent,
            )
        JUDGED.inc(judged)
        return judged

    def _judge_singly(self, conn: psycopg.Connection[Any], limit: int, *, urgent: bool) -> int:
        return sum(self._judge_one(conn, id_) for id_ in waiting(conn, limit, urgent=urgent))

    def _judge_one(self, conn: psycopg.Connection[Any], delivery_id: UUID) -> int:
        try:
            return self._judge(conn, 1, delivery_id)
        except Exception as exc:
            if _is_away(exc):
                raise
            fault_id = uuid4().hex
            log.exception("delivery not judged", delivery_id=str(delivery_id), fault_id=fault_id)
            FAULTS.inc()
            retry_at = workers.now(conn) + FAULT_RETRY
            record_fault(conn, delivery_id, fault_id=fault_id, retry_at=retry_at)
            return 0


def _is_away(exc: Exception) -> bool:
    """Whether the fault is the database's: no other delivery would fare better now.

    A limit of the server's that data exceeds (class 54) is the data's fault, though an operational
    error like the others. When memory, disk or connections run out (class 53), that is not told to
    be any one delivery's fault, and noting faults would fail too: the batch is tried again.
    """
    if isinstance(exc, psycopg.Error) and (exc.sqlstate or "").startswith("54"):
        return False
    return isinstance(exc, workers.LOST)


def run(settings: Settings, stop: threading.Event) -> None:
    """Evaluate until ``stop`` is set."""
    # A batch makes tens of thousands of small values and no cycles: looking for cycles after every
    # 700 of them was a tenth of the CPU.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with exported_metrics(settings):
        Evaluator(settings, stop).run()
