"""Course: how far along the declared route the vehicle is, against how far it was.

Both rules follow the progress of one device, so one state serves both. Progress on a route that was
declared on the way says nothing of the one before it: what was going on by the old route ends, and
of the new route's checkpoints only those that lay ahead can be missed.
"""

from __future__ import annotations

from math import inf

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.model import Basis, Checkpoint, Finding, FixFacts, FoundBy, Place, Severity, Step

WRONG_DIRECTION = Rule(
    code="wrong_direction",
    eaeu_code="03",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The vehicle has driven back along the declared route.",
)
CHECKPOINT_MISSED = Rule(
    code="checkpoint_missed",
    eaeu_code="03",
    severity=Severity.MEDIUM,
    basis=Basis.DATA,
    text="The vehicle has passed a mandatory checkpoint without going through it.",
)


class Astray(Struct, frozen=True, kw_only=True):
    """A vehicle that drives back: where it turned, and how far back it has come since."""

    start_ms: int
    turned_m: float
    lowest_m: float
    lon: float
    lat: float
    found_by: FoundBy


class Missed(Struct, frozen=True, kw_only=True):
    """A checkpoint left behind: where it was, and where it was found to be missed."""

    zone: str
    checkpoint_m: float
    t_ms: int
    progress_m: float
    lon: float
    lat: float
    found_by: FoundBy


class CourseState(Struct, frozen=True):
    """``top_m``, ``top_ms``: the farthest of the spell inside the corridor, and when last; None: in
    no spell. ``route``: the declared route that all progress is on. ``ask_m``: how far along it the
    next checkpoint is to be asked for; None: no fix on it yet. ``touched``: checkpoints' zones.
    """

    top_m: float | None = None
    top_ms: int = 0
    route: int = 0
    ask_m: float | None = None
    touched: tuple[str, ...] = ()
    missed: tuple[Missed, ...] = ()
    astray: Astray | None = None


def _step(state: CourseState, step: Step, scene: Scene) -> tuple[CourseState, Findings]:
    fix, place = step.observation.fix, step.place
    if fix is None or place is None or not step.valid:
        return state, ()
    found: Findings = ()
    if fix.zones or fix.crossed:
        state = _touch(state, fix, scene)
    if fix.route != state.route:
        state, found = _on_another_route(state, step, scene)
    if state.ask_m is None or place.progress_m >= state.ask_m:
        state = _ask_for_checkpoints(state, step, fix, place, scene)
    if state.astray is None:
        return _go_on(state, step, fix, place, scene), found
    state, over = _while_astray(state, state.astray, step, fix, place, scene)
    return state, found + over


def _on_another_route(state: CourseState, step: Step, scene: Scene) -> tuple[CourseState, Findings]:
    """The first fix that is judged by a route declared on the way."""
    fix = step.observation.fix
    assert fix is not None
    over: Findings = ()
    if state.astray is not None:
        over = (_astray_finding(state.astray, scene, end_ms=step.observation.t_ms),)
    return CourseState(route=fix.route, touched=state.touched, missed=state.missed), over


# ---------------------------------------------------------------- wrong_direction


def _go_on(
    state: CourseState, step: Step, fix: FixFacts, place: Place, scene: Scene
) -> CourseState:
    top_m = state.top_m
    if place.distance_m - fix.acc_m > place.half_width_m:
        return state if top_m is None else replace(state, top_m=None)
    if top_m is None or place.progress_m >= top_m:
        return _top(state, place.progress_m, step.observation.t_ms)
    if top_m - place.progress_m < scene.limits.wrong_direction_m:
        return state
    astray = Astray(
        start_ms=state.top_ms,
        turned_m=top_m,
        lowest_m=place.progress_m,
        lon=fix.lon,
        lat=fix.lat,
        found_by=found_by(step.observation),
    )
    return replace(state, astray=astray)


def _top(state: CourseState, top_m: float, top_ms: int) -> CourseState:
    # Each honest fix comes by here: the constructor is a third of the cost of `replace`.
    return CourseState(top_m, top_ms, state.route, state.ask_m, state.touched, state.missed)


def _while_astray(
    state: CourseState, astray: Astray, step: Step, fix: FixFacts, place: Place, scene: Scene
) -> tuple[CourseState, Findings]:
    """Off the corridor progress says little: such fixes neither close nor deepen it."""
    if place.distance_m - fix.acc_m > place.half_width_m:
        return state, ()
    if place.progress_m - astray.lowest_m >= scene.limits.wrong_direction_return_m:
        t_ms = step.observation.t_ms
        over = _astray_finding(astray, scene, end_ms=t_ms)
        return _top(state, place.progress_m, t_ms), (over,)
    if place.progress_m < astray.lowest_m:
        deeper = replace(astray, lowest_m=place.progress_m, lon=fix.lon, lat=fix.lat)
        return replace(state, astray=deeper), ()
    return state, ()


def _astray_finding(astray: Astray, scene: Scene, *, end_ms: int | None = None) -> Finding:
    return Finding(
        code=WRONG_DIRECTION.code,
        device=scene.device.id,
        severity=WRONG_DIRECTION.severity,
        basis=WRONG_DIRECTION.basis,
        start_ms=astray.start_ms,
        end_ms=end_ms,
        geometry=point(astray.lon, astray.lat),
        evidence={
            "turned_at_progress_m": round(astray.turned_m, 1),
            "lowest_progress_m": round(astray.lowest_m, 1),
            "driven_back_m": round(astray.turned_m - astray.lowest_m, 1),
        },
        found_by=astray.found_by,
    )


# ---------------------------------------------------------------- checkpoint_missed


def _touch(state: CourseState, fix: FixFacts, scene: Scene) -> CourseState:
    """Remember the checkpoints of any of the declared routes that the way went through."""
    asked = {c.zone for route in scene.plan.routes for c in route.checkpoints}
    new = {z.code for z in (*fix.zones, *fix.crossed)} & asked - set(state.touched)
    return replace(state, touched=(*state.touched, *sorted(new))) if new else state


def _ask_for_checkpoints(
    state: CourseState, step: Step, fix: FixFacts, place: Place, scene: Scene
) -> CourseState:
    """Each checkpoint is asked for once, when the vehicle is far enough past it; missed by an
    earlier route, or by an earlier version of its zone, it is not missed again."""
    routes = scene.plan.routes
    checkpoints = routes[fix.route].checkpoints if routes else ()
    past_m = scene.limits.checkpoint_past_m
    asked_m = state.ask_m
    if asked_m is None:
        asked_m = _before_the_first_fix(place, past_m, scene, state.route)
    t_ms = step.observation.t_ms
    settled = {*state.touched, *(one.zone for one in state.missed)}
    missed: dict[str, Missed] = {}
    for checkpoint in checkpoints:
        behind = asked_m <= checkpoint.progress_m + past_m <= place.progress_m
        asked_for = behind and checkpoint.mandatory and checkpoint.in_force(t_ms)
        if asked_for and checkpoint.zone not in settled:
            missed[checkpoint.zone] = _missed(checkpoint, step, fix, place)
    ahead = (c.progress_m + past_m for c in checkpoints)
    ask_m = min((m for m in ahead if m > place.progress_m and m >= asked_m), default=inf)
    return replace(state, ask_m=ask_m, missed=(*state.missed, *missed.values()))


def _before_the_first_fix(place: Place, past_m: float, scene: Scene, route: int) -> float:
    """A device that rides along from the release answers for the whole route; one that was bound
    later, or a route that was declared later, for what lies ahead."""
    released_ms = scene.plan.released_ms
    from_release = released_ms is None or scene.device.from_ms <= released_ms
    return -inf if from_release and route == 0 else place.progress_m + past_m


def _missed(checkpoint: Checkpoint, step: Step, fix: FixFacts, place: Place) -> Missed:
    return Missed(
        zone=checkpoint.zone,
        checkpoint_m=checkpoint.progress_m,
        t_ms=step.observation.t_ms,
        progress_m=place.progress_m,
        lon=fix.lon,
        lat=fix.lat,
        found_by=found_by(step.observation),
    )


def _missed_finding(missed: Missed, scene: Scene) -> Finding:
    """It never closes: what was not gone through cannot be gone through afterwards."""
    return Finding(
        code=CHECKPOINT_MISSED.code,
        device=scene.device.id,
        severity=CHECKPOINT_MISSED.severity,
        basis=CHECKPOINT_MISSED.basis,
        start_ms=missed.t_ms,
        geometry=point(missed.lon, missed.lat),
        evidence={
            "zone": missed.zone,
            "checkpoint_progress_m": round(missed.checkpoint_m, 1),
            "progress_m": round(missed.progress_m, 1),
        },
        found_by=missed.found_by,
    )


def _finish(state: CourseState, scene: Scene) -> Findings:
    if not state.missed and state.astray is None:
        return ()
    found = tuple(_missed_finding(missed, scene) for missed in state.missed)
    return found if state.astray is None else (_astray_finding(state.astray, scene), *found)


course = Detector(
    rule=WRONG_DIRECTION,
    state_type=CourseState,
    step=_step,
    finish=_finish,
    looks=Looks.FIX,
    also=(CHECKPOINT_MISSED,),
)
