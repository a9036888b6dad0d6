"""Records stored, and records stored and settled, per second: ``python -m bench.ingest``.

The floor is the storing stage alone: decode, identity, unique insert, received numbers, marks,
acks, no evaluation, no signatures. It is set against storing and judging until every delivery is
settled, with every detector on: as the product runs, with a second process judging meanwhile
(full); in turns in one process, which shows what each step costs where nothing coalesces; and all
stored and then judged at once, as a backlog is. The broker is not in it: see ``bench.latency``.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from bench.load import Load
from bench.meter import Meter
from bench.report import machine, show, write
from bench.server import clone, make_template, process, running_server
from tracker import pipeline
from tracker.anomalies import Limits
from tracker.embedded.postgres import PrivatePostgres
from tracker.ingest_mqtt import Acks
from tracker.judging import Judging, Remembered
from tracker.model import from_ms
from tracker.received import ack_of
from tracker.storing import Incoming, Storing

BATCH = 2_000
EVALUATE = 200
SETTLE_S = 600.0
QUARANTINE = 10_000

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

    def store(self, batch: Sequence[Incoming]) -> None:
        """Stage 1, committed, with the acks that it makes due."""
        storing = Storing(incoming=batch, quarantine_per_device=QUARANTINE)
        with self._conn.transaction():
            for step in pipeline.STORE:
                with self.meter.stage(f"store.{step.__name__}"):
                    step(self._conn, storing)
            commit = self.meter.stage("store.commit")
            commit.__enter__()
        commit.__exit__(None, None, None)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, show and write its results."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small load, for a first look")
    parser.add_argument("--deliveries", type=int, help="active deliveries, one device each")
    parser.add_argument("--records", type=int, help="records of each device")
    options = parser.parse_args(arguments)
    load = Load(
        deliveries=options.deliveries or (200 if options.quick else 1_000),
        records_each=options.records or (25 if options.quick else 60),
        begin=datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2),
    )
    result = measure(load)
    show("Ingest", result)
    write("ingest-quick" if options.quick else "ingest", result)
    return 0


def measure(load: Load) -> dict[str, Any]:
    """All runs of the benchmark on one fresh server."""
    batches = list(load.batches(BATCH))
    gc.freeze()  # the waiting load is the benchmark's own: no collection should have to walk it
    with running_server() as server:
        make_template(server, load)
        floor, size = run_floor(server, load, batches)
        turns = run_in_turns(server, load, batches)
        backlog = run_in_turns(server, load, batches, at_once=True)
        full = run_full(server, load, batches)
    return {
        **{"floor_rps": round(floor.rps), "full_rps": round(full.rps)},
        "ratio": round(full.rps / floor.rps, 3),
        **{"turns_rps": round(turns.rps), "backlog_rps": round(backlog.rps)},
        "floor_cpu_us": round(floor.cpu_us),
        "turns_cpu_us": round(turns.cpu_us),
        "backlog_cpu_us": round(backlog.cpu_us),
        **{"deliveries": load.deliveries, "records": load.records, "batch_records": BATCH},
        "signed": False,
        "payload_bytes": round(sum(len(m.payload) for b in batches for m in b) / load.records),
        "bytes_per_record": size,
        "cpu_us_per_record": turns.stages,
        **machine(),
    }


def run_floor(
    server: PrivatePostgres, load: Load, batches: list[list[Incoming]]
) -> tuple[Measured, dict[str, float]]:
    """Storing alone, and how much room a record takes."""
    with clone(server, "bench_floor") as dsn, connected(dsn) as conn:
        run = Run(conn)
        begin = time.perf_counter()
        for batch in batches:
            run.store(batch)
        seconds = time.perf_counter() - begin
        measured = Measured(
            seconds=seconds, records=load.records, stages=run.meter.us_per_record(load.records)
        )
        return measured, _size(conn, load.records)


def run_in_turns(
    server: PrivatePostgres, load: Load, batches: list[list[Incoming]], *, at_once: bool = False
) -> Measured:
    """Storing and judging in turns: after each batch every delivery is settled.

    ``at_once``: judged once, after all is stored, as a backlog is.
    """
    with clone(server, "bench_full") as dsn, connected(dsn) as conn:
        run = Run(conn)
        begin = time.perf_counter()
        for batch in batches:
            run.store(batch)
            if not at_once or batch is batches[-1]:
                run.judge_all(from_ms(batch[-1].received_ms))
        seconds = time.perf_counter() - begin
        _check_found(conn)
        return Measured(
            seconds=seconds, records=load.records, stages=run.meter.us_per_record(load.records)
        )


def run_full(server: PrivatePostgres, load: Load, batches: list[list[Incoming]]) -> Measured:
    """Storing flat out while ``tracker evaluate`` judges; over when all is settled."""
    with clone(server, "bench_both") as dsn, connected(dsn) as conn, process("evaluate", dsn):
        _wait(conn, EVALUATOR_READY)
        run = Run(conn)
        begin = time.perf_counter()
        for batch in batches:
            run.store(batch)
        _wait(conn, SETTLED)
        seconds = time.perf_counter() - begin
        return Measured(seconds=seconds, records=load.records, stages={})


def _wait(conn: psycopg.Connection[Any], query: LiteralString) -> None:
    deadline = time.monotonic() + SETTLE_S
    while conn.execute(query).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not so after {SETTLE_S:g} s: {query}")
        time.sleep(0.01)


def _check_found(conn: psycopg.Connection[Any]) -> None:
    """A benchmark of detectors that found nothing would measure something else."""
    rows = conn.execute("SELECT DISTINCT code FROM anomalies").fetchall()
    missing = {"route_deviation", "unauthorised_stop"} - {row[0] for row in rows}
    if missing:
        raise RuntimeError(f"the load's crooked deliveries were not found: {sorted(missing)}")


def _size(conn: psycopg.Connection[Any], records: int) -> dict[str, float]:
    row = conn.execute(
        "SELECT sum(pg_relation_size(relid)), sum(pg_indexes_size(relid))"
        " FROM pg_partition_tree('telemetry') WHERE isleaf"
    ).fetchone()
    assert row is not None
    return {"table": round(int(row[0]) / records), "indexes": round(int(row[1]) / records)}


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the options of the product's processes."""
    options = "-c timezone=UTC -c jit=off"
    with psycopg.connect(dsn, autocommit=True, options=options) as conn:
        yield conn


if __name__ == "__main__":
    sys.exit(main())
