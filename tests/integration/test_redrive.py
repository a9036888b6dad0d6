"""Re-driving quarantine on a real database: stored once, kept once, nothing lost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.seed import World, at, record
from tracker.db.redrive import Filter
from tracker.payload import Key, mac_of, sign, topic_of
from tracker.redrive import Outcome, redrive
from tracker.storing import Incoming


def drive(world: World, **wanted: Any) -> Outcome:
    def begin() -> Any:
        return _transaction(world)

    return redrive(begin, Filter(**wanted), traccar_topic="traccar/positions")


class _transaction:  # noqa: N801 - a context, used like a function
    def __init__(self, world: World) -> None:
        self._conn = world.conn
        self._inner = world.conn.transaction()

    def __enter__(self) -> Any:
        self._inner.__enter__()
        return self._conn

    def __exit__(self, *exc: Any) -> bool | None:
        return self._inner.__exit__(*exc)


def rows(world: World, query: str, *params: Any) -> list[Any]:
    return world.conn.execute(query, params).fetchall()  # type: ignore[arg-type]


def stored(world: World) -> list[tuple[int, Any]]:
    return rows(world, "SELECT seq, received_at FROM telemetry ORDER BY seq")


def held(world: World) -> list[tuple[str, Any, Any]]:
    return rows(world, "SELECT reason, gen, seq FROM quarantine ORDER BY id")


def received(world: World) -> str:
    (row,) = rows(world, "SELECT received::text FROM device_received")
    return str(row[0])


def kept_count(world: World, sender: str) -> tuple[int, int]:
    (row,) = rows(
        world, "SELECT kept, kept_bytes FROM quarantine_counts WHERE device_id = %s", sender
    )
    return row[0], row[1]


def test_records_of_a_device_registered_at_last_are_stored_as_of_then(world: World) -> None:
    messages = [world.message("late", record(n, at(n)), received=at(n)) for n in (1, 2)]
    world.store(messages)
    assert held(world) == [("unknown_device", None, None)] * 2
    assert kept_count(world, "(unknown)")[0] == 2
    world.device(id_="late")
    outcome = drive(world, reason=["unknown_device"])
    assert (outcome.looked_at, outcome.stored, outcome.removed, outcome.kept) == (2, 2, 2, {})
    assert stored(world) == [(1, at(1)), (2, at(2))]
    assert held(world) == []
    assert received(world) == "{[1,3)}"
    assert rows(world, "SELECT * FROM quarantine_counts") == []


def test_what_the_device_sent_again_meanwhile_is_merged(world: World) -> None:
    world.store([world.message("late", record(1, at(1)))])
    world.device(id_="late")
    world.store([world.message("late", record(1, at(1), hist=True))])
    outcome = drive(world)
    assert (outcome.stored, outcome.removed) == (0, 1)
    assert len(stored(world)) == 1
    assert held(world) == []


def refused_then_fixed(world: World, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of a version that this server does not read; then it learns to read it."""
    world.store([world.message(device, record(1, at(1)) | {"v": 2}, received=at(2))])
    assert held(world) == [("unknown_version", 0, 1)]
    assert received(world) == "{[1,2)}"
    monkeypatch.setattr("tracker.payload.VERSION", 2)


def test_an_acknowledged_record_that_was_refused_is_stored_once_after_the_fix(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = world.delivery([device := world.device()])
    refused_then_fixed(world, device, monkeypatch)
    assert (drive(world).stored, held(world)) == (1, [])
    assert stored(world) == [(1, at(2))]
    assert received(world) == "{[1,2)}"
    assert rows(world, "SELECT delivery_id FROM dirty") == [(delivery.id,)]
    # The device never heard of it and sends it again: merged, not stored twice.
    world.store([world.message(device, record(1, at(1), hist=True) | {"v": 2})])
    assert len(stored(world)) == 1
    assert drive(world) == Outcome()


def test_what_is_refused_still_stays_the_same_row_with_its_number_received(world: World) -> None:
    device = world.device()
    bad = record(1, at(1), 76.0, 43.5)
    bad["fix"]["lat"] = 95
    world.store([world.message(device, bad), world.message(device, b"{no json")])
    before = rows(world, "SELECT * FROM quarantine ORDER BY id")
    for _ in range(3):
        outcome = drive(world)
        assert (outcome.stored, outcome.removed) == (0, 0)
        assert outcome.kept == {"invalid_field": 1, "malformed": 1}
    assert rows(world, "SELECT * FROM quarantine ORDER BY id") == before
    assert received(world) == "{[1,2)}"
    assert kept_count(world, device)[0] == 2


def test_a_number_stays_received_even_if_the_message_is_refused_for_its_sender(
    world: World,
) -> None:
    device = world.device()
    world.store([world.message(device, record(1, at(1)) | {"v": 2})])
    world.conn.execute("UPDATE devices SET kind = 'seal'")
    assert drive(world).kept == {"wrong_kind": 1}
    assert received(world) == "{[1,2)}"


def test_of_a_message_partly_refused_only_the_bad_part_is_left(world: World) -> None:
    bad = record(2, at(2)) | {"sleep_s": -1}
    world.store([world.message("late", [record(1, at(1)), bad, record(3, at(3))])])
    world.device(id_="late")
    outcome = drive(world)
    assert (outcome.looked_at, outcome.stored, outcome.removed) == (1, 2, 1)
    assert held(world) == [("invalid_field", 0, 2)]
    assert kept_count(world, "late")[0] == 1
    assert (drive(world).removed, held(world)) == (0, [("invalid_field", 0, 2)])


def test_a_second_body_never_takes_the_place_of_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = world.device()
    refused_then_fixed(world, device, monkeypatch)
    other = record(1, at(1)) | {"v": 2, "why": "poll"}
    world.store([world.message(device, other)])
    assert [row[0] for row in held(world)] == ["unknown_version", "identity_conflict"]
    # Alone, against a first body that is held in quarantine.
    assert drive(world, reason=["identity_conflict"]).kept == {"identity_conflict": 1}
    # Together: the first is stored, the second stays.
    assert drive(world).stored == 1
    assert held(world) == [("identity_conflict", 0, 1)]
    assert b"poll" not in rows(world, "SELECT body FROM telemetry")[0][0]
    # Alone, against the stored one; and when the first is gone from the table.
    assert drive(world).kept == {"identity_conflict": 1}
    world.conn.execute("DELETE FROM telemetry")
    assert drive(world).kept == {"identity_conflict": 1}
    assert stored(world) == []


def test_rights_to_be_proved_are_proved_by_a_key_that_came_later(world: World) -> None:
    device = world.device("seal")
    world.conn.execute("UPDATE devices SET hmac_required = true")
    key = Key(kid="1", secret=b"s" * 32)
    topic = topic_of(device, "seal", "tlm")
    signed = sign(json.dumps(record(1, at(1))).encode(), topic, key)
    forged = signed[:-3] + b"AAA"
    world.store(
        [Incoming(topic=topic, payload=p, received_ms=1_772_500_000_000) for p in (signed, forged)]
    )
    assert {row[0] for row in held(world)} == {"mac_unknown_key"}
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret) SELECT device_no, '1', %s FROM devices",
        (key.secret,),
    )
    outcome = drive(world)
    assert (outcome.stored, outcome.kept) == (1, {"mac_wrong": 1})
    assert rows(world, "SELECT topic, payload FROM signed_records") == [(topic, signed)]


def test_a_part_of_a_signed_array_keeps_its_proof(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = world.device("seal")
    world.conn.execute("UPDATE devices SET hmac_required = true")
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret) SELECT device_no, '1', %s FROM devices",
        (b"s" * 32,),
    )
    later = [record(n, at(n)) | {"v": 2} for n in (1, 2)]
    topic = topic_of(device, "seal", "tlm")
    signed = sign(json.dumps(later).encode(), topic, Key(kid="1", secret=b"s" * 32))
    alone = sign(
        json.dumps(record(3, at(3)) | {"v": 2}).encode(), topic, Key(kid="1", secret=b"s" * 32)
    )
    world.store(
        [Incoming(topic=topic, payload=p, received_ms=1_772_500_000_000) for p in (signed, alone)]
    )
    assert rows(world, "SELECT payload FROM signed_messages") == [(signed,)]
    assert rows(world, "SELECT payload FROM quarantine WHERE seq = 3") == [(alone,)]
    # The key is long gone when the fix comes: the proof was given on arrival.
    world.conn.execute("DELETE FROM device_keys")
    monkeypatch.setattr("tracker.payload.VERSION", 2)
    assert drive(world).stored == 3
    assert held(world) == []
    kept = rows(world, "SELECT seq, topic, payload FROM signed_records ORDER BY seq")
    assert kept == [(1, topic, signed), (2, topic, signed), (3, topic, alone)]
    for _, topic_, payload in kept:
        body, _, trailer = payload.rpartition(b"\n")
        mac = base64.urlsafe_b64decode(trailer.partition(b".")[2] + b"==")
        assert mac == mac_of(b"s" * 32, topic_, body)


def test_only_what_matches_is_driven(world: World) -> None:
    world.store([world.message(n, record(1, at(1)), received=at(5)) for n in ("a", "b")])
    for name in ("a", "b"):
        world.device(id_=name)
    assert drive(world, device="none").looked_at == 0
    assert drive(world, since=at(6)).looked_at == 0
    assert drive(world, device="a", since=at(4)).stored == 1
    assert held(world) == [("unknown_device", None, None)]


def test_more_rows_than_a_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.db.redrive.BATCH_ROWS", 7)
    world.store([world.message("late", record(n, at(n))) for n in range(1, 31)])
    world.device(id_="late")
    outcome = drive(world)
    assert (outcome.looked_at, outcome.stored, outcome.removed) == (30, 30, 30)
    assert received(world) == "{[1,31)}"


def test_a_device_of_another_system(world: World) -> None:
    fix = {"_type": "location", "tst": 1_772_500_000, "lat": 43.2, "lon": 76.9, "acc": 5}
    message = Incoming(
        topic="owntracks/ann/phone",
        payload=json.dumps(fix).encode(),
        received_ms=1_772_500_010_000,
    )
    world.store([message])
    assert held(world) == [("unknown_device", None, None)]
    world.device(id_="ann-phone")
    assert drive(world).stored == 1
    assert held(world) == []


def test_bounds_in_bytes_and_records(world: World) -> None:
    from tracker.pipeline import store

    device = world.device()
    messages = [world.message(device, b"{%d" % n + b"x" * 998) for n in range(10, 20)]
    with world.conn.transaction():
        store(world.conn, messages, quarantine_per_device=100, quarantine_bytes=5000)
    assert len(held(world)) == 4
    counts = "SELECT kept, kept_bytes, over_limit, over_limit_bytes FROM quarantine_counts"
    assert rows(world, counts) == [(4, 4004, 6, 6006)]
    # Room that a re-drive has made can be used again.
    world.conn.execute("DELETE FROM quarantine WHERE id = (SELECT min(id) FROM quarantine)")
    drive(world)
    assert rows(world, counts) == [(3, 3003, 6, 6006)]
