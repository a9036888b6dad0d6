"""One database, one connection, and the two stages of the pipeline under a meter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from bench.meter import Meter
from tracker import pipeline
from tracker.anomalies import Limits
from tracker.db.telemetry import Ears, Registry
from tracker.ingest_mqtt import Acks
from tracker.judging import Judging, Remembered
from tracker.received import ack_of
from tracker.storing import Incoming, Storing

BATCH = 2_000
EVALUATE = 500
QUARANTINE = 10_000
SETTLE_S = 900.0

LAGGING: LiteralString = """
SELECT EXISTS (SELECT FROM dirty WHERE marked_at < clock_timestamp() - interval '10 s')
"""
"""At the limit, too, what is stored is settled within ten seconds, or storing waits: no backlog
flatters the figure. Judging late costs less, since a delivery's records are then judged together;
what a person waits for at half of that rate is in `bench.latency`."""

SETTLED: LiteralString = "SELECT NOT EXISTS (SELECT FROM dirty)"
EVALUATOR_READY: LiteralString = """
SELECT count(*) = 2 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tracker-evaluate' AND state = 'idle'
"""
"""Its two connections are open: starting a process is not what is measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run: records a second, and what each stage spent."""

    seconds: float
    records: int
    stages: dict[str, dict[str, float]]
    all_cpu_us: float = 0.0
    """CPU per record of all the database's processes and ours."""

    @property
    def rps(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU per record, ours and the backend's: what other work on the machine cannot change."""
        return sum(stage["python"] + stage["database"] for stage in self.stages.values())


class Run:
    """One database, one connection, and the two stages of the pipeline under a meter."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self.meter = Meter.of(conn)
        self._acks = Acks(records=32, seconds=120)
        self._memory: dict[UUID, Remembered] = {}
        self._ears = Ears()
        self._registry = Registry()

    def store(self, batch: Sequence[Incoming]) -> None:
        """Stage 1, committed, with the acks that it makes due."""
        storing = Storing(
            incoming=batch,
            quarantine_per_device=QUARANTINE,
            ears=self._ears,
            registry=self._registry,
        )
        with self._conn.transaction():
            for step in pipeline.STORE:
                with self.meter.stage(f"store.{step.__name__}"):
                    step(self._conn, storing)
            commit = self.meter.stage("store.commit")
            commit.__enter__()
        commit.__exit__(None, None, None)
        storing.remember()
        if len(storing.records) != len(batch):
            raise RuntimeError(f"not all stored: {storing.refused[:1]}")
        with self.meter.stage("store.acks"):
            for owed in self._acks.add(storing.news.values()):
                ack_of(owed.gen, storing.received[owed.key])

    def judge_all(self, now: datetime) -> None:
        """Stage 2, a transaction for each batch of deliveries, until no mark is left."""
        while self._judge(now):
            pass

    def _judge(self, now: datetime) -> int:
        judging = Judging(now=now, limits=Limits(), limit=EVALUATE, memory=self._memory)
        with self._conn.transaction():
            for step in pipeline.JUDGE:
                with self.meter.stage(f"judge.{step.__name__}"):
                    step(self._conn, judging)
                if not judging.cases:
                    break
            commit = self.meter.stage("judge.commit")
            commit.__enter__()
        commit.__exit__(None, None, None)
        return len(judging.cases)


def warm(conn: psycopg.Connection[Any], batches: Sequence[Sequence[Incoming]]) -> None:
    """Store a round and let the evaluator, which runs beside, settle it: not measured."""
    run = Run(conn)
    for batch in batches:
        run.store(batch)
    wait_until(conn, SETTLED)
    conn.execute("VACUUM (ANALYZE)")  # else it comes amid the run, for the round before it


def prepare(run: Run, conn: psycopg.Connection[Any], batches: Sequence[Sequence[Incoming]]) -> None:
    """Store a round by a run that goes on afterwards, so that it knows its devices."""
    for batch in batches:
        run.store(batch)
    run.meter.spent.clear()
    conn.execute("VACUUM (ANALYZE)")
    conn.execute("CHECKPOINT")


def wait_until(conn: psycopg.Connection[Any], query: LiteralString) -> None:
    """Wait until a query says true."""
    wait(lambda: conn.execute(query).fetchone() == (True,), SETTLE_S, query)


def wait(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; a benchmark that hangs is ended with what it waited for."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not so after {seconds:g} s: {what}")
        time.sleep(0.01)


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the options of the product's processes."""
    options = "-c timezone=UTC -c jit=off"
    with psycopg.connect(dsn, autocommit=True, options=options) as conn:
        yield conn
