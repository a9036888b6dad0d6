"""Pairs, radio and other deliveries on a real PostGIS: each code at least once, in any order."""

from __future__ import annotations

import random
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.seed import SeededDelivery, World, at, record
from tracker.db.dead_zones import Learning, cells_known, make_layer, newest_layer
from tracker.detectors.radio import cell_of
from tracker.pipeline import judge
from tracker.storing import Incoming


def found(world: World, delivery: SeededDelivery, code: str) -> list[dict[str, Any]]:
    return [a for a in world.anomalies(delivery) if a["code"] == code]


def moving(
    world: World, device: str, minutes: range, *, lon: float = 76.0, lat: float = 43.5, **fix: Any
) -> list[Incoming]:
    """A record a minute, 600 m apart; ``fix`` adds to each record's fix."""
    messages = []
    for n in minutes:
        body = record(n + 1, at(n), lon + 0.0075 * n, lat)
        body["fix"] |= fix
        messages.append(world.message(device, body))
    return messages


def test_a_seal_carried_off_is_apart_from_its_vehicle(world: World) -> None:
    seal, gps = world.device("seal"), world.device("gps")
    delivery = world.delivery([seal, gps])
    world.store(moving(world, gps, range(30)))
    world.store(moving(world, seal, range(10)))
    world.store(moving(world, seal, range(10, 30), lat=43.52))
    world.judge(now=at(31))
    (apart,) = found(world, delivery, "separation")
    assert apart["device_id"] == seal
    assert apart["start_at"] == at(10)
    assert apart["severity"] == "critical"
    assert apart["evidence"]["distance_m"] == pytest.approx(2222, abs=10)


def test_a_forged_position_is_suspected(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    world.store(moving(world, device, range(5)))
    world.store(moving(world, device, range(5, 10), lat=44.5))
    world.judge(now=at(10))
    (forged,) = found(world, delivery, "spoofing_suspected")
    assert forged["start_at"] == at(5)
    assert forged["evidence"]["signs"] == ["jump"]


# ---------------------------------------------------------------- jamming, alone and of an area


def jammed(world: World, device: str, from_min: int) -> list[Incoming]:
    """Standing in one place, jammed from a minute on for ten, then clear again."""
    messages = []
    for n in range(0, 40):
        body = record(n + 1, at(n), 76.2, 43.5, moving=False)
        body["fix"]["jam"] = 2 if from_min <= n < from_min + 10 else 0
        messages.append(world.message(device, body))
    return messages


def test_jamming_of_one_vehicle_is_grave(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    world.store(jammed(world, device, 10))
    world.judge(now=at(41))
    (jam,) = found(world, delivery, "jamming")
    assert (jam["severity"], jam["start_at"], jam["end_at"]) == ("high", at(10), at(20))
    assert jam["evidence"]["cell"] == cell_of(76.2, 43.5)


@pytest.mark.parametrize("seed", range(4))
def test_three_deliveries_jammed_in_one_cell_are_an_area_whatever_came_first(
    world: World, seed: int
) -> None:
    rng = random.Random(seed)
    devices = [world.device() for _ in range(3)]
    deliveries = [world.delivery([device]) for device in devices]
    messages = [m for n, d in enumerate(devices) for m in jammed(world, d, 10 + 5 * n)]
    rng.shuffle(messages)
    while messages:
        n = rng.randint(1, 60)
        world.store(messages[:n])
        messages = messages[n:]
        world.judge(now=at(41))
    for delivery in deliveries:
        (jam,) = found(world, delivery, "jamming")
        assert jam["severity"] == "low"
        told = jam["evidence"]["area_jamming"]
        assert told["vehicles_at_least"] == 3
        assert told["cell"] == cell_of(76.2, 43.5)
        assert told["layer_date"] == "2026-03-02"


def test_an_area_that_comes_apart_is_taken_back(world: World) -> None:
    """The third vehicle's late records say that it was never jammed."""
    devices = [world.device() for _ in range(3)]
    deliveries = [world.delivery([device]) for device in devices]
    for device in devices[:2]:
        world.store(jammed(world, device, 10))
    blind = {"v": 1, "gen": 0, "seq": 12, "ts": 0, "fix": {"ok": False}, "tq": "gnss"}
    third = [record(n + 1, at(n), 76.2, 43.5, moving=False) for n in range(10)]
    world.store([world.message(devices[2], r) for r in third])
    lost = blind | {"ts": int(at(11).timestamp() * 1000)}
    world.store([world.message(devices[2], lost)])
    world.judge(now=at(41))
    assert found(world, deliveries[0], "jamming")[0]["severity"] == "low"
    # Its position had been sent from much farther on: it was no longer in that cell.
    world.store([world.message(devices[2], record(11, at(10.5), 76.21, 43.52))])
    world.judge(now=at(41))
    assert found(world, deliveries[0], "jamming")[0]["severity"] == "high"


# ---------------------------------------------------------------- rendezvous


def visit(
    world: World, device: str, from_min: int, to_min: int, *, lat: float = 43.5
) -> list[Incoming]:
    """A drive to a place, a stop there from a minute to another, and on."""
    messages = []
    for n in range(0, 70):
        before, after = min(0, n - from_min), max(0, n - to_min)
        standing = not before and not after
        body = record(n + 1, at(n), 76.3 + 0.0075 * (before + after), lat, moving=not standing)
        messages.append(world.message(device, body))
    return messages


def met(world: World, delivery: SeededDelivery) -> list[tuple[Any, Any, Any]]:
    return [
        (a["start_at"], a["end_at"], a["severity"]) for a in found(world, delivery, "rendezvous")
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_meeting_is_found_on_both_whatever_came_first(world: World, seed: int) -> None:
    rng = random.Random(seed)
    a, b = world.device(), world.device("seal")
    first, second = world.delivery([a]), world.delivery([b])
    messages = visit(world, a, 10, 40) + visit(world, b, 25, 60, lat=43.5008)
    rng.shuffle(messages)
    while messages:
        n = rng.randint(1, 50)
        world.store(messages[:n])
        messages = messages[n:]
        world.judge(now=at(71))
    assert met(world, first) == met(world, second) == [(at(25), at(40), "high")]
    (one,) = found(world, first, "rendezvous")
    assert one["evidence"]["other_deliveries"] == [str(second.id)]
    assert one["evidence"]["apart_m"] == pytest.approx(89, abs=2)
    assert one["evidence"]["together_s"] == 900


@pytest.mark.parametrize(
    ("to_min", "lat", "expected"),
    [(40, 43.5, 1), (39, 43.5, 1), (34, 43.5, 0), (40, 43.5011, 0)],
)
def test_together_for_ten_minutes_within_100_m(
    world: World, to_min: int, lat: float, expected: int
) -> None:
    a, b = world.device(), world.device()
    first = world.delivery([a])
    world.delivery([b])
    world.store(visit(world, a, 10, to_min) + visit(world, b, 25, 60, lat=lat))
    world.judge(now=at(71))
    assert len(met(world, first)) == expected


def test_a_parking_zone_makes_it_no_meeting_and_a_late_zoneless_track_does(world: World) -> None:
    world.zone(76.3, 43.5)
    a, b = world.device(), world.device()
    first = world.delivery([a])
    world.delivery([b])
    world.store(visit(world, a, 10, 40) + visit(world, b, 10, 40))
    world.judge(now=at(71))
    assert met(world, first) == []
    assert world.conn.execute("SELECT count(*) FROM traces").fetchone() == (0,)


def test_a_meeting_lasts_while_both_stand_and_ends_when_one_leaves(world: World) -> None:
    a, b = world.device(), world.device()
    first, second = world.delivery([a]), world.delivery([b])
    world.store(visit(world, a, 10, 60)[:50] + visit(world, b, 20, 55)[:30])
    world.judge(now=at(50))
    assert met(world, first) == met(world, second) == [], "nine minutes together so far"
    world.store(visit(world, b, 20, 55)[30:50])
    world.judge(now=at(50))
    assert met(world, first) == met(world, second) == [(at(20), None, "high")]
    world.store(visit(world, b, 20, 55)[50:])
    world.judge(now=at(71))
    assert met(world, first) == met(world, second) == [(at(20), at(55), "high")]


def test_one_lorry_with_two_deliveries_does_not_meet_itself(world: World) -> None:
    a, b = world.device(), world.device()
    first = world.delivery([a])
    world.delivery([b])
    world.conn.execute("""UPDATE deliveries SET vehicle = '{"plate": "123ABC02"}'""")
    world.store(visit(world, a, 10, 40) + visit(world, b, 10, 40))
    world.judge(now=at(71))
    assert met(world, first) == []


def test_two_evaluators_at_the_same_time_do_not_miss_a_meeting(world: World, database: str) -> None:
    """Each judges one of the two; whoever is second waits for the first, and tells it."""
    a, b = world.device(), world.device()
    first, second = world.delivery([a]), world.delivery([b])
    world.store(visit(world, a, 10, 40) + visit(world, b, 10, 40))
    begun = threading.Barrier(2)

    def evaluate(delivery: SeededDelivery) -> None:
        with psycopg.connect(database, autocommit=True, options="-c timezone=UTC") as conn:
            begun.wait(timeout=60)
            with conn.transaction():
                judge(conn, now=at(71), limit=1, only=delivery.id)

    workers = [threading.Thread(target=evaluate, args=(one,)) for one in (first, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    world.judge(now=at(71))
    assert met(world, first) == met(world, second) == [(at(10), at(40), "high")]


# ---------------------------------------------------------------- dead zones


def silent(world: World, device: str, day: int, hour: float) -> list[Incoming]:
    """Two minutes of driving, 40 minutes of silence over 40 km, and on; on some day."""
    begin = day * 1440 + hour * 60
    times = [0, 1, 2, 42, 43]
    return [
        world.message(
            device,
            record(round(begin) * 10 + n, at(begin + n), 76.0 + 0.0125 * n, 43.5),
            received=at(begin + n),
        )
        for n in times
    ]


def test_dead_zones_are_learnt_and_lower_what_comes_after(world: World) -> None:
    devices = [world.device() for _ in range(3)]
    for device in devices:
        world.delivery([device])
    messages = [m for day in (1, 2) for device in devices for m in silent(world, device, day, 1)]
    world.store(messages)
    world.judge(now=at(3 * 1440))
    layer_day = date(2026, 3, 5)
    assert make_layer(world.conn, layer_day, Learning(gaps=7)) == 0
    assert make_layer(world.conn, layer_day, Learning()) is None, "a layer is made once"
    next_day = layer_day + timedelta(days=1)
    assert make_layer(world.conn, next_day, Learning()) == 1
    cell = cell_of(76.025, 43.5)
    known = cells_known(world.conn, [(cell, "2026-03-06"), (cell, "2026-03-07")])
    assert set(known) == {(cell, "2026-03-07")}
    assert (known[cell, "2026-03-07"].devices, known[cell, "2026-03-07"].gaps) == (3, 6)
    shown = newest_layer(world.conn, next_day)
    assert shown is not None
    assert [c.cell for c in shown[1]] == [cell]

    late = world.device()
    delivery = world.delivery([late])
    world.store(silent(world, late, 2, 3) + silent(world, late, 7, 3))
    world.judge(now=at(8 * 1440))
    before, _, after, _ = found(world, delivery, "silence")
    assert "dead_zone" not in before["evidence"]
    assert after["evidence"]["dead_zone"] == {
        "layer_date": "2026-03-06",
        "cell": cell,
        "devices": 3,
        "gaps": 6,
        "lowered": True,
    }
    steps = ["low", "medium", "high"]
    assert steps.index(after["severity"]) == steps.index(before["severity"]) - 1

    # Beside stronger silences it is one more of them: alone it says what it lacks.
    alone = world.device()
    delivery = world.delivery([alone])
    world.store(silent(world, alone, 7, 3))
    world.judge(now=at(8 * 1440))
    (risk,) = world.conn.execute(
        "SELECT reasons FROM risk_assessments WHERE delivery_id = %s ORDER BY id DESC LIMIT 1",
        (delivery.id,),
    ).fetchone() or ([],)
    assert any("dead_zone" in reason["params"] for reason in risk)


def test_what_was_found_to_cover_a_violation_teaches_nothing(world: World) -> None:
    devices = [world.device() for _ in range(3)]
    for device in devices:
        world.delivery([device])
    world.store([m for day in (1, 2) for d in devices for m in silent(world, d, day, 1)])
    world.judge(now=at(3 * 1440))
    world.conn.execute(
        "UPDATE alerts SET status = 'resolved', finding = 'confirmed', resolved_at = now()"
    )
    assert make_layer(world.conn, datetime(2026, 3, 6, tzinfo=UTC).date(), Learning()) == 0


def test_a_device_in_two_places_at_once_is_in_conflict(world: World) -> None:
    """Two units under one name, 100 km apart, report in turn."""
    device = world.device()
    delivery = world.delivery([device])
    messages = []
    for n in range(12):
        lat = 43.5 if n % 2 else 44.5
        messages.append(world.message(device, record(n + 1, at(n), 76.0 + 0.005 * n, lat)))
    world.store(messages)
    world.judge(now=at(12))
    (conflict,) = found(world, delivery, "identity_conflict")
    assert (conflict["device_id"], conflict["severity"]) == (device, "critical")
    assert conflict["start_at"] == at(1)
    assert conflict["evidence"]["case"] == "two_places"
    assert conflict["evidence"]["switches"] >= 3
