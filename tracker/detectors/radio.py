"""Radio: a receiver that is jammed, and what could have been done meanwhile.

One state decides two things: the jamming of this device, and the trace of a vehicle without a
position, which other deliveries are compared with. Where several vehicles go blind in one cell at
the same time, the jammer is not aboard any of them: see `area`.
"""

from __future__ import annotations

from typing import Any

import h3
from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.detectors.gaps import GapFix, gap_evidence, slack_s
from tracker.model import Basis, Finding, FixFacts, FoundBy, Severity, Step

JAMMING = Rule(
    code="jamming",
    eaeu_code="07",
    severity=Severity.HIGH,
    basis=Basis.DATA,
    text="The device's satellite receiver is jammed.",
)
TRACE_JAM = Rule(
    code="trace_jam",
    eaeu_code=None,
    severity=Severity.INFO,
    basis=Basis.DATA,
    text="The vehicle has been jammed or without a fix.",
)

CELL_RESOLUTION = 7
"""H3 cells of some 5 km²: an area jammer covers several, a hand-held one lies within one."""


def cell_of(lon: float, lat: float) -> str:
    """The H3 cell that is meant by "one place" in the rules of jamming and of dead zones."""
    return str(h3.latlng_to_cell(lat, lon, CELL_RESOLUTION))


class Blind(Struct, frozen=True, kw_only=True):
    """A run of records that are jammed or without a fix. ``at``: where the last fix was."""

    since_ms: int
    at: tuple[float, float] | None
    found_by: FoundBy


class Jam(Struct, frozen=True, kw_only=True):
    """An episode. ``gap``: the two fixes around its longest unaccounted time so far."""

    start_ms: int
    weak_since_ms: int
    at: tuple[float, float] | None
    strongest: int
    found_by: FoundBy
    gap: tuple[GapFix, GapFix] | None = None


class JamState(Struct, frozen=True, kw_only=True):
    """``weak_ms``: since when every stated level is 1 or more; ``clear_ms``: since when 0."""

    weak_ms: int | None = None
    weak_at: tuple[float, float] | None = None
    clear_ms: int | None = None
    jam: Jam | None = None
    blind: Blind | None = None


def _step(state: JamState, step: Step, scene: Scene) -> tuple[JamState, Findings]:
    seen = step.observation
    event = seen.event
    quiet = not seen.jam and not seen.no_fix and event != "jam_on"
    if quiet and state.weak_ms is None and state.blind is None and state.jam is None:
        return state, ()
    state, left = _traced(state, step, scene, quiet)
    if state.jam is not None and step.valid and step.previous is not None:
        state = replace(state, jam=_wider(state.jam, step, step.previous, scene))
    if event == "jam_on":
        return _opened(state, step, 2), left
    if event == "jam_off":
        return _closed(state, scene, seen.t_ms, left)
    if not seen.timed or seen.jam is None:
        return state, left
    if seen.jam > 0:
        return _jammed(state, step, scene, seen.jam), left
    return _cleared(state, step, scene, left)


def _jammed(state: JamState, step: Step, scene: Scene, level: int) -> JamState:
    t_ms = step.observation.t_ms
    if state.weak_ms is None:
        state = replace(state, weak_ms=t_ms, weak_at=step.here)
    weak_ms = t_ms if state.weak_ms is None else state.weak_ms
    if state.jam is not None or level >= 2:
        return _opened(state, step, level)
    state = replace(state, clear_ms=None)
    if t_ms - weak_ms < scene.limits.jam_s * 1000:
        return state
    return replace(_opened(state, step, level, weak_ms), clear_ms=None)


def _opened(state: JamState, step: Step, level: int, start_ms: int | None = None) -> JamState:
    """Jammed for certain; ``start_ms``: by the run of weak levels that began then."""
    seen = step.observation
    jam = state.jam
    if jam is not None:
        strongest = max(level, jam.strongest)
        return replace(state, clear_ms=None, jam=replace(jam, strongest=strongest))
    weak_ms = seen.t_ms if state.weak_ms is None else state.weak_ms
    jam = Jam(
        start_ms=seen.t_ms if start_ms is None else start_ms,
        weak_since_ms=weak_ms,
        at=step.here if start_ms is None else state.weak_at,
        strongest=level,
        found_by=found_by(seen),
    )
    return replace(state, weak_ms=weak_ms, clear_ms=None, jam=jam)


def _cleared(
    state: JamState, step: Step, scene: Scene, left: Findings
) -> tuple[JamState, Findings]:
    t_ms = step.observation.t_ms
    state = replace(state, weak_ms=None, weak_at=None)
    if state.jam is None:
        return state, left
    clear_ms = t_ms if state.clear_ms is None else state.clear_ms
    if t_ms - clear_ms >= scene.limits.jam_s * 1000:
        return _closed(state, scene, clear_ms, left)
    return replace(state, clear_ms=clear_ms), left


def _closed(
    state: JamState, scene: Scene, end_ms: int, left: Findings
) -> tuple[JamState, Findings]:
    jam = state.jam
    state = replace(state, weak_ms=None, weak_at=None, clear_ms=None, jam=None)
    return state, (left if jam is None else (*left, _finding(jam, scene, end_ms)))


# ---------------------------------------------------------------- gaps between fixes


def _wider(jam: Jam, step: Step, previous: FixFacts, scene: Scene) -> Jam:
    """The episode with the gap before this fix, if more time of it is unaccounted for."""
    fix, place = step.observation.fix, step.place
    assert fix is not None
    # Of the fix before only its nearest place on the route is at hand, which on a road that is
    # driven once is the one that was meant.
    before_m = previous.candidates[0].progress_m if previous.candidates else None
    same_route = previous.route == fix.route
    a = GapFix(
        t_ms=previous.fix_ms,
        lon=previous.lon,
        lat=previous.lat,
        progress_m=before_m if same_route else None,
    )
    b = GapFix(
        t_ms=fix.fix_ms, lon=fix.lon, lat=fix.lat, progress_m=place.progress_m if place else None
    )
    if jam.gap is not None and _slack_s(jam.gap, scene) >= _slack_s((a, b), scene):
        return jam
    return replace(jam, gap=(a, b))


def _slack_s(gap: tuple[GapFix, GapFix], scene: Scene) -> float:
    return slack_s((gap[1].t_ms - gap[0].t_ms) / 1000, *gap, scene.limits)


# ---------------------------------------------------------------- traces


def _traced(state: JamState, step: Step, scene: Scene, quiet: bool) -> tuple[JamState, Findings]:
    """Begin or end the run without a position. It ends with the first fix that is not jammed."""
    seen = step.observation
    if not quiet and state.blind is None:
        blind = Blind(since_ms=seen.t_ms, at=step.here, found_by=found_by(seen))
        return replace(state, blind=blind), ()
    if quiet and step.valid and state.blind is not None:
        return replace(state, blind=None), _trace(state.blind, scene, seen.t_ms)
    return state, ()


def _trace(blind: Blind, scene: Scene, end_ms: int | None) -> Findings:
    """What others are compared with; a device that never had a fix says nothing of a place."""
    if blind.at is None:
        return ()
    trace = Finding(
        code=TRACE_JAM.code,
        device=scene.device.id,
        severity=TRACE_JAM.severity,
        basis=TRACE_JAM.basis,
        start_ms=blind.since_ms,
        end_ms=end_ms,
        geometry=point(*blind.at),
        evidence={"cell": cell_of(*blind.at)},
        found_by=blind.found_by,
    )
    return (trace,)


# ---------------------------------------------------------------- findings


def _finding(jam: Jam, scene: Scene, end_ms: int | None) -> Finding:
    evidence: dict[str, Any] = {
        "strongest": jam.strongest,
        "weak_since_ms": jam.weak_since_ms,
        "last_fix": list(jam.at) if jam.at else None,
        "cell": cell_of(*jam.at) if jam.at else None,
    }
    if jam.gap is not None:
        a, b = jam.gap
        gap_s = (b.t_ms - a.t_ms) / 1000
        evidence |= {"last_fix": [a.lon, a.lat], "next_fix": [b.lon, b.lat], "gap_s": gap_s}
        evidence |= gap_evidence(gap_s, a, b, scene.limits)
    return Finding(
        code=JAMMING.code,
        device=scene.device.id,
        severity=JAMMING.severity,
        basis=JAMMING.basis,
        start_ms=jam.start_ms,
        end_ms=end_ms,
        geometry=point(*jam.at) if jam.at else None,
        evidence=evidence,
        found_by=jam.found_by,
    )


def _finish(state: JamState, scene: Scene) -> Findings:
    found: Findings = () if state.jam is None else (_finding(state.jam, scene, None),)
    return found if state.blind is None else (*found, *_trace(state.blind, scene, None))


jamming = Detector(
    rule=JAMMING,
    state_type=JamState,
    step=_step,
    finish=_finish,
    looks=Looks.JAM | Looks.FIX,
    wakes=Looks.BLIND,
    also=(TRACE_JAM,),
)
