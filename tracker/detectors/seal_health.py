"""Seal health: what the seal says is wrong with itself."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.model import Basis, Finding, FoundBy, Observation, Severity, Step

SEAL_FAULT = Rule(
    code="seal_fault",
    eaeu_code="04",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The seal reports a fault of its own: its motor, its self-test, or a lock that is stuck.",
)

FAULTS = frozenset({"motor_fault", "selftest_fail"})
"""Events by which a seal says that it is at fault."""

STUCK = "stuck"


class FaultState(Struct, frozen=True, kw_only=True):
    """Since when the seal has been at fault, and of what kinds.

    ``stuck``: the lock was stuck when last stated. ``healthy_ms``: the first of the records since
    which it has been healthy; None: the newest that said anything was not.
    """

    start_ms: int | None = None
    found_by: FoundBy | None = None
    at: tuple[float, float] | None = None
    faults: tuple[str, ...] = ()
    records: int = 0
    stuck: bool = False
    healthy_ms: int | None = None


def _step(state: FaultState, step: Step, scene: Scene) -> tuple[FaultState, Findings]:
    seen = step.observation
    if seen.event in FAULTS or seen.lock == STUCK:
        return _fault(state, step), ()
    if state.start_ms is None:
        return state, ()
    if seen.lock is None and (state.stuck or not seen.timed):
        return state, ()  # it says nothing of what is at fault
    healthy_ms = seen.t_ms if state.healthy_ms is None else state.healthy_ms
    if seen.t_ms - healthy_ms >= scene.limits.fault_healthy_s * 1000:
        return FaultState(), (_finding(state, scene, end_ms=healthy_ms),)
    if healthy_ms == state.healthy_ms and not state.stuck:
        return state, ()
    return replace(state, healthy_ms=healthy_ms, stuck=False), ()


def _fault(state: FaultState, step: Step) -> FaultState:
    seen = step.observation
    if state.start_ms is None:
        state = FaultState(start_ms=seen.t_ms, found_by=found_by(seen), at=step.here, records=0)
    return replace(
        state,
        faults=tuple(sorted({*state.faults, *_said(seen)})),
        records=state.records + 1,
        stuck=seen.lock == STUCK or (state.stuck and seen.lock is None),
        healthy_ms=None,
    )


def _said(seen: Observation) -> list[str]:
    said = [seen.event] if seen.event is not None and seen.event in FAULTS else []
    return [*said, "lock_stuck"] if seen.lock == STUCK else said


def _finding(state: FaultState, scene: Scene, *, end_ms: int | None = None) -> Finding:
    assert state.start_ms is not None
    return Finding(
        code=SEAL_FAULT.code,
        device=scene.device.id,
        severity=SEAL_FAULT.severity,
        basis=SEAL_FAULT.basis,
        start_ms=state.start_ms,
        end_ms=end_ms,
        geometry=point(*state.at) if state.at else None,
        evidence={"faults": list(state.faults), "records": state.records},
        found_by=state.found_by,
    )


def _finish(state: FaultState, scene: Scene) -> Findings:
    return () if state.start_ms is None else (_finding(state, scene),)


seal_fault = Detector(
    rule=SEAL_FAULT, state_type=FaultState, step=_step, finish=_finish, wakes=Looks.ALARM
)
