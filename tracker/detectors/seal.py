"""Seal: its rope and its body, by the seal's own word. Only a customs officer makes it whole."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.model import ActKind, Basis, Finding, FoundBy, Observation, Severity, Step

SEAL_CUT = Rule(
    code="seal_cut",
    eaeu_code="01",
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="The seal's rope has been cut.",
)

SEAL_BODY_OPEN = Rule(
    code="seal_body_open",
    eaeu_code="02",
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="The seal's body has been opened.",
)


class BrokenState(Struct, frozen=True, kw_only=True):
    """Since when the seal says that it is broken, and where it was then."""

    start_ms: int | None = None
    found_by: FoundBy | None = None
    by_event: bool = False
    records: int = 0
    at: tuple[float, float] | None = None


Says = Callable[[Observation], bool]


def rope_is_cut(observation: Observation) -> bool:
    """By event or by state."""
    return observation.event == "rope_cut" or observation.rope == "cut"


def case_is_open(observation: Observation) -> bool:
    """By event or by state."""
    return observation.event == "case_open" or observation.case == "open"


def _broken(rule: Rule, event: str, says: Says) -> Detector[BrokenState]:
    def step(state: BrokenState, step: Step, scene: Scene) -> tuple[BrokenState, Findings]:
        seen = step.observation
        state, closed = _reseal(rule, state, scene, until_ms=seen.t_ms)
        if says(seen):
            state = _break(state, step, by_event=seen.event == event)
        return state, closed

    def finish(state: BrokenState, scene: Scene) -> Findings:
        state, closed = _reseal(rule, state, scene, until_ms=scene.now_ms)
        return closed if state.start_ms is None else (_finding(rule, state, scene),)

    return Detector(
        rule=rule,
        state_type=BrokenState,
        step=step,
        finish=finish,
        looks=Looks.SEAL,
        wakes=Looks.ALARM,
    )


def _break(state: BrokenState, step: Step, *, by_event: bool) -> BrokenState:
    if state.start_ms is not None:
        return replace(state, records=state.records + 1, by_event=state.by_event or by_event)
    return BrokenState(
        start_ms=step.observation.t_ms,
        found_by=found_by(step.observation),
        by_event=by_event,
        records=1,
        at=step.here,
    )


def _reseal(
    rule: Rule, state: BrokenState, scene: Scene, *, until_ms: int
) -> tuple[BrokenState, Findings]:
    """Close the episode by the first resealing after it began and before ``until_ms``."""
    if state.start_ms is None:
        return state, ()
    end_ms = resealed_ms(scene, after_ms=state.start_ms, until_ms=until_ms)
    if end_ms is None:
        return state, ()
    return BrokenState(), (_finding(rule, state, scene, end_ms=end_ms),)


def resealed_ms(scene: Scene, *, after_ms: int, until_ms: int) -> int | None:
    """When a customs officer first resealed in a span of time; None: nobody did."""
    for act in scene.acts:
        if act.kind is ActKind.RESEAL and after_ms < act.t_ms <= until_ms:
            return act.t_ms
    return None


def _finding(rule: Rule, state: BrokenState, scene: Scene, *, end_ms: int | None = None) -> Finding:
    assert state.start_ms is not None
    place = point(*state.at) if state.at else None
    return Finding(
        code=rule.code,
        device=scene.device.id,
        severity=rule.severity,
        basis=rule.basis,
        start_ms=state.start_ms,
        end_ms=end_ms,
        geometry=place,
        evidence={
            "by": "event" if state.by_event else "state",
            "records": state.records,
            "last_position": place["coordinates"] if place else None,
        },
        found_by=state.found_by,
    )


seal_cut = _broken(SEAL_CUT, "rope_cut", rope_is_cut)
seal_body_open = _broken(SEAL_BODY_OPEN, "case_open", case_is_open)
