"""Ingest: MQTT → the storing stage of the pipeline → acks. Contract mqtt.md, version 1.

The road of a message: the broker's thread (`tracker.links`) puts it in the inbox; the worker's
thread collects a batch (by number, bytes or time), stores in one transaction what it still owns the
shards of, commits, and only then acknowledges the records to the devices, cumulatively, and each
message to the broker. A batch that cannot be stored is tried again until it can: nothing is
acknowledged meanwhile and the broker holds what follows.
"""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter, Histogram

from tracker.db import leases, workers
from tracker.db.telemetry import Ears, GenKey, Registered, Registry, Stale, read_received
from tracker.exporter import exported_metrics
from tracker.inbox import Command, Delivered, shards_of
from tracker.links import Links
from tracker.payload import Reason, shard_of, topic_of
from tracker.pipeline import put_aside, store
from tracker.received import ack_of
from tracker.settings import Settings
from tracker.shards import Keeper, worker_name
from tracker.storing import DeviceNews, Storing

log = structlog.get_logger(__name__)

RETRY_S = 1.0
WAIT_S = 0.2
BYTES_A_RECORD = 1024
"""Records are some 350 bytes, 4 KiB at most: a bound for batches of backlog arrays."""

IDLE_IN_TRANSACTION_S = 15.0
"""A worker that is stopped in the middle of storing gives up what it holds after so long, even if
no other is there to end its session."""

STORED = Counter("tracker_records_stored_total", "Records stored.")
REFUSED = Counter("tracker_records_refused_total", "Records put into quarantine.", ["reason"])
for _reason in Reason:
    REFUSED.labels(reason=str(_reason))  # from 0 on, so that the first refusal is seen as growth
BATCH_SECONDS = Histogram("tracker_store_batch_seconds", "Duration of a storing transaction.")
FAILED = Counter("tracker_store_failures_total", "Batches that had to be tried again.")
NOT_OURS = Counter(
    "tracker_messages_left_total", "Messages left to the new owner of a shard that was lost."
)


@dataclass(kw_only=True)
class _Owed:
    """Records of a generation of a device since its last ack."""

    device: Registered
    gen: int
    records: int = 0
    since_s: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> GenKey:
        return self.device.device_no, self.gen


class Acks:
    """When each device is to be acknowledged: after so many records, so long, or at once."""

    def __init__(self, *, records: int, seconds: float) -> None:
        self._records = records
        self._seconds = seconds
        self._owed: dict[GenKey, _Owed] = {}

    def add(self, news: Iterable[DeviceNews]) -> list[_Owed]:
        """Take note of a stored batch; return the acks that are due because of it."""
        due = []
        for one in news:
            key = (one.device.device_no, one.gen)
            owed = self._owed.setdefault(key, _Owed(device=one.device, gen=one.gen))
            owed.records += one.records
            if one.urgent or owed.records >= self._records:
                due.append(self._owed.pop(key))
        return due

    def overdue(self) -> list[_Owed]:
        """Acks whose time has come without enough records."""
        now_s = time.monotonic()
        late = [key for key, owed in self._owed.items() if now_s - owed.since_s >= self._seconds]
        return [self._owed.pop(key) for key in late]

    def owe(self, again: Iterable[_Owed]) -> None:
        """Take acks back that could not be sent."""
        for owed in again:
            newer = self._owed.setdefault(owed.key, owed)
            if newer is not owed:
                newer.records += owed.records
                newer.since_s = owed.since_s


class Ingest:
    """One worker: its sessions with the broker, its leases, its database connection."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._worker = worker_name()
        self._acks = Acks(records=settings.ack_records, seconds=settings.ack_s)
        self._links = Links(settings, self._worker, term_s=settings.shard_lease_s)
        self._keeper = Keeper(settings, self._worker, self._links)
        self._ears = Ears()
        self._registry = Registry()
        self._conn: psycopg.Connection[Any] | None = None

    def run(self) -> None:
        """Work until ``stop`` is set; what is not stored by then stays with the broker."""
        log.info("starting", worker=self._worker, shards=self._settings.shards)
        self._keeper.start()
        try:
            while not self._stop.is_set():
                batch = self._collect()
                if batch:
                    self._store_until_stored(batch)
                self._send_overdue()
                self._links.tend()
                self._keeper.tend()
        finally:
            self._keeper.close()
            self._links.close()
            self._drop_connection()

    def _collect(self) -> list[Delivered]:
        """Wait for a message, then take what comes within the batch's time and size."""
        s = self._settings
        return self._links.inbox.take(
            most=s.batch_records,
            most_bytes=s.batch_records * BYTES_A_RECORD,
            wait_s=WAIT_S,
            fill_s=s.batch_ms / 1000,
        )

    # ------------------------------------------------------------ storing

    def _store_until_stored(self, batch: Sequence[Delivered]) -> None:
        """Store a batch, however long it takes; a message that cannot be stored goes aside.

        What the database cannot do now is tried again. Any other fault lies in a message (or in
        our code for it): it must not stop the stream, so the batch is stored one by one and the
        culprit is kept in quarantine.
        """
        while not self._stop.is_set():
            try:
                self._acknowledge(*self._store(batch))
            except Exception as exc:  # noqa: BLE001 - looked at in full, and logged
                FAILED.inc()
                away = self._is_away(exc)
                self._drop_connection()
                if not away:
                    self._store_singly(batch, exc)
                    return
                log.error("batch not stored, trying again", error=str(exc), messages=len(batch))
                self._stop.wait(RETRY_S)
            else:
                return

    def _is_away(self, exc: Exception) -> bool:
        """Whether the fault is the database's: no other batch would fare better now."""
        if isinstance(exc, psycopg.Error) and (exc.sqlstate or "").startswith("54"):
            return False  # a limit of the server's that this very data exceeds
        lost = self._conn is None or self._conn.closed
        return lost or isinstance(exc, (*workers.LOST, psycopg.InterfaceError))

    def _store_singly(self, batch: Sequence[Delivered], exc: Exception) -> None:
        log.error("not stored, by a fault of ours", messages=len(batch), exc_info=exc)
        if len(batch) > 1:
            for delivered in batch:
                self._store_until_stored([delivered])
            return
        while not self._stop.is_set():
            try:
                self._put_aside(batch[0])
            except (*workers.LOST, psycopg.InterfaceError) as lost:
                self._drop_connection()
                log.error("not put aside, trying again", error=str(lost))
                self._stop.wait(RETRY_S)
            else:
                return

    def _put_aside(self, delivered: Delivered) -> None:
        conn = self._connection()
        with conn.transaction():
            if not leases.hold_owned(conn, self._worker, {delivered.shard}):
                return
            put_aside(
                conn,
                delivered.incoming,
                self._settings.quarantine_per_device,
                self._settings.quarantine_bytes_per_device,
            )
        REFUSED.labels(reason=str(Reason.SERVER_FAULT)).inc()
        self._links.settle([], [delivered])

    def _store(self, batch: Sequence[Delivered]) -> tuple[list[Delivered], Storing]:
        """Store what is still ours; the rest comes again to the owner of its shard."""
        try:
            ours, storing = self._store_once(batch)
        except Stale:  # another worker, or a re-drive, has had these devices
            self._ears.forget()
            ours, storing = self._store_once(batch)
        storing.remember()
        return ours, storing

    @BATCH_SECONDS.time()
    def _store_once(self, batch: Sequence[Delivered]) -> tuple[list[Delivered], Storing]:
        conn = self._connection()
        with conn.transaction():
            owned = leases.hold_owned(conn, self._worker, shards_of(batch))
            ours = [delivered for delivered in batch if delivered.shard in owned]
            NOT_OURS.inc(len(batch) - len(ours))
            storing = store(
                conn,
                [delivered.incoming for delivered in ours],
                quarantine_per_device=self._settings.quarantine_per_device,
                quarantine_bytes=self._settings.quarantine_bytes_per_device,
                traccar_topic=self._settings.traccar_topic,
                ears=self._ears,
                registry=self._registry,
            )
        return ours, storing

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = workers.connect(
                self._settings.database_url,
                leases.storing_name(self._worker),
                idle_in_transaction_s=IDLE_IN_TRANSACTION_S,
                jit="off",
            )
        return self._conn

    def _drop_connection(self) -> None:
        if self._conn is not None:
            self._conn.close()
        self._conn = None

    # ------------------------------------------------------------ acks

    def _acknowledge(self, batch: Sequence[Delivered], storing: Storing) -> None:
        """After the commit: to the devices what they are owed, to the broker each message."""
        STORED.inc(len(storing.records))
        for reason, n in storing.reasons.items():
            REFUSED.labels(reason=str(reason)).inc(n)
        commands = [
            _command(device, {"op": "gen", "gen": gen}, qos=1) for device, gen in storing.next_gens
        ]
        commands += [
            _command(owed.device, ack_of(owed.gen, storing.received[owed.key]), qos=0)
            for owed in self._acks.add(storing.news.values())
        ]
        self._links.settle(commands, batch)

    def _send_overdue(self) -> None:
        late = self._acks.overdue()
        if not late:
            return
        try:
            received = read_received(self._connection(), [owed.key for owed in late])
        except psycopg.Error as exc:
            log.error("acks not sent yet", error=str(exc))
            self._drop_connection()
            self._acks.owe(late)
            return
        commands = [
            _command(owed.device, ack_of(owed.gen, received[owed.key]), qos=0)
            for owed in late
            if owed.key in received
        ]
        self._links.settle(commands, [])


def _command(device: Registered, command: dict[str, Any], *, qos: int) -> Command:
    return Command(
        shard=shard_of(device.id),
        topic=topic_of(device.id, device.kind, "cmd"),
        payload=json.dumps(command, separators=(",", ":")),
        qos=qos,
    )


def run(settings: Settings, stop: threading.Event) -> None:
    """Ingest until ``stop`` is set."""
    # As in evaluation: a batch makes tens of thousands of small values and no cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with exported_metrics(settings):
        Ingest(settings, stop).run()
