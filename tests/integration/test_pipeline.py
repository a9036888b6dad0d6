"""Both stages on a real PostGIS: stored once, judged by the order law, told to alerts and risk."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.seed import START, SeededDelivery, World, at, record
from tracker.payload import Reason


def crooked_trip() -> list[dict[str, Any]]:
    """Along the route, off it by some 5 km (in a minute: no lorry does) and back, a long stop, a
    cut rope, a silence."""
    records, seq, lon = [], 0, 76.0
    for minute in range(0, 120):
        seq += 1
        off = 0.05 if 20 <= minute < 30 else 0.0
        standing = 40 <= minute < 62
        if not standing:
            lon += 0.008
        if 80 <= minute < 95:
            continue
        more: dict[str, Any] = {}
        if minute == 70:
            more["seal"] = {"rope": "cut"}
        if minute >= 100:
            more["pwr"] = {"bat": 12}
        records.append(record(seq, at(minute), lon, 43.5 + off, moving=not standing, **more))
    return records


EXPECTED = {
    *("route_deviation", "unauthorised_stop", "seal_cut", "silence", "battery_low"),
    "spoofing_suspected",
}


def start(world: World) -> tuple[SeededDelivery, str]:
    device = world.device()
    return world.delivery([device]), device


def test_a_crooked_trip_is_found_with_its_times(world: World) -> None:
    delivery, device = start(world)
    world.store([world.message(device, r) for r in crooked_trip()])
    world.judge(now=at(121))

    found = {a["code"]: a for a in world.anomalies(delivery)}
    assert set(found) == EXPECTED
    assert found["route_deviation"]["start_at"] == at(20)
    assert found["route_deviation"]["end_at"] == at(30)
    assert found["route_deviation"]["evidence"]["max_offset_m"] == pytest.approx(5557, abs=120)
    assert found["unauthorised_stop"]["start_at"] == at(39)
    assert found["unauthorised_stop"]["end_at"] == at(61)
    assert found["seal_cut"]["start_at"] == at(70)
    assert found["seal_cut"]["status"] == "open"
    assert found["silence"]["start_at"] == at(79)
    assert found["silence"]["end_at"] == at(95)
    assert found["battery_low"]["start_at"] == at(100)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_and_batching_finds_the_same(world: World, seed: int) -> None:
    rng = random.Random(seed)
    in_order, device = start(world)
    records = crooked_trip()
    world.store([world.message(device, r) for r in records])
    world.judge(now=at(121))

    shuffled, other = start(world)
    late = records + rng.sample(records, 20)
    rng.shuffle(late)
    while late:
        n = rng.randint(1, 40)
        world.store([world.message(other, r) for r in late[:n]])
        late = late[n:]
        world.judge(now=at(121))

    def plain(delivery: SeededDelivery) -> list[dict[str, Any]]:
        found = [a | {"device_id": None} for a in world.anomalies(delivery)]
        for one in found:
            if one["code"] == "rendezvous":  # with each other: they go the same way
                one["evidence"].pop("other_deliveries")
        return found

    assert plain(shuffled) == plain(in_order)
    assert "rendezvous" in {a["code"] for a in plain(in_order)}


def test_a_stop_in_a_parking_zone_needs_no_explanation(world: World) -> None:
    delivery, device = start(world)
    world.zone(76.31, 43.5, half_deg=0.02)
    world.store([world.message(device, r) for r in crooked_trip()])
    world.judge(now=at(121))
    assert "unauthorised_stop" not in {a["code"] for a in world.anomalies(delivery)}


def test_silence_opens_by_the_clock_and_closes_by_the_next_record(world: World) -> None:
    delivery, device = start(world)
    world.store([world.message(device, record(1, at(0), 76.0, 43.5))])
    world.judge(now=at(2))
    assert world.anomalies(delivery) == []

    world.conn.execute("INSERT INTO dirty (delivery_id, from_t) VALUES (%s, now())", (delivery.id,))
    world.judge(now=at(10))
    (open_one,) = world.anomalies(delivery)
    assert (open_one["code"], open_one["status"], open_one["provisional"]) == (
        "silence",
        "open",
        True,
    )
    world.store([world.message(device, record(2, at(20), 76.1, 43.5))])
    world.judge(now=at(20))
    (closed,) = world.anomalies(delivery)
    assert (closed["status"], closed["provisional"], closed["end_at"]) == ("closed", False, at(20))


def test_late_records_retract_a_silence_and_its_alert_says_so(world: World) -> None:
    delivery, device = start(world)
    world.store([world.message(device, record(1, at(0), 76.0, 43.5))])
    world.store([world.message(device, record(40, at(40), 76.3, 43.5))])
    world.judge(now=at(41))
    assert [a["code"] for a in world.anomalies(delivery)] == ["silence"]

    backlog = [record(n, at(n), 76.0 + n * 0.0075, 43.5, hist=True) for n in range(2, 40)]
    world.store([world.message(device, backlog)])
    world.judge(now=at(42))
    assert world.anomalies(delivery) == []
    status, history = world.conn.execute(
        "SELECT a.status, array_agg(h.what ORDER BY h.id) FROM alerts a"
        " JOIN alert_history h ON h.alert_id = a.id GROUP BY a.id, a.status"
    ).fetchone() or (None, None)
    assert status == "retracted"
    assert history is not None
    assert history[0] == "raised"
    assert history[-1] == "retracted"


def test_overdue_from_the_deadline_by_the_clock(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device], deadline=at(240))
    world.store([world.message(device, record(1, at(1), 76.0, 43.5, moving=False))])
    world.judge(now=at(2))
    assert world.anomalies(delivery) == []
    world.conn.execute("INSERT INTO dirty (delivery_id, from_t) VALUES (%s, now())", (delivery.id,))
    world.judge(now=at(241))
    found = {a["code"]: a for a in world.anomalies(delivery)}
    assert found["overdue"]["start_at"] == at(240)
    status = world.conn.execute("SELECT status FROM deliveries").fetchone()
    assert status == ("overdue",)


def test_a_record_is_stored_once_and_a_second_body_is_refused(world: World) -> None:
    _, device = start(world)
    first = record(1, at(0), 76.0, 43.5)
    world.store([world.message(device, first), world.message(device, first | {"hist": True})])
    world.store([world.message(device, first | {"hist": True})])
    forged = world.store([world.message(device, first | {"ts": 5})])
    assert forged.reasons == {Reason.IDENTITY_CONFLICT: 1}
    assert world.conn.execute("SELECT count(*) FROM telemetry").fetchone() == (1,)
    assert world.conn.execute("SELECT reason FROM quarantine").fetchall() == [
        ("identity_conflict",)
    ]


def test_one_bad_record_does_not_take_the_others_with_it(world: World) -> None:
    _, device = start(world)
    bad = record(2, at(1), 76.0, 43.5)
    bad["fix"]["lat"] = 95
    batch = world.store(
        [world.message(device, [record(1, at(0), 76.0, 43.5), bad, record(3, at(2), 76.0, 43.5)])]
    )
    assert [r.seq for r in batch.records] == [1, 3]
    assert batch.reasons == {Reason.INVALID_FIELD: 1}
    # It is kept raw, so it is acknowledged, and sent again it is not kept twice.
    (received,) = batch.received.values()
    assert received.ranges == ((1, 4),)
    again = world.store([world.message(device, bad)])
    assert again.reasons == {}


def test_quarantine_is_bounded_per_device_and_counts_the_rest(world: World) -> None:
    _, device = start(world)
    world.store([world.message(device, b"{%d" % n) for n in range(130)])
    world.store([world.message(device, b"x")])
    kept = world.conn.execute("SELECT count(*) FROM quarantine").fetchone()
    counts = world.conn.execute("SELECT kept, over_limit FROM quarantine_counts").fetchone()
    assert kept == (100,)
    assert counts == (100, 31)


def test_a_seal_event_without_time_takes_its_neighbours(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    cut = {"v": 1, "gen": 0, "seq": 2, "ts": 0, "tq": "none", "evt": {"code": "rope_cut"}}
    world.store([world.message(device, cut, channel="evt")])
    world.judge(now=at(1))
    # Until there is a neighbour all that is known is that the device was on the delivery.
    assert cut_at(world, delivery) == [START]
    world.store([world.message(device, record(3, at(5), 76.0, 43.5))])
    world.judge(now=at(6))
    assert cut_at(world, delivery) == [at(5)]
    world.store([world.message(device, record(1, at(1), 76.0, 43.5))])
    world.judge(now=at(6))
    assert cut_at(world, delivery) == [at(1)]


def cut_at(world: World, delivery: SeededDelivery) -> list[datetime]:
    return [a["start_at"] for a in world.anomalies(delivery) if a["code"] == "seal_cut"]


def test_an_isolated_jump_is_no_deviation_once_it_is_back(world: World) -> None:
    delivery, device = start(world)
    records = [record(n, at(n), 76.0 + n * 0.008, 43.5) for n in range(1, 10)]
    records[5]["fix"]["lat"] = 44.5
    world.store([world.message(device, r) for r in records[:6]])
    world.judge(now=at(6.5))
    (tentative,) = world.anomalies(delivery)
    assert (tentative["code"], tentative["provisional"]) == ("route_deviation", True)
    world.store([world.message(device, r) for r in records[6:]])
    world.judge(now=at(9.5))
    assert world.anomalies(delivery) == []


def test_a_fault_in_one_delivery_does_not_stop_the_others(world: World, database: str) -> None:
    import threading

    from tracker.evaluate import Evaluator
    from tracker.settings import load_settings

    broken, bad_device = start(world)
    world.store([world.message(bad_device, record(1, at(0), 76.0, 43.5))])
    world.conn.execute("UPDATE telemetry SET body = 'not a record'")
    sound, device = start(world)
    world.store([world.message(device, r) for r in crooked_trip()])

    evaluator = Evaluator(load_settings(database_url=database), threading.Event())
    evaluator.judge_batch(world.conn)

    # Judged at the real present: the trip is long over, so it is silent since as well, and the
    # records of the silence on the way have not come for more than a day.
    assert {a["code"] for a in world.anomalies(sound)} == EXPECTED | {"sequence_gap"}
    faults = world.conn.execute("SELECT delivery_id, error FROM delivery_state WHERE error <> ''")
    assert [row[0] for row in faults] == [broken.id]
    left = world.conn.execute("SELECT DISTINCT delivery_id FROM dirty").fetchall()
    assert left == [(broken.id,)]


def test_risk_follows_the_anomalies(world: World) -> None:
    honest, honest_device = start(world)
    crooked, crooked_device = start(world)
    world.store([world.message(crooked_device, r) for r in crooked_trip()])
    world.store(
        [world.message(honest_device, record(n, at(n), 76 + n * 0.008, 43.5)) for n in range(120)]
    )
    world.judge(now=at(120.5))
    losses = dict(
        world.conn.execute("SELECT delivery_id, expected_loss_kzt FROM delivery_state").fetchall()
    )
    assert losses[crooked.id] > losses[honest.id] > 0
    assert world.anomalies(honest) == []
    kinds = {row[0] for row in world.conn.execute("SELECT DISTINCT kind FROM outbox")}
    assert kinds == {"anomaly", "alert", "risk", "delivery"}


def test_records_outside_the_binding_are_not_judged(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device], released=START + timedelta(minutes=50))
    world.store([world.message(device, r) for r in crooked_trip()])
    world.judge(now=at(121))
    assert "route_deviation" not in {a["code"] for a in world.anomalies(delivery)}
