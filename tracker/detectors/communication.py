"""Communication: what is not heard, and what could have been done meanwhile."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Rule, Scene, found_by, point
from tracker.model import Basis, Finding, FoundBy, Severity, Step

SILENCE = Rule(
    code="silence",
    eaeu_code="06",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The device has not reported for longer than its periods allow.",
)


MOST_SLEEP_S = 366 * 86_400.0
"""No device plans to sleep for longer than a year; as wire numbers go, it could be 1e308 s."""


class LastFix(Struct, frozen=True, kw_only=True):
    """Where the device last was, for the reasoning over a gap."""

    t_ms: int
    lon: float
    lat: float
    progress_m: float | None


class SilenceState(Struct, frozen=True, kw_only=True):
    """The newest record: its time, the motion last stated, and the sleep it announced."""

    last_ms: int | None = None
    moving: bool | None = None
    sleep_s: float = 0.0
    found_by: FoundBy | None = None
    fix: LastFix | None = None


def limit_s(state: SilenceState, scene: Scene) -> float:
    """How long the device may be silent after its last record, seconds.

    Two periods and a minute; the period follows the last stated motion (never stated: moving,
    which is the stricter), and starts after a sleep that was announced.
    """
    periods = scene.device.periods
    period_s = periods.parked_s if state.moving is False else periods.moving_s
    limits = scene.limits
    return (
        min(state.sleep_s, MOST_SLEEP_S)
        + limits.silence_periods * period_s
        + limits.silence_grace_s
    )


def deadline_ms(state: SilenceState, scene: Scene) -> int | None:
    """When the silence after the last record becomes an anomaly; None before the first record."""
    if state.last_ms is None:
        return None
    return state.last_ms + round(limit_s(state, scene) * 1000)


def _step(state: SilenceState, step: Step, scene: Scene) -> tuple[SilenceState, Findings]:
    seen = step.observation
    if not seen.timed:
        return state, ()
    fix = _fix_of(step)
    found: Findings = ()
    due_ms = deadline_ms(state, scene)
    if due_ms is not None and seen.t_ms > due_ms:
        found = (_closed(state, scene, step, fix),)
    state = SilenceState(
        last_ms=seen.t_ms,
        moving=state.moving if seen.moving is None else seen.moving,
        sleep_s=seen.sleep_s,
        found_by=found_by(seen),
        fix=fix or state.fix,
    )
    return state, found


def _fix_of(step: Step) -> LastFix | None:
    fix = step.observation.fix
    if not step.valid or fix is None:
        return None
    progress_m = step.place.progress_m if step.place else None
    return LastFix(t_ms=step.observation.t_ms, lon=fix.lon, lat=fix.lat, progress_m=progress_m)


def _closed(state: SilenceState, scene: Scene, step: Step, fix: LastFix | None) -> Finding:
    seen = step.observation
    found = _finding(state, scene, end_ms=seen.t_ms, next_fix=fix, gap_end_ms=seen.t_ms)
    return replace(found, found_by=found_by(seen))


def _finish(state: SilenceState, scene: Scene) -> Findings:
    """Silence that lasts: until now, or until the binding ended."""
    due_ms = deadline_ms(state, scene)
    bound_to_ms = scene.device.to_ms
    until_ms = scene.now_ms if bound_to_ms is None else min(scene.now_ms, bound_to_ms)
    if due_ms is None or until_ms <= due_ms:
        return ()
    if bound_to_ms is not None and bound_to_ms <= scene.now_ms:
        over = _finding(state, scene, end_ms=bound_to_ms, gap_end_ms=bound_to_ms)
        return (replace(over, evidence={**over.evidence, "ended_by": "binding"}),)
    lasting = _finding(state, scene, gap_end_ms=until_ms)
    return (replace(lasting, basis=Basis.CLOCK, provisional=True),)


def _finding(
    state: SilenceState,
    scene: Scene,
    *,
    gap_end_ms: int,
    end_ms: int | None = None,
    next_fix: LastFix | None = None,
) -> Finding:
    assert state.last_ms is not None
    slack_s = _slack_s(state, scene, gap_end_ms, next_fix)
    high = slack_s >= scene.limits.silence_slack_high_s
    return Finding(
        code=SILENCE.code,
        device=scene.device.id,
        severity=Severity.HIGH if high else SILENCE.severity,
        basis=SILENCE.basis,
        start_ms=state.last_ms,
        end_ms=end_ms,
        geometry=_geometry(state.fix, next_fix),
        evidence=_evidence(state, scene, next_fix, slack_s if end_ms is not None else None),
        found_by=state.found_by,
    )


def _distance_m(a: LastFix | None, b: LastFix | None) -> float:
    """Metres along the declared route between the fixes at the ends of a gap; 0 if not known."""
    if a is None or b is None or a.progress_m is None or b.progress_m is None:
        return 0.0
    return abs(b.progress_m - a.progress_m)


def _needed_s(a: LastFix | None, b: LastFix | None, scene: Scene) -> float:
    """The shortest time for the way between two fixes along the declared route at legal speed."""
    return _distance_m(a, b) / (scene.limits.legal_speed_kmh / 3.6)


def _slack_s(state: SilenceState, scene: Scene, end_ms: int, next_fix: LastFix | None) -> float:
    """Time of the gap that the declared road at legal speed does not account for, seconds.

    The way is known between two fixes, so the time for it is taken from between them: of a way that
    began before the silence (records without a fix) not all was made in it.
    """
    assert state.last_ms is not None
    gap_s = (end_ms - state.last_ms) / 1000
    if state.fix is None or next_fix is None:
        return gap_s
    between_s = (next_fix.t_ms - state.fix.t_ms) / 1000
    return min(gap_s, max(0.0, between_s - _needed_s(state.fix, next_fix, scene)))


def _evidence(
    state: SilenceState, scene: Scene, next_fix: LastFix | None, slack_s: float | None
) -> dict[str, Any]:
    """What is known of the gap. While it lasts its length is not evidence: it grows by itself."""
    evidence: dict[str, Any] = {
        "limit_s": round(limit_s(state, scene), 3),
        "moving": state.moving,
        "last_fix": [state.fix.lon, state.fix.lat] if state.fix else None,
        "next_fix": [next_fix.lon, next_fix.lat] if next_fix else None,
    }
    if slack_s is not None:
        evidence["route_distance_m"] = round(_distance_m(state.fix, next_fix), 1)
        evidence["shortest_min"] = round(_needed_s(state.fix, next_fix, scene) / 60, 1)
        evidence["slack_min"] = round(slack_s / 60, 1)
        # Out and back in the slack, at legal speed.
        evidence["farthest_off_m"] = round(slack_s / 2 * scene.limits.legal_speed_kmh / 3.6)
    return evidence


def _geometry(a: LastFix | None, b: LastFix | None) -> dict[str, Any] | None:
    if a is None:
        return None
    if b is None or (a.lon, a.lat) == (b.lon, b.lat):
        return point(a.lon, a.lat)
    return {"type": "LineString", "coordinates": [[a.lon, a.lat], [b.lon, b.lat]]}


silence = Detector(rule=SILENCE, state_type=SilenceState, step=_step, finish=_finish)
