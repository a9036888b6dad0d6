"""Ingest: MQTT → the storing stage of the pipeline → acks. Contract mqtt.md, version 1.

The road of a message: paho's thread puts it in a queue; the worker's thread collects a batch (by
number or by time), stores it in one transaction, commits, and only then acknowledges each message
to the broker and, cumulatively, the records to the devices. A batch that cannot be stored is tried
again until it can: nothing is acknowledged meanwhile and the broker holds what follows.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from prometheus_client import Counter, Gauge, Histogram

from tracker.db.telemetry import GenKey, Registered, read_received
from tracker.payload import ROOT, Reason, topic_of
from tracker.pipeline import put_aside, store
from tracker.received import ack_of
from tracker.settings import Settings, parse_shards
from tracker.storing import DeviceNews, Incoming, Storing

log = structlog.get_logger(__name__)

CHANNELS = ("tlm", "evt", "state")
SESSION_EXPIRY_S = 7 * 86400
"""The broker keeps an absent worker's session for a week: longer than any repair."""

RETRY_S = 1.0
KEEPALIVE_S = 30

STORED = Counter("tracker_records_stored_total", "Records stored.")
REFUSED = Counter("tracker_records_refused_total", "Records put into quarantine.", ["reason"])
BATCH_SECONDS = Histogram("tracker_store_batch_seconds", "Duration of a storing transaction.")
WAITING = Gauge("tracker_messages_waiting", "Messages received and not yet stored.")
FAILED = Counter("tracker_store_failures_total", "Batches that had to be tried again.")


class _Delivered:
    """A message and what is needed to acknowledge it to the broker."""

    __slots__ = ("incoming", "mid", "qos")

    def __init__(self, message: mqtt.MQTTMessage) -> None:
        self.mid = message.mid
        self.qos = message.qos
        self.incoming = Incoming(
            topic=message.topic,
            payload=bytes(message.payload),
            received_ms=time.time_ns() // 1_000_000,
            retained=message.retain,
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


class Ingest:
    """One worker: its shards, its durable session, its database connection."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._shards = sorted(parse_shards(settings.shards))
        self._queue: queue.Queue[_Delivered] = queue.Queue()
        self._acks = Acks(records=settings.ack_records, seconds=settings.ack_s)
        self._client = self._make_client()
        self._conn: psycopg.Connection[Any] | None = None

    # ------------------------------------------------------------ the broker's side

    def _make_client(self) -> mqtt.Client:
        s = self._settings
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{s.mqtt_client_id}-{s.shards}",
            protocol=mqtt.MQTTv5,
            manual_ack=True,
        )
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.reconnect_delay_set(min_delay=1, max_delay=10)
        if s.mqtt_username is not None:
            client.username_pw_set(s.mqtt_username, s.mqtt_password)
        if s.mqtt_tls_ca is not None:
            client.tls_set(ca_certs=str(s.mqtt_tls_ca))
        return client

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = self._settings.mqtt_receive_maximum
        self._client.connect_async(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            keepalive=KEEPALIVE_S,
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: Any,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            log.error("broker refused the connection", reason=str(reason))
            return
        # Every time: a broker that lost its sessions would otherwise hand us nothing.
        options = SubscribeOptions(qos=1)
        topics = [
            (f"{ROOT}/{shard:02d}/+/+/{channel}", options)
            for shard in self._shards
            for channel in CHANNELS
        ]
        client.subscribe(topics)
        log.info("connected", session_present=flags.session_present, shards=len(self._shards))

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: Any,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        log.warning("disconnected from the broker", reason=str(reason))

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        # The queue is bounded by ReceiveMaximum: the broker sends no more before we acknowledge.
        self._queue.put(_Delivered(message))

    # ------------------------------------------------------------ the worker's side

    def run(self) -> None:
        """Work until ``stop`` is set; what is not stored by then stays with the broker."""
        self._connect()
        try:
            while not self._stop.is_set():
                batch = self._collect()
                if batch:
                    self._store_until_stored(batch)
                self._send_overdue()
                self._revive()
        finally:
            self._client.disconnect()
            self._client.loop_stop()
            if self._conn is not None:
                self._conn.close()

    def _revive(self) -> None:
        """Start paho's loop again if its thread has died, as it can after a long outage."""
        thread = self._client._thread  # paho offers no other way to ask
        if thread is None or not thread.is_alive():
            log.error("the broker's loop had ended, starting it again")
            self._client.loop_stop()
            self._client.loop_start()

    def _collect(self) -> list[_Delivered]:
        """Wait for a message, then take what comes within the batch's time and size."""
        try:
            batch = [self._queue.get(timeout=0.5)]
        except queue.Empty:
            return []
        until_s = time.monotonic() + self._settings.batch_ms / 1000
        while len(batch) < self._settings.batch_records:
            try:
                batch.append(self._queue.get(timeout=max(0.0, until_s - time.monotonic())))
            except queue.Empty:
                break
        WAITING.set(self._queue.qsize())
        return batch

    def _store_until_stored(self, batch: list[_Delivered]) -> None:
        """Store a batch, however long it takes; a message that cannot be stored goes aside.

        What the database cannot do now is tried again. Any other fault lies in a message (or in
        our code for it): it must not stop the stream, so the batch is stored one by one and the
        culprit is kept in quarantine.
        """
        while not self._stop.is_set():
            try:
                self._acknowledge(batch, self._store(batch))
            except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
                self._wait_to_retry(exc, len(batch))
            except Exception:
                log.exception("batch not stored, storing its messages one by one")
                FAILED.inc()
                self._drop_connection()
                if len(batch) == 1:
                    self._put_aside(batch[0])
                else:
                    for delivered in batch:
                        self._store_until_stored([delivered])
                return
            else:
                return

    def _wait_to_retry(self, exc: psycopg.Error, messages: int) -> None:
        FAILED.inc()
        log.error("batch not stored, trying again", error=str(exc), messages=messages)
        self._drop_connection()
        self._stop.wait(RETRY_S)

    def _put_aside(self, delivered: _Delivered) -> None:
        conn = self._connection()
        with conn.transaction():
            put_aside(conn, delivered.incoming, self._settings.quarantine_per_device)
        REFUSED.labels(reason=str(Reason.SERVER_FAULT)).inc()
        self._client.ack(delivered.mid, delivered.qos)

    @BATCH_SECONDS.time()
    def _store(self, batch: list[_Delivered]) -> Storing:
        conn = self._connection()
        with conn.transaction():
            return store(
                conn,
                [delivered.incoming for delivered in batch],
                quarantine_per_device=self._settings.quarantine_per_device,
            )

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = psycopg.connect(
                self._settings.database_url,
                autocommit=True,
                application_name="tracker-ingest",
                connect_timeout=5,
                options="-c timezone=UTC",
            )
        return self._conn

    def _drop_connection(self) -> None:
        if self._conn is not None:
            self._conn.close()
        self._conn = None

    # ------------------------------------------------------------ acks

    def _acknowledge(self, batch: list[_Delivered], storing: Storing) -> None:
        """After the commit: to the broker each message, to the devices what they are owed."""
        for delivered in batch:
            self._client.ack(delivered.mid, delivered.qos)
        STORED.inc(len(storing.records))
        for reason, n in storing.reasons.items():
            REFUSED.labels(reason=str(reason)).inc(n)
        for device, gen in storing.next_gens:
            self._command(device, {"op": "gen", "gen": gen}, qos=1)
        for owed in self._acks.add(storing.news.values()):
            self._command(owed.device, ack_of(owed.gen, storing.received[owed.key]), qos=0)

    def _send_overdue(self) -> None:
        late = self._acks.overdue()
        if not late:
            return
        try:
            received = read_received(self._connection(), [owed.key for owed in late])
        except psycopg.Error as exc:
            log.error("acks not sent, the devices will send again", error=str(exc))
            self._drop_connection()
            return
        for owed in late:
            if owed.key in received:
                self._command(owed.device, ack_of(owed.gen, received[owed.key]), qos=0)

    def _command(self, device: Registered, command: dict[str, Any], *, qos: int) -> None:
        topic = topic_of(device.id, device.kind, "cmd")
        self._client.publish(topic, json.dumps(command, separators=(",", ":")), qos=qos)


def run(settings: Settings, stop: threading.Event) -> None:
    """Ingest until ``stop`` is set."""
    Ingest(settings, stop).run()
