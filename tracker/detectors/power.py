"""Power: a device that is about to fall silent."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Rule, Scene, found_by, point
from tracker.model import Basis, Finding, FoundBy, Observation, Severity, Step

BATTERY_LOW = Rule(
    code="battery_low",
    eaeu_code="05",
    severity=Severity.LOW,
    basis=Basis.DATA,
    text="The device's battery is low.",
)


class BatteryState(Struct, frozen=True, kw_only=True):
    """Since when the battery is low, its lowest reading, and the newest valid fix."""

    start_ms: int | None = None
    lowest_pct: float = 100.0
    newest_pct: float = 100.0
    found_by: FoundBy | None = None
    lon: float | None = None
    lat: float | None = None
    at: tuple[float, float] | None = None


def _step(state: BatteryState, step: Step, scene: Scene) -> tuple[BatteryState, Findings]:
    seen = step.observation
    if step.valid and seen.fix is not None:
        state = replace(state, lon=seen.fix.lon, lat=seen.fix.lat)
    if seen.battery_pct is None:
        return state, ()
    return _reading(state, seen, seen.battery_pct, scene)


def _reading(
    state: BatteryState, seen: Observation, pct: float, scene: Scene
) -> tuple[BatteryState, Findings]:
    if state.start_ms is None:
        if pct >= scene.limits.battery_low_pct:
            return state, ()
        return _open(state, seen, pct), ()
    if pct >= scene.limits.battery_ok_pct:
        over = _finding(state, scene, end_ms=seen.t_ms)
        return BatteryState(lon=state.lon, lat=state.lat), (over,)
    return replace(state, lowest_pct=min(pct, state.lowest_pct), newest_pct=pct), ()


def _open(state: BatteryState, seen: Observation, pct: float) -> BatteryState:
    at = None if state.lon is None or state.lat is None else (state.lon, state.lat)
    return replace(
        state,
        start_ms=seen.t_ms,
        lowest_pct=pct,
        newest_pct=pct,
        found_by=found_by(seen),
        at=at,
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
