"""Stop: standing still where standing still needs an explanation, or longer than it was meant.

One run of fixes near an anchor decides three things: a stop at no allowed place, a stop at an
allowed place that outlasts it, and the trace of a stop that other deliveries are compared with.
"""

from __future__ import annotations

from math import inf

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.geodesy import is_farther
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


class Run(Struct, frozen=True):
    """Fixes near an anchor, which is the first of them (greedy, in t* order).

    ``dwell_s``: the longest time that an allowed zone of the run is designated for; infinite where
    one has no such time, 0 where there was none. ``found_by``, ``overstayed_by``, ``traced_by``:
    the record that made each finding, kept from the first time on.
    """

    anchor_ms: int
    lon: float
    lat: float
    last_inside_ms: int
    fixes: int
    allowed_fixes: int
    zones: tuple[str, ...] = ()
    dwell_s: float = 0.0
    found_by: FoundBy | None = None
    overstayed_by: FoundBy | None = None
    traced_by: FoundBy | None = None

    @property
    def duration_s(self) -> float:
        """From the anchor to the last fix inside."""
        return (self.last_inside_ms - self.anchor_ms) / 1000

    @property
    def authorised(self) -> bool:
        """Whether its zones explain it: at least half of its fixes lie in such."""
        return 2 * self.allowed_fixes >= self.fixes


class StopState(Struct, frozen=True):
    """The run that lasts, None before the first valid fix, and the one fix so far away from it."""

    run: Run | None = None
    outside: Outside | None = None


def _begin(first: Outside) -> Run:
    # Each second fix of a moving vehicle comes by here: by position it is quickest.
    return Run(
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
    fix, run = step.observation.fix, state.run
    if not step.valid or fix is None:
        return state, ()
    if run is None:
        return StopState(_begin(_outside(step.observation, fix))), ()
    radius_m = scene.limits.stop_radius_m
    here = (fix.lon, fix.lat)
    if not is_farther((run.lon, run.lat), here, radius_m):
        return StopState(_stay(run, step.observation, fix, scene)), ()
    outside = _outside(step.observation, fix)
    if state.outside is None:
        return StopState(run, outside), ()
    # Two fixes in a row are away: the run is over and the first of them is the next anchor.
    over = _findings(run, scene, over=True)
    begun = _begin(state.outside)
    if not is_farther((begun.lon, begun.lat), here, radius_m):
        return StopState(_stay(begun, step.observation, fix, scene)), over
    return StopState(begun, outside), over


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


def _stay(run: Run, observation: Observation, fix: FixFacts, scene: Scene) -> Run:
    here = _outside(observation, fix)
    stayed = replace(
        run,
        last_inside_ms=observation.t_ms,
        fixes=run.fixes + 1,
        allowed_fixes=run.allowed_fixes + here.allowed,
        zones=tuple(sorted({*run.zones, *here.zones})) if here.zones else run.zones,
        dwell_s=max(run.dwell_s, here.dwell_s),
    )
    return _noted(stayed, observation, scene)


def _noted(run: Run, observation: Observation, scene: Scene) -> Run:
    """The record that first makes a finding of the run is kept with it."""
    if run.found_by is None and _is_unauthorised(run, scene):
        run = replace(run, found_by=found_by(observation))
    if run.overstayed_by is None and _is_overstayed(run):
        run = replace(run, overstayed_by=found_by(observation))
    if run.traced_by is None and _is_traced(run, scene):
        run = replace(run, traced_by=found_by(observation))
    return run


def _is_unauthorised(run: Run, scene: Scene) -> bool:
    return not run.authorised and run.duration_s >= scene.limits.stop_s


def _is_overstayed(run: Run) -> bool:
    return run.authorised and run.duration_s > run.dwell_s > 0


def _is_traced(run: Run, scene: Scene) -> bool:
    return not run.authorised and run.duration_s >= scene.limits.stop_trace_s


def _findings(run: Run, scene: Scene, *, over: bool) -> Findings:
    if run.anchor_ms == run.last_inside_ms:
        return ()
    found: Findings = ()
    if _is_unauthorised(run, scene):
        found += (_finding(UNAUTHORISED_STOP, run, scene, run.found_by, over=over),)
    if _is_overstayed(run):
        found += (_overstay(run, scene, over=over),)
    if _is_traced(run, scene):
        found += (_finding(TRACE_STOP, run, scene, run.traced_by, over=over),)
    return found


def _finding(rule: Rule, run: Run, scene: Scene, by: FoundBy | None, *, over: bool) -> Finding:
    return Finding(
        code=rule.code,
        device=scene.device.id,
        severity=rule.severity,
        basis=rule.basis,
        start_ms=run.anchor_ms,
        end_ms=run.last_inside_ms if over else None,
        geometry=point(run.lon, run.lat),
        evidence={
            "duration_s": run.duration_s,
            "radius_m": scene.limits.stop_radius_m,
            "fixes": run.fixes,
            "fixes_in_allowed_zones": run.allowed_fixes,
            "zones": list(run.zones),
        },
        found_by=by,
    )


def _overstay(run: Run, scene: Scene, *, over: bool) -> Finding:
    """It begins when the designated time is up, which is no record's own time."""
    stop = _finding(OVERSTAY, run, scene, run.overstayed_by, over=over)
    return replace(
        stop,
        start_ms=stop.start_ms + round(run.dwell_s * 1000),
        evidence={
            "duration_s": round(run.duration_s - run.dwell_s, 3),
            "designated_s": run.dwell_s,
            "stood_s": run.duration_s,
            "fixes": run.fixes,
            "fixes_in_allowed_zones": run.allowed_fixes,
            "zones": list(run.zones),
        },
    )


def _finish(state: StopState, scene: Scene) -> Findings:
    return () if state.run is None else _findings(state.run, scene, over=False)


stop = Detector(
    rule=UNAUTHORISED_STOP,
    state_type=StopState,
    step=_step,
    finish=_finish,
    looks=Looks.FIX,
    also=(OVERSTAY, TRACE_STOP),
)
