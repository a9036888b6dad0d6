"""Ingest on the real broker and database: what the server promises to devices (mqtt.md)."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.running import running as in_thread
from tests.support.seed import World, at, record
from tests.support.services import Broker
from tests.support.waiting import wait_until
from tracker.db.leases import sessions_up
from tracker.ingest_mqtt import run
from tracker.payload import Key, shard_of, sign, topic_of
from tracker.settings import Settings, load_settings
from tracker.shards import shards_wanted

WAIT_S = 60.0
KEY = Key(kid="k1", secret=b"0123456789abcdef0123456789abcdef")


class Device:
    """A device's side: a plain MQTT client that publishes and keeps the commands it is sent."""

    def __init__(self, broker: Broker, name: str, kind: str = "gps") -> None:
        self.name, self.kind = name, kind
        self.commands: queue.Queue[dict[str, Any]] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        self._client.on_message = lambda _client, _data, message: self.commands.put(
            json.loads(message.payload)
        )
        self._listening = threading.Event()
        self._client.on_subscribe = lambda *_: self._listening.set()
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._client.subscribe(topic_of(name, kind, "cmd"), qos=1)
        assert self._listening.wait(WAIT_S), "the broker took no subscription"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish and wait until the broker has taken it, so that the next comes after it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT_S)

    def send(self, body: Any, *, channel: str = "tlm", key: Key | None = None) -> None:
        topic = topic_of(self.name, self.kind, channel)
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.publish(topic, sign(payload, topic, key) if key else payload)

    def state(self, **fields: Any) -> None:
        payload = json.dumps(fields).encode()
        self.publish(topic_of(self.name, self.kind, "state"), payload, retain=True)

    def poll(self, seq: int, *, key: Key | None = None) -> dict[str, Any]:
        """Answer a poll: acknowledged at once. Returns the next command the device is sent."""
        self.send(rec(seq, why="poll"), key=key)
        return self.next_command()

    def next_command(self) -> dict[str, Any]:
        return self.commands.get(timeout=WAIT_S)


def rec(seq: int, **more: Any) -> dict[str, Any]:
    return record(seq, at(seq), 76.0, 43.5, **more)


def ack(upto: int, high: int | None = None, missing: Any = (), gen: int = 0) -> dict[str, Any]:
    return {
        "op": "ack",
        "gen": gen,
        "upto": upto,
        "high": upto if high is None else high,
        "missing": list(missing),
    }


@dataclass
class Site:
    """A broker, a database and the one ingest between them."""

    broker: Broker
    world: World
    settings: Settings
    stack: ExitStack

    def device(self, kind: str = "gps", **more: Any) -> Device:
        """A registered device, connected."""
        return self.unregistered(self.world.device(kind, **more), kind)

    def unregistered(self, name: str, kind: str = "gps") -> Device:
        return self.stack.enter_context(Device(self.broker, name, kind))

    def signing(self, kind: str = "seal") -> Device:
        """A device that must sign its messages with `KEY`."""
        device = self.device(kind)
        self.world.conn.execute(
            "UPDATE devices SET hmac_required = true WHERE id = %s", (device.name,)
        )
        self.world.conn.execute(
            "INSERT INTO device_keys (device_no, kid, secret)"
            " SELECT device_no, %s, %s FROM devices WHERE id = %s",
            (KEY.kid, KEY.secret, device.name),
        )
        return device

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        return self.world.conn.execute(query, params).fetchall()

    def stored(self, device: Device) -> list[int]:
        """The numbers stored of a device, in order."""
        rows = self.rows(
            "SELECT seq FROM telemetry JOIN devices USING (device_no) WHERE id = %s ORDER BY seq",
            device.name,
        )
        return [row[0] for row in rows]

    def wait_stored(self, device: Device, *seqs: int) -> None:
        wait_until(
            lambda: self.stored(device) == list(seqs), WAIT_S, f"{seqs} of {device.name} stored"
        )

    def quarantined(self) -> list[tuple[str | None, str]]:
        """(device, reason) of what was put aside, in order."""
        return [
            (device, reason)
            for device, reason in self.rows("SELECT device_id, reason FROM quarantine ORDER BY id")
        ]

    def wait_quarantined(self, n: int) -> list[tuple[str | None, str]]:
        wait_until(lambda: len(self.quarantined()) >= n, WAIT_S, f"{n} in quarantine")
        return self.quarantined()

    def wait_state(self, device: Device, **expected: Any) -> None:
        def current() -> bool:
            rows = self.rows(
                "SELECT online, conn, gen FROM device_state JOIN devices USING (device_no)"
                " WHERE id = %s",
                device.name,
            )
            if not rows:
                return False
            state = dict(zip(("online", "conn", "gen"), rows[0], strict=True))
            return all(state[name] == value for name, value in expected.items())

        wait_until(current, WAIT_S, f"{device.name} to be {expected}")

    @contextmanager
    def ingesting(self, **more: Any) -> Iterator[None]:
        """Ingest in a thread, from when it has subscribed until the end of the block."""
        herald = self.device()
        herald.state(on=True, conn=1)
        settings = self.settings.model_copy(update=more)
        with in_thread(run, settings):
            sessions = len(shards_wanted(settings))
            wait_until(lambda: sessions_up(self.world.conn) == sessions, WAIT_S, "subscriptions")
            # The births kept by the broker come in no order: this one says some have been read.
            self.wait_state(herald, online=True)
            yield


@pytest.fixture
def site(broker: Broker, database: str) -> Iterator[Site]:
    """Ingest is not running yet; no ack comes by time."""
    world = World(database)
    settings = load_settings(
        database_url=database,
        mqtt_host=broker.host,
        mqtt_port=broker.port,
        batch_ms=20,
        ack_s=3600,
        quarantine_per_device=50,
    )
    with ExitStack() as stack:
        stack.callback(world.close)
        yield Site(broker, world, settings, stack)


@pytest.fixture
def running(site: Site) -> Iterator[Site]:
    with site.ingesting():
        yield site


# ---------------------------------------------------------------- acks


def test_acknowledged_only_after_it_is_in_the_table(running: Site, database: str) -> None:
    device = running.device()
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE telemetry IN EXCLUSIVE MODE")
        device.send(rec(1, evt={"code": "rope_cut"}), channel="evt")
        wait_until(lambda: blocked(running), WAIT_S, "ingest to wait for the lock")
        assert device.commands.empty()
        assert running.stored(device) == []
        blocker.rollback()
    assert device.next_command() == ack(1)
    assert running.stored(device) == [1]


def blocked(site: Site) -> bool:
    waiting = site.rows(
        "SELECT 1 FROM pg_stat_activity"
        " WHERE starts_with(application_name, 'tracker-ingest') AND wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    return bool(waiting)


def test_thirty_two_records_make_an_ack_and_fewer_do_not(running: Site) -> None:
    device = running.device()
    for n in range(1, 32):
        device.send(rec(n))
    running.wait_stored(device, *range(1, 32))
    device.send(rec(32))
    assert device.next_command() == ack(32)
    device.send([rec(n) for n in range(33, 65)])
    assert device.next_command() == ack(64)


def test_fewer_are_acknowledged_when_their_time_has_come(site: Site) -> None:
    with site.ingesting(ack_s=0.3):
        device = site.device()
        device.send([rec(1), rec(2), rec(5)])
        assert device.next_command() == ack(2, 5, [[3, 4]])


@pytest.mark.parametrize("channel", ["evt", "tlm"])
def test_an_event_is_acknowledged_at_once_on_either_channel(running: Site, channel: str) -> None:
    device = running.device("seal")
    device.send(rec(1, evt={"code": "rope_cut"}), channel=channel)
    assert device.next_command() == ack(1)


def test_a_poll_is_acknowledged_at_once_and_an_ack_tells_every_hole(running: Site) -> None:
    device = running.device()
    assert device.poll(1) == ack(1)
    assert device.poll(9) == ack(1, 9, [[2, 8]])
    device.send([rec(4), rec(5)])
    assert device.poll(10) == ack(1, 10, [[2, 3], [6, 8]])


def test_a_birth_is_acknowledged_at_once_and_its_lo_closes_holes(running: Site) -> None:
    device = running.device()
    assert device.poll(9) == ack(0, 9, [[1, 8]])
    device.state(on=True, ts=1, conn=1, boot=1, gen=0, lo=6)
    assert device.next_command() == ack(5, 9, [[6, 8]])
    device.state(on=True, ts=1, conn=2, boot=1, gen=7, lo=1)
    assert device.next_command() == ack(0, gen=7)


def test_a_retained_birth_read_again_asks_for_nothing(site: Site) -> None:
    device, lost = site.device(), site.device()
    with site.ingesting():
        device.state(on=True, conn=1, gen=0, lo=1)
        assert device.next_command() == ack(0)
        lost.state(on=True, conn=1, gen=None)
        assert lost.next_command() == {"op": "gen", "gen": 0}
    with site.ingesting(mqtt_client_id="another"):
        site.wait_state(device, online=True)
        assert device.poll(1) == ack(1)
        assert lost.poll(1) == ack(1)


def test_generations_are_acknowledged_apart(running: Site) -> None:
    device = running.device()
    assert device.poll(3) == ack(0, 3, [[1, 2]])
    device.send(rec(1, gen=1, why="poll"))
    assert device.next_command() == ack(1, gen=1)


# ---------------------------------------------------------------- births and wills


def test_a_lost_generation_gets_one_above_all_that_were_seen(running: Site) -> None:
    device = running.device()
    device.state(on=True, conn=1, gen=None)
    assert device.next_command() == {"op": "gen", "gen": 0}
    device.send(rec(1, gen=4, why="poll"))
    assert device.next_command() == ack(1, gen=4)
    device.state(on=True, conn=2, gen=None)
    assert device.next_command() == {"op": "gen", "gen": 5}


def test_the_will_of_an_older_connection_is_ignored(running: Site) -> None:
    device = running.device()
    device.state(on=True, conn=5, gen=0, lo=1)
    assert device.next_command() == ack(0)
    device.state(on=False, conn=4)
    assert device.poll(1) == ack(1)
    running.wait_state(device, online=True, conn=5)
    device.state(on=False, conn=5)
    running.wait_state(device, online=False, conn=5)


def test_a_birth_that_cannot_be_read_is_put_aside(running: Site) -> None:
    device = running.device()
    for broken in (b"{", b'{"on":"yes"}', b'{"on":true,"x":"\xff"}'):
        device.publish(topic_of(device.name, "gps", "state"), broken, retain=True)
    device.publish(topic_of(device.name, "gps", "state"), b"", retain=True)
    assert device.poll(1) == ack(1)
    assert [reason for _, reason in running.quarantined()] == [
        "malformed",
        "invalid_field",
        "malformed",
    ]


# ---------------------------------------------------------------- once, and nothing lost


def test_duplicates_are_stored_once(running: Site) -> None:
    device = running.device()
    for _ in range(3):
        device.send(rec(1))
        device.send([rec(1, hist=True), rec(2), rec(2)])
    assert device.poll(3) == ack(3)
    assert running.stored(device) == [1, 2, 3]
    assert running.quarantined() == []


def test_the_first_body_of_an_identity_stays(running: Site) -> None:
    device = running.device()
    device.send(rec(1, pwr={"bat": 50}))
    device.send(rec(1, pwr={"bat": 49}))
    assert device.poll(2) == ack(2)
    assert running.quarantined() == [(device.name, "identity_conflict")]
    ((body,),) = running.rows("SELECT body FROM telemetry WHERE seq = 1")
    assert json.loads(bytes(body))["pwr"] == {"bat": 50}


def test_a_lost_database_loses_nothing(running: Site, database: str) -> None:
    device = running.device()
    device.send(rec(1))
    running.wait_stored(device, 1)
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE telemetry IN EXCLUSIVE MODE")
        device.send([rec(n) for n in range(2, 40)])
        wait_until(lambda: blocked(running), WAIT_S, "ingest to be in the middle of storing")
        terminate(running)
        device.send([rec(n) for n in range(40, 60)])
        blocker.rollback()
    running.wait_stored(device, *range(1, 60))
    assert device.next_command()["high"] >= 33
    assert device.poll(60) == ack(60)


def terminate(site: Site) -> None:
    """End ingest's connections, as a restart of the database does."""
    ended = site.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE starts_with(application_name, 'tracker-ingest') AND datname = current_database()"
    )
    assert ended == [(True,)]


def test_what_is_sent_while_ingest_is_away_waits_for_it(site: Site) -> None:
    device = site.device()
    with site.ingesting():
        assert device.poll(1) == ack(1)
    for n in range(2, 6):
        device.send(rec(n))
    with site.ingesting():
        site.wait_stored(device, *range(1, 6))


def test_a_message_that_cannot_be_stored_is_put_aside_and_the_stream_goes_on(
    running: Site,
) -> None:
    running.world.conn.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'this record makes storing fail'; END $$;
        CREATE TRIGGER poison BEFORE INSERT ON telemetry FOR EACH ROW
            WHEN (convert_from(NEW.body, 'UTF8') LIKE '%poison%') EXECUTE FUNCTION refuse();
        """
    )
    device, other = running.device(), running.device()
    device.send(rec(1))
    device.send(rec(2, poison=True))
    other.send(rec(1))
    device.send(rec(3))
    # Nothing of it was stored, so it is not acknowledged: the device keeps it.
    assert device.poll(4) == ack(1, 4, [[2, 2]])
    assert other.poll(2) == ack(2)
    assert running.stored(device) == [1, 3, 4]
    assert running.quarantined() == [(device.name, "server_fault")]
    ((payload,),) = running.rows("SELECT payload FROM quarantine")
    assert json.loads(bytes(payload)) == rec(2, poison=True)


# ---------------------------------------------------------------- what is not accepted


def test_one_bad_record_in_a_hundred(running: Site) -> None:
    device = running.device()
    records = [rec(n) for n in range(1, 101)]
    records[49]["fix"]["lat"] = 95
    device.send(records)
    assert device.next_command() == ack(100)
    assert running.stored(device) == [n for n in range(1, 101) if n != 50]
    assert running.quarantined() == [(device.name, "invalid_field")]
    ((seq, payload),) = running.rows("SELECT seq, payload FROM quarantine")
    assert seq == 50
    assert json.loads(bytes(payload))["fix"]["lat"] == 95


def padded(body: dict[str, Any], size: int) -> bytes:
    bare = len(json.dumps(body | {"pad": ""}))
    return json.dumps(body | {"pad": "x" * (size - bare)}).encode()


def test_contents_that_cannot_be_accepted_are_kept_raw(running: Site) -> None:
    device = running.device()
    array = b"[" + b",".join(padded(rec(n), 4000) for n in range(2, 19)) + b"]"
    assert len(array) > 65 * 1024
    cases: list[tuple[bytes, str]] = [
        (array, "oversized"),
        (padded(rec(20), 4097), "oversized"),
        (json.dumps(rec(21) | {"v": 2}).encode(), "unknown_version"),
        (b"not json", "malformed"),
        (b"", "malformed"),
        (json.dumps([rec(n) for n in range(100, 201)]).encode(), "too_many_records"),
        (json.dumps({"v": 1, "gen": 0, "seq": 2**64 - 1, "ts": 1}).encode(), "invalid_field"),
    ]
    for payload, _ in cases:
        device.send(payload)
    # Identified and kept: 20 and 21. The numbers of the oversized array are still missing.
    assert device.poll(1) == ack(1, 21, [[2, 19]])
    kept = running.rows("SELECT reason, payload FROM quarantine")
    assert sorted((bytes(payload), reason) for reason, payload in kept) == sorted(cases)


def test_senders_that_are_not_who_the_topic_says(running: Site) -> None:
    device = running.device()
    stranger = running.unregistered("stranger")
    body = json.dumps(rec(1, evt={"code": "rope_cut"})).encode()
    other_shard = (shard_of(device.name) + 1) % 64
    device.publish(f"cts/v1/{other_shard:02d}/gps/{device.name}/tlm", body)
    running.wait_quarantined(1)
    device.publish(topic_of(device.name, "seal", "tlm"), body)
    running.wait_quarantined(2)
    device.publish(f"cts/v1/{shard_of(device.name):02d}/lorry/{device.name}/tlm", body)
    running.wait_quarantined(3)
    stranger.send(body)
    assert running.wait_quarantined(4) == [
        (None, "wrong_shard"),
        (device.name, "wrong_kind"),
        (None, "bad_topic"),
        ("stranger", "unknown_device"),
    ]
    assert device.poll(2) == ack(0, 2, [[1, 1]])
    assert stranger.commands.empty()
    assert running.rows("SELECT DISTINCT device_no FROM device_received") == running.rows(
        "SELECT device_no FROM devices WHERE id = %s", device.name
    )


def forged(topic: str, body: bytes) -> bytes:
    return sign(body, topic, Key(kid=KEY.kid, secret=b"a guess"))


def unknown_key(topic: str, body: bytes) -> bytes:
    return sign(body, topic, Key(kid="k9", secret=KEY.secret))


def for_another_topic(topic: str, body: bytes) -> bytes:
    return sign(body, topic.replace("/evt", "/tlm"), KEY)


def altered(topic: str, body: bytes) -> bytes:
    return sign(body, topic, KEY).replace(b"rope_cut", b"case_cut")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _topic, body: body, "mac_missing"),
        (forged, "mac_wrong"),
        (altered, "mac_wrong"),
        (for_another_topic, "mac_wrong"),
        (unknown_key, "mac_unknown_key"),
    ],
)
def test_what_is_not_authentic_is_never_acknowledged(
    running: Site, make: Callable[[str, bytes], bytes], reason: str
) -> None:
    device = running.signing()
    topic = topic_of(device.name, "seal", "evt")
    body = json.dumps(rec(1, evt={"code": "rope_cut"})).encode()
    device.publish(topic, make(topic, body))
    assert device.poll(2, key=KEY) == ack(0, 2, [[1, 1]])
    assert running.stored(device) == [2]
    assert running.quarantined() == [(device.name, reason)]


def test_a_signed_message_can_be_verified_from_its_records(running: Site) -> None:
    device = running.signing()
    device.send([rec(1), rec(2)], key=KEY)
    device.send(rec(3), key=KEY)
    assert device.poll(4, key=KEY) == ack(4)
    topic = topic_of(device.name, "seal", "tlm")
    both = sign(json.dumps([rec(1), rec(2)]).encode(), topic, KEY)
    alone = sign(json.dumps(rec(3)).encode(), topic, KEY)
    rows = running.rows("SELECT seq, topic, payload FROM signed_records WHERE seq < 4 ORDER BY seq")
    assert [(seq, where, bytes(payload)) for seq, where, payload in rows] == [
        (1, topic, both),
        (2, topic, both),
        (3, topic, alone),
    ]
    # What a record came in by itself is not kept twice.
    assert running.rows("SELECT count(*) FROM signed_messages") == [(1,)]


def test_a_key_that_has_expired_is_refused(running: Site) -> None:
    device = running.signing()
    running.world.conn.execute("UPDATE device_keys SET expires_at = now() - interval '1 s'")
    device.send(rec(1, why="poll"), key=KEY)
    assert running.wait_quarantined(1) == [(device.name, "mac_expired_key")]
    assert device.commands.empty()
