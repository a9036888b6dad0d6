"""Laws of acks: they cover exactly what was received, whatever came in whatever order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.received import MAX_MISSING, Received, ack_of

sparse = st.sets(st.integers(1, 400), max_size=300)
los = st.integers(1, 120)


def received_of(seqs: set[int], lo: int = 1) -> Received:
    return Received(lo=lo).add(seqs)


@given(sparse, st.lists(sparse, max_size=4))
def test_batches_do_not_matter(first: set[int], more: list[set[int]]) -> None:
    received = received_of(first)
    for seqs in more:
        received = received.add(seqs)
    assert received == received_of(first.union(*more))


@given(sparse)
def test_membership_is_that_of_the_set(seqs: set[int]) -> None:
    received = received_of(seqs)
    assert {n for n in range(402) if n in received} == seqs
    assert all(low < high for low, high in received.ranges)
    flat = [edge for pair in received.ranges for edge in pair]
    assert flat == sorted(set(flat)), "sorted, apart and not touching"


@given(sparse, los)
@settings(max_examples=300)
def test_an_ack_covers_exactly_what_the_device_may_forget(seqs: set[int], lo: int) -> None:
    ack = ack_of(0, received_of(seqs, lo))
    upto, high, missing = ack["upto"], ack["high"], ack["missing"]
    covered = seqs | set(range(1, lo))
    told_missing = {n for a, b in missing for n in range(a, b + 1)}

    assert {n for n in range(1, high + 1) if n not in told_missing} == {
        n for n in covered if n <= high
    }
    assert upto == next(n for n in range(402) if n + 1 not in covered)
    assert upto <= high
    assert len(missing) <= MAX_MISSING
    assert missing == sorted(missing)
    assert all(upto < a <= b < high for a, b in missing)
    assert all(b + 1 < c for (_, b), (c, _) in pairwise(missing))
    if len(missing) < MAX_MISSING:
        assert high == max(covered, default=0), "lowered only to fit"


@given(sparse, sparse, los, los)
def test_acks_never_take_anything_back(a: set[int], b: set[int], lo: int, later: int) -> None:
    before = received_of(a, lo)
    after = before.add(b).raise_lo(later)
    old, new = ack_of(0, before), ack_of(0, after)
    assert new["upto"] >= old["upto"]
    covered = [n for low, end in before.covered() for n in range(low, end)]
    assert all(any(low <= n < end for low, end in after.covered()) for n in covered)


@given(st.sets(st.integers(1, 60), max_size=40), st.integers(1, 60), st.integers(1, 20))
def test_a_number_that_is_taken_back_is_missing_again(seqs: set[int], seq: int, lo: int) -> None:
    received = Received().add(seqs).raise_lo(lo).remove(seq)
    assert received == Received().add(seqs - {seq}).raise_lo(lo)
    assert seq not in received
    assert received.add([seq]) == Received().add(seqs | {seq}).raise_lo(lo)
