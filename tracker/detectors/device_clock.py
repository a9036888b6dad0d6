"""Device clock: a device whose own time cannot be believed.

What is wrong with a clock was found out when the record was stored (`tracker.clocks`). Here it
becomes an episode: from the first record that shows an implausible clock until the first that shows
a good one. Records without any time of their own stand at their neighbours' t*.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.model import Basis, Finding, FoundBy, Severity, Step, TimeFlag

CLOCK_FAULT = Rule(
    code="clock_fault",
    eaeu_code="04",
    severity=Severity.LOW,
    basis=Basis.DATA,
    text="The device's clock shows a time that cannot be.",
)

_NAMES = {
    TimeFlag.IMPLAUSIBLE: "implausible",
    TimeFlag.ROLLOVER_CORRECTED: "rollover",
    TimeFlag.CLOCK_RESET: "reset",
    TimeFlag.CLOCK_ROLLOVER: "rollover",
    TimeFlag.CLOCK_FUTURE: "future",
    TimeFlag.CLOCK_LOCAL_TIME: "local_time",
}

_SURE = int(
    TimeFlag.IMPLAUSIBLE
    | TimeFlag.ROLLOVER_CORRECTED
    | TimeFlag.CLOCK_RESET
    | TimeFlag.CLOCK_ROLLOVER
    | TimeFlag.CLOCK_FUTURE
)
"""Times that no record can have been made at (detection.md, "plausible")."""

_LOCAL = int(TimeFlag.CLOCK_LOCAL_TIME)
_FROM_FIX = int(TimeFlag.FROM_FIX)

_DOUBTFUL = int(TimeFlag.CLOCK_LOCAL_TIME | TimeFlag.CLOCK_PAST | TimeFlag.CLOCK_OFF)
"""Plausible, but not good: they neither open an episode nor close one. A record that is some half
hours off may be one with an old fix, or one that came late."""


class ClockState(Struct, frozen=True, kw_only=True):
    """Since when the clock has been wrong, in which ways, and by how much at first."""

    start_ms: int | None = None
    found_by: FoundBy | None = None
    at: tuple[float, float] | None = None
    flags: int = 0
    records: int = 0
    off_ms: int | None = None
    untimed: int = 0


def _step(state: ClockState, step: Step, scene: Scene) -> tuple[ClockState, Findings]:
    seen = step.observation
    if _is_wrong(step):
        return _wrong(state, step), ()
    if state.start_ms is None or not seen.timed or seen.flags & _DOUBTFUL:
        return state, ()
    return ClockState(), (_finding(state, scene, end_ms=seen.t_ms),)


def _is_wrong(step: Step) -> bool:
    flags = step.observation.flags
    if flags & _SURE:
        return True
    # Beside a fresh time of the satellites, hours of a time zone are no old fix repeated.
    return bool(flags & _LOCAL and flags & _FROM_FIX and step.valid)


MOST_OFF_MS = 10**15
"""Thirty thousand years: a clock may show any number that JSON can write, also ones too large for a
stored state; how far beyond this it is says nothing more."""


def _wrong(state: ClockState, step: Step) -> ClockState:
    seen = step.observation
    if state.start_ms is None:
        off_ms = None
        if seen.ts_ms is not None and seen.timed:
            off_ms = max(-MOST_OFF_MS, min(MOST_OFF_MS, seen.ts_ms - seen.t_ms))
        state = ClockState(start_ms=seen.t_ms, found_by=found_by(seen), at=step.here, off_ms=off_ms)
    return replace(
        state,
        flags=state.flags | (seen.flags & (_SURE | _LOCAL)),
        records=state.records + 1,
        untimed=state.untimed + (not seen.timed),
    )


def _finding(state: ClockState, scene: Scene, *, end_ms: int | None = None) -> Finding:
    assert state.start_ms is not None
    faults = {name for flag, name in _NAMES.items() if state.flags & flag}
    return Finding(
        code=CLOCK_FAULT.code,
        device=scene.device.id,
        severity=CLOCK_FAULT.severity,
        basis=CLOCK_FAULT.basis,
        start_ms=state.start_ms,
        end_ms=end_ms,
        geometry=point(*state.at) if state.at else None,
        evidence={
            "faults": sorted(faults),
            "records": state.records,
            "records_without_time": state.untimed,
            "first_offset_s": None if state.off_ms is None else round(state.off_ms / 1000, 3),
        },
        found_by=state.found_by,
    )


def _finish(state: ClockState, scene: Scene) -> Findings:
    return () if state.start_ms is None else (_finding(state, scene),)


clock_fault = Detector(
    rule=CLOCK_FAULT,
    state_type=ClockState,
    step=_step,
    finish=_finish,
    looks=Looks.ANY | Looks.CLOCK,
    wakes=Looks.CLOCK,
)
