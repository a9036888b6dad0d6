"""Route: where the vehicle is, against where it was declared to be."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.detectors.limits import Limits
from tracker.model import Basis, Finding, FixFacts, FoundBy, Place, Severity, Step

ROUTE_DEVIATION = Rule(
    code="route_deviation",
    eaeu_code="03",
    severity=Severity.HIGH,
    basis=Basis.DATA,
    text="The vehicle has left the corridor of the declared route.",
)


class DeviationState(Struct, frozen=True, kw_only=True):
    """A run of fixes beyond the corridor. ``back_ms``: the one fix so far that is inside again."""

    start_ms: int | None = None
    last_ms: int = 0
    fixes: int = 0
    opened: bool = False
    found_by: FoundBy | None = None
    far_beyond: bool = False
    start_progress_m: float = 0.0
    start_lon: float = 0.0
    start_lat: float = 0.0
    farthest_m: float = 0.0
    farthest_lon: float = 0.0
    farthest_lat: float = 0.0
    half_width_m: float = 0.0
    back_ms: int | None = None


_NONE = DeviationState()


def _step(state: DeviationState, step: Step, scene: Scene) -> tuple[DeviationState, Findings]:
    fix, place = step.observation.fix, step.place
    if not step.valid or fix is None or place is None:
        return state, ()
    if state.opened:
        return _while_open(state, step, fix, place, scene)
    if place.distance_m - fix.acc_m > place.half_width_m:
        return _longer(state, step, fix, place, scene.limits), ()
    return (state if state.start_ms is None else _NONE), ()


def _longer(
    state: DeviationState, step: Step, fix: FixFacts, place: Place, limits: Limits
) -> DeviationState:
    t_ms = step.observation.t_ms
    if state.start_ms is None:
        state = DeviationState(
            start_ms=t_ms,
            start_progress_m=place.progress_m,
            start_lon=fix.lon,
            start_lat=fix.lat,
        )
    excess_m = place.distance_m - fix.acc_m
    state = replace(
        _farther(state, fix, place),
        last_ms=t_ms,
        fixes=state.fixes + 1,
        far_beyond=excess_m > limits.deviation_provisional_factor * place.half_width_m,
        found_by=found_by(step.observation),
    )
    start_ms = t_ms if state.start_ms is None else state.start_ms
    lasts = t_ms - start_ms >= limits.deviation_s * 1000
    return replace(state, opened=lasts and state.fixes >= limits.deviation_fixes)


def _farther(state: DeviationState, fix: FixFacts, place: Place) -> DeviationState:
    if place.distance_m <= state.farthest_m:
        return state
    return replace(
        state,
        farthest_m=place.distance_m,
        farthest_lon=fix.lon,
        farthest_lat=fix.lat,
        half_width_m=place.half_width_m,
    )


def _while_open(
    state: DeviationState, step: Step, fix: FixFacts, place: Place, scene: Scene
) -> tuple[DeviationState, Findings]:
    t_ms = step.observation.t_ms
    inside = place.distance_m <= scene.limits.deviation_return_factor * place.half_width_m
    if inside and state.back_ms is not None:
        return _NONE, (_finding(state, scene, end_ms=state.back_ms),)
    if inside:
        return replace(state, back_ms=t_ms), ()
    state = replace(_farther(state, fix, place), back_ms=None, last_ms=t_ms)
    return replace(state, fixes=state.fixes + 1), ()


def _finish(state: DeviationState, scene: Scene) -> Findings:
    if state.opened:
        return (_finding(state, scene),)
    if state.start_ms is not None and state.far_beyond:
        return (_finding(state, scene, provisional=True),)
    return ()


def _finding(
    state: DeviationState,
    scene: Scene,
    *,
    end_ms: int | None = None,
    provisional: bool = False,
) -> Finding:
    assert state.start_ms is not None
    return Finding(
        code=ROUTE_DEVIATION.code,
        device=scene.device.id,
        severity=ROUTE_DEVIATION.severity,
        basis=ROUTE_DEVIATION.basis,
        start_ms=state.start_ms,
        end_ms=end_ms,
        provisional=provisional,
        geometry=point(state.farthest_lon, state.farthest_lat),
        evidence=_evidence(state),
        found_by=state.found_by,
    )


def _evidence(state: DeviationState) -> dict[str, Any]:
    return {
        "max_offset_m": round(state.farthest_m, 1),
        "half_width_m": state.half_width_m,
        "fixes_outside": state.fixes,
        "last_outside_ms": state.last_ms,
        "left_at_progress_m": round(state.start_progress_m, 1),
        "first_outside": [state.start_lon, state.start_lat],
    }


route_deviation = Detector(
    rule=ROUTE_DEVIATION,
    state_type=DeviationState,
    step=_step,
    finish=_finish,
    looks=Looks.FIX,
    wakes=Looks.FIX,
)
