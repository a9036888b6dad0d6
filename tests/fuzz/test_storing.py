"""The whole storing stage against anything, on the real database.

Whatever comes: no crash; each refusal counted, and kept raw within its bounds; the good records of
a message stored whatever stands beside them; what is stored can be judged; time and memory bounded.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.strategies import (
    FIELDS,
    GPS,
    ODD_NUMBERS,
    ODD_TEXTS,
    ODD_VALUES,
    PHONE,
    SEAL,
    TS_MS,
    doubled,
    payloads,
    spoilt,
    topics,
)
from tests.support.seed import START, World
from tracker.model import from_ms
from tracker.payload import Reason, topic_of
from tracker.pipeline import store
from tracker.storing import Incoming, Storing

RECEIVED_MS = TS_MS + 3_600_000

on_a_database = settings(
    deadline=None,
    max_examples=250,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """Three devices on a delivery, one of which another system forwards."""
    made = World(database)
    names = [made.device(id_=GPS), made.device("seal", id_=SEAL), made.device(id_=PHONE)]
    made.delivery(names, released=START)
    yield made
    made.close()


@contextmanager
def undone(world: World) -> Iterator[None]:
    """Each example on the database as it was."""
    with world.conn.transaction(force_rollback=True):
        yield


def incoming(payload: bytes, topic: str = "", *, retained: bool = False) -> Incoming:
    return Incoming(
        topic=topic or topic_of(GPS, "gps", "tlm"),
        payload=payload,
        received_ms=RECEIVED_MS,
        retained=retained,
    )


def put(world: World, messages: list[Incoming], records: int = 10_000) -> Storing:
    with world.conn.transaction():
        return store(world.conn, messages, quarantine_per_device=records)


def rows(world: World, query: str) -> list[Any]:
    return world.conn.execute(query).fetchall()  # type: ignore[arg-type]


def check_accounts(world: World, messages: list[Incoming], batch: Storing) -> None:
    """Every refusal is counted by reason, by sender, and there raw."""
    refused = sum(batch.reasons.values())
    assert refused == len(batch.refused)
    (totals,) = rows(
        world,
        "SELECT coalesce(sum(kept), 0), coalesce(sum(over_limit), 0),"
        " coalesce(sum(kept_bytes), 0) FROM quarantine_counts",
    )
    kept = rows(world, "SELECT payload, topic, size_bytes, reason FROM quarantine")
    assert totals[0] + totals[1] == refused
    assert totals[0] == len(kept)
    assert totals[2] == sum(row[2] for row in kept)
    for payload, _, size, reason in kept:
        assert size == len(payload)
        assert any(payload in message.payload for message in messages)
        assert reason in set(Reason)


@on_a_database
@given(st.lists(st.tuples(topics, payloads, st.booleans()), min_size=1, max_size=8))
def test_anything_from_anywhere(world: World, sent: list[tuple[str, bytes, bool]]) -> None:
    messages = [incoming(payload, topic, retained=kept) for topic, payload, kept in sent]
    with undone(world):
        batch = put(world, messages)
        check_accounts(world, messages, batch)
        assert len(rows(world, "SELECT 1 FROM telemetry")) == len(batch.records)
        # Again: what was stored or kept with its number is not stored twice.
        before = rows(world, "SELECT device_no, gen, seq, body FROM telemetry ORDER BY 1, 2, 3")
        again = put(world, messages)
        assert again.records == []
        after = rows(world, "SELECT device_no, gen, seq, body FROM telemetry ORDER BY 1, 2, 3")
        assert after == before


@on_a_database
@given(st.lists(st.tuples(topics, payloads), min_size=1, max_size=5))
def test_what_is_stored_of_it_can_be_judged(world: World, sent: list[tuple[str, bytes]]) -> None:
    with undone(world):
        put(world, [incoming(payload, topic) for topic, payload in sent])
        world.judge(now=from_ms(RECEIVED_MS))
        assert rows(world, "SELECT 1 FROM dirty") == []
        assert rows(world, "SELECT error FROM delivery_state WHERE error IS NOT NULL") == []


ODD = ODD_NUMBERS + ODD_TEXTS + ODD_VALUES


@pytest.mark.parametrize("make", [spoilt, doubled])
def test_every_field_with_every_odd_value(world: World, make: Any) -> None:
    """The corpus in whole: each field of the contract, each value, one message each."""
    cases = [(field, raw) for field in FIELDS for raw in ODD]
    messages = [
        incoming(make(n, field, raw).encode("utf-8", "surrogatepass"))
        for n, (field, raw) in enumerate(cases, start=1)
    ]
    batch = put(world, messages)
    check_accounts(world, messages, batch)
    # One message is one record: each is stored, or kept with its reason. The odd sequence numbers
    # may meet each other: those are kept as conflicts, or are the same and merged.
    stored = {bytes(r.body) for r in batch.records}
    refused = {r.payload for r in batch.refused}
    lost = [m.payload for m in messages if m.payload not in stored | refused]
    assert all(b'"seq":' in payload for payload in lost)
    assert len(lost) <= len(ODD)
    world.judge(now=from_ms(RECEIVED_MS))
    assert rows(world, "SELECT 1 FROM dirty") == []


BAD_ITEMS = [
    b'{"v":1}',
    b"{",
    b'{"v":1,"gen":0,"seq":500,"ts":NaN}',
    b'{"v":1,"gen":0,"seq":500,"ts":1,"why":"\\ud800"}',
    b'{"v":1,"gen":0,"seq":500,"ts":1,"x":"\xff"}',
    b'{"v":1,"gen":0,"seq":500,"ts":1,"x":"\x00"}',
    b'{"v":2,"gen":0,"seq":500,"ts":1}',
    b'{"v":1,"gen":0,"seq":0,"ts":1}',
    b"1e999",
    b"null",
    b"",
    b"]",
    b"[" * 3000,
    b'"' + b"x" * 5000 + b'"',
    b'{"v":1,"gen":0,"seq":500,"ts":1,"pad":"' + b"x" * 5000 + b'"}',
]


@pytest.mark.parametrize("place", [0, 49, 99])
def test_one_bad_record_of_a_hundred(world: World, place: int) -> None:
    """It never takes those before it along; nor those after it, if the array can be read on."""
    for bad in BAD_ITEMS:
        with undone(world):
            check_one_bad(world, bad, place)


def check_one_bad(world: World, bad: bytes, place: int) -> None:
    items = [json.dumps({"v": 1, "gen": 0, "seq": n + 1, "ts": TS_MS}).encode() for n in range(100)]
    items[place] = bad
    body = b"[" + b",".join(items) + b"]"
    batch = put(world, [incoming(body)])
    check_accounts(world, [incoming(body)], batch)
    stored = {r.seq for r in batch.records}
    assert stored >= set(range(1, place + 1))
    try:
        readable = len(json.loads(body.decode("utf-8", "surrogateescape"))) == 100
    except (ValueError, RecursionError):
        readable = False
    if readable:
        assert len(stored) == 99
        assert [r.payload for r in batch.refused] == [bad]
    else:
        # From the break on everything is kept raw, in one piece.
        assert batch.refused
        kept = b"".join(r.payload for r in batch.refused)
        assert all(item in kept for item in items[place + 1 :])


def test_bounds_hold_against_a_flood(world: World) -> None:
    flood = [incoming(b"{%d" % n) for n in range(3000)]
    unknown = [incoming(b"x" * 2000, topic_of(f"no{n}", "gps", "tlm")) for n in range(500)]
    batch = put(world, flood + unknown, records=100)
    assert sum(batch.reasons.values()) == 3500
    counts = {row[0]: row[1:] for row in rows(world, "SELECT * FROM quarantine_counts")}
    assert counts[GPS][:2] == (100, 2900)
    assert counts["(unknown)"][:2] == (100, 400)
    assert len(rows(world, "SELECT 1 FROM quarantine")) == 200


LARGE = [
    b"[" * 5_000_000,
    b'{"a":' * 1_000_000,
    b"[" + b"1," * 2_000_000 + b"1]",
    b'{"v":1,"gen":0,"seq":' + b"9" * 4_000_000 + b',"ts":1}',
    b'"' + b"\\u0000" * 800_000 + b'"',
    b"\xff" * 5_000_000,
    b" " * 5_000_000,
    b"[" * 60_000,
    b"[" + b"9" * 65_000 + b"]",
    b"[" + b"{}," * 20_000 + b"{}]",
    b'[{"v":1,' + b'"k":1,' * 10_000 + b'"k":1}]',
]


def test_large_messages_cost_little_time_and_memory(world: World) -> None:
    for payload in LARGE:
        with undone(world):
            check_cost(world, payload)


def check_cost(world: World, payload: bytes) -> None:
    messages = [incoming(payload)]
    tracemalloc.start()
    start_s = time.process_time()
    try:
        batch = put(world, messages)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start_s < 5
    assert peak < 8 * len(payload) + 20_000_000
    assert batch.records == []
    assert batch.refused
    check_accounts(world, messages, batch)
