"""Power: a device that is about to fall silent, or whose supply has been taken from it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.model import Basis, Finding, FoundBy, Severity, Step

BATTERY_LOW = Rule(
    code="battery_low",
    eaeu_code="05",
    severity=Severity.LOW,
    basis=Basis.DATA,
    text="The device's battery is low.",
)


MOVING_KMH = 5.0
"""Faster than the speed a parked receiver reports by noise, slower than any driving."""


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


battery_low = Detector(
    rule=BATTERY_LOW,
    state_type=BatteryState,
    step=_step,
    finish=_finish,
    looks=Looks.POWER,
    wakes=Looks.POWER,
)

# ---------------------------------------------------------------- the vehicle's supply

POWER_CUT = Rule(
    code="power_cut",
    eaeu_code="04",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The device is cut off from the vehicle's supply.",
)


class SupplyState(Struct, frozen=True, kw_only=True):
    """Since when the supply is cut.

    ``moving``: as last stated. ``supplied``: the device has had a supply on this delivery.
    """

    moving: bool | None = None
    supplied: bool = False
    start_ms: int | None = None
    lowest_mv: float | None = None
    by_event: bool = False
    found_by: FoundBy | None = None
    at: tuple[float, float] | None = None


def _supply_step(state: SupplyState, step: Step, scene: Scene) -> tuple[SupplyState, Findings]:
    seen = step.observation
    if seen.moving is not None and seen.moving is not state.moving:
        state = replace(state, moving=seen.moving)
    if seen.event == "ext_cut":
        return _cut(state, step, by_event=True), ()
    ok = seen.event == "ext_ok"
    if seen.external_mv is None and not ok:
        return state, ()
    if ok or (seen.external_mv or 0.0) >= scene.limits.power_ok_mv:
        return _supplied(state, step, scene)
    if state.start_ms is not None or _is_cut(state, step, scene):
        return _cut(state, step, by_event=False), ()
    return state, ()


def _is_cut(state: SupplyState, step: Step, scene: Scene) -> bool:
    """Too little while moving. A seal runs on its own battery: one that never had a supply on this
    delivery has none to lose."""
    seen = step.observation
    if seen.external_mv is None or seen.external_mv >= scene.limits.power_cut_mv:
        return False
    if scene.device.kind == "seal" and not state.supplied:
        return False
    if seen.moving is None and step.valid and seen.fix is not None and seen.fix.speed_kmh:
        return seen.fix.speed_kmh > MOVING_KMH
    return state.moving is True


def _supplied(state: SupplyState, step: Step, scene: Scene) -> tuple[SupplyState, Findings]:
    if state.start_ms is None:
        return (state if state.supplied else replace(state, supplied=True)), ()
    over = _supply_finding(state, scene, end_ms=step.observation.t_ms)
    return SupplyState(moving=state.moving, supplied=True), (over,)


def _cut(state: SupplyState, step: Step, *, by_event: bool) -> SupplyState:
    seen = step.observation
    readings = [mv for mv in (state.lowest_mv, seen.external_mv) if mv is not None]
    lowest_mv = min(readings, default=None)
    if state.start_ms is not None:
        if lowest_mv == state.lowest_mv and (state.by_event or not by_event):
            return state
        return replace(state, lowest_mv=lowest_mv, by_event=state.by_event or by_event)
    return replace(
        state,
        start_ms=seen.t_ms,
        lowest_mv=lowest_mv,
        by_event=by_event,
        found_by=found_by(seen),
        at=step.here,
    )


def _supply_finding(state: SupplyState, scene: Scene, *, end_ms: int | None = None) -> Finding:
    assert state.start_ms is not None
    return Finding(
        code=POWER_CUT.code,
        device=scene.device.id,
        severity=POWER_CUT.severity,
        basis=POWER_CUT.basis,
        start_ms=state.start_ms,
        end_ms=end_ms,
        geometry=point(*state.at) if state.at else None,
        evidence={
            "by": "event" if state.by_event else "voltage",
            "lowest_mv": state.lowest_mv,
        },
        found_by=state.found_by,
    )


def _supply_finish(state: SupplyState, scene: Scene) -> Findings:
    return () if state.start_ms is None else (_supply_finding(state, scene),)


power_cut = Detector(
    rule=POWER_CUT,
    state_type=SupplyState,
    step=_supply_step,
    finish=_supply_finish,
    looks=Looks.ANY | Looks.POWER,
)
