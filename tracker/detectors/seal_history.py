"""Seal history: a seal that says of itself what its own past rules out.

A rope that was cut cannot be in again, and a body that was opened does not count as closed, until a
customs officer has resealed: such a seal has been replaced, mended, or lies.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.detectors.seal import case_is_open, resealed_ms, rope_is_cut
from tracker.model import Basis, Finding, FoundBy, Severity, Step

SEAL_STATE_CONFLICT = Rule(
    code="seal_state_conflict",
    eaeu_code="04",
    severity=Severity.HIGH,
    basis=Basis.DATA,
    text="The seal says that it is whole although it was broken and nobody has resealed it.",
)


class Conflict(Struct, frozen=True, kw_only=True):
    """The first record that contradicts the history.

    ``parts``: rope, case, each with the time since which it was broken, ms.
    """

    start_ms: int
    found_by: FoundBy
    at: tuple[float, float] | None
    parts: dict[str, int]
    records: int = 1


class HistoryState(Struct, frozen=True, kw_only=True):
    """Since when each part is broken, as the seal said; None: it is not."""

    rope_ms: int | None = None
    case_ms: int | None = None
    conflict: Conflict | None = None


def _step(state: HistoryState, step: Step, scene: Scene) -> tuple[HistoryState, Findings]:
    seen = step.observation
    state, over = _resealed(state, scene, until_ms=seen.t_ms)
    parts: dict[str, int] = {}
    if rope_is_cut(seen):
        if state.rope_ms is None:
            state = replace(state, rope_ms=seen.t_ms)
    elif seen.rope == "in" and state.rope_ms is not None:
        parts["rope"] = state.rope_ms
    if case_is_open(seen):
        if state.case_ms is None:
            state = replace(state, case_ms=seen.t_ms)
    elif seen.case == "closed" and state.case_ms is not None:
        parts["case"] = state.case_ms
    return (_contradict(state, step, parts) if parts else state), over


def _contradict(state: HistoryState, step: Step, parts: dict[str, int]) -> HistoryState:
    before = state.conflict
    if before is not None:
        more = replace(before, parts=before.parts | parts, records=before.records + 1)
        return replace(state, conflict=more)
    seen = step.observation
    first = Conflict(start_ms=seen.t_ms, found_by=found_by(seen), at=step.here, parts=parts)
    return replace(state, conflict=first)


def _resealed(state: HistoryState, scene: Scene, *, until_ms: int) -> tuple[HistoryState, Findings]:
    """With an officer's resealing a new history begins. It is looked for after the newest part
    that broke: what broke later than the resealing is not mended by it."""
    rope_ms, case_ms, conflict = state.rope_ms, state.case_ms, state.conflict
    if rope_ms is None and case_ms is None:
        return state, ()
    if rope_ms is not None and resealed_ms(scene, after_ms=rope_ms, until_ms=until_ms):
        rope_ms = None
    if case_ms is not None and resealed_ms(scene, after_ms=case_ms, until_ms=until_ms):
        case_ms = None
    if conflict is None:
        if (rope_ms, case_ms) == (state.rope_ms, state.case_ms):
            return state, ()
        return HistoryState(rope_ms=rope_ms, case_ms=case_ms), ()
    end_ms = resealed_ms(scene, after_ms=conflict.start_ms, until_ms=until_ms)
    if end_ms is None:
        return state, ()
    ended = HistoryState(rope_ms=rope_ms, case_ms=case_ms)
    return ended, (_finding(conflict, scene, end_ms=end_ms),)


def _finding(conflict: Conflict, scene: Scene, *, end_ms: int | None = None) -> Finding:
    return Finding(
        code=SEAL_STATE_CONFLICT.code,
        device=scene.device.id,
        severity=SEAL_STATE_CONFLICT.severity,
        basis=SEAL_STATE_CONFLICT.basis,
        start_ms=conflict.start_ms,
        end_ms=end_ms,
        geometry=point(*conflict.at) if conflict.at else None,
        evidence={
            "parts": sorted(conflict.parts),
            "broken_since_ms": dict(sorted(conflict.parts.items())),
            "records": conflict.records,
        },
        found_by=conflict.found_by,
    )


def _finish(state: HistoryState, scene: Scene) -> Findings:
    state, over = _resealed(state, scene, until_ms=scene.now_ms)
    return over if state.conflict is None else (_finding(state.conflict, scene),)


seal_state_conflict = Detector(
    rule=SEAL_STATE_CONFLICT,
    state_type=HistoryState,
    step=_step,
    finish=_finish,
    looks=Looks.SEAL,
    wakes=Looks.ALARM,
)
