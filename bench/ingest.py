"""Records stored, and records stored and settled, per second. The broker is not in it.

The floor is the storing stage alone: decode, MAC, unique insert, received numbers, marks, acks, no
evaluation. It is set against storing while ``tracker evaluate`` judges beside, as the product runs,
until every delivery is settled with every detector on (full). In turns in one process shows what
each step costs where nothing coalesces.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from bench.load import ROUTES, VERTICES, Load
from bench.meter import Family, rss_mb
from bench.run import BATCH, EVALUATOR_READY, SETTLED, Measured, Run, connected, wait_until
from bench.server import clone, process
from tracker.embedded.postgres import PrivatePostgres
from tracker.model import from_ms
from tracker.storing import Incoming

Batches = Sequence[Sequence[Incoming]]

_SIZES = """
SELECT (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree('telemetry') WHERE isleaf),
    (SELECT sum(pg_indexes_size(relid)) FROM pg_partition_tree('telemetry') WHERE isleaf),
    pg_total_relation_size('signed_messages')
"""


def measure(server: PrivatePostgres, load: Load, batches: Batches, turns: int) -> dict[str, Any]:
    """Floor, full and the stages; ``turns``: of how many batches the stages are measured."""
    floor, size = run_floor(server, batches)
    full = run_full(server, batches)
    stages = run_in_turns(server, batches[:turns])
    return {
        **{"floor_rps": round(floor.rps), "full_rps": full["rps"]},
        "ratio": round(full["rps"] / floor.rps, 3),
        "cpu_us_per_record": stages.stages,
        "bytes_per_record": sum(size.values()),
        "bytes_by_part": size,
        **{"floor_cpu_us": round(floor.cpu_us), "full_cpu_us": full["cpu_us"]},
        **{"turns_cpu_us": round(stages.cpu_us), "turns_records": stages.records},
        "evaluate_rss_mb": full["rss_mb"],
        "load": {
            **{"devices": load.devices, "active_deliveries": load.deliveries},
            **{"devices_bound": 2 * load.deliveries, "records": load.records, "signed": True},
            **{"routes": ROUTES, "vertices": VERTICES, "batch_records": BATCH},
            "payload_bytes": round(sum(len(m.payload) for b in batches for m in b) / load.records),
        },
    }


def run_floor(server: PrivatePostgres, batches: Batches) -> tuple[Measured, dict[str, int]]:
    """Storing alone, and how much room a record takes."""
    with clone(server, "bench_floor") as dsn, connected(dsn) as conn:
        run = Run(conn)
        begin = time.perf_counter()
        for batch in batches:
            run.store(batch)
        measured = _measured(run, batches, time.perf_counter() - begin)
        return measured, _size(conn, measured.records)


def run_in_turns(server: PrivatePostgres, batches: Batches) -> Measured:
    """Storing and judging in turns: after each batch every delivery is settled."""
    with clone(server, "bench_turns") as dsn, connected(dsn) as conn:
        run = Run(conn)
        begin = time.perf_counter()
        for batch in batches:
            run.store(batch)
            run.judge_all(from_ms(batch[-1].received_ms))
        return _measured(run, batches, time.perf_counter() - begin)


def run_full(server: PrivatePostgres, batches: Batches) -> dict[str, Any]:
    """Storing flat out while ``tracker evaluate`` judges; over when all is settled."""
    with (
        clone(server, "bench_full") as dsn,
        connected(dsn) as conn,
        process("evaluate", dsn) as evaluator,
    ):
        wait_until(conn, EVALUATOR_READY)
        family = Family(conn, os.getpid(), evaluator.pid)
        run = Run(conn)
        rss = [rss_mb(evaluator.pid)]
        before, begin = sum(family.cpu_s()), time.perf_counter()
        for number, batch in enumerate(batches):
            run.store(batch)
            if number == len(batches) // 2:
                rss.append(rss_mb(evaluator.pid))
        wait_until(conn, SETTLED)
        seconds, spent = time.perf_counter() - begin, sum(family.cpu_s()) - before
        rss.append(rss_mb(evaluator.pid))
        _check_found(conn)
        records = sum(map(len, batches))
        return {
            "rps": round(records / seconds),
            "cpu_us": round(spent / records * 1e6),
            "rss_mb": dict(zip(("start", "half", "end"), rss, strict=True)),
        }


def _measured(run: Run, batches: Batches, seconds: float) -> Measured:
    records = sum(map(len, batches))
    return Measured(seconds=seconds, records=records, stages=run.meter.us_per_record(records))


def _check_found(conn: psycopg.Connection[Any]) -> None:
    """A benchmark of detectors that found nothing would measure something else."""
    rows = conn.execute("SELECT DISTINCT code FROM anomalies").fetchall()
    missing = {"route_deviation", "unauthorised_stop"} - {row[0] for row in rows}
    if missing:
        raise RuntimeError(f"the load's crooked deliveries were not found: {sorted(missing)}")


def _size(conn: psycopg.Connection[Any], records: int) -> dict[str, int]:
    row = conn.execute(_SIZES).fetchone()
    assert row is not None
    names = ("telemetry", "telemetry_indexes", "signed_messages")
    return {name: round(int(n) / records) for name, n in zip(names, row, strict=True)}
