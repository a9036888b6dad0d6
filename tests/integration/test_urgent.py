"""Events and acts do not wait behind positions, and positions not for ever behind events."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.seed import SeededDelivery, World, at, record
from tracker.db.marks import mark_dirty
from tracker.evaluate import Evaluator
from tracker.settings import load_settings

CUT = {"rope": "cut", "case": "closed", "lock": "locked", "armed": True}


def bound(world: World) -> tuple[SeededDelivery, str]:
    device = world.device("seal")
    return world.delivery([device]), device


def position(n: int = 1, **more: Any) -> dict[str, Any]:
    return record(n, at(n), 76.0, 43.5, **more)


def waiting(world: World) -> list[Any]:
    rows = world.conn.execute("SELECT delivery_id FROM dirty GROUP BY 1 ORDER BY min(id)")
    return [row[0] for row in rows]


def test_an_event_is_judged_before_positions_that_came_first(world: World, database: str) -> None:
    routine = [bound(world) for _ in range(3)]
    cut, seal = bound(world)
    for _, device in routine:
        world.store([world.message(device, position())])
    world.store([world.message(seal, position(seal=CUT, evt={"code": "rope_cut"}, why="evt"))])
    settings = load_settings(database_url=database, evaluate_batch=1)
    evaluator = Evaluator(settings, threading.Event())

    assert evaluator.judge_batch(world.conn, urgent=True) == 1
    assert {a["code"] for a in world.anomalies(cut)} >= {"seal_cut"}
    assert waiting(world) == [delivery.id for delivery, _ in routine]
    assert evaluator.judge_batch(world.conn, urgent=True) == 0
    assert evaluator.judge_batch(world.conn) == 1
    assert waiting(world) == [delivery.id for delivery, _ in routine[1:]]


def test_an_event_without_a_time_is_urgent_too(world: World) -> None:
    cut, seal = bound(world)
    told = {"v": 1, "gen": 0, "seq": 1, "ts": 5, "why": "evt", "seal": CUT}
    world.store([world.message(seal, told | {"evt": {"code": "rope_cut"}})])
    marks = world.conn.execute("SELECT delivery_id, from_t, urgent FROM dirty").fetchall()
    assert (cut.id, None, True) in marks


def test_what_is_done_to_one_delivery_is_urgent_what_is_done_to_many_is_not(world: World) -> None:
    one, two = bound(world)[0], bound(world)[0]
    world.conn.execute("DELETE FROM dirty")
    mark_dirty(world.conn, [one.id])
    mark_dirty(world.conn, [one.id, two.id])
    marks = world.conn.execute("SELECT delivery_id, urgent FROM dirty ORDER BY id").fetchall()
    assert marks == [(one.id, True), (one.id, False), (two.id, False)]
