"""The whole benchmark of ingest on one fresh server: its figures, its table, its file."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench import cost, ingest, latency
from bench.load import Load
from bench.report import machine, show, write
from bench.run import BATCH
from bench.server import make_blank, make_template, running_server


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything."""

    devices: int = 50_000
    deliveries: int = 10_000
    rounds: int = 8
    turns: int = 25
    repeats: int = 3
    cost_sizes: tuple[int, ...] = (1_000, 10_000, 50_000)
    cost_rate: int = 2_000
    cost_s: float = 20.0
    latency_s: float = 30.0
    latency_tries: int = 4


FULL = Scale()
QUICK = Scale(
    devices=2_500,
    deliveries=500,
    rounds=6,
    turns=2,
    repeats=1,
    cost_sizes=(50, 500, 2_000),
    cost_rate=1_500,
    cost_s=1.0,
    latency_s=3.0,
    latency_tries=1,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, show and write its results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small load, for a first look")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    result = measure(QUICK if options.quick else FULL)
    result |= {"scaled_down": options.quick, "took_s": round(time.perf_counter() - begin, 1)}
    show("Ingest", result)
    write("ingest-quick" if options.quick else "ingest", result)
    return 0


def measure(scale: Scale) -> dict[str, Any]:
    """All runs of the benchmark on one fresh server."""
    about = machine()  # first: the load before the benchmark made its own
    load = Load(
        devices=scale.devices,
        deliveries=scale.deliveries,
        rounds=scale.rounds,
        begin=datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2),
    )
    batches = load.batches(BATCH)
    gc.freeze()  # the waiting load is the benchmark's own: no collection should have to walk it
    gc.set_threshold(50_000, 20, 20)  # as the product's workers have it
    with running_server() as server:
        make_blank(server)
        make_template(server, load)
        result = ingest.measure(server, load, batches, scale.turns, scale.repeats)
        del batches
        gc.unfreeze()
        rate = result["full_rps"] / 2
        result |= latency.measure(server, load, rate, scale.latency_s, scale.latency_tries)
        result |= cost.measure(server, scale.cost_sizes, scale.cost_rate, scale.cost_s)
    return result | about
