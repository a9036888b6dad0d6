"""What is refused in a device's name reaches the deliveries that it is bound to, flood or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from tests.support.seed import START, SeededDelivery, World, at, record
from tracker.db.evaluation import FOREVER, case_files, mark_clocks
from tracker.db.redrive import Filter
from tracker.db.refusals import other_bindings_of, refusals_of
from tracker.detectors.identity import device_on_two, identity_conflicts
from tracker.model import Finding, Refusal, to_ms
from tracker.payload import Key, Reason, sign, topic_of
from tracker.pipeline import store
from tracker.redrive import redrive
from tracker.storing import Incoming, Storing

SECRET = b"s" * 32
KEY = Key(kid="1", secret=SECRET)


@pytest.fixture
def seal(world: World) -> str:
    """A seal that must sign."""
    name = world.device("seal")
    world.conn.execute("UPDATE devices SET hmac_required = true WHERE id = %s", (name,))
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret)"
        " SELECT device_no, '1', %s FROM devices WHERE id = %s",
        (SECRET, name),
    )
    return name


def message(device: str, body: Any, when: datetime, *, key: Key | None = None) -> Incoming:
    topic = topic_of(device, "seal", "tlm")
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming(
        topic=topic,
        payload=payload if key is None else sign(payload, topic, key),
        received_ms=to_ms(when),
    )


def read(world: World, delivery: SeededDelivery) -> tuple[Refusal, ...]:
    return refusals_of(world.conn, [delivery.id]).get(delivery.id, ())


def found(world: World, delivery: SeededDelivery, now: datetime) -> tuple[Finding, ...]:
    plan = case_files(world.conn, [delivery.id])[delivery.id].plan
    return identity_conflicts(read(world, delivery), plan, to_ms(now))


def marks(world: World) -> list[tuple[Any, Any]]:
    """The marks that ask for a look at no record, taken away."""
    rows = world.conn.execute(
        "DELETE FROM dirty WHERE from_t = %s RETURNING delivery_id, from_t", (FOREVER,)
    )
    return [(id_, from_t) for id_, from_t in rows]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, Reason.MAC_MISSING),
        (replace(KEY, secret=b"x" * 32), Reason.MAC_WRONG),
        (replace(KEY, kid="9"), Reason.MAC_UNKNOWN_KEY),
    ],
)
def test_a_forged_message_marks_the_delivery_and_is_found(
    world: World, seal: str, key: Key | None, reason: Reason
) -> None:
    delivery = world.delivery([seal])
    other = world.delivery([world.device()])
    world.store([message(seal, record(1, at(5)), at(5), key=key)])

    assert marks(world) == [(delivery.id, FOREVER)]
    (one,) = found(world, delivery, at(6))
    assert (one.code, one.device, one.severity) == ("identity_conflict", seal, "critical")
    assert (one.start_ms, one.end_ms) == (to_ms(at(5)), None)
    (row,) = world.conn.execute("SELECT id, reason, topic FROM quarantine").fetchall()
    assert one.evidence["reason"] == row[1] == reason
    assert one.evidence["quarantine_ids"] == [row[0]]
    assert one.evidence["topics"] == [row[2]]
    assert found(world, other, at(6)) == ()
    (over,) = found(world, delivery, at(30))
    assert over.end_ms == to_ms(at(5))


def test_an_expired_key_a_wrong_kind_and_a_wrong_shard_are_found_too(
    world: World, seal: str
) -> None:
    delivery = world.delivery([seal])
    world.conn.execute("UPDATE device_keys SET expires_at = %s", (START,))
    right = topic_of(seal, "seal", "tlm").split("/")
    wrong_shard = "/".join([*right[:2], f"{(int(right[2]) + 1) % 64:02d}", *right[3:]])
    body = json.dumps(record(1, at(1))).encode()
    when = to_ms(at(1))
    world.store(
        [
            message(seal, body, at(1), key=KEY),
            Incoming(topic=topic_of(seal, "gps", "tlm"), payload=body, received_ms=when),
            Incoming(topic=wrong_shard, payload=body, received_ms=when),
        ]
    )
    reasons = {f.evidence["reason"] for f in found(world, delivery, at(2))}
    assert reasons == {Reason.MAC_EXPIRED_KEY, Reason.WRONG_KIND, Reason.WRONG_SHARD}


def test_a_second_body_stands_with_the_record_that_it_contradicts(world: World) -> None:
    device = world.device()
    first = world.delivery([device])
    world.store([world.message(device, record(7, at(10), 76.0, 43.5), received=at(10))])
    world.conn.execute("UPDATE bindings SET bound_to = %s, released = true", (at(60),))
    second = world.delivery([device], released=at(60))
    marks(world)

    forged = record(7, at(10), 77.9, 43.7)
    world.store([world.message(device, forged, received=at(100))])
    assert marks(world) == [(first.id, FOREVER)]
    (one,) = found(world, first, at(101))
    assert one.start_ms == to_ms(at(100))
    assert (one.evidence["gen"], one.evidence["seq"]) == (0, 7)
    assert found(world, second, at(101)) == ()


def test_a_second_body_without_a_stored_first_stands_where_it_was_received(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    bad = record(3, at(1)) | {"fix": {"ok": True, "lat": 95, "lon": 76}}
    world.store([world.message(device, bad, received=at(1))])
    world.store([world.message(device, bad | {"why": "dist"}, received=at(2))])
    (refusal,) = read(world, delivery)
    assert refusal.reason == Reason.IDENTITY_CONFLICT
    assert refusal.from_ms == refusal.to_ms == to_ms(at(2))
    assert refusal.identities == ((0, 3),)


def test_content_refused_of_a_proved_sender_accuses_nobody(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    world.store([world.message(device, b"{nope", received=at(1))])
    assert read(world, delivery) == ()
    assert marks(world) == []


def test_a_flood_is_one_row_a_slot_and_few_marks_though_quarantine_is_full(
    world: World, seal: str
) -> None:
    delivery = world.delivery([seal])
    for minute in range(8):
        world.store([message(seal, b"{%d" % n, at(minute)) for n in range(100)])
    assert world.conn.execute("SELECT count(*) FROM quarantine").fetchone() == (100,)
    (refusal,) = read(world, delivery)
    assert refusal.count == 800
    assert len(refusal.quarantine_ids) == 16
    # Of eight batches those that bring the count past a power of two: at 100, 200, 300 and 600.
    assert len(marks(world)) == 4
    (one,) = found(world, delivery, at(8))
    assert one.evidence["count"] == 800


def test_the_same_forged_message_again_adds_to_the_evidence_only(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    world.store([world.message(device, record(1, at(0), 76.0, 43.5), received=at(0))])
    forged = record(1, at(0), 77.0, 43.5)
    for minute in range(1, 30, 5):
        world.store([world.message(device, forged, received=at(minute))])
    (one,) = found(world, delivery, at(30))
    assert one.evidence["count"] == 6
    assert one.evidence["identities"] == [{"gen": 0, "seq": 1}]
    assert (one.start_ms, one.end_ms) == (to_ms(at(1)), None)


def test_nobody_registered_costs_no_row(world: World) -> None:
    delivery = world.delivery([world.device()])
    world.store([world.message(f"nobody-{n}", record(1, at(1))) for n in range(50)])
    assert read(world, delivery) == ()
    assert world.conn.execute("SELECT count(*) FROM refusals").fetchone() == (0,)


def test_a_retained_birth_read_again_is_no_attack(world: World, seal: str) -> None:
    delivery = world.delivery([seal])
    birth = Incoming(
        topic=topic_of(seal, "seal", "state"),
        payload=b'{"on":true,"conn":1,"gen":0}',
        received_ms=to_ms(at(3)),
    )
    world.store([replace(birth, retained=True)])
    assert read(world, delivery) == ()
    world.store([birth])
    (refusal,) = read(world, delivery)
    assert (refusal.reason, refusal.count) == (Reason.MAC_MISSING, 1)


def test_any_batching_and_order_gives_the_same(world: World, seal: str) -> None:
    delivery = world.delivery([seal])
    refused = [message(seal, b"{%d" % n, at(n * 4)) for n in range(20)]

    def told(batches: Sequence[Sequence[Incoming]]) -> list[Refusal]:
        world.conn.execute("TRUNCATE refusals, quarantine")
        for batch in batches:
            world.store(batch)
        return [replace(r, quarantine_ids=()) for r in read(world, delivery)]

    whole = told([refused])
    assert sum(r.count for r in whole) == 20
    assert told([[one] for one in reversed(refused)]) == whole
    assert told([refused[::2], refused[1::2]]) == whole


# ---------------------------------------------------------------- re-drive


@contextmanager
def begun(world: World) -> Iterator[psycopg.Connection[Any]]:
    with world.conn.transaction():
        yield world.conn


def test_a_key_put_right_takes_the_accusation_back(world: World, seal: str) -> None:
    delivery = world.delivery([seal])
    late = Key(kid="2", secret=b"t" * 32)
    world.store([message(seal, record(n, at(n)), at(n), key=late) for n in (1, 2)])
    world.store([message(seal, record(3, at(3)), at(3))])
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret)"
        " SELECT device_no, '2', %s FROM devices WHERE id = %s",
        (late.secret, seal),
    )
    marks(world)
    outcome = redrive(lambda: begun(world), Filter(device=seal), traccar_topic="t")
    assert (outcome.stored, outcome.kept) == (2, {"mac_missing": 1})
    (left,) = read(world, delivery)
    assert (left.reason, left.count) == (Reason.MAC_MISSING, 1)
    (row,) = world.conn.execute("SELECT id FROM quarantine").fetchall()
    assert left.quarantine_ids == row
    assert delivery.id in {id_ for id_, _ in marks(world)}


# ---------------------------------------------------------------- judged


def alert_of(world: World, delivery: SeededDelivery) -> tuple[Any, ...] | None:
    return world.conn.execute(
        "SELECT a.status, a.count, array_agg(h.what ORDER BY h.id) FROM alerts a"
        " JOIN alert_history h ON h.alert_id = a.id"
        " WHERE a.delivery_id = %s AND a.code = 'identity_conflict' GROUP BY a.delivery_id, a.id",
        (delivery.id,),
    ).fetchone()


def judged(world: World, delivery: SeededDelivery, now: datetime) -> list[dict[str, Any]]:
    world.judge(now=now)
    return [a for a in world.anomalies(delivery) if a["code"] == "identity_conflict"]


def test_an_episode_is_raised_grows_closes_by_the_clock_and_comes_again(
    world: World, seal: str
) -> None:
    delivery = world.delivery([seal])
    world.store([message(seal, b"{1", at(1))])
    (young,) = judged(world, delivery, at(1.1))
    assert (young["status"], young["device_id"], young["start_at"]) == ("open", seal, at(1))
    assert young["evidence"]["count"] == 1

    world.store([message(seal, b"{1", at(5))])
    (grown,) = judged(world, delivery, at(5.1))
    assert (grown["status"], grown["evidence"]["count"]) == ("open", 2)
    alert = alert_of(world, delivery)
    assert alert is not None
    assert alert[:2] == ("open", 1)

    mark_clocks(world.conn, at(15))  # of other rules; this one's comes a moment later
    assert [a["status"] for a in judged(world, delivery, at(15))] == ["open"]
    assert mark_clocks(world.conn, at(15.1)) == 1
    (closed,) = judged(world, delivery, at(15.1))
    assert (closed["status"], closed["end_at"]) == ("closed", at(5))

    world.store([message(seal, b"{1", at(40))])
    assert [a["status"] for a in judged(world, delivery, at(40.1))] == ["closed", "open"]
    alert = alert_of(world, delivery)
    assert alert is not None
    assert alert[:2] == ("open", 2)


def test_a_key_put_right_retracts_the_alert(world: World, seal: str) -> None:
    delivery = world.delivery([seal])
    late = Key(kid="2", secret=b"t" * 32)
    world.store([message(seal, record(1, at(1), 76.0, 43.5), at(1), key=late)])
    assert len(judged(world, delivery, at(2))) == 1
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret)"
        " SELECT device_no, '2', %s FROM devices WHERE id = %s",
        (late.secret, seal),
    )
    redrive(lambda: begun(world), Filter(device=seal), traccar_topic="t")
    assert judged(world, delivery, at(3)) == []
    alert = alert_of(world, delivery)
    assert alert is not None
    assert (alert[0], alert[2][0], alert[2][-1]) == ("retracted", "raised", "retracted")


# ---------------------------------------------------------------- what the bound keeps out


def bounded(world: World, messages: Sequence[Incoming], room: int) -> Storing:
    with world.conn.transaction():
        return store(world.conn, messages, quarantine_per_device=room)


def bad(seq: int) -> dict[str, Any]:
    return record(seq, at(seq)) | {"fix": {"ok": True, "lat": 95, "lon": 76}}


def test_what_quarantine_has_no_room_for_is_not_received(world: World) -> None:
    device = world.device()
    bodies = [record(1, at(1)), bad(2), bad(3), record(4, at(4)), bad(5), record(6, at(6))]
    batch = bounded(world, [world.message(device, bodies)], room=1)
    (received,) = batch.received.values()
    assert received.ranges == ((1, 3), (4, 5), (6, 7))
    assert world.conn.execute("SELECT seq FROM quarantine").fetchall() == [(2,)]
    counts = world.conn.execute("SELECT kept, over_limit FROM quarantine_counts").fetchone()
    assert counts == (1, 2)

    # With room again the device's next try is kept, and so received.
    again = bounded(world, [world.message(device, [bad(3), bad(5)])], room=9)
    (received,) = again.received.values()
    assert received.ranges == ((1, 7),)
    kept = world.conn.execute("SELECT seq FROM quarantine ORDER BY seq").fetchall()
    assert kept == [(2,), (3,), (5,)]


def test_a_second_body_without_room_does_not_undo_the_first(world: World) -> None:
    device = world.device()
    batch = bounded(world, [world.message(device, [bad(9), record(1, at(1))])], room=1)
    batch = bounded(world, [world.message(device, record(1, at(1), 77.0, 43.0))], room=1)
    assert batch.reasons == {Reason.IDENTITY_CONFLICT: 1}
    (received,) = batch.received.values()
    assert received.ranges == ((1, 2), (9, 10))


# ---------------------------------------------------------------- bindings


def test_a_device_on_two_deliveries_is_found_though_the_database_should_not_allow_it(
    world: World,
) -> None:
    device = world.device()
    first = world.delivery([device])
    with pytest.raises(psycopg.errors.ExclusionViolation):
        world.delivery([device], released=at(60))
    assert other_bindings_of(world.conn, [first.id]) == {}
    world.conn.execute("ALTER TABLE bindings DROP CONSTRAINT ex_bindings_device_time")
    second = world.delivery([device], released=at(60))
    others = other_bindings_of(world.conn, [first.id, second.id])
    plan = case_files(world.conn, [first.id])[first.id].plan
    (one,) = device_on_two(others[first.id], plan)
    assert (one.start_ms, one.end_ms) == (to_ms(at(60)), None)
    assert one.evidence["other_delivery"] == str(second.id)
    world.conn.execute(
        "UPDATE bindings SET bound_to = %s WHERE delivery_id = %s",
        (START + timedelta(hours=1), first.id),
    )
    assert other_bindings_of(world.conn, [first.id]) == {}
