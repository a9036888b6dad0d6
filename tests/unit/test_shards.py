"""Fair shares of shards, whoever comes and goes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tracker.shards import assign

SHARDS = range(65)
names = st.sampled_from("abcdefgh")
wants = st.frozensets(st.sampled_from(SHARDS))
owned = st.dictionaries(st.sampled_from(SHARDS), names)


@given(names=st.sets(names, min_size=1), owners=owned)
def test_equal_workers_get_equal_shares(names: set[str], owners: dict[int, str]) -> None:
    workers = dict.fromkeys(names, frozenset(SHARDS))
    target = assign(workers, owners)
    assert target.keys() == set(SHARDS)
    counts = Counter(target.values())
    assert set(counts) == names
    assert max(counts.values()) <= -(-len(SHARDS) // len(names))


@given(workers=st.dictionaries(names, wants), owners=owned)
def test_whatever_they_want_none_is_left_without_an_owner_who_may(
    workers: dict[str, frozenset[int]], owners: dict[int, str]
) -> None:
    target = assign(workers, owners)
    assert target.keys() == frozenset().union(*workers.values())
    assert all(shard in workers[worker] for shard, worker in target.items())


@given(workers=st.dictionaries(names, wants), owners=owned)
def test_a_fair_distribution_stays_as_it_is(
    workers: dict[str, frozenset[int]], owners: dict[int, str]
) -> None:
    target = assign(workers, owners)
    assert assign(workers, target) == target


def test_no_more_moves_than_fairness_asks() -> None:
    everything = frozenset(SHARDS)
    alone = assign({"a": everything}, {})
    both = assign({"a": everything, "b": everything}, alone)
    assert sum(both[s] != alone[s] for s in SHARDS) == 32
    after = assign({"b": everything}, both)
    assert set(after.values()) == {"b"}


def test_a_worker_for_a_part_takes_only_that() -> None:
    target = assign({"low": frozenset(range(32)), "high": frozenset(range(32, 64))}, {40: "low"})
    assert {s for s, w in target.items() if w == "low"} == set(range(32))
    assert {s for s, w in target.items() if w == "high"} == set(range(32, 64))
