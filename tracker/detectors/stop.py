"""Stop: standing still where standing still needs an explanation, or longer than it was meant.

One run of fixes near an anchor decides three things: a stop at no allowed place, a stop at an
allowed place that outlasts it, and the trace of a stop that other deliveries are compared with.
"""

from __future__ import annotations

from math import inf

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.geodesy import distance_m
from tracker.model import STOP_ZONES, Basis, Finding, FixFacts, FoundBy, Observation, Severity, Step

UNAUTHORISED_STOP = Rule(
    code="unauthorised_stop",
    eaeu_code="07",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The vehicle has stood outside the zones in which it may stop.",
)
OVERSTAY = Rule(
    code="overstay",
    eaeu_code=None,
    severity=Severity.LOW,
    basis=Basis.DATA,
    text="The vehicle has stood in a zone longer than that zone is designated for.",
)
TRACE_STOP = Rule(
    code="trace_stop",
    eaeu_code=None,
    severity=Severity.INFO,
    basis=Basis.DATA,
    text="A stop outside allowed zones, long enough to hand goods over.",
)


class Outside(Struct, frozen=True):
    """The one fix so far that is away from the anchor: noise, or the first of the next run."""

    t_ms: int
    lon: float
    lat: float
    allowed: bool
    zones: tuple[str, ...] = ()
    dwell_s: float = 0.0


class StopState(Struct, frozen=True):
    """A run of fixes near its anchor, which is its first fix (greedy, in t* order).

    ``dwell_s``: the longest time that an allowed zone of the run is designated for; infinite where
    one has no such time, 0 where there was none. ``found_by``, ``overstayed_by``, ``traced_by``:
    the record that made each finding, kept from the first time on.
    """

    anchor_ms: int | None = None
    lon: float = 0.0
    lat: float = 0.0
    last_inside_ms: int = 0
    fixes: int = 0
    allowed_fixes: int = 0
    zones: tuple[str, ...] = ()
    dwell_s: float = 0.0
    found_by: FoundBy | None = None
    overstayed_by: FoundBy | None = None
    traced_by: FoundBy | None = None
    outside: Outside | None = None

    @property
    def duration_s(self) -> float:
        """From the anchor to the last fix inside."""
        return 0.0 if self.anchor_ms is None else (self.last_inside_ms - self.anchor_ms) / 1000

    @property
    def authorised(self) -> bool:
        """Whether its zones explain it: at least half of its fixes lie in such."""
        return 2 * self.allowed_fixes >= self.fixes


def _begin(first: Outside) -> StopState:
    return StopState(
        first.t_ms,
        first.lon,
        first.lat,
        first.t_ms,
        1,
        int(first.allowed),
        first.zones,
        first.dwell_s,
    )


def _step(state: StopState, step: Step, scene: Scene) -> tuple[StopState, Findings]:
    fix = step.observation.fix
    if not step.valid or fix is None:
        return state, ()
    if state.anchor_ms is None:
        return _begin(_outside(step.observation, fix)), ()
    if _is_inside(state.lon, state.lat, fix, scene):
        return _stay(state, step.observation, fix, scene), ()
    if state.outside is None:
        return replace(state, outside=_outside(step.observation, fix)), ()
    return _leave(state, state.outside, step, fix, scene)


def _outside(observation: Observation, fix: FixFacts) -> Outside:
    if not fix.zones:
        return Outside(observation.t_ms, fix.lon, fix.lat, False)
    allowed = [zone for zone in fix.zones if zone.kind in STOP_ZONES]
    return Outside(
        observation.t_ms,
        fix.lon,
        fix.lat,
        bool(allowed),
        tuple(sorted({zone.code for zone in allowed})),
        max((inf if z.max_dwell_s is None else z.max_dwell_s for z in allowed), default=0.0),
    )


def _is_inside(lon: float, lat: float, fix: FixFacts, scene: Scene) -> bool:
    return distance_m((lon, lat), (fix.lon, fix.lat)) <= scene.limits.stop_radius_m


def _stay(state: StopState, observation: Observation, fix: FixFacts, scene: Scene) -> StopState:
    here = _outside(observation, fix)
    stayed = replace(
        state,
        last_inside_ms=observation.t_ms,
        fixes=state.fixes + 1,
        allowed_fixes=state.allowed_fixes + here.allowed,
        zones=tuple(sorted({*state.zones, *here.zones})) if here.zones else state.zones,
        dwell_s=max(state.dwell_s, here.dwell_s),
        outside=None,
    )
    return _noted(stayed, observation, scene)


def _noted(state: StopState, observation: Observation, scene: Scene) -> StopState:
    """The record that first makes a finding of the run is kept with it."""
    if state.found_by is None and _is_unauthorised(state, scene):
        state = replace(state, found_by=found_by(observation))
    if state.overstayed_by is None and _is_overstayed(state):
        state = replace(state, overstayed_by=found_by(observation))
    if state.traced_by is None and _is_traced(state, scene):
        state = replace(state, traced_by=found_by(observation))
    return state


def _leave(
    state: StopState, first_outside: Outside, step: Step, fix: FixFacts, scene: Scene
) -> tuple[StopState, Findings]:
    """Two fixes in a row are away: the run is over and the first of them is the next anchor."""
    found = _findings(state, scene, over=True)
    begun = _begin(first_outside)
    if _is_inside(begun.lon, begun.lat, fix, scene):
        return _stay(begun, step.observation, fix, scene), found
    # Each second fix of a moving vehicle comes by here: the constructor is quicker than `replace`.
    begun = StopState(
        begun.anchor_ms,
        begun.lon,
        begun.lat,
        begun.last_inside_ms,
        1,
        begun.allowed_fixes,
        begun.zones,
        begun.dwell_s,
        None,
        None,
        None,
        _outside(step.observation, fix),
    )
    return begun, found


def _is_unauthorised(state: StopState, scene: Scene) -> bool:
    return not state.authorised and state.duration_s >= scene.limits.stop_s


def _is_overstayed(state: StopState) -> bool:
    return state.authorised and state.duration_s > state.dwell_s > 0


def _is_traced(state: StopState, scene: Scene) -> bool:
    return not state.authorised and state.duration_s >= scene.limits.stop_trace_s


def _findings(state: StopState, scene: Scene, *, over: bool) -> Findings:
    if state.anchor_ms is None or state.anchor_ms == state.last_inside_ms:
        return ()
    found: Findings = ()
    if _is_unauthorised(state, scene):
        found += (_finding(UNAUTHORISED_STOP, state, scene, state.found_by, over=over),)
    if _is_overstayed(state):
        found += (_overstay(state, scene, over=over),)
    if _is_traced(state, scene):
        found += (_finding(TRACE_STOP, state, scene, state.traced_by, over=over),)
    return found


def _finding(
    rule: Rule, state: StopState, scene: Scene, by: FoundBy | None, *, over: bool
) -> Finding:
    assert state.anchor_ms is not None
    return Finding(
        code=rule.code,
        device=scene.device.id,
        severity=rule.severity,
        basis=rule.basis,
        start_ms=state.anchor_ms,
        end_ms=state.last_inside_ms if over else None,
        geometry=point(state.lon, state.lat),
        evidence={
            "duration_s": state.duration_s,
            "radius_m": scene.limits.stop_radius_m,
            "fixes": state.fixes,
            "fixes_in_allowed_zones": state.allowed_fixes,
            "zones": list(state.zones),
        },
        found_by=by,
    )


def _overstay(state: StopState, scene: Scene, *, over: bool) -> Finding:
    """It begins when the designated time is up, which is no record's own time."""
    stop = _finding(OVERSTAY, state, scene, state.overstayed_by, over=over)
    return replace(
        stop,
        start_ms=stop.start_ms + round(state.dwell_s * 1000),
        evidence={
            "duration_s": round(state.duration_s - state.dwell_s, 3),
            "designated_s": state.dwell_s,
            "stood_s": state.duration_s,
            "fixes": state.fixes,
            "fixes_in_allowed_zones": state.allowed_fixes,
            "zones": list(state.zones),
        },
    )


def _finish(state: StopState, scene: Scene) -> Findings:
    return _findings(state, scene, over=False)


stop = Detector(
    rule=UNAUTHORISED_STOP,
    state_type=StopState,
    step=_step,
    finish=_finish,
    looks=Looks.FIX,
    also=(OVERSTAY, TRACE_STOP),
)
