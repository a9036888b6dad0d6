"""What an ack frees, and that nothing else ever leaves a device's store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.store import Ack, Store, parse_ack


def filled(count: int) -> Store:
    store = Store()
    for _ in range(count):
        store.add(b"}", event=False)
    return store


def seqs(store: Store) -> list[int]:
    return [kept.seq for kept in store]


def test_numbers_start_at_one() -> None:
    assert seqs(filled(3)) == [1, 2, 3]


def test_upto_frees_all_below() -> None:
    store = filled(5)
    assert store.free(Ack(gen=0, upto=3, high=3)) == [1, 2, 3]
    assert seqs(store) == [4, 5]
    assert store.lo == 4


def test_high_frees_what_is_not_missing() -> None:
    store = filled(10)
    store.free(Ack(gen=0, upto=0, high=9, missing=((1, 3), (6, 6))))
    assert seqs(store) == [1, 2, 3, 6, 10]


def test_empty_store_holds_nothing_below_the_next() -> None:
    store = filled(4)
    store.free(Ack(gen=0, upto=4, high=4))
    assert store.lo == 5
    assert store.add(b"}", event=False).seq == 5


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    holes = draw(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 10)), max_size=8))
    return Ack(
        gen=0,
        upto=draw(st.integers(0, 60)),
        high=draw(st.integers(0, 60)),
        missing=tuple((a, a + length) for a, length in holes),
    )


@given(count=st.integers(0, 60), given_acks=st.lists(acks(), max_size=5))
def test_only_what_an_ack_covers_leaves(count: int, given_acks: list[Ack]) -> None:
    store = filled(count)
    for ack in given_acks:
        store.free(ack)
    covered = {
        seq
        for seq in range(1, count + 1)
        for ack in given_acks
        if seq <= ack.upto or (seq <= ack.high and not any(a <= seq <= b for a, b in ack.missing))
    }
    assert set(seqs(store)) == set(range(1, count + 1)) - covered
    assert store.made == count


def test_the_unsent_can_be_held_back() -> None:
    store = filled(3)
    store.free(Ack(gen=0, upto=3, high=3), but={2})
    assert seqs(store) == [2]


@given(capacity=st.integers(1, 20), events=st.lists(st.booleans(), max_size=60))
def test_a_full_store_gives_up_its_oldest_routine_record(capacity: int, events: list[bool]) -> None:
    store = Store(capacity)
    expected: list[tuple[int, bool]] = []
    for seq, event in enumerate(events, start=1):
        if len(expected) == capacity:
            assert store.full
            expected.remove(next((k for k in expected if not k[1]), expected[0]))
        store.add(b"}", event=event)
        expected.append((seq, event))
        assert [(kept.seq, kept.event) for kept in store] == expected
    assert store.made == len(events)
    assert store.overwritten == len(events) - len(expected)


def test_a_store_holds_a_fortnight() -> None:
    store = filled(20_000)
    assert (store.lo, store.overwritten) == (1, 0)
    store.add(b"}", event=False)
    assert (store.lo, store.overwritten) == (2, 1)


def test_a_lost_page_raises_lo_and_seq_goes_on() -> None:
    store = filled(10)
    assert store.lose(keep_newest=2) == list(range(1, 9))
    assert store.lo == 9
    assert store.add(b"}", event=False).seq == 11
    assert store.lose() == [9, 10, 11]
    assert store.lo == 12


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gen": 0},
        {"gen": 0, "upto": None},
        {"gen": 0, "upto": -1},
        {"gen": True, "upto": 1},
        {"gen": 0, "upto": "7"},
        {"gen": 0, "upto": 1, "high": 9, "missing": None},
        {"gen": 0, "upto": 1, "high": 9, "missing": [[3]]},
        {"gen": 0, "upto": 1, "high": 9, "missing": [[3, "x"]]},
    ],
)
def test_a_doubtful_ack_is_none(fields: dict[str, Any]) -> None:
    assert parse_ack(fields) is None


def test_an_ack_is_read() -> None:
    fields = {"gen": 2, "upto": 4, "high": 9, "missing": [[6, 7]]}
    assert parse_ack(fields) == Ack(gen=2, upto=4, high=9, missing=((6, 7),))
