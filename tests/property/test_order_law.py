"""The order law (contract detection.md): arrival order, batches and repeats change nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property.trips_at_random import sceneries, trips
from tracker.anomalies import (
    WHOLE_CODES,
    Fold,
    Present,
    Scenery,
    dump,
    fold,
    load,
    order_of,
    present,
    whole,
)
from tracker.changes import Known, changes
from tracker.model import Around, Finding, Observation

MANY = settings(max_examples=150, deadline=None)


def all_of(trip: list[Observation], scene: Scenery) -> tuple[Fold, list[Finding]]:
    state, over = fold(Fold(), trip, scene)
    return state, found_at_the_end(list(over), state, scene)


def found_at_the_end(over: list[Finding], state: Fold, scene: Scenery) -> list[Finding]:
    now = present(state, scene)
    shown = [*over, *now.findings]
    return [*shown, *whole(scene, now, shown, Around()).findings]


def plain(findings: list[Finding]) -> list[Finding]:
    """What the law speaks of; when a finding was decided is the evaluator's own affair."""
    bare = [replace(f, decided_ms=None) for f in findings]
    return sorted(bare, key=lambda f: (f.code, f.device or "", f.start_ms, repr(f)))


@given(trips(), sceneries(), st.data())
@MANY
def test_folding_in_parts_is_folding_in_one_go(
    trip: list[Observation], scene: Scenery, data: Any
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(trip)), max_size=4)))
    state = Fold()
    found: list[Finding] = []
    for start, end in zip([0, *cuts], [*cuts, len(trip)], strict=True):
        state, over = fold(load(dump(state)), trip[start:end], scene)
        found += over
    expected_state, expected_over = fold(Fold(), trip, scene)
    assert state == expected_state
    assert tuple(found) == expected_over


@given(trips(), sceneries())
@MANY
def test_looking_at_the_present_changes_nothing(trip: list[Observation], scene: Scenery) -> None:
    looked_at = Fold()
    for n, seen in enumerate(trip):
        looked_at, _ = fold(looked_at, [seen], scene)
        before = dump(looked_at)
        first = present(looked_at, scene)
        assert present(looked_at, replace(scene, now_ms=seen.t_ms + 1000 * n)) is not None
        assert present(looked_at, scene) == first
        assert dump(looked_at) == before
    assert looked_at == fold(Fold(), trip, scene)[0]


class Evaluator:
    """Evaluation with its checkpoints, as the second stage does it, without a database."""

    def __init__(self, scene: Scenery) -> None:
        self.scene = scene
        self.records: dict[tuple[str, int, int], Observation] = {}
        self.checkpoints: list[bytes] = [dump(Fold())]
        self.standing: dict[int, Finding] = {}
        self.keys = 0

    def take(self, batch: list[Observation]) -> None:
        """Records arrive, some perhaps again."""
        fresh = [o for o in batch if (o.device, o.gen, o.seq) not in self.records]
        self.records |= {(o.device, o.gen, o.seq): o for o in fresh}
        if fresh:
            self._judge(min(o.t_ms for o in fresh))

    def _judge(self, from_ms: int) -> None:
        states = [load(stored) for stored in self.checkpoints]
        kept = [s for s in states if s.upto_ms is None or s.upto_ms < from_ms]
        before = max(kept, key=lambda s: s.upto_ms or 0)
        begun_ms = before.upto_ms
        after = [o for o in self.records.values() if begun_ms is None or o.t_ms > begun_ms]
        state, over = fold(before, sorted(after, key=order_of), self.scene)
        self.checkpoints = [dump(s) for s in (*kept, state)]
        now = present(state, self.scene)
        self._compare(begun_ms, [*over, *now.findings], now)

    def _compare(self, begun_ms: int | None, shown: list[Finding], now: Present) -> None:
        final: list[Finding] = []
        known: dict[bool, list[Known[int]]] = {True: [], False: []}
        for key, finding in self.standing.items():
            of_whole = finding.code in WHOLE_CODES
            decided_ms = finding.decided_ms
            if not of_whole and begun_ms and decided_ms and decided_ms <= begun_ms:
                final.append(finding)
            else:
                known[of_whole].append(Known(key=key, finding=finding))
        judged = whole(self.scene, now, [*final, *shown], Around())
        for change in (
            *changes(known[False], shown),
            *changes(known[True], judged.findings),
        ):
            key = change.key
            if key is None:
                key = self.keys = self.keys + 1
            if change.after is None:
                del self.standing[key]
            else:
                self.standing[key] = change.after


@given(trips(), sceneries(), st.data())
@MANY
def test_any_arrival_finds_the_same(trip: list[Observation], scene: Scenery, data: Any) -> None:
    arriving = data.draw(st.permutations(trip))
    if trip:
        arriving = arriving + data.draw(st.lists(st.sampled_from(trip), max_size=5))
    evaluator = Evaluator(scene)
    while arriving:
        n = data.draw(st.integers(1, len(arriving)))
        evaluator.take(arriving[:n])
        arriving = arriving[n:]
    if trip:
        _, expected = all_of(trip, scene)
        assert plain(list(evaluator.standing.values())) == plain(expected)
