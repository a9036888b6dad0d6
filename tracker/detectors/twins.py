"""Twins: a device that is in two places at once, as its records come.

The same rule as `identity.two_places`, one record at a time: a run begins with a place that cannot
be reached, whether or not the track accepted it, and is told once the records have gone there, back
and there again. What it finds is a trace of the delivery's own, of which `identity` makes the
anomaly, so that all of that code's cases are found in one place.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene
from tracker.detectors.identity import (
    Sighting,
    TwoPlaces,
    at_two_places,
    begin_two_places,
    continue_two_places,
    is_told,
)
from tracker.model import Basis, FixFacts, Observation, Severity, Step
from tracker.track import UNREACHABLE_KMH, reachable

TRACE_TWO_PLACES = Rule(
    code="trace_two_places",
    eaeu_code=None,
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="The device's records alternate between places out of reach of each other.",
)

_M_PER_DEG = 111_700.0
"""No degree of latitude or longitude is longer: a quick bound from above for short distances."""

_MOST_M_PER_MS = UNREACHABLE_KMH / 3600


class TwinState(Struct, frozen=True, kw_only=True):
    """The run in which the device is in two places; None: it is in one, as nearly always."""

    run: TwoPlaces | None = None


_ONE = TwinState()


def _step(state: TwinState, step: Step, scene: Scene) -> tuple[TwinState, Findings]:
    seen = step.observation
    fix = seen.fix
    if fix is None or seen.spoof:
        return state, ()
    if state.run is None:
        return _seen_first(state, step, fix), ()
    newest = max(state.run.here.fix_ms, state.run.there.fix_ms)
    if fix.fix_ms < newest:  # repeated, or late: it says nothing of now
        return state, ()
    run = continue_two_places(state.run, _sighting(seen, fix))
    if not run.over:
        return TwinState(run=run), ()
    # The fix that ends a run may itself be out of reach of the last one.
    here = _sighting(seen, fix)
    again = None if reachable(run.here, here) else begin_two_places(run.here, here)
    after = _ONE if again is None else TwinState(run=again)
    return after, _told(run, scene)


def _seen_first(state: TwinState, step: Step, fix: FixFacts) -> TwinState:
    """A run begins with a fix that is out of reach of the last valid one."""
    before = step.previous
    if before is None or fix.fix_ms < before.fix_ms:
        return state
    most_m = _MOST_M_PER_MS * (fix.fix_ms - before.fix_ms)
    if (abs(fix.lon - before.lon) + abs(fix.lat - before.lat)) * _M_PER_DEG <= most_m:
        return state
    if reachable(before, fix):
        return state
    seen = step.observation
    return TwinState(run=begin_two_places(_sighting(seen, before), _sighting(seen, fix)))


def _sighting(seen: Observation, fix: FixFacts) -> Sighting:
    """A fix seen in a record (the numbers of the first place of a run are not used)."""
    return Sighting(
        device=seen.device,
        gen=seen.gen,
        seq=seen.seq,
        fix_ms=fix.fix_ms,
        lon=fix.lon,
        lat=fix.lat,
        acc_m=fix.acc_m,
    )


def _told(run: TwoPlaces, scene: Scene) -> Findings:
    if not is_told(run, scene.limits):
        return ()
    found = at_two_places(run)
    return (replace(found, code=TRACE_TWO_PLACES.code, basis=TRACE_TWO_PLACES.basis),)


def _finish(state: TwinState, scene: Scene) -> Findings:
    return () if state.run is None else _told(state.run, scene)


twins = Detector(
    rule=TRACE_TWO_PLACES,
    state_type=TwinState,
    step=_step,
    finish=_finish,
    looks=Looks.ANY,
    wakes=Looks.STRAY,  # any other fix is valid because it can be reached from the one before
)
