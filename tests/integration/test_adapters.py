"""OwnTracks and Traccar through the whole of it: broker, storing, judging, what the API reads."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.seed import START, SeededDelivery, World, at, record
from tests.support.services import Broker
from tests.support.waiting import wait_until
from tracker.adapters import TRACCAR_TOPIC
from tracker.db.leases import sessions_up
from tracker.db.reading_track import read_track
from tracker.ingest_mqtt import run
from tracker.model import FORWARDED_GEN, TimeFlag, to_ms
from tracker.payload import Reason
from tracker.pipeline import store
from tracker.settings import load_settings
from tracker.shards import shards_wanted
from tracker.storing import Incoming, Storing

SEAL = "863051066812345"
PHONE = "driver-phone"
WAIT_S = 60.0
GOLDEN = Path(__file__).parents[1] / "data/golden/traccar/position.json"


def iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")


def position(minute: float, lon: float, *, lat: float = 43.5, **more: Any) -> dict[str, Any]:
    """A position as a Traccar server forwards it, some seconds after it was made."""
    message: dict[str, Any] = json.loads(GOLDEN.read_text())["payload"]
    made = iso(at(minute))
    attributes = {"sat": 9, "batteryLevel": 80, **more.pop("attributes", {})}
    message["position"] |= {
        "deviceTime": made,
        "fixTime": made,
        "serverTime": iso(at(minute) + timedelta(seconds=2)),
        "latitude": lat,
        "longitude": lon,
        "attributes": attributes,
        **more,
    }
    return message


def incoming(topic: str, body: Any, *, minute: float = 200, retained: bool = False) -> Incoming:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming(topic=topic, payload=payload, received_ms=to_ms(at(minute)), retained=retained)


def forward(*bodies: dict[str, Any]) -> list[Incoming]:
    return [incoming(TRACCAR_TOPIC, body) for body in bodies]


def rows(world: World, query: str, *params: Any) -> list[tuple[Any, ...]]:
    return world.conn.execute(query, params).fetchall()


def stored(world: World) -> list[tuple[Any, ...]]:
    return rows(world, "SELECT gen, seq, t_star, flags, body FROM telemetry ORDER BY t_star, seq")


def reasons(batch: Storing) -> dict[Reason, int]:
    return dict(batch.reasons)


def codes(world: World, delivery: SeededDelivery) -> set[str]:
    return {a["code"] for a in world.anomalies(delivery)}


# ---------------------------------------------------------------- storing


def test_a_position_forwarded_twice_is_stored_once(world: World) -> None:
    world.device("seal", id_=SEAL)
    first = position(1, 76.0)
    again = position(1, 76.0, serverTime=iso(at(90)), attributes={"archive": True})
    assert len(world.store(forward(first, first)).records) == 1
    batch = world.store(forward(again, position(2, 76.01)))
    assert (len(batch.records), reasons(batch)) == (1, {})

    (one, other) = stored(world)
    assert (one[0], one[2], other[2]) == (FORWARDED_GEN, at(1), at(2))
    assert one[1] < other[1]
    assert one[4] == json.dumps(first).encode()
    assert one[3] & (TimeFlag.TRACCAR | TimeFlag.OWNTRACKS) == TimeFlag.TRACCAR


def test_two_workers_at_a_hand_over_store_a_position_once(world: World, database: str) -> None:
    """The second waits for the first to commit, and then finds the position there."""
    world.device("seal", id_=SEAL)
    messages = forward(position(1, 76.0))
    other = World(database)
    counts: list[int] = []
    second = threading.Thread(target=lambda: counts.append(len(other.store(messages).records)))
    with world.conn.transaction():
        assert len(store(world.conn, messages, quarantine_per_device=100).records) == 1
        second.start()
        wait_until(
            lambda: rows(
                world,
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()",
            ),
            WAIT_S,
            "the second worker to wait",
        )
    second.join(WAIT_S)
    other.close()
    assert counts == [0]
    assert len(stored(world)) == 1


def test_no_ack_is_owed_and_no_multirange_grows(world: World) -> None:
    world.device("seal", id_=SEAL)
    batch = world.store(forward(*(position(n, 76.0) for n in range(5))))
    assert (batch.news, batch.next_gens) == ({}, [])
    assert rows(world, "SELECT * FROM device_received") == []
    assert rows(world, "SELECT gen FROM device_state") == [(None,)]


def test_the_newest_record_is_shown_in_our_own_words(world: World) -> None:
    world.device("seal", id_=SEAL)
    world.store(forward(position(2, 76.1), position(1, 76.0)))
    ((body,),) = rows(world, "SELECT last_body FROM device_state")
    shown = json.loads(body)
    assert shown["fix"]["lon"] == 76.1
    assert shown["pwr"] == {"bat": 80}
    assert (shown["ts"], shown["v"], shown["gen"]) == (to_ms(at(2)), 1, FORWARDED_GEN)


def test_a_mixed_batch_is_stored_whole(world: World) -> None:
    world.device("seal", id_=SEAL)
    own = world.device("gps")
    batch = world.store(
        [*forward(position(1, 76.0)), world.message(own, record(1, at(1), 76.0, 43.5))]
    )
    assert len(batch.records) == 2
    assert [n.records for n in batch.news.values()] == [1]


@pytest.mark.parametrize(
    ("topic", "body", "reason", "device"),
    [
        (TRACCAR_TOPIC, b'"traccar/positions"', Reason.MALFORMED, None),
        (TRACCAR_TOPIC, position(1, 76.0), Reason.UNKNOWN_DEVICE, SEAL),
        ("owntracks/a/b", {"_type": "card", "name": "x"}, Reason.INVALID_FIELD, None),
        ("owntracks/a/b/c/d", b"{}", Reason.BAD_TOPIC, None),
    ],
)
def test_what_is_refused_is_kept_raw_with_its_reason(
    world: World, topic: str, body: Any, reason: Reason, device: str | None
) -> None:
    message = incoming(topic, body)
    assert reasons(world.store([message])) == {reason: 1}
    (kept,) = rows(world, "SELECT topic, device_id, reason, payload FROM quarantine")
    assert kept == (topic, device, reason, message.payload)


def test_a_device_that_must_sign_is_not_heard_through_others(world: World) -> None:
    world.device("seal", id_=SEAL)
    world.conn.execute("UPDATE devices SET hmac_required = true")
    batch = world.store(forward(position(1, 76.0, attributes={"alarm": "lock"})))
    assert reasons(batch) == {Reason.MAC_MISSING: 1}
    assert stored(world) == []


def test_a_will_and_a_position_tell_presence_but_retained_ones_do_not(world: World) -> None:
    world.device("gps", id_=PHONE)
    topic = "owntracks/driver/phone"
    here = {"_type": "location", "tst": to_ms(at(1)) // 1000, "lat": 43.5, "lon": 76.0}
    will = {"_type": "lwt", "tst": to_ms(at(0)) // 1000}

    def online() -> list[tuple[Any, ...]]:
        return rows(world, "SELECT online FROM device_state")

    world.store([incoming(topic, here)])
    assert online() == [(True,)]
    world.store([incoming(topic, will)])
    assert online() == [(False,)]
    world.store([incoming(topic, here, retained=True)])
    assert online() == [(False,)]
    assert len(stored(world)) == 1


# ---------------------------------------------------------------- judging


@pytest.mark.parametrize(
    ("alarm", "code"),
    [("tampering", "seal_body_open"), ("removing", "seal_cut"), ("door", "seal_body_open")],
)
def test_an_alarm_of_a_traccar_device_becomes_an_alert(world: World, alarm: str, code: str) -> None:
    delivery = world.delivery([world.device("seal", id_=SEAL)])
    trip = [position(n, 76.0 + n * 0.01) for n in range(4)]
    trip.append(position(4, 76.04, attributes={"alarm": alarm}))
    world.store(forward(*trip))
    world.judge(now=at(5))

    (found,) = world.anomalies(delivery)
    assert (found["code"], found["start_at"], found["device_id"]) == (code, at(4), SEAL)
    assert found["severity"] == "critical"
    assert found["evidence"]["by"] == "event"
    assert found["evidence"]["last_position"] == pytest.approx([76.04, 43.5])
    assert rows(world, "SELECT code, status FROM alerts") == [(code, "open")]


def test_an_alarm_without_a_fix_counts_at_the_time_of_the_device(world: World) -> None:
    delivery = world.delivery([world.device("seal", id_=SEAL)])
    last: dict[str, Any] = {
        "outdated": True,
        "fixTime": iso(at(1)),
        "attributes": {"alarm": "tampering"},
    }
    world.store(forward(position(1, 76.0), position(6, 76.0, **last)))
    world.judge(now=at(7))
    found = {a["code"]: a for a in world.anomalies(delivery)}
    assert found["seal_body_open"]["start_at"] == at(6)


def test_a_seal_with_a_dead_clock_is_heard_at_the_servers_time(world: World) -> None:
    delivery = world.delivery([world.device("seal", id_=SEAL)])
    dead = {"deviceTime": "1970-01-01T00:10:00Z", "fixTime": "1970-01-01T00:10:00Z"}
    cut: dict[str, Any] = {**dead, "attributes": {"alarm": "removing"}}
    world.store(forward(position(1, 76.0), position(3, 76.0, **cut)))
    world.judge(now=at(4))
    when = at(3) + timedelta(seconds=2)
    found = [(a["code"], a["start_at"]) for a in world.anomalies(delivery)]
    assert found == [("clock_fault", when), ("seal_cut", when)]
    flags = [row[3] for row in stored(world)]
    assert flags[1] & TimeFlag.IMPLAUSIBLE


def test_order_and_repetition_change_nothing(world: World) -> None:
    """The order law, with half of the trip sent late and some of it twice."""
    trip = [position(n, 76.0 + n * 0.01, lat=43.52 if 10 <= n < 20 else 43.5) for n in range(30)]
    trip[25]["position"]["attributes"]["alarm"] = "removing"
    delivery = world.delivery([world.device("gps", id_=SEAL)])
    world.store(forward(*trip[15:]))
    world.judge(now=at(31))
    world.store(forward(*reversed(trip[:18])))
    world.judge(now=at(31))
    late = world.anomalies(delivery)
    assert {a["code"] for a in late} == {"route_deviation", "seal_cut"}
    assert {a["code"]: a["start_at"] for a in late}["route_deviation"] == at(10)

    other = world.device("gps")
    in_order = world.delivery([other])
    for message in trip:
        message["device"]["uniqueId"] = other
    world.store(forward(*trip))
    world.judge(now=at(31))

    def plain(of: SeededDelivery) -> list[dict[str, Any]]:
        return [a | {"device_id": None} for a in world.anomalies(of)]

    assert plain(in_order) == plain(delivery)


def test_a_phone_off_its_route_is_found_and_its_track_shown(world: World) -> None:
    delivery = world.delivery([world.device("gps", id_=PHONE)])
    trip = [
        incoming(
            "owntracks/driver/phone",
            {
                "_type": "location",
                "tst": to_ms(at(n)) // 1000,
                "lat": 43.52 if 5 <= n < 9 else 43.5,
                "lon": 76.0 + n * 0.01,
                "acc": 8,
                "vel": 48,
                "cog": 90,
            },
        )
        for n in range(15)
    ]
    world.store(trip)
    world.judge(now=at(15))
    assert codes(world, delivery) == {"route_deviation"}
    (track,) = read_track(world.conn, delivery.id, since=None, until=None, limit=1000)
    assert (track.device_id, track.total) == (PHONE, 15)
    assert {(p.speed_kmh, p.heading_deg) for p in track.points} == {(48, 90)}


# ---------------------------------------------------------------- over the broker


def test_both_are_heard_over_a_real_broker(broker: Broker, world: World, database: str) -> None:
    world.delivery([world.device("seal", id_=SEAL), world.device("gps", id_=PHONE)])
    settings = load_settings(
        database_url=database,
        mqtt_host=broker.host,
        mqtt_port=broker.port,
        batch_ms=20,
        traccar_topic="customs/traccar",
    )
    sender = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="others")
    sender.connect(broker.host, broker.port)
    sender.loop_start()

    def publish(topic: str, body: Any, *, retain: bool = False) -> None:
        sender.publish(topic, json.dumps(body), qos=1, retain=retain).wait_for_publish(WAIT_S)

    here: dict[str, Any] = {
        "_type": "location",
        "tst": to_ms(START) // 1000,
        "lat": 43.5,
        "lon": 76.0,
    }
    publish("owntracks/driver/phone", here, retain=True)  # before anybody listens
    stop = threading.Event()
    ingest = threading.Thread(target=run, args=(settings, stop), name="ingest")
    ingest.start()
    try:
        sessions = len(shards_wanted(settings))
        wait_until(lambda: sessions_up(world.conn) == sessions, WAIT_S, "subscriptions")
        cut = position(3, 76.0, attributes={"alarm": "removing"})
        publish("customs/traccar", cut)
        publish("customs/traccar", cut)
        gone = {**here, "_type": "transition", "tst": here["tst"] + 60, "event": "leave"}
        publish("owntracks/driver/phone/event", gone)
        publish("owntracks/driver/phone", {"_type": "lwt", "tst": here["tst"]})
        wait_until(
            lambda: rows(world, "SELECT 1 FROM device_state WHERE online IS FALSE"),
            WAIT_S,
            "the will",
        )
        wait_until(lambda: len(stored(world)) >= 3, WAIT_S, "three records")
    finally:
        stop.set()
        ingest.join(WAIT_S)
        sender.disconnect()
        sender.loop_stop()
    assert not ingest.is_alive()
    by_device = rows(
        world, "SELECT id, count(*) FROM telemetry JOIN devices USING (device_no) GROUP BY 1"
    )
    assert dict(by_device) == {SEAL: 1, PHONE: 2}
    assert rows(world, "SELECT * FROM quarantine") == []
    world.judge(now=at(4))
    assert "seal_cut" in {row[0] for row in rows(world, "SELECT code FROM anomalies")}
