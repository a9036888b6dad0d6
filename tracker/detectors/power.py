"""Power: a device that is about to fall silent."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Rule, Scene, found_by, point
from tracker.model import Basis, Finding, FoundBy, Severity, Step

BATTERY_LOW = Rule(
    code="battery_low",
    eaeu_code="05",
    severity=Severity.LOW,
    basis=Basis.DATA,
    text="The device's battery is low.",
)


class BatteryState(Struct, frozen=True, kw_only=True):
    """Since when the battery is low, its lowest reading, and where the device was then."""

    start_ms: int | None = None
    lowest_pct: float = 100.0
    newest_pct: float = 100.0
    found_by: FoundBy | None = None
    at: tuple[float, float] | None = None


def _step(state: BatteryState, step: Step, scene: Scene) -> tuple[BatteryState, Findings]:
    seen = step.observation
    if seen.battery_pct is None:
        return state, ()
    return _reading(state, step, seen.battery_pct, scene)


def _reading(
    state: BatteryState, step: Step, pct: float, scene: Scene
) -> tuple[BatteryState, Findings]:
    if state.start_ms is None:
        if pct >= scene.limits.battery_low_pct:
            return state, ()
        return _open(step, pct), ()
    if pct >= scene.limits.battery_ok_pct:
        over = _finding(state, scene, end_ms=step.observation.t_ms)
        return BatteryState(), (over,)
    return replace(state, lowest_pct=min(pct, state.lowest_pct), newest_pct=pct), ()


def _open(step: Step, pct: float) -> BatteryState:
    return BatteryState(
        start_ms=step.observation.t_ms,
        lowest_pct=pct,
        newest_pct=pct,
        found_by=found_by(step.observation),
        at=step.here,
    )


def _finding(state: BatteryState, scene: Scene, *, end_ms: int | None = None) -> Finding:
    assert state.start_ms is not None
    nearly_dead = state.lowest_pct <= scene.limits.battery_high_pct
    return Finding(
        code=BATTERY_LOW.code,
        device=scene.device.id,
        severity=Severity.HIGH if nearly_dead else BATTERY_LOW.severity,
        basis=BATTERY_LOW.basis,
        start_ms=state.start_ms,
        end_ms=end_ms,
        geometry=point(*state.at) if state.at else None,
        evidence={"lowest_pct": state.lowest_pct, "newest_pct": state.newest_pct},
        found_by=state.found_by,
    )


def _finish(state: BatteryState, scene: Scene) -> Findings:
    return () if state.start_ms is None else (_finding(state, scene),)


battery_low = Detector(rule=BATTERY_LOW, state_type=BatteryState, step=_step, finish=_finish)
