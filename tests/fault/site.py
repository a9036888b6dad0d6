"""A whole ingest with real parts to be killed, a fleet that keeps books, and their comparison."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

from firmware_sim.build import build_fleet
from firmware_sim.edge import Broker as Address
from firmware_sim.fleet import Run, RunOptions
from firmware_sim.plan import parse_plan
from firmware_sim.report import FleetReport
from firmware_sim.store import Kept, Store
from tests.support.services import Broker
from tests.support.waiting import wait_until
from tracker.db import leases
from tracker.embedded import children
from tracker.embedded.children import free_port
from tracker.embedded.postgres import PrivatePostgres
from tracker.errors import SetupError

SESSIONS = 65
LEASE_S = 2.0
START_S = 90.0
END_S = 150.0
ROUTE = [[78.2575, 43.5962], [77.9, 43.52], [77.45, 43.40], [77.2, 43.33], [76.9115, 43.2525]]

Identity = tuple[str, int, int]


class Ledger(Store):
    """A device's store that also keeps the books: every record it ever made."""

    def __init__(self) -> None:
        super().__init__()
        self.all: dict[int, bytes] = {}

    def add(self, rest: bytes, *, event: bool) -> Kept:
        kept = super().add(rest, event=event)
        self.all[kept.seq] = rest
        return kept


class Fleet:
    """Simulated vehicles on a thread of their own, each with a seal and a unit."""

    def __init__(
        self, vehicles: int, seed: int, devices: Mapping[str, Any] | None = None, **trip: Any
    ) -> None:
        """``devices``, ``trip``: more of the plan, for each device and for each vehicle."""
        seal = {"kind": "seal", "key": {"kid": "k1", "secret": "00ff"}, **(devices or {})}
        unit = {"kind": "gps", **(devices or {})}
        one = {"route": ROUTE, "start": "now-20h", "tail_s": 0, **trip}
        plan = parse_plan(
            {
                "vehicles": [
                    {
                        "vehicle": f"V{i}",
                        "devices": [{"id": f"s{i}", **seal}, {"id": f"g{i}", **unit}],
                        "seed": seed * 1000 + i,
                        **one,
                    }
                    for i in range(vehicles)
                ]
            }
        )
        now = datetime.now(UTC)
        self.vehicles = build_fleet(plan, now=now, life=int(now.timestamp()))
        self.devices = [mount.device for v in self.vehicles for mount in v.mounts]
        for device in self.devices:
            device.store = Ledger()
        self.report: FleetReport | None = None
        self._stop = threading.Event()
        self._failed: queue.Queue[BaseException] = queue.Queue()
        self._thread: threading.Thread | None = None

    def start(self, broker: Broker, **options: Any) -> None:
        """Begin to drive: as fast as acks allow, unless the options say otherwise."""
        chosen = {"flat_out": True, "exit_when_done": True, "ack_timeout_s": END_S} | options
        address = Address(host=broker.host, port=broker.port)
        run = Run(self.vehicles, address, RunOptions(**chosen))
        self.links = run.links
        self._thread = threading.Thread(target=self._play, args=(run,), name="fleet", daemon=True)
        self._thread.start()

    def _play(self, run: Run) -> None:
        try:
            self.report = run.play(self._stop)
        except BaseException as exc:  # noqa: BLE001 - told to the test's thread
            self._failed.put(exc)

    @property
    def made(self) -> int:
        return sum(device.store.made for device in self.devices)

    @property
    def acked(self) -> int:
        return sum(device.acked for device in self.devices)

    @property
    def driving(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait_acked(self, n: int) -> None:
        wait_until(lambda: self.acked >= n or not self.driving, END_S, f"{n} records acknowledged")
        assert self.driving, "the fleet came home before the fault"

    def come_home(self) -> FleetReport:
        """Wait until every record is acknowledged."""
        assert self._thread is not None
        self._thread.join(END_S)
        if not self._failed.empty():
            raise self._failed.get()
        assert not self.driving, f"{self.made - self.acked} of {self.made} records have no ack"
        assert self.report is not None
        assert not self.report.timed_out
        return self.report

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(20)

    def books(self) -> dict[Identity, dict[str, Any]]:
        """Every record any device ever made."""
        return {
            (device.config.id, device.gen or 0, seq): json.loads(b"{" + rest)
            for device in self.devices
            for seq, rest in device.store.all.items()  # type: ignore[attr-defined]
        }


class Worker:
    """A process of the product, ``tracker NAME``, that may be killed."""

    def __init__(self, home: Path, name: str, dsn: str, broker: Broker | None, **env: str) -> None:
        self.log = home / f"{name}-{random.randrange(10**9)}.log"
        self.metrics_port = free_port()
        self.killed = False
        settings = {"DATABASE_URL": dsn, "SHARD_LEASE_S": str(LEASE_S), "ACK_S": "0.5", **env}
        if broker is not None:
            settings |= {"MQTT_HOST": broker.host, "MQTT_PORT": str(broker.port)}
            settings |= {"METRICS_PORT": str(self.metrics_port)}
        with self.log.open("wb") as out:
            self.process: subprocess.Popen[bytes] = children.start(
                [sys.executable, "-m", "tracker.cli", name],
                env={f"TRACKER_{key}": value for key, value in settings.items()},
                stdout=out,
                stderr=out,
            )

    def kill(self) -> None:
        self.killed = True
        self.process.kill()
        self.process.wait()

    def assert_not_fallen(self) -> None:
        """That it has not ended by itself."""
        ended = self.process.poll()
        assert self.killed or ended is None, f"ended with {ended}: {self.log.read_text()[-2000:]}"

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.resume()
        children.end(self.process, timeout_s=30)

    def metric(self, name: str) -> float:
        """A value of the worker's own metrics."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        text = httpx.get(url, trust_env=False, timeout=60).text
        lines = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[1])

    def said(self, text: str) -> bool:
        return text in self.log.read_text(errors="replace")


class Site:
    """Broker, database and ingest workers; everything may fall and be started again."""

    def __init__(self, home: Path, server: PrivatePostgres, dsn: str, broker: Broker) -> None:
        self.home, self.server, self.dsn, self.broker = home, server, dsn, broker
        self.workers: list[Worker] = []
        self.fleets: list[Fleet] = []

    def close(self) -> None:
        # The server is the module's: a test that fell while it was stopped must not fell the rest.
        if self.server.process is None or self.server.process.poll() is not None:
            self.start_database()
        for fleet in self.fleets:
            fleet.end()
        for worker in self.workers:
            worker.end()

    def worker(self, name: str = "ingest", **env: str) -> Worker:
        broker = self.broker if name == "ingest" else None
        started = Worker(self.home, name, self.dsn, broker, **env)
        self.workers.append(started)
        return started

    def ingesting(self, workers: int = 1, **env: str) -> list[Worker]:
        """Workers that share all shards evenly and are subscribed."""
        started = [self.worker(**env) for _ in range(workers)]
        self.wait_serving(workers)
        return started

    def wait_serving(self, workers: int = 1) -> None:
        def shares() -> bool:
            for worker in self.workers:
                worker.assert_not_fallen()
            counts = [n for (n,) in self.rows("SELECT count(*) FROM shard_leases GROUP BY owner")]
            up = self.query_sessions_up() == SESSIONS
            return up and len(counts) == workers and max(counts) - min(counts) <= 1

        wait_until(shares, START_S, f"{workers} workers with fair shares, all subscribed")

    def query_sessions_up(self) -> int:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return leases.sessions_up(conn)

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return conn.execute(query, params).fetchall()

    def fleet(self, vehicles: int, seed: int, **trip: Any) -> Fleet:
        """A fleet whose devices are registered; not driving yet."""
        fleet = Fleet(vehicles, seed, **trip)
        kinds = [(d.config.id, d.config.kind) for d in fleet.devices]
        with psycopg.connect(self.dsn, autocommit=True) as conn, conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)"
                " VALUES (%s, %s, false, 60, 600)",
                kinds,
            )
            conn.execute(
                "INSERT INTO device_keys (device_no, kid, secret)"
                r" SELECT device_no, 'k1', '\x00ff' FROM devices WHERE kind = 'seal'"
            )
        self.fleets.append(fleet)
        return fleet

    def kill_database(self) -> None:
        """As a crash would: the postmaster is gone, and with it all its sessions."""
        process = self.server.process
        assert process is not None
        process.kill()
        process.wait()

    def start_database(self) -> None:
        """Start it on the data that the fall left; its last backends may need a moment to go."""

        def started() -> bool:
            try:
                self.server.prepare()
                self.server.start(self.server.port)
            except SetupError:
                return False
            return True

        wait_until(started, START_S, "the database to start again", every_s=0.2)

    def assert_stored_once(self, *fleets: Fleet) -> None:
        """Every record any device made is in the table, once, with its body; nothing else is."""
        books = {identity: body for fleet in fleets for identity, body in fleet.books().items()}
        rows = self.rows("SELECT id, gen, seq, body FROM telemetry JOIN devices USING (device_no)")
        stored: dict[Identity, dict[str, Any]] = {}
        for device, gen, seq, body in rows:
            assert (device, gen, seq) not in stored, f"{device} {gen} {seq} is stored twice"
            fields = json.loads(bytes(body))
            assert (fields.pop("v"), fields.pop("gen"), fields.pop("seq")) == (1, gen, seq)
            fields.pop("hist", None)
            stored[device, gen, seq] = fields
        assert not (lost := books.keys() - stored.keys()), f"{len(lost)} lost: {sorted(lost)[:5]}"
        assert not (extra := stored.keys() - books.keys()), f"{len(extra)} from nowhere"
        wrong = [identity for identity, body in books.items() if stored[identity] != body]
        assert not wrong, f"{len(wrong)} bodies differ: {wrong[:5]}"
        assert self.rows("SELECT reason, detail FROM quarantine LIMIT 5") == []


def seconds(rng: random.Random, low: float, high: float) -> float:
    """A pause of the fault's length, by seed."""
    return rng.uniform(low, high)


def pause(length_s: float) -> None:
    """Let a fault last: the one thing that is only time."""
    threading.Event().wait(length_s)


SEEDS: Sequence[int] = (1, 2, 3)
