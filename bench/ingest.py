"""Records stored, and records stored and settled, per second. The broker is not in it.

The floor is the storing stage alone: decode, MAC, unique insert, received numbers, marks, acks, no
evaluation. It is set against the same storing while ``tracker evaluate`` judges beside, as the
product runs (full): storing waits whenever a delivery has not been settled for ten seconds, and
the clock runs until every one is. Both have the whole machine; in the floor nobody uses what
evaluation would, so the CPU per record of both is told too. They take turns, and medians count. The
first round of all devices is stored before, not measured. Both stages in turns in one process show
what each step costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import psycopg

from bench.load import ROUTES, VERTICES, Load
from bench.meter import Family, rss_mb
from bench.run import (
    BATCH,
    EVALUATOR_READY,
    LAGGING,
    SETTLED,
    Measured,
    Run,
    connected,
    prepare,
    wait_until,
)
from bench.server import clone, process
from tracker.embedded.postgres import PrivatePostgres
from tracker.model import from_ms
from tracker.storing import Incoming

Batches = Sequence[Sequence[Incoming]]

LOOK_EVERY = 4
"""Batches, half a second, between two looks at whether judging lags: each reads all that waits."""

_SIZES = """
SELECT (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree('telemetry') WHERE isleaf),
    (SELECT sum(pg_indexes_size(relid)) FROM pg_partition_tree('telemetry') WHERE isleaf),
    pg_total_relation_size('signed_messages')
"""


def measure(
    server: PrivatePostgres, load: Load, batches: Batches, turns: int, repeats: int
) -> dict[str, Any]:
    """Floor, full and the stages.

    ``batches``: of which the first round of all devices is not measured; ``turns``: of how many
    batches the stages are measured; ``repeats``: of floor and full.
    """
    first = -(-load.devices // BATCH)
    work = batches[:first], batches[first:]
    floors: list[Measured] = []
    fulls: list[dict[str, Any]] = []
    for _ in range(repeats):
        floor, size = run_floor(server, *work)
        floors.append(floor)
        fulls.append(run_full(server, *work))
    stages = run_in_turns(server, work[0], work[1][:turns])
    floor_rps, full_rps = median(f.rps for f in floors), median(f["rps"] for f in fulls)
    full = min(fulls, key=lambda f: abs(f["rps"] - full_rps))
    return {
        **{"floor_rps": round(floor_rps), "full_rps": round(full_rps)},
        "ratio": round(full_rps / floor_rps, 3),
        "cpu_us_per_record": stages.stages,
        "bytes_per_record": sum(size.values()),
        "bytes_by_part": size,
        "floor_cpu_us": round(median(f.all_cpu_us for f in floors)),
        "full_cpu_us": round(median(f["cpu_us"] for f in fulls)),
        **{"turns_cpu_us": round(stages.cpu_us), "turns_records": stages.records},
        "rounds": {
            "floor_rps": [round(f.rps) for f in floors],
            "full_rps": [f["rps"] for f in fulls],
        },
        "evaluate_rss_mb": full["rss_mb"],
        "load": {
            **{"devices": load.devices, "active_deliveries": load.deliveries},
            **{"devices_bound": 2 * load.deliveries, "signed": True},
            "records": sum(map(len, work[1])),
            **{"routes": ROUTES, "vertices": VERTICES, "batch_records": BATCH},
            "payload_bytes": round(sum(len(m.payload) for b in batches for m in b) / load.records),
        },
    }


def run_floor(
    server: PrivatePostgres, first: Batches, batches: Batches
) -> tuple[Measured, dict[str, int]]:
    """Storing alone, and how much room a record takes."""
    with clone(server, "bench_floor") as dsn, connected(dsn) as conn:
        run = Run(conn)
        prepare(run, conn, first)
        family = Family(conn, os.getpid())
        before, begin = sum(family.cpu_s()), time.perf_counter()
        for batch in batches:
            run.store(batch)
        seconds, spent = time.perf_counter() - begin, sum(family.cpu_s()) - before
        stored = sum(map(len, first)) + sum(map(len, batches))
        return _measured(run, batches, seconds, spent), _size(conn, stored)


def run_in_turns(server: PrivatePostgres, first: Batches, batches: Batches) -> Measured:
    """Storing and judging in turns: after each batch every delivery is settled."""
    with clone(server, "bench_turns") as dsn, connected(dsn) as conn:
        run = Run(conn)
        for batch in first:
            run.store(batch)
            run.judge_all(from_ms(batch[-1].received_ms))
        prepare(run, conn, [])
        begin = time.perf_counter()
        for batch in batches:
            run.store(batch)
            run.judge_all(from_ms(batch[-1].received_ms))
        return _measured(run, batches, time.perf_counter() - begin)


def run_full(server: PrivatePostgres, first: Batches, batches: Batches) -> dict[str, Any]:
    """Storing as fast as ``tracker evaluate`` can follow; over when all is settled."""
    with (
        clone(server, "bench_full") as dsn,
        connected(dsn) as conn,
        connected(dsn) as watch,
        process("evaluate", dsn) as evaluator,
    ):
        wait_until(conn, EVALUATOR_READY)
        family = Family(conn, os.getpid(), evaluator.pid)
        run = Run(conn)
        prepare(run, conn, first)
        wait_until(conn, SETTLED)
        rss = [rss_mb(evaluator.pid)]
        before, begin = sum(family.cpu_s()), time.perf_counter()
        for number, batch in enumerate(batches):
            run.store(batch)
            while number % LOOK_EVERY == 0 and watch.execute(LAGGING).fetchone() == (True,):
                time.sleep(0.01)
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


def _measured(run: Run, batches: Batches, seconds: float, spent_s: float = 0.0) -> Measured:
    records = sum(map(len, batches))
    return Measured(
        seconds=seconds,
        records=records,
        stages=run.meter.us_per_record(records),
        all_cpu_us=spent_s / records * 1e6,
    )


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
