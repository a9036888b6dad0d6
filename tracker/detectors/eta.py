"""ETA: whether the destination can still be reached before the deadline, at legal speed and with
the hours of rest that a driver must keep.

`earliest_arrival` reckons the soonest lawful arrival; `reachable_until` is the last moment at which
it still lies before the deadline. A fold over the fixes (`driving`) keeps where the vehicle stands
and what its driver has driven; `late_risk` reads it at a present.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, inf
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import (
    Findings,
    Judged,
    Looks,
    PairDetector,
    PairScene,
    Rule,
    Whole,
    WholeDetector,
)
from tracker.detectors.limits import Limits
from tracker.model import Basis, DeliveryPlan, Finding, Severity, Step

LATE_RISK = Rule(
    code="late_risk",
    eaeu_code=None,
    severity=Severity.MEDIUM,
    basis=Basis.CLOCK,
    text="The destination cannot be reached before the deadline at legal speed with rest hours.",
)

MOVING_KMH = 5.0
"""Faster than the speed a parked receiver reports by noise, slower than any driving."""

GRAIN_MS = 5 * 60_000
"""While the limit is far, where the vehicle stands is noted this often: enough for hours of rest,
and next to nothing for each record."""

FAR_MS = 6 * 3_600_000
"""Nearer to the limit than this every fix counts. A vehicle that falls silent before then is given
no credit for the last grain of its way."""

KEPT = 50
"""Episodes that are over and kept with the state; a vehicle that gains and loses the deadline more
often drives at the limit, and the newest say so."""


# ---------------------------------------------------------------- the reckoning


class Hours(Struct, frozen=True, kw_only=True):
    """What a driver has driven: since the last break and since the last daily rest, in seconds.

    ``resting_ms``: since when the vehicle stands, or when it was last seen: from then on the driver
    may be resting. None: he drives on.
    """

    since_break_s: float = 0.0
    today_s: float = 0.0
    resting_ms: int | None = None


FRESH = Hours()


def journey_s(remaining_m: float, hours: Hours, limits: Limits) -> float:
    """The shortest lawful time for a way, breaks and daily rests included, in seconds.

    A break of 45 min after 4.5 h of driving, 9 h of driving a day (AETR art. 6 and 7); a daily rest
    counts as a break. The driver takes them as late as is allowed and none at the destination.
    """
    left_s = _driving_s(remaining_m, limits)
    return _with_rests_s(left_s, hours.since_break_s, hours.today_s, limits)


def _driving_s(remaining_m: float, limits: Limits) -> float:
    return max(0.0, remaining_m) / (limits.legal_speed_kmh / 3.6)


def _with_rests_s(left_s: float, since_break_s: float, today_s: float, limits: Limits) -> float:
    """So much driving with the breaks and rests between."""
    break_after_s, day_driving_s = limits.break_after_s, limits.day_driving_s
    total_s = 0.0
    # Comparisons for `min` and `max`: each note of each vehicle comes by here three times.
    while left_s > 0:
        until_break_s = break_after_s - since_break_s if since_break_s < break_after_s else 0.0
        until_rest_s = day_driving_s - today_s if today_s < day_driving_s else 0.0
        leg_s = until_break_s if until_break_s < until_rest_s else until_rest_s
        if left_s <= leg_s:
            return total_s + left_s
        left_s -= leg_s
        total_s += leg_s
        if until_rest_s <= leg_s:
            total_s += limits.day_rest_s
            since_break_s = today_s = 0.0
        else:
            total_s += limits.break_s
            since_break_s, today_s = 0.0, today_s + leg_s
    return total_s


def earliest_arrival(remaining_m: float, at_ms: int, hours: Hours, limits: Limits) -> int:
    """The soonest lawful arrival (t, ms) of a vehicle that is ``remaining_m`` away at ``at_ms``.

    The driver goes on at once, or first ends the break or the daily rest that he may be taking.
    """
    return min(
        int(max(at_ms, from_ms)) + ceil(journey_s(remaining_m, after, limits) * 1000)
        for from_ms, after in _choices(hours, limits)
    )


def reachable_until(remaining_m: float, deadline_ms: int, hours: Hours, limits: Limits) -> int:
    """The last moment (t, ms) at which `earliest_arrival` still is no later than the deadline."""
    left_s = _driving_s(remaining_m, limits)
    since_break_s, today_s, resting_ms = hours.since_break_s, hours.today_s, hours.resting_ms

    def leave_ms(since_break_s: float, today_s: float) -> int:
        return deadline_ms - ceil(_with_rests_s(left_s, since_break_s, today_s, limits) * 1000)

    latest_ms = leave_ms(since_break_s, today_s)
    rested = not since_break_s and not today_s
    on_one_stretch = (
        left_s <= limits.break_after_s - since_break_s and left_s <= limits.day_driving_s - today_s
    )
    if resting_ms is None or rested or on_one_stretch:
        return latest_ms  # no rest begun would make the way shorter
    for begin_ms, *driven_s in _after_rests(resting_ms, today_s, limits):
        later_ms = leave_ms(*driven_s)
        if later_ms >= begin_ms and later_ms > latest_ms:
            latest_ms = later_ms
    return latest_ms


def _choices(hours: Hours, limits: Limits) -> Iterator[tuple[float, Hours]]:
    """(from when, with which hours) the driver may go on; a rest begun is ended, or not."""
    yield -inf, hours
    if hours.resting_ms is not None:
        for begin_ms, since_break_s, today_s in _after_rests(
            hours.resting_ms, hours.today_s, limits
        ):
            yield begin_ms, Hours(since_break_s=since_break_s, today_s=today_s)


def _after_rests(
    resting_ms: int, today_s: float, limits: Limits
) -> tuple[tuple[int, float, float], ...]:
    """When the break and the daily rest that the driver may be taking end, and what he has driven
    since the last break and the last rest then."""
    break_ms = resting_ms + ceil(limits.break_s * 1000)
    rest_ms = resting_ms + ceil(limits.day_rest_s * 1000)
    return (break_ms, 0.0, today_s), (rest_ms, 0.0, 0.0)


# ---------------------------------------------------------------- the fold


class DrivingState(Struct, frozen=True, kw_only=True):
    """Where the vehicle was when it was last noted, and its driver's hours then.

    ``since_ms``: when it began to drive or to stand. ``since_break_s``, ``today_s``: driven before
    then. ``limit_ms``: until when the destination can be reached, by what was known at ``seen_ms``.
    ``opened_ms``: since when it cannot; ``past``: earlier times at which it could not.
    """

    seen_ms: int | None = None
    moving: bool = False
    since_ms: int = 0
    since_break_s: float = 0.0
    today_s: float = 0.0
    route: int = 0
    remaining_m: float = 0.0
    limit_ms: int = 0
    opened_ms: int | None = None
    past: tuple[tuple[int, int], ...] = ()

    def hours(self, t_ms: int, limits: Limits) -> Hours:
        """The driver's hours at a time not before the last note."""
        if self.moving:
            driven_s = max(0, t_ms - self.since_ms) / 1000
            return Hours(
                since_break_s=min(self.since_break_s + driven_s, limits.break_after_s),
                today_s=min(self.today_s + driven_s, limits.day_driving_s),
                resting_ms=t_ms,
            )
        return Hours(
            since_break_s=self.since_break_s, today_s=self.today_s, resting_ms=self.since_ms
        )


def _step(state: DrivingState, step: Step, scene: PairScene) -> tuple[DrivingState, Findings]:
    seen = step.observation
    fix, place, t_ms = seen.fix, step.place, seen.t_ms
    if fix is None or place is None or fix.route >= len(scene.plan.routes):
        return state, ()
    moving = seen.moving
    if moving is None:
        moving = (fix.speed_kmh or 0.0) > MOVING_KMH
    noted_ms = state.seen_ms
    if noted_ms is not None:
        if t_ms < noted_ms:
            return state, ()
        if (
            moving is state.moving
            and t_ms - noted_ms < GRAIN_MS
            and t_ms + FAR_MS < state.limit_ms
            and fix.route == state.route
        ):
            return state, ()
    remaining_m = scene.plan.routes[fix.route].length_m - place.progress_m
    destination = scene.plan.destination
    if fix.zones and destination is not None and destination.zone in {z.code for z in fix.zones}:
        remaining_m = 0.0
    return _noted(state, t_ms, moving, fix.route, max(0.0, remaining_m), scene), ()


def _noted(
    state: DrivingState, t_ms: int, moving: bool, route: int, remaining_m: float, scene: PairScene
) -> DrivingState:
    """The state with a new note, and whether the destination can be reached from there."""
    limits, plan = scene.limits, scene.plan
    known_ms = state.limit_ms if state.seen_ms is not None else _at_first(plan, limits)
    after = _driven(state, t_ms, moving, limits)
    limit_ms = reachable_until(remaining_m, plan.deadline_ms, after.hours(t_ms, limits), limits)
    opened_ms, past = after.opened_ms, after.past
    if t_ms > limit_ms and remaining_m > 0:
        if opened_ms is None:
            # Who has left the destination again after the deadline was there until the last note.
            opened_ms = min(t_ms, max(known_ms + 1, state.seen_ms or 0))
    elif opened_ms is not None:
        past, opened_ms = (*past, (opened_ms, t_ms))[-KEPT:], None
    return replace(
        after,
        seen_ms=t_ms,
        route=route,
        remaining_m=remaining_m,
        limit_ms=limit_ms,
        opened_ms=opened_ms,
        past=past,
    )


def _driven(state: DrivingState, t_ms: int, moving: bool, limits: Limits) -> DrivingState:
    """The driver's hours brought up to a time: driving added, rests that were long enough counted.

    Nobody knows what was done in a silence of a break's length: it counts as rest, so that nobody
    is said to be late who may not be.
    """
    if state.seen_ms is None:
        return replace(state, moving=moving, since_ms=t_ms)
    if state.moving and t_ms - state.seen_ms - GRAIN_MS >= limits.break_s * 1000:
        state = _stood(_stopped(state, state.seen_ms), t_ms, limits)
    if moving == state.moving:
        return state if moving else _stood(state, t_ms, limits)
    if state.moving:
        return _stopped(state, t_ms)
    return replace(_stood(state, t_ms, limits), moving=True, since_ms=t_ms)


def _stopped(state: DrivingState, t_ms: int) -> DrivingState:
    driven_s = max(0, t_ms - state.since_ms) / 1000
    return replace(
        state,
        moving=False,
        since_ms=t_ms,
        since_break_s=state.since_break_s + driven_s,
        today_s=state.today_s + driven_s,
    )


def _stood(state: DrivingState, t_ms: int, limits: Limits) -> DrivingState:
    stood_s = (t_ms - state.since_ms) / 1000
    if stood_s >= limits.day_rest_s and (state.today_s or state.since_break_s):
        return replace(state, since_break_s=0.0, today_s=0.0)
    if stood_s >= limits.break_s and state.since_break_s:
        return replace(state, since_break_s=0.0)
    return state


def _at_first(plan: DeliveryPlan, limits: Limits) -> int:
    """Until when the destination can be reached by a vehicle that has not left: one millisecond
    before the release if not even then."""
    assert plan.released_ms is not None
    length_m = plan.routes[0].length_m
    limit_ms = reachable_until(length_m, plan.deadline_ms, FRESH, limits)
    return max(limit_ms, plan.released_ms - 1)


driving: PairDetector[DrivingState] = PairDetector(
    rule=Rule(
        code="trace_driving",
        eaeu_code=None,
        severity=Severity.INFO,
        basis=Basis.DATA,
        text="How far the vehicle still has to go, and what its driver has driven.",
    ),
    state_type=DrivingState,
    step=_step,
    finish=lambda state, scene: (),
    looks=Looks.FIX,
)


# ---------------------------------------------------------------- the rule


def _late_risk(seen: Whole) -> Judged:
    """Before the deadline while it can no longer be kept; ends with the arrival."""
    plan = seen.plan
    if plan.cancelled or plan.released_ms is None or not plan.routes:
        return Judged()
    state = cast(DrivingState, seen.pairs.get(driving.rule.code) or DrivingState())
    found = [_finding(seen, state, start_ms, end_ms) for start_ms, end_ms in state.past]
    arrived_ms = plan.arrived_ms
    last_ms = seen.now_ms if arrived_ms is None else arrived_ms
    known = state.seen_ms is not None
    limit_ms = state.limit_ms if known else _at_first(plan, seen.limits)
    opened_ms = limit_ms + 1 if state.opened_ms is None else state.opened_ms
    if known and state.remaining_m <= 0:
        return Judged(findings=tuple(found))
    if opened_ms > last_ms:
        return Judged(findings=tuple(found), clocks=(opened_ms,) if arrived_ms is None else ())
    if opened_ms != arrived_ms:
        found.append(_finding(seen, state, opened_ms, arrived_ms))
    return Judged(findings=tuple(found))


def may_be_late(
    plan: DeliveryPlan, limits: Limits, pairs: Mapping[str, Struct], now_ms: int
) -> bool:
    """Whether `late_risk` may find anything: only then its lane's history is asked for."""
    if plan.cancelled or plan.released_ms is None or not plan.routes:
        return False
    state = cast(DrivingState | None, pairs.get(driving.rule.code))
    if state is None:
        return now_ms > _at_first(plan, limits)
    return state.opened_ms is not None or now_ms > state.limit_ms


def _finding(seen: Whole, state: DrivingState, start_ms: int, end_ms: int | None) -> Finding:
    return Finding(
        code=LATE_RISK.code,
        device=None,
        severity=LATE_RISK.severity,
        basis=LATE_RISK.basis,
        start_ms=start_ms,
        end_ms=end_ms,
        provisional=end_ms is None,
        evidence=_evidence(seen, state) if end_ms is None else {"deadline_ms": _deadline(seen)},
    )


def _evidence(seen: Whole, state: DrivingState) -> dict[str, Any]:
    """What is still to go, and what would still have made it. Nothing of it grows with the clock:
    it is reckoned from the last note, and changes with the vehicle's place."""
    plan, limits = seen.plan, seen.limits
    at_ms, hours, remaining_m = state.seen_ms, FRESH, state.remaining_m
    if at_ms is None:
        at_ms, remaining_m = plan.released_ms or 0, plan.routes[0].length_m
    else:
        hours = state.hours(at_ms, limits)
    arrival_ms = earliest_arrival(remaining_m, at_ms, hours, limits)
    evidence: dict[str, Any] = {
        "deadline_ms": plan.deadline_ms,
        "position_ms": state.seen_ms,
        "remaining_m": round(remaining_m),
        "earliest_arrival_ms": arrival_ms,
        "latest_departure_ms": reachable_until(remaining_m, plan.deadline_ms, hours, limits),
        "deadline_that_fits_ms": max(arrival_ms, plan.deadline_ms),
        "driven_since_break_s": round(hours.since_break_s),
        "driven_today_s": round(hours.today_s),
        "legal_speed_kmh": limits.legal_speed_kmh,
    }
    lane = seen.around.lane
    if lane is not None and lane.deliveries >= limits.lane_deliveries:
        usual_ms = at_ms + round(remaining_m / (lane.median_kmh / 3.6) * 1000)
        evidence |= {
            "lane_median_kmh": round(lane.median_kmh, 1),
            "lane_deliveries": lane.deliveries,
            "usual_arrival_ms": usual_ms,
        }
    return evidence


def _deadline(seen: Whole) -> int:
    return seen.plan.deadline_ms


late_risk = WholeDetector(rule=LATE_RISK, find=_late_risk)
