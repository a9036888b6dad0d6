"""What a batch of the evaluator does about deliveries that cannot be judged, or not with so many
others: none of them keeps the rest waiting."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import pytest
from psycopg import sql

from tests.integration.test_pipeline import crooked_trip
from tests.support.seed import SeededDelivery, World, at, record
from tracker.db import evaluation, workers
from tracker.db.marks import mark_dirty
from tracker.evaluate import Evaluator
from tracker.settings import load_settings


def evaluator_of(database: str, batch: int = 500) -> Evaluator:
    settings = load_settings(database_url=database, evaluate_batch=batch)
    return Evaluator(settings, threading.Event())


def trips(
    world: World, count: int, *, records: list[dict[str, Any]] | None = None
) -> list[SeededDelivery]:
    """Deliveries that have begun, and are marked in their order."""
    route = world.route()
    made = []
    for _ in range(count):
        device = world.device()
        made.append(world.delivery([device], route_id=route))
        for sent in records or [record(1, at(1), 76.0, 43.5)]:
            world.store([world.message(device, sent)])
    return made


def make_unreadable(world: World, deliveries: list[SeededDelivery]) -> None:
    world.conn.execute(
        "UPDATE telemetry SET body = 'not a record' FROM devices d"
        " WHERE d.device_no = telemetry.device_no AND d.id = ANY(%s)",
        ([device for delivery in deliveries for device in delivery.devices],),
    )


def waiting(world: World) -> set[UUID]:
    return {row[0] for row in world.conn.execute("SELECT delivery_id FROM dirty")}


def faulty(world: World) -> set[UUID]:
    rows = world.conn.execute("SELECT delivery_id FROM delivery_state WHERE error IS NOT NULL")
    return {row[0] for row in rows}


def judged(world: World) -> int:
    """How many deliveries have been judged at all."""
    row = world.conn.execute("SELECT count(evaluated_at) FROM delivery_state").fetchone()
    assert row is not None
    return int(row[0])


def ids_of(deliveries: list[SeededDelivery]) -> set[UUID]:
    return {delivery.id for delivery in deliveries}


# ---------------------------------------------------------------- deliveries with a fault


def test_a_batch_full_of_deliveries_put_off_hides_no_others(world: World, database: str) -> None:
    bad, sound = trips(world, 6), trips(world, 3)
    make_unreadable(world, bad)
    evaluator = evaluator_of(database, batch=5)

    assert evaluator.judge_batch(world.conn) == 0
    assert faulty(world) == ids_of(bad[:5])
    assert evaluator.judge_batch(world.conn) == 3
    assert faulty(world) == waiting(world) == ids_of(bad)
    assert not waiting(world) & ids_of(sound)


def refuse(world: World, delivery: SeededDelivery, condition: LiteralString) -> None:
    """Have the server raise an error whenever this delivery is judged."""
    world.conn.execute(
        sql.SQL(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION USING ERRCODE = {}; END$$"
        ).format(sql.Literal(condition))
    )
    world.conn.execute(
        sql.SQL(
            "CREATE TRIGGER refuse BEFORE UPDATE OF evaluated_at ON delivery_state"
            " FOR EACH ROW WHEN (NEW.delivery_id = {}) EXECUTE FUNCTION refuse()"
        ).format(sql.Literal(delivery.id))
    )


def refuse_no_more(world: World) -> None:
    world.conn.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.parametrize("condition", ["program_limit_exceeded", "statement_too_complex"])
def test_a_limit_that_one_delivery_exceeds_is_its_own_fault(
    world: World, database: str, condition: LiteralString
) -> None:
    _, too_much, _ = trips(world, 3)
    refuse(world, too_much, condition)
    evaluator = evaluator_of(database)

    assert evaluator.judge_batch(world.conn) == 2
    assert faulty(world) == waiting(world) == {too_much.id}
    refuse_no_more(world)
    world.conn.execute("UPDATE delivery_state SET retry_at = now()")
    assert evaluator.judge_batch(world.conn) == 1
    assert not waiting(world)


@pytest.mark.parametrize(
    "condition", ["disk_full", "out_of_memory", "configuration_limit_exceeded"]
)
def test_a_server_without_room_is_no_deliverys_fault(
    world: World, database: str, condition: LiteralString
) -> None:
    deliveries = trips(world, 3)
    refuse(world, deliveries[1], condition)
    evaluator = evaluator_of(database)

    with pytest.raises(workers.LOST):
        evaluator.judge_batch(world.conn)
    assert (faulty(world), waiting(world)) == (set(), ids_of(deliveries))
    refuse_no_more(world)
    assert evaluator.judge_batch(world.conn) == 3


# ---------------------------------------------------------------- deliveries with many records

TRIP = crooked_trip()
FOUND = {"route_deviation", "unauthorised_stop", "seal_cut", "silence", "battery_low"}


@pytest.mark.parametrize(
    "from_t", [None, at(119)], ids=["from the start", "no state to go on from"]
)
def test_a_batch_is_bounded_by_its_records_and_lets_urgent_marks_pass(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch, from_t: datetime | None
) -> None:
    monkeypatch.setattr(evaluation, "MOST_RECORDS", 5 * len(TRIP) // 2, raising=False)
    deliveries = trips(world, 6, records=TRIP)
    world.conn.execute("DELETE FROM dirty")
    mark_dirty(world.conn, ids_of(deliveries), from_t=from_t)
    last = [row[0] for row in world.conn.execute("SELECT delivery_id FROM dirty ORDER BY id")][-1]
    evaluator = evaluator_of(database)

    assert evaluator.judge_batch(world.conn, urgent=True) == 0
    assert evaluator.judge_batch(world.conn) >= 1
    assert 1 <= judged(world) <= 2
    mark_dirty(world.conn, [last])
    assert evaluator.judge_batch(world.conn, urgent=True) == 1
    assert last not in waiting(world)
    assert 2 <= judged(world) <= 3
    while waiting(world):
        before = judged(world)
        assert evaluator.judge_batch(world.conn) >= 1
        assert judged(world) <= before + 2  # others come again, from memory
    for delivery in deliveries:
        assert {a["code"] for a in world.anomalies(delivery)} >= FOUND


def test_a_delivery_with_more_than_a_batch_may_have_is_judged_alone(
    world: World, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "MOST_RECORDS", len(TRIP) // 2)
    light = trips(world, 5)
    heavy = trips(world, 1, records=TRIP)
    evaluator = evaluator_of(database)

    while waiting(world):
        assert evaluator.judge_batch(world.conn) >= 1
    assert judged(world) == 6
    assert {a["code"] for a in world.anomalies(heavy[0])} >= FOUND
    assert not faulty(world)

    # The many come together again when their records are few.
    while evaluator.judge_batch(world.conn):
        pass
    for _ in range(5):
        evaluator.judge_batch(world.conn)
    mark_dirty(world.conn, ids_of(light))
    assert evaluator.judge_batch(world.conn) == 5
