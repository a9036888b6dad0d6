"""What a journey says for and against non-delivery, from records and acts to the assessment."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.support.seed import START, SeededDelivery, World, at, record
from tracker.risk import DARK_S

LOCKED = {"armed": True, "lock": "locked", "rope": "in", "case": "closed"}


def reasons(world: World, delivery: SeededDelivery) -> dict[str, float]:
    """Contributions of the newest assessment, by indicator."""
    row = world.conn.execute(
        "SELECT reasons FROM risk_assessments WHERE delivery_id = %s ORDER BY id DESC LIMIT 1",
        (delivery.id,),
    ).fetchone()
    assert row is not None
    return {reason["indicator"]: reason["contribution"] for reason in row[0]}


def arrives(world: World, delivery: SeededDelivery, minutes: float, state: str) -> None:
    """An officer confirms the arrival, as the API records it."""
    seals = [{"device_id": device, "state": state} for device in delivery.devices]
    world.conn.execute(
        "INSERT INTO delivery_acts (delivery_id, kind, at, recorded_by, data)"
        " VALUES (%s, 'arrival', %s, 'officer', %s)",
        (delivery.id, at(minutes), json.dumps({"seals": seals})),
    )
    world.conn.execute(
        "UPDATE deliveries SET version = version + 1, arrived_at = %s WHERE id = %s",
        (at(minutes), delivery.id),
    )
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))


def drives(world: World, seal: str, *places: tuple[float, float, float], **more: Any) -> None:
    """A record of the seal at each (minute, longitude, latitude)."""
    records = [
        record(n, at(minute), lon, lat, seal=LOCKED | more)
        for n, (minute, lon, lat) in enumerate(places, start=1)
    ]
    world.store([world.message(seal, r) for r in records])


def test_an_arrival_at_the_post_with_a_whole_seal_lowers_the_risk(world: World) -> None:
    seal = world.device("seal")
    delivery = world.delivery([seal])
    drives(world, seal, (0, 77.96, 43.692), (3, 77.98, 43.696), (6, 78.0, 43.7))
    world.judge(now=at(7))
    assert not {"arrived_whole", "arrived_directly"} & reasons(world, delivery).keys()
    arrives(world, delivery, 7, "intact")
    world.judge(now=at(8))
    found = reasons(world, delivery)
    assert found["arrived_whole"] < 0
    assert found["arrived_directly"] < 0


def test_an_arrival_on_paper_does_not(world: World) -> None:
    seal = world.device("seal")
    delivery = world.delivery([seal])
    drives(world, seal, (0, 77.0, 43.5), (3, 77.03, 43.506))
    arrives(world, delivery, 7, "intact")
    world.judge(now=at(8))
    found = reasons(world, delivery)
    assert found["arrival_mismatch"] > 0
    assert not {"arrived_whole", "arrived_directly"} & found.keys()


def test_a_record_from_the_post_that_comes_late_counts(world: World) -> None:
    seal = world.device("seal")
    delivery = world.delivery([seal])
    arrives(world, delivery, 7, "intact")
    world.judge(now=at(8))
    assert "arrived_whole" not in reasons(world, delivery)
    drives(world, seal, (5, 77.99, 43.698), (6, 78.0, 43.7))
    world.judge(now=at(9))
    assert reasons(world, delivery)["arrived_whole"] < 0


def test_silence_of_all_devices_is_weighed_anew_when_it_has_lasted_long(world: World) -> None:
    seal, unit = world.device("seal"), world.device("gps")
    delivery = world.delivery([seal, unit])
    for device in (seal, unit):
        drives(world, device, (0, 77.0, 43.5), (3, 77.03, 43.506))
    dark = at(3) + timedelta(seconds=DARK_S)
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))
    world.judge(now=dark - timedelta(minutes=1))
    assert "all_silent" not in reasons(world, delivery)
    (clock,) = world.conn.execute(
        "SELECT next_clock_at FROM delivery_state WHERE delivery_id = %s", (delivery.id,)
    ).fetchone() or (None,)
    assert clock == dark
    assert clock > START
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))
    world.judge(now=dark)
    assert reasons(world, delivery)["all_silent"] > 3
