"""Stop: standing still where standing still needs an explanation."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Rule, Scene, found_by, point
from tracker.geodesy import distance_m
from tracker.model import STOP_ZONES, Basis, Finding, FixFacts, FoundBy, Observation, Severity, Step

UNAUTHORISED_STOP = Rule(
    code="unauthorised_stop",
    eaeu_code="07",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The vehicle has stood outside the zones in which it may stop.",
)


class Outside(Struct, frozen=True, kw_only=True):
    """The one fix so far that is away from the anchor: noise, or the first of the next run."""

    t_ms: int
    lon: float
    lat: float
    allowed: bool
    zones: tuple[str, ...] = ()


class StopState(Struct, frozen=True, kw_only=True):
    """A run of fixes near its anchor, which is its first fix (greedy, in t* order)."""

    anchor_ms: int | None = None
    lon: float = 0.0
    lat: float = 0.0
    last_inside_ms: int = 0
    fixes: int = 0
    allowed_fixes: int = 0
    zones: tuple[str, ...] = ()
    found_by: FoundBy | None = None
    outside: Outside | None = None


def _allowed(fix: FixFacts) -> bool:
    return any(zone.kind in STOP_ZONES for zone in fix.zones)


def _zones(fix: FixFacts) -> tuple[str, ...]:
    if not fix.zones:
        return ()
    return tuple(sorted({zone.code for zone in fix.zones if zone.kind in STOP_ZONES}))


def _begin(first: Outside) -> StopState:
    return StopState(
        anchor_ms=first.t_ms,
        lon=first.lon,
        lat=first.lat,
        last_inside_ms=first.t_ms,
        fixes=1,
        allowed_fixes=int(first.allowed),
        zones=first.zones,
    )


def _step(state: StopState, step: Step, scene: Scene) -> tuple[StopState, Findings]:
    fix = step.observation.fix
    if not step.valid or fix is None:
        return state, ()
    if state.anchor_ms is None:
        return _begin(_outside(step.observation, fix)), ()
    if _is_inside(state, fix, scene):
        return _stay(state, step.observation, fix, scene), ()
    if state.outside is None:
        return replace(state, outside=_outside(step.observation, fix)), ()
    return _leave(state, state.outside, step, scene)


def _outside(observation: Observation, fix: FixFacts) -> Outside:
    return Outside(
        t_ms=observation.t_ms,
        lon=fix.lon,
        lat=fix.lat,
        allowed=_allowed(fix),
        zones=_zones(fix),
    )


def _is_inside(state: StopState, fix: FixFacts, scene: Scene) -> bool:
    off_m = distance_m((state.lon, state.lat), (fix.lon, fix.lat))
    return off_m <= scene.limits.stop_radius_m


def _stay(state: StopState, observation: Observation, fix: FixFacts, scene: Scene) -> StopState:
    stayed = replace(
        state,
        last_inside_ms=observation.t_ms,
        fixes=state.fixes + 1,
        allowed_fixes=state.allowed_fixes + _allowed(fix),
        zones=tuple(sorted({*state.zones, *_zones(fix)})) if fix.zones else state.zones,
        outside=None,
    )
    if stayed.found_by is None and _is_unauthorised(stayed, scene):
        return replace(stayed, found_by=found_by(observation))
    return stayed


def _leave(
    state: StopState, first_outside: Outside, step: Step, scene: Scene
) -> tuple[StopState, Findings]:
    """Two fixes in a row are away: the run is over and the first of them is the next anchor."""
    found = _findings(state, scene, over=True)
    state, _ = _step(_begin(first_outside), step, scene)
    return state, found


def _is_unauthorised(state: StopState, scene: Scene) -> bool:
    if state.anchor_ms is None:
        return False
    long_enough = state.last_inside_ms - state.anchor_ms >= scene.limits.stop_s * 1000
    return long_enough and 2 * state.allowed_fixes < state.fixes


def _findings(state: StopState, scene: Scene, *, over: bool) -> Findings:
    if not _is_unauthorised(state, scene):
        return ()
    assert state.anchor_ms is not None
    finding = Finding(
        code=UNAUTHORISED_STOP.code,
        device=scene.device.id,
        severity=UNAUTHORISED_STOP.severity,
        basis=UNAUTHORISED_STOP.basis,
        start_ms=state.anchor_ms,
        end_ms=state.last_inside_ms if over else None,
        geometry=point(state.lon, state.lat),
        evidence={
            "duration_s": (state.last_inside_ms - state.anchor_ms) / 1000,
            "radius_m": scene.limits.stop_radius_m,
            "fixes": state.fixes,
            "fixes_in_allowed_zones": state.allowed_fixes,
            "zones": list(state.zones),
        },
        found_by=state.found_by,
    )
    return (finding,)


def _finish(state: StopState, scene: Scene) -> Findings:
    return _findings(state, scene, over=False)


unauthorised_stop = Detector(
    rule=UNAUTHORISED_STOP, state_type=StopState, step=_step, finish=_finish
)
