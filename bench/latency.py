"""From publishing to the alert on the API's event stream, through broker, ingest and evaluation.

A live fleet reports at about half of what the pipeline can do; every so often a seal's rope is cut.
Measured is the time from just before the publishing of that record until a client of the stream has
read the alert. A rate that the machine cannot hold is lowered until it can.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any

import httpx
import psycopg

from bench.listener import Listener
from bench.load import CUT, Load, Member
from bench.meter import Family, rss_mb
from bench.publisher import Publisher, publish_packet
from bench.run import BATCH, EVALUATOR_READY, SETTLED, connected, wait, wait_until, warm
from bench.server import clone, process, running_broker
from tracker.db.leases import sessions_up
from tracker.db.users import ensure_admin
from tracker.embedded.children import choose_port
from tracker.embedded.mosquitto import PrivateMosquitto
from tracker.embedded.postgres import PrivatePostgres

READY_S = 60.0
LAST_S = 60.0
CUTS = 200
HELD_MS = 2_000.0
"""Half of the last fifth of the alerts later than this: a queue is growing."""

SLOWER = 0.6
ADMIN, PASSWORD, SECRET = "bench", "a benchmark's pass phrase", "signs the benchmark's tokens " * 2


@dataclass(kw_only=True)
class Live:
    """What is published: packets in order, and which of them cut whose rope."""

    packets: list[bytes] = field(default_factory=list)
    cuts: dict[int, str] = field(default_factory=dict)


def measure(
    server: PrivatePostgres, load: Load, rate: float, seconds: float, tries: int
) -> dict[str, Any]:
    """Run at the rate; if the machine cannot hold it, at lower ones."""
    load = replace(load, begin=datetime.now(UTC) - timedelta(seconds=load.span_s / 2))
    with _product(server, load) as (conn, port, broker, pids), ExitStack() as stack:
        listener = Listener(port, ADMIN, PASSWORD)
        stack.callback(listener.close)
        publisher = Publisher(broker.host, broker.port)
        stack.callback(publisher.close)
        assert broker.process is not None
        family = Family(conn, os.getpid(), broker.process.pid, *pids.values())
        cut, round_ = set[int](), 1
        for number in range(tries):
            slower = rate * SLOWER**number
            live = _encode(load, _deliveries(conn), slower, round(slower * seconds), round_, cut)
            before, spent = _rss(pids), sum(family.cpu_s())
            sent, half = _play(publisher, live, slower, pids)
            _wait_told(listener, live)
            wait_until(conn, SETTLED)
            spent, end = sum(family.cpu_s()) - spent, _rss(pids)
            waits = [(listener.told_s[id_] - sent[n]) * 1000 for n, id_ in live.cuts.items()]
            figures = _figures(waits, (len(sent) - 1) / (sent[-1] - sent[0]), slower)
            if figures["latency_held"]:
                break
            round_ += -(-len(sent) // load.devices)
    return figures | {
        "latency_rss_mb": {
            name: {"start": before[name], "half": half[name], "end": end[name]} for name in pids
        },
        "latency_cpu_us": round(spent / len(sent) * 1e6),
        "latency_wanted_rps": round(rate),
    }


def _play(
    publisher: Publisher, live: Live, rate: float, pids: dict[str, int]
) -> tuple[list[float], dict[str, float]]:
    """Publish all; when each was, and the workers' memory half-way."""
    publisher.acked_bytes = 0
    middle = len(live.packets) // 2
    sent = publisher.play(live.packets[:middle], rate)
    half = _rss(pids)
    sent += publisher.play(live.packets[middle:], rate)
    publisher.wait_acked(len(sent))
    return sent, half


Product = tuple[psycopg.Connection[Any], int, PrivateMosquitto, dict[str, int]]
"""A connection to the database, the API's port, the broker, the workers' processes."""


@contextmanager
def _product(server: PrivatePostgres, load: Load) -> Iterator[Product]:
    """Broker, ingest, evaluate and API on the fleet, each device heard once before."""
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker())
        dsn = stack.enter_context(clone(server, "bench_latency"))
        conn = stack.enter_context(connected(dsn))
        conn.execute("UPDATE deliveries SET released_at = %s", (load.begin,))
        conn.execute("UPDATE bindings SET bound_from = %s", (load.begin,))
        evaluator = stack.enter_context(process("evaluate", dsn))
        wait_until(conn, EVALUATOR_READY)
        warm(conn, load.batches(BATCH, last=1))
        at: dict[str, str | int] = {"mqtt_host": broker.host, "mqtt_port": broker.port}
        ingest = stack.enter_context(process("ingest", dsn, **at))
        port = choose_port(wanted=None, last=None, what="the API")
        ensure_admin(dsn, ADMIN, PASSWORD)
        stack.enter_context(process("api", dsn, http_port=port, secret_key=SECRET, **at))
        wait(lambda: sessions_up(conn) >= 64, READY_S, "ingest has not subscribed")
        wait(lambda: _answers(port), READY_S, "the API does not answer")
        yield conn, port, broker, {"ingest": ingest.pid, "evaluate": evaluator.pid}


def _rss(pids: dict[str, int]) -> dict[str, float]:
    return {name: rss_mb(pid) for name, pid in pids.items()}


def _figures(waits: Sequence[float], kept: float, rate: float) -> dict[str, Any]:
    cuts = quantiles(waits, n=100, method="inclusive")
    late = median(waits[-max(1, len(waits) // 5) :])
    return {
        **{"p50_ms": round(median(waits)), "p99_ms": round(cuts[98])},
        **{"max_ms": round(max(waits)), "alerts_timed": len(waits)},
        "latency_rps": round(kept),
        "latency_held": kept >= 0.95 * rate and late <= HELD_MS,
    }


def _encode(
    load: Load, ids: dict[str, str], rate: float, records: int, first: int, cut: set[int]
) -> Live:
    """All packets from a round on, dated for a start in a moment.

    Cuts are evenly spread, one to a delivery; ``cut``: whose rope was cut, added to.
    """
    live = Live()
    rng = random.Random(load.seed)
    begin_ms = time.time_ns() // 1_000_000
    every = max(1, records // CUTS)
    for number in range(records):
        round_, place = divmod(number, load.devices)
        member = load.fleet[place]
        due = number >= every * (len(live.cuts) + 1) - every // 2
        more = CUT if due and _can_be_cut(member, cut) else {}
        if more and member.delivery is not None:
            cut.add(member.delivery)
            live.cuts[number] = ids[f"bench-{member.delivery:06d}"]
        t_ms = begin_ms + round(number / rate * 1000)
        message = load.message(member, first + round_, t_ms, rng, **more)
        live.packets.append(publish_packet(message.topic, message.payload, number))
    return live


def _can_be_cut(member: Member, cut: set[int]) -> bool:
    return member.kind == "seal" and member.delivery is not None and member.delivery not in cut


def _deliveries(conn: psycopg.Connection[Any]) -> dict[str, str]:
    rows = conn.execute("SELECT registration_number, id::text FROM deliveries").fetchall()
    return dict(rows)


def _wait_told(listener: Listener, live: Live) -> None:
    wanted = set(live.cuts.values())

    def told() -> bool:
        if listener.fault:
            raise RuntimeError(f"the listener was let go: {listener.fault}")
        return wanted <= listener.told_s.keys()

    wait(told, LAST_S, "an alert is missing on the stream")


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/api/v1/", timeout=5)
    except httpx.TransportError:
        return False
    return True
