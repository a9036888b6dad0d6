"""From publishing to the alert on the outbox, through broker, ingest and evaluation.

``python -m bench.latency``: a live fleet reports at a steady rate; every so often a seal's rope is
cut. Measured is the time from just before the publishing of that record until a listener of the
outbox, as the API is one, has read the alert.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import gcd
from statistics import median, quantiles
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from bench.ingest import connected
from bench.load import Load
from bench.report import machine, show, write
from bench.server import clone, make_template, process, running_broker, running_server
from tracker.db.outbox import OUTBOX_CHANNEL
from tracker.embedded.mosquitto import PrivateMosquitto, SubscriptionCount

READY_S = 30.0
LAST_S = 20.0
CUT = {"seal": {"rope": "cut", "case": "closed"}, "evt": {"code": "rope_cut"}, "why": "evt"}


class Alerts:
    """Reads the outbox as it grows and notes when each delivery's cut was told."""

    def __init__(self, dsn: str) -> None:
        self.told_s: dict[str, float] = {}
        self._stop = threading.Event()
        self._dsn = dsn
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Alerts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        last = 0
        with connected(self._dsn) as conn:
            conn.execute(f"LISTEN {OUTBOX_CHANNEL}")
            while not self._stop.is_set():
                for id_, number in _new_alerts(conn, last):
                    self.told_s.setdefault(number, time.perf_counter())
                    last = max(last, id_)
                for _ in conn.notifies(timeout=0.2, stop_after=1):
                    pass


def _new_alerts(conn: psycopg.Connection[Any], last: int) -> list[tuple[int, str]]:
    return conn.execute(
        "SELECT o.id, d.registration_number FROM outbox o JOIN deliveries d ON d.id = o.delivery_id"
        " WHERE o.id > %s AND o.kind = 'alert' AND o.payload->>'code' = 'seal_cut' ORDER BY o.id",
        (last,),
    ).fetchall()


class Fleet:
    """Publishes the load's records at a steady rate, in rounds of all devices."""

    def __init__(self, load: Load, broker: PrivateMosquitto, rate: float) -> None:
        self._load = load
        self._rate = rate
        self._rng = random.Random(load.seed)
        self.cut_s: dict[str, float] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def play(self, every: int) -> float:
        """Publish everything, each ``every``-th record with a cut; the rate that was kept."""
        begin = time.perf_counter()
        for sent, (round_, number) in enumerate(self._order()):
            delay_s = begin + sent / self._rate - time.perf_counter()
            if delay_s > 0:
                time.sleep(delay_s)
            self._publish(number, round_, cut=sent % every == every - 1)
        seconds = time.perf_counter() - begin
        self._client.disconnect()
        self._client.loop_stop()
        return self._load.records / seconds

    def _order(self) -> Iterator[tuple[int, int]]:
        for round_ in range(self._load.records_each):
            for number in range(self._load.deliveries):
                yield round_, number

    def _publish(self, number: int, round_: int, *, cut: bool) -> None:
        device = self._load.device(number)
        more = CUT if cut and device not in self.cut_s else {}
        now_ms = time.time_ns() // 1_000_000
        message = self._load.message(number, round_, now_ms, self._rng, **more)
        if more:
            self.cut_s[device] = time.perf_counter()
        self._client.publish(message.topic, message.payload, qos=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, show and write its results."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small load, for a first look")
    parser.add_argument("--rate", type=float, help="records a second")
    parser.add_argument("--seconds", type=float, help="how long")
    options = parser.parse_args(arguments)
    rate = options.rate or (300 if options.quick else 2_000)
    seconds = options.seconds or (5 if options.quick else 30)
    deliveries = 200 if options.quick else 1_000
    load = Load(
        deliveries=deliveries,
        records_each=max(1, round(rate * seconds / deliveries)),
        begin=datetime.now(UTC),
    )
    result = measure(load, rate)
    show("Latency", result)
    write("latency-quick" if options.quick else "latency", result)
    return 0


def measure(load: Load, rate: float) -> dict[str, Any]:
    """One run on fresh services."""
    with running_server() as server, running_broker() as broker:
        make_template(server, load)
        mqtt_at: dict[str, str | int] = {"mqtt_host": broker.host, "mqtt_port": broker.port}
        with (
            clone(server, "bench_latency") as dsn,
            process("ingest", dsn, **mqtt_at),
            process("evaluate", dsn),
            Alerts(dsn) as alerts,
        ):
            _wait_subscribed(broker)
            fleet = Fleet(load, broker, rate)
            kept = fleet.play(every=_spread(load))
            _wait_told(fleet, alerts)
    waits_ms = [(alerts.told_s[d] - at) * 1000 for d, at in fleet.cut_s.items()]
    cuts = quantiles(waits_ms, n=100, method="inclusive")
    return {
        **{"rate_rps": round(kept), "alerts": len(waits_ms), "deliveries": load.deliveries},
        "publish_to_alert_ms": {
            "p50": round(median(waits_ms)),
            "p95": round(cuts[94]),
            "p99": round(cuts[98]),
            "max": round(max(waits_ms)),
        },
        **machine(),
    }


def _spread(load: Load) -> int:
    """Cut about a hundred ropes, each of another device: no common divisor with the fleet."""
    every = max(1, load.records // 100)
    while gcd(every, load.deliveries) > 1:
        every += 1
    return every


def _wait_subscribed(broker: PrivateMosquitto) -> None:
    with SubscriptionCount(host=broker.host, port=broker.port) as subscriptions:
        _wait(lambda: subscriptions.of_others > 0, READY_S, "ingest has not subscribed")


def _wait_told(fleet: Fleet, alerts: Alerts) -> None:
    _wait(lambda: fleet.cut_s.keys() <= alerts.told_s.keys(), LAST_S, "an alert is missing")


def _wait(ready: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} after {seconds:g} s")
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
