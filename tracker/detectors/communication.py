"""Communication: what is not heard, and what could have been done meanwhile."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.detectors.gaps import GapFix, gap_evidence, slack_s
from tracker.model import Basis, Finding, FixFacts, FoundBy, Severity, Step

SILENCE = Rule(
    code="silence",
    eaeu_code="06",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The device has not reported for longer than its periods allow.",
)


MOST_SLEEP_S = 366 * 86_400.0
"""No device plans to sleep for longer than a year; as wire numbers go, it could be 1e308 s."""


class SilenceState(Struct, frozen=True):
    """The newest record: its time, the motion last stated, and the sleep it announced.

    ``gen``, ``seq``: which record that is. ``fix_ms`` …: the newest valid fix, for the reasoning
    over a gap; ``at_end``: it lies in the zone of the destination. All in one flat struct, by
    position: a new one is made with every record.
    """

    last_ms: int | None = None
    moving: bool | None = None
    sleep_s: float = 0.0
    gen: int = 0
    seq: int = 0
    fix_ms: int | None = None
    lon: float = 0.0
    lat: float = 0.0
    progress_m: float | None = None
    at_end: bool = False

    @property
    def fix(self) -> GapFix | None:
        """Where the device last was; None: not known."""
        if self.fix_ms is None:
            return None
        return GapFix(t_ms=self.fix_ms, lon=self.lon, lat=self.lat, progress_m=self.progress_m)


def limit_s(state: SilenceState, scene: Scene) -> float:
    """How long the device may be silent after its last record, seconds.

    Two periods and a minute; the period follows the last stated motion (never stated: moving,
    which is the stricter), and starts after a sleep that was announced.
    """
    periods = scene.device.periods
    period_s = periods.parked_s if state.moving is False else periods.moving_s
    limits, sleep_s = scene.limits, state.sleep_s
    if sleep_s > MOST_SLEEP_S:
        sleep_s = MOST_SLEEP_S
    return sleep_s + limits.silence_periods * period_s + limits.silence_grace_s


def deadline_ms(state: SilenceState, scene: Scene) -> int | None:
    """When the silence after the last record becomes an anomaly; None before the first record."""
    if state.last_ms is None:
        return None
    return state.last_ms + round(limit_s(state, scene) * 1000)


def _step(state: SilenceState, step: Step, scene: Scene) -> tuple[SilenceState, Findings]:
    seen = step.observation
    if not seen.timed:
        return state, ()
    t_ms = seen.t_ms
    found: Findings = ()
    # The limit is never less than the grace: of the usual record no more need be asked.
    if state.last_ms is not None and t_ms - state.last_ms > scene.limits.silence_grace_s * 1000:
        due_ms = deadline_ms(state, scene)
        if due_ms is not None and t_ms > due_ms:
            found = (_closed(state, scene, step),)
    moving = state.moving if seen.moving is None else seen.moving
    fix = seen.fix
    newest = (t_ms, moving, seen.sleep_s, seen.gen, seen.seq)
    if not step.valid or fix is None:
        where = (state.fix_ms, state.lon, state.lat, state.progress_m)
        return SilenceState(*newest, *where, state.at_end), found
    progress_m = step.place.progress_m if step.place else None
    at_end = bool(fix.zones) and _is_at_end(fix, scene)
    return SilenceState(*newest, t_ms, fix.lon, fix.lat, progress_m, at_end), found


def _is_at_end(fix: FixFacts, scene: Scene) -> bool:
    destination = scene.plan.destination
    return destination is not None and any(z.code == destination.zone for z in fix.zones)


def _closed(state: SilenceState, scene: Scene, step: Step) -> Finding:
    seen, fix = step.observation, step.observation.fix
    next_fix = None
    if step.valid and fix is not None:
        progress_m = step.place.progress_m if step.place else None
        next_fix = GapFix(t_ms=seen.t_ms, lon=fix.lon, lat=fix.lat, progress_m=progress_m)
    found = _finding(state, scene, end_ms=seen.t_ms, next_fix=next_fix, gap_end_ms=seen.t_ms)
    return replace(found, found_by=found_by(seen))


def _finish(state: SilenceState, scene: Scene) -> Findings:
    """Silence that lasts: until now, or until the binding ended.

    What has come to the destination's zone, and is confirmed to have arrived, need not have been
    heard of in between: there it is under customs' eyes, and devices are taken off and switched
    off. While the arrival is not confirmed it is silent like any other.
    """
    due_ms = deadline_ms(state, scene)
    bound_to_ms = scene.device.to_ms
    until_ms = scene.now_ms
    if bound_to_ms is not None and bound_to_ms < until_ms:
        until_ms = bound_to_ms
    if due_ms is None or until_ms <= due_ms:
        return ()
    if bound_to_ms is not None and bound_to_ms <= scene.now_ms:
        if state.at_end and bound_to_ms == scene.plan.arrived_ms:
            return ()
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
    next_fix: GapFix | None = None,
) -> Finding:
    assert state.last_ms is not None
    fix, gap_s = state.fix, (gap_end_ms - state.last_ms) / 1000
    high = slack_s(gap_s, fix, next_fix, scene.limits) >= scene.limits.silence_slack_high_s
    evidence: dict[str, Any] = {
        "limit_s": round(limit_s(state, scene), 3),
        "moving": state.moving,
        "last_fix": [fix.lon, fix.lat] if fix else None,
        "next_fix": [next_fix.lon, next_fix.lat] if next_fix else None,
    }
    if end_ms is not None:  # while it lasts its length is no evidence: it grows by itself
        evidence |= gap_evidence(gap_s, fix, next_fix, scene.limits)
    return Finding(
        code=SILENCE.code,
        device=scene.device.id,
        severity=Severity.HIGH if high else SILENCE.severity,
        basis=SILENCE.basis,
        start_ms=state.last_ms,
        end_ms=end_ms,
        geometry=_geometry(fix, next_fix),
        evidence=evidence,
        found_by=FoundBy(device=scene.device.id, gen=state.gen, seq=state.seq),
    )


def _geometry(a: GapFix | None, b: GapFix | None) -> dict[str, Any] | None:
    if a is None:
        return None
    if b is None or (a.lon, a.lat) == (b.lon, b.lat):
        return point(a.lon, a.lat)
    return {"type": "LineString", "coordinates": [[a.lon, a.lat], [b.lon, b.lat]]}


silence = Detector(
    rule=SILENCE, state_type=SilenceState, step=_step, finish=_finish, looks=Looks.ANY
)
