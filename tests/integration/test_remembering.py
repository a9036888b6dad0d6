"""What workers remember instead of reading it: folds, received numbers, devices.

Whatever another process does meanwhile, the result is that of one who remembers nothing.
"""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.test_pipeline import crooked_trip
from tests.support.seed import START, SeededDelivery, World, at, record
from tracker.db.evaluation import REPLAYED
from tracker.db.telemetry import Ears, Registry, Stale
from tracker.judging import PASSED, Remembered
from tracker.payload import Key, sign, topic_of
from tracker.pipeline import judge, store
from tracker.storing import Incoming, Storing

Memory = dict[UUID, Remembered]


class Evaluator:
    """One that judges all that is marked, each time at a moment of its own."""

    moments = 0

    def __init__(self, world: World) -> None:
        self._world = world
        self.memory: Memory = {}

    def judge(self) -> None:
        while True:
            Evaluator.moments += 1
            now = at(121) + timedelta(milliseconds=Evaluator.moments)
            with self._world.conn.transaction():
                if not judge(self._world.conn, now=now, limit=100, memory=self.memory):
                    return


def two_devices(world: World) -> tuple[SeededDelivery, list[Incoming]]:
    """A crooked trip as its seal and its vehicle unit report it, some seconds apart."""
    seal, unit = world.device("seal"), world.device("gps")
    delivery = world.delivery([seal, unit])
    sent = [world.message(seal, r) for r in crooked_trip()]
    for n, r in enumerate(crooked_trip(), start=1):
        fix = r["fix"]
        moving = r["mot"]["mov"] if "mot" in r else True
        later = record(n, at(0) + (_time(r) - at(0)) + timedelta(seconds=7), fix["lon"], fix["lat"],
                       moving=moving)  # fmt: skip
        sent.append(world.message(unit, later))
    return delivery, sorted(sent, key=lambda m: json.loads(m.payload)["ts"])


def _time(body: dict[str, Any]) -> Any:
    return START + timedelta(milliseconds=body["ts"] - START.timestamp() * 1000)


def found(world: World, delivery: SeededDelivery) -> list[dict[str, Any]]:
    return [
        a | {"device_id": (a["device_id"] or "")[:3], "evidence": None}
        for a in world.anomalies(delivery)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_evaluators_that_take_turns_find_what_one_finds_at_once(world: World, seed: int) -> None:
    rng = random.Random(seed)
    whole, sent = two_devices(world)
    world.store(sent)
    world.judge(now=at(121))

    parts, sent = two_devices(world)
    # Nearly in order, as two devices' records are; some come much later.
    sent = sorted(sent, key=lambda m: json.loads(m.payload)["ts"] + rng.choice([0, 0, 20_000]))
    for late in rng.sample(sent, 12):
        sent.remove(late)
        sent.append(late)
    evaluators = [Evaluator(world), Evaluator(world)]
    while sent:
        n = rng.randint(1, 25)
        world.store(sent[:n])
        sent = sent[n:]
        if rng.random() < 0.15:
            evaluators[0] = Evaluator(world)  # killed and started again
        rng.choice(evaluators).judge()
    assert found(world, parts) == found(world, whole)


def test_a_state_is_stored_seldom_and_a_new_evaluator_goes_on_from_it(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    evaluator = Evaluator(world)
    trip = crooked_trip()
    for r in trip:
        world.store([world.message(device, r)])
        evaluator.judge()
    rows = world.conn.execute("SELECT upto FROM checkpoints ORDER BY upto").fetchall()
    # One after 64 observations; the trip has fewer than twice as many.
    assert len(trip) < 2 * REPLAYED
    assert [row[0] for row in rows] == [_time(trip[REPLAYED - 1])]
    assert len(evaluator.memory[delivery.id].passed) == PASSED

    before = found(world, delivery)
    world.conn.execute(
        "INSERT INTO dirty (delivery_id, from_t) VALUES (%s, %s)", (delivery.id, at(119))
    )
    fresh = Evaluator(world)
    fresh.judge()
    assert found(world, delivery) == before
    kept = fresh.memory[delivery.id].passed[-1]
    assert kept.since == len(trip) - REPLAYED


def test_a_batch_that_was_rolled_back_is_not_remembered(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    trip = crooked_trip()
    evaluator = Evaluator(world)
    world.store([world.message(device, r) for r in trip[:30]])
    evaluator.judge()
    world.store([world.message(device, r) for r in trip[30:80]])
    with world.conn.transaction(force_rollback=True):
        judge(world.conn, now=at(121) + timedelta(hours=1), limit=9, memory=evaluator.memory)
    world.store([world.message(device, r) for r in trip[80:]])
    evaluator.judge()
    other = world.device()
    at_once = world.delivery([other])
    world.store([world.message(other, r) for r in trip])
    world.judge(now=at(121))
    assert found(world, delivery) == found(world, at_once)


# ---------------------------------------------------------------- storing


def stored(world: World, messages: list[Incoming], ears: Ears, registry: Registry) -> Storing:
    with world.conn.transaction():
        batch = store(world.conn, messages, quarantine_per_device=100, ears=ears, registry=registry)
    batch.remember()
    return batch


def seqs(world: World) -> list[int]:
    return [row[0] for row in world.conn.execute("SELECT seq FROM telemetry ORDER BY seq")]


def test_two_workers_store_a_record_once(world: World) -> None:
    device = world.device()
    ours, theirs, registry = Ears(), Ears(), Registry()
    sent = [world.message(device, record(n, at(n), 76.0, 43.5)) for n in range(1, 5)]
    stored(world, sent[:1], ours, registry)
    stored(world, sent[:3], theirs, registry)
    with pytest.raises(Stale):
        stored(world, sent[1:], ours, registry)  # 2 and 3 are new to it, and are not
    assert seqs(world) == [1, 2, 3]
    ours.forget()
    batch = stored(world, sent[1:], ours, registry)
    assert [r.seq for r in batch.records] == [4]
    assert seqs(world) == [1, 2, 3, 4]
    ((received, version),) = world.conn.execute(
        "SELECT received::text, version FROM device_received"
    ).fetchall()
    assert (received, version) == ("{[1,5)}", 3)


def test_remembered_numbers_are_as_good_as_read_ones(world: World) -> None:
    device = world.device()
    ears, registry = Ears(), Registry()
    order = list(range(1, 40)) * 2
    random.Random(1).shuffle(order)
    for n in order:
        stored(world, [world.message(device, record(n, at(n), 76.0, 43.5))], ears, registry)
    assert seqs(world) == list(range(1, 40))
    assert world.conn.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)
    row = world.conn.execute("SELECT newest_seq, newest_t_star FROM device_received").fetchone()
    assert row == (39, at(39))


def test_what_is_forgotten_is_read_again(world: World) -> None:
    devices = [world.device() for _ in range(3)]
    ears, registry = Ears(most=1), Registry()
    for n in (1, 2, 3):
        for device in devices:
            stored(world, [world.message(device, record(n, at(n), 76.0, 43.5))], ears, registry)
    rows = world.conn.execute("SELECT received::text FROM device_received").fetchall()
    assert rows == [("{[1,4)}",)] * 3


def signed(device: str, seq: int, key: Key) -> Incoming:
    topic = topic_of(device, "seal", "tlm")
    body = json.dumps(record(seq, at(seq), 76.0, 43.5)).encode()
    received_ms = round(at(seq).timestamp() * 1000) + 500
    return Incoming(topic=topic, payload=sign(body, topic, key), received_ms=received_ms)


def test_a_change_in_the_registry_counts_from_the_next_batch(world: World) -> None:
    device = world.device("seal")
    ears, registry = Ears(), Registry()
    first, second = Key(kid="1", secret=b"a" * 32), Key(kid="2", secret=b"b" * 32)

    def reasons(message: Incoming) -> list[str]:
        return [str(r) for r in stored(world, [message], ears, registry).reasons]

    assert reasons(signed(device, 1, first)) == ["mac_unknown_key"]
    for key in (first, second):
        world.conn.execute(
            "INSERT INTO device_keys (device_no, kid, secret)"
            " SELECT device_no, %s, %s FROM devices WHERE id = %s",
            (key.kid, key.secret, device),
        )
        assert reasons(signed(device, int(key.kid), key)) == []
    world.conn.execute("DELETE FROM device_keys WHERE kid = '1'")
    assert reasons(signed(device, 3, first)) == ["mac_unknown_key"]
    assert reasons(signed(device, 4, second)) == []
    world.conn.execute("UPDATE devices SET kind = 'gps'")
    assert reasons(signed(device, 5, second)) == ["wrong_kind"]
