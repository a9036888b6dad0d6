"""The order law (contract detection.md): arrival order, batches and repeats change nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property.trips_at_random import sceneries, trips
from tracker.anomalies import Fold, Scenery, dump, fold, load, order_of, present
from tracker.changes import Known, changes
from tracker.model import Finding, Observation

MANY = settings(max_examples=150, deadline=None)


def whole(trip: list[Observation], scene: Scenery) -> tuple[Fold, list[Finding]]:
    state, over = fold(Fold(), trip, scene)
    return state, [*over, *present(state, scene).findings]


def plain(findings: list[Finding]) -> list[Finding]:
    """What the law speaks of; when a finding was decided is the evaluator's own affair."""
    bare = [replace(f, decided_ms=None) for f in findings]
    return sorted(bare, key=lambda f: (f.code, f.device or "", f.start_ms, f.end_ms or 0))


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
        self._compare(begun_ms, [*over, *present(state, self.scene).findings])

    def _compare(self, begun_ms: int | None, found: list[Finding]) -> None:
        known = [
            Known(key=key, finding=finding)
            for key, finding in self.standing.items()
            if not (begun_ms and finding.decided_ms and finding.decided_ms <= begun_ms)
        ]
        for change in changes(known, found):
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
        _, expected = whole(trip, scene)
        assert plain(list(evaluator.standing.values())) == plain(expected)
