"""What a record costs with few and with many active deliveries, at the same rate of records.

Each run first stores and settles two rounds of all devices, so that a delivery's first record,
whose plan is read, is not measured, nor the splitting of index pages that one round has filled to
the brim; then records come in the batches of a tenth of a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.load import Load
from bench.meter import Family
from bench.run import BATCH, EVALUATOR_READY, SETTLED, Run, connected, wait_until, warm
from bench.server import clone, drop, make_template, process
from tracker.embedded.postgres import PrivatePostgres
from tracker.storing import Incoming

TICK_S = 0.1
WARM = 2


def measure(
    server: PrivatePostgres, sizes: Sequence[int], rate: int, seconds: float
) -> dict[str, Any]:
    """CPU per record at each number of active deliveries."""
    runs = {str(size): _one(server, size, rate, round(rate * seconds)) for size in sizes}
    return {
        "cost_by_deliveries": {size: run["cpu_us"] for size, run in runs.items()},
        "cost_runs": runs,
    }


def _one(server: PrivatePostgres, deliveries: int, rate: int, records: int) -> dict[str, Any]:
    devices = 2 * deliveries
    load = Load(
        devices=devices,
        deliveries=deliveries,
        rounds=WARM + -(-records // devices),
        begin=datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2),
    )
    template = f"cost_template_{deliveries}"
    make_template(server, load, template)
    first = load.batches(BATCH, last=WARM)
    ticks = load.batches(round(rate * TICK_S), first=WARM)[: round(records / rate / TICK_S)]
    with (
        clone(server, "bench_cost", template) as dsn,
        connected(dsn) as conn,
        process("evaluate", dsn) as evaluator,
    ):
        wait_until(conn, EVALUATOR_READY)
        warm(conn, first)
        family = Family(conn, os.getpid(), evaluator.pid)
        ours, theirs = family.cpu_s()
        begin = time.perf_counter()
        _play(Run(conn), ticks)
        kept_s = time.perf_counter() - begin
        wait_until(conn, SETTLED)
        ours_end, theirs_end = family.cpu_s()
    drop(server, template)
    stored = sum(map(len, ticks))
    cpu = {"ours_us": ours_end - ours, "database_us": theirs_end - theirs}
    return {
        "cpu_us": round(sum(cpu.values()) / stored * 1e6, 1),
        **{name: round(spent / stored * 1e6, 1) for name, spent in cpu.items()},
        **{"records": stored, "rate_rps": round(stored / kept_s)},
    }


def _play(run: Run, ticks: Sequence[Sequence[Incoming]]) -> None:
    begin = time.perf_counter()
    for number, batch in enumerate(ticks):
        time.sleep(max(0.0, begin + number * TICK_S - time.perf_counter()))
        run.store(batch)
