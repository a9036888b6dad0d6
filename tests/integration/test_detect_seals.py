"""Seals, power, clocks and numbers, from what devices send to what stands in the database."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.seed import START, SeededDelivery, World, at, record
from tracker.db.reading import Page
from tracker.db.reading_findings import FindingFilter, list_of_delivery
from tracker.judging import Memory
from tracker.model import to_ms
from tracker.pipeline import judge

LOCKED = {"armed": True, "lock": "locked", "rope": "in", "case": "closed"}


def play(world: World, device: str, *more: dict[str, Any], **message: Any) -> None:
    """A record a minute along the road, each with these fields on top."""
    records = [
        record(n + 1, at(n), 76.2 + n * 0.01, 43.5, **fields) for n, fields in enumerate(more)
    ]
    world.store([world.message(device, r, **message) for r in records])


def found(world: World, delivery: SeededDelivery, code: str) -> list[dict[str, Any]]:
    return [a for a in world.anomalies(delivery) if a["code"] == code]


def act(world: World, delivery: SeededDelivery, kind: str, when: datetime, **data: Any) -> None:
    """What a person did, as the API records it."""
    world.conn.execute(
        "INSERT INTO delivery_acts (delivery_id, kind, at, recorded_by, data)"
        " VALUES (%s, %s, %s, 'officer', %s)",
        (delivery.id, kind, when, json.dumps(data)),
    )
    world.conn.execute("UPDATE deliveries SET version = version + 1 WHERE id = %s", (delivery.id,))
    look_again(world, delivery)


def look_again(world: World, delivery: SeededDelivery) -> None:
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery.id,))


# ---------------------------------------------------------------- seal and power


def test_what_seals_say_is_found(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    play(
        world,
        device,
        {"seal": LOCKED},
        {"seal": LOCKED, "evt": {"code": "motor_fault"}},
        {"evt": {"code": "unlock_ok", "auth": "rfid", "card": "c1"}},
        {"seal": LOCKED | {"rope": "cut"}},
        {"seal": LOCKED},
    )
    world.judge(now=at(5))
    shown = {a["code"]: a for a in world.anomalies(delivery)}
    assert set(shown) == {"seal_fault", "unauthorised_unlock", "seal_cut", "seal_state_conflict"}
    starts = {code: a["start_at"] for code, a in shown.items()}
    assert starts == {
        "seal_fault": at(1),
        "unauthorised_unlock": at(2),
        "seal_cut": at(3),
        "seal_state_conflict": at(4),
    }
    assert shown["unauthorised_unlock"]["evidence"]["openings"][0]["card"] == "c1"

    act(world, delivery, "reseal", at(5))
    world.judge(now=at(6))
    ends = {a["code"]: a["end_at"] for a in world.anomalies(delivery)}
    assert ends == dict.fromkeys(shown, at(5)) | {"seal_fault": None}


def test_cards_named_at_the_release_are_the_only_ones(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    act(world, delivery, "release", START, cards=["good"])
    inside = {"evt": {"code": "unlock_ok", "auth": "rfid", "card": "good"}}
    world.store([world.message(device, record(1, at(1), 76.0, 43.5, **inside))])
    world.judge(now=at(2))
    assert found(world, delivery, "unauthorised_unlock") == []
    inside["evt"]["card"] = "other"
    world.store([world.message(device, record(2, at(2), 76.0, 43.5, **inside))])
    world.judge(now=at(3))
    (unlock,) = found(world, delivery, "unauthorised_unlock")
    assert unlock["evidence"]["why"] == ["card"]


def test_power_cut_while_moving(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    play(world, device, *({"pwr": {"ext": mv}} for mv in (24_000, 6_999, 9_999, 10_000)))
    world.judge(now=at(4))
    (cut,) = found(world, delivery, "power_cut")
    assert (cut["start_at"], cut["end_at"]) == (at(1), at(3))


# ---------------------------------------------------------------- clocks


def test_a_wrong_clock_beside_a_right_fix(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    play(world, device, {}, {"ts": 1000}, {"ts": 2000}, {})
    world.judge(now=at(4))
    (fault,) = found(world, delivery, "clock_fault")
    assert (fault["start_at"], fault["end_at"], fault["severity"]) == (at(1), at(3), "low")
    assert fault["evidence"]["faults"] == ["reset"]


def test_a_record_without_any_time_is_a_fault_at_its_neighbours(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    play(world, device, {}, {}, {})
    world.judge(now=at(3))
    blind = {"v": 1, "gen": 0, "seq": 4, "ts": 1000, "tq": "none"}
    world.store([world.message(device, blind)])
    world.judge(now=at(4))
    (fault,) = found(world, delivery, "clock_fault")
    assert (fault["start_at"], fault["end_at"]) == (at(2), None)
    assert fault["evidence"]["records_without_time"] == 1
    world.store([world.message(device, record(5, at(5), 76.3, 43.5))])
    world.judge(now=at(6))
    (fault,) = found(world, delivery, "clock_fault")
    assert (fault["start_at"], fault["end_at"]) == (at(2), at(5))


def test_a_seal_that_never_knew_the_time_is_cut_from_the_release_on(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    cut = {"v": 1, "gen": 0, "seq": 1, "ts": 1000, "tq": "none", "seal": {"rope": "cut"}}
    world.store([world.message(device, cut)])
    world.judge()
    assert {(a["code"], a["start_at"]) for a in world.anomalies(delivery)} == {
        ("seal_cut", START),
        ("clock_fault", START),
    }
    # A first record with a time gives it that.
    world.store([world.message(device, record(2, at(7), 76.0, 43.5))])
    world.judge()
    assert [a["start_at"] for a in found(world, delivery, "seal_cut")] == [at(7)]


@pytest.mark.parametrize("seed", range(4))
def test_an_evaluator_that_remembers_finds_the_same_however_timeless_records_come(
    world: World, seed: int
) -> None:
    def blind(seq: int, **fields: Any) -> dict[str, Any]:
        return {"v": 1, "gen": 0, "seq": seq, "ts": 1000, "tq": "none"} | fields

    records = [record(n, at(n), 76.2 + n * 0.01, 43.5, seal=LOCKED) for n in range(1, 25)]
    records[4] = blind(5, evt={"code": "motor_fault"})
    records[10] = blind(11, seal={"rope": "cut"})
    records[11] = blind(12)
    records[19] = blind(20, evt={"code": "unlock_ok"})

    in_order = world.device("seal")
    expected = world.delivery([in_order])
    world.store([world.message(in_order, r) for r in records])
    world.judge(now=at(26))

    device = world.device("seal")
    delivery = world.delivery([device])
    memory: Memory = {}
    late = random.Random(seed).sample(records, len(records))
    for r in late:
        world.store([world.message(device, r)])
        with world.conn.transaction():
            assert judge(world.conn, now=at(26), limit=10, memory=memory) == 1

    def plain(of: SeededDelivery) -> list[dict[str, Any]]:
        return [a | {"device_id": None} for a in world.anomalies(of)]

    assert plain(delivery) == plain(expected)
    assert {"seal_fault", "seal_cut", "clock_fault", "unauthorised_unlock"} <= {
        a["code"] for a in world.anomalies(expected)
    }


# ---------------------------------------------------------------- numbers


def numbered(world: World, device: str, *seqs: int, received: datetime | None = None) -> None:
    world.store(
        [
            world.message(device, record(n, at(n), 76.2 + n * 0.01, 43.5), received=received)
            for n in seqs
        ]
    )


def birth(world: World, device: str, lo: int) -> None:
    body = {"on": True, "ts": to_ms(START), "conn": 1, "boot": 1, "gen": 0, "lo": lo}
    world.store([world.message(device, body, channel="state")])


def test_a_hole_is_told_after_a_day_and_taken_back_when_filled(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    heard = at(30)
    numbered(world, device, 1, 2, 5, 6, received=heard)
    world.judge(now=heard + timedelta(hours=24) - timedelta(milliseconds=1))
    assert found(world, delivery, "sequence_gap") == []
    row = world.conn.execute("SELECT next_clock_at FROM delivery_state").fetchone()
    assert row is not None
    look_again(world, delivery)
    world.judge(now=heard + timedelta(hours=24))
    (gap,) = found(world, delivery, "sequence_gap")
    assert (gap["start_at"], gap["end_at"], gap["provisional"]) == (at(2), at(5), True)
    assert gap["evidence"] == {
        "missing": 2,
        "ranges": [{"gen": 0, "seqs": [[3, 4]]}],
        "final": False,
    }
    numbered(world, device, 3, 4, received=heard + timedelta(hours=25))
    world.judge(now=heard + timedelta(hours=25))
    assert found(world, delivery, "sequence_gap") == []


def test_the_clock_wakes_when_a_hole_is_a_day_old(world: World) -> None:
    device = world.device()
    world.delivery([device])
    heard = at(30)
    numbered(world, device, 1, 3, received=heard)
    world.judge(now=heard)
    # Until then only the silence of the device has a clock of its own.
    world.judge(now=heard)
    clocks: list[datetime] = []
    for _ in range(5):
        row = world.conn.execute("SELECT delivery_id, next_clock_at FROM delivery_state").fetchone()
        assert row is not None
        if row[1] is None:
            break
        clocks.append(row[1])
        world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (row[0],))
        world.judge(now=row[1])
    assert heard + timedelta(hours=24) in clocks


def test_what_the_device_no_longer_holds_is_told_at_once(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    numbered(world, device, 1, 2, 7, 8)
    world.judge(now=at(9))
    assert found(world, delivery, "sequence_gap") == []
    birth(world, device, lo=5)
    assert world.judge(now=at(9)) == 1
    (gap,) = found(world, delivery, "sequence_gap")
    assert (gap["start_at"], gap["end_at"], gap["provisional"]) == (at(2), at(7), False)
    assert gap["evidence"]["ranges"] == [{"gen": 0, "seqs": [[3, 4]]}]
    birth(world, device, lo=9)
    world.judge(now=at(9))
    (gap,) = found(world, delivery, "sequence_gap")
    assert gap["evidence"]["missing"] == 4


def test_a_birth_that_gives_nothing_up_wakes_nobody(world: World) -> None:
    device = world.device()
    world.delivery([device])
    numbered(world, device, 1, 2, 3)
    world.judge(now=at(9))
    birth(world, device, lo=3)
    assert world.judge(now=at(9)) == 0


def test_numbers_missing_from_the_beginning(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    birth(world, device, lo=4)
    numbered(world, device, 4, 5)
    world.judge(now=at(6))
    (gap,) = found(world, delivery, "sequence_gap")
    assert (gap["start_at"], gap["end_at"]) == (START, at(4))


def test_holes_outside_the_binding_are_of_no_concern(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device], released=at(10))
    birth(world, device, lo=100)
    numbered(world, device, 1, 3, 9, 12, 13)
    world.judge(now=at(14))
    assert found(world, delivery, "sequence_gap") == []


def test_more_holes_than_are_told_apart_are_one_with_their_count(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    numbered(world, device, *range(1, 201, 2))
    birth(world, device, lo=1000)
    world.judge(now=at(201))
    gaps = found(world, delivery, "sequence_gap")
    assert len(gaps) == 64
    assert sum(gap["evidence"]["missing"] for gap in gaps) == 99
    assert gaps[0]["evidence"]["missing"] == 36
    assert (gaps[0]["start_at"], gaps[0]["end_at"]) == (at(1), at(73))


# ---------------------------------------------------------------- arrival and composite


def test_an_arrival_far_from_the_post(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    play(world, device, {"seal": LOCKED}, {"seal": LOCKED | {"rope": "cut"}})
    act(world, delivery, "arrival", at(3), seals=[{"device_id": device, "state": "intact"}])
    world.judge(now=at(4))
    (mismatch,) = found(world, delivery, "arrival_mismatch")
    assert (mismatch["start_at"], mismatch["status"]) == (at(3), "open")
    kinds = [c["kind"] for c in mismatch["evidence"]["contradictions"]]
    assert kinds == ["zone_not_entered", "seal_not_intact"]
    act(world, delivery, "control", at(60))
    world.judge(now=at(61))
    (mismatch,) = found(world, delivery, "arrival_mismatch")
    assert mismatch["end_at"] == at(60)


def test_a_stop_with_a_cut_is_what_unloading_looks_like(world: World) -> None:
    device = world.device("seal")
    delivery = world.delivery([device])
    stopped = [
        record(n + 1, at(n), 76.4, 43.5, moving=False, seal=LOCKED if n < 9 else {"rope": "cut"})
        for n in range(21)
    ]
    gone = [record(n + 1, at(n), 76.5 + n * 0.01, 43.5) for n in range(21, 24)]
    world.store([world.message(device, r) for r in (*stopped, *gone)])
    world.judge(now=at(24))
    (unloading,) = found(world, delivery, "unloading_signature")
    (stop,) = found(world, delivery, "unauthorised_stop")
    span = (stop["start_at"], stop["end_at"])
    assert (unloading["start_at"], unloading["end_at"]) == span == (at(0), at(20))
    assert [p["code"] for p in unloading["evidence"]["parts"]] == ["seal_cut"]
    assert unloading["severity"] == "critical"


# ---------------------------------------------------------------- a gap's region


def test_zones_within_reach_are_looked_up_when_a_silence_is_read(world: World) -> None:
    device = world.device()
    delivery = world.delivery([device])
    near = world.zone(76.35, 43.52, kind="parking")
    world.zone(79.0, 45.0, kind="parking")
    watched = world.zone(76.3, 43.45, kind="restricted")
    world.zone(76.3, 43.5, kind="territory", half_deg=2.0)
    trip = [record(1, at(0), 76.2, 43.5), record(2, at(30), 76.4, 43.5)]
    world.store([world.message(device, r) for r in trip])
    world.judge(now=at(31))
    (silence,) = found(world, delivery, "silence")
    assert silence["evidence"]["reach"]["type"] == "Polygon"
    assert "within_reach" not in silence["evidence"]

    wanted = FindingFilter(delivery_id=delivery.id, code=["silence"])
    ((shown,), _) = list_of_delivery(world.conn, wanted, Page(limit=10, after=None))
    assert shown["evidence"]["within_reach"] == {
        "zones": [{"code": watched, "kind": "restricted"}, {"code": near, "kind": "parking"}],
        "count": 2,
    }
