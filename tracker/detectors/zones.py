"""Zones: where the vehicle may not be, and the territory that it may not leave."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.model import (
    Basis,
    DeliveryPlan,
    Finding,
    FixFacts,
    FoundBy,
    Severity,
    Step,
    ZoneKind,
)

RESTRICTED_ZONE = Rule(
    code="restricted_zone",
    eaeu_code="03",
    severity=Severity.HIGH,
    basis=Basis.DATA,
    text="The vehicle has entered or crossed a restricted zone.",
)
BORDER_EXIT = Rule(
    code="border_exit",
    eaeu_code="03",
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="The vehicle has left the territory elsewhere than at the declared exit post.",
)

# ---------------------------------------------------------------- restricted_zone


class Entered(Struct, frozen=True, kw_only=True):
    """A restricted zone that the vehicle is in, or has crossed between two fixes.

    ``from_ms``: the fix before the one that shows it, None: there is none, or the zone was drawn
    around the vehicle. ``fixes``: in the zone. ``out_ms``: the one fix so far that is out again.
    """

    zone: str
    start_ms: int
    lon: float
    lat: float
    from_ms: int | None
    from_place: tuple[float, float] | None
    found_by: FoundBy
    fixes: int = 0
    last_ms: int | None = None
    out_ms: int | None = None


class RestrictedState(Struct, frozen=True):
    """The restricted zones that are not known to be left, each once."""

    entered: tuple[Entered, ...] = ()


_NOWHERE = RestrictedState()


def _restricted_step(
    state: RestrictedState, step: Step, scene: Scene
) -> tuple[RestrictedState, Findings]:
    fix = step.observation.fix
    if fix is None or not step.valid:
        return state, ()
    if not state.entered and not fix.zones and not fix.crossed:
        return state, ()
    inside = {z.code for z in fix.zones if z.kind == ZoneKind.RESTRICTED}
    touched = inside | {z.code for z in fix.crossed if z.kind == ZoneKind.RESTRICTED}
    if not state.entered and not touched:
        return state, ()
    t_ms = step.observation.t_ms
    over: Findings = ()
    still: list[Entered] = []
    for one in state.entered:
        if one.zone in inside:
            still.append(replace(one, fixes=one.fixes + 1, last_ms=t_ms, out_ms=None))
        elif one.out_ms is None:
            still.append(replace(one, out_ms=t_ms))
        else:
            over += (_restricted_finding(one, scene, end_ms=one.out_ms),)
    known = {one.zone for one in still}
    for zone in sorted(touched - known):
        still.append(_entered(zone, step, fix, is_inside=zone in inside))
    return RestrictedState(tuple(still)) if still else _NOWHERE, over


def _entered(zone: str, step: Step, fix: FixFacts, *, is_inside: bool) -> Entered:
    t_ms, previous = step.observation.t_ms, step.previous
    return Entered(
        zone=zone,
        start_ms=t_ms,
        lon=fix.lon,
        lat=fix.lat,
        from_ms=None if previous is None else previous.fix_ms,
        from_place=None if previous is None else (previous.lon, previous.lat),
        found_by=found_by(step.observation),
        fixes=int(is_inside),
        last_ms=t_ms if is_inside else None,
        out_ms=None if is_inside else t_ms,
    )


def _restricted_finding(one: Entered, scene: Scene, *, end_ms: int | None = None) -> Finding:
    return Finding(
        code=RESTRICTED_ZONE.code,
        device=scene.device.id,
        severity=RESTRICTED_ZONE.severity,
        basis=RESTRICTED_ZONE.basis,
        start_ms=one.start_ms,
        end_ms=end_ms,
        geometry=point(one.lon, one.lat),
        evidence={
            "zone": one.zone,
            "fixes_in_zone": one.fixes,
            "last_in_zone_ms": one.last_ms,
            "way_from": None if one.from_place is None else list(one.from_place),
            "way_from_ms": one.from_ms,
        },
        found_by=one.found_by,
    )


def _restricted_finish(state: RestrictedState, scene: Scene) -> Findings:
    return tuple(_restricted_finding(one, scene) for one in state.entered)


restricted_zone = Detector(
    rule=RESTRICTED_ZONE,
    state_type=RestrictedState,
    step=_restricted_step,
    finish=_restricted_finish,
    looks=Looks.FIX,
    wakes=Looks.ZONE,
)

# ---------------------------------------------------------------- border_exit


class Away(Struct, frozen=True, kw_only=True):
    """A vehicle outside the territory: its last fix inside, and those since."""

    start_ms: int
    lon: float
    lat: float
    home_ms: int | None
    home_place: tuple[float, float] | None
    found_by: FoundBy
    fixes: int
    last_ms: int


class BorderState(Struct, frozen=True):
    """``home``: has been inside, and has not left since by a declared post."""

    home: bool = False
    away: Away | None = None


_AT_HOME = BorderState(home=True)
_NOT_AT_HOME = BorderState()


def _border_step(state: BorderState, step: Step, scene: Scene) -> tuple[BorderState, Findings]:
    fix = step.observation.fix
    if fix is None or not step.valid:
        return state, ()
    if fix.home:
        if state.away is not None:
            over = _border_finding(state.away, scene, end_ms=step.observation.t_ms)
            return _AT_HOME, (over,)
        return (state if state.home else _AT_HOME), ()
    if not fix.abroad or not state.home:
        return state, ()
    if state.away is not None:
        away = state.away
        farther = replace(away, fixes=away.fixes + 1, last_ms=step.observation.t_ms)
        return BorderState(home=True, away=farther), ()
    if _at_exit_post(fix, scene.plan):
        return _NOT_AT_HOME, ()
    return BorderState(home=True, away=_away(step, fix)), ()


def exit_posts(plan: DeliveryPlan) -> tuple[str, ...]:
    """The zones of the posts at which the delivery may leave the territory.

    Transit and export end abroad: their destination post is the exit post, of whatever kind it is.
    Besides, a post of kind border at either end lies on the line itself, where a vehicle that
    queues, or a fix's noise, may lie on the other side of it.
    """
    leaves = plan.direction != "import"
    posts = [
        post
        for post, is_exit in ((plan.departure, False), (plan.destination, leaves))
        if post is not None and (is_exit or post.kind == "border")
    ]
    return tuple(post.zone for post in posts)


def _at_exit_post(fix: FixFacts, plan: DeliveryPlan) -> bool:
    zones = exit_posts(plan)
    return any(z.code in zones for z in (*fix.zones, *fix.crossed))


def _away(step: Step, fix: FixFacts) -> Away:
    previous = step.previous
    return Away(
        start_ms=step.observation.t_ms,
        lon=fix.lon,
        lat=fix.lat,
        home_ms=None if previous is None else previous.fix_ms,
        home_place=None if previous is None else (previous.lon, previous.lat),
        found_by=found_by(step.observation),
        fixes=1,
        last_ms=step.observation.t_ms,
    )


def _border_finding(away: Away, scene: Scene, *, end_ms: int | None = None) -> Finding:
    return Finding(
        code=BORDER_EXIT.code,
        device=scene.device.id,
        severity=BORDER_EXIT.severity,
        basis=BORDER_EXIT.basis,
        start_ms=away.start_ms,
        end_ms=end_ms,
        geometry=point(away.lon, away.lat),
        evidence={
            "last_inside": None if away.home_place is None else list(away.home_place),
            "last_inside_ms": away.home_ms,
            "fixes_outside": away.fixes,
            "last_outside_ms": away.last_ms,
            "exit_post_zones": list(exit_posts(scene.plan)),
        },
        found_by=away.found_by,
    )


def _border_finish(state: BorderState, scene: Scene) -> Findings:
    return () if state.away is None else (_border_finding(state.away, scene),)


border_exit = Detector(
    rule=BORDER_EXIT,
    state_type=BorderState,
    step=_border_step,
    finish=_border_finish,
    looks=Looks.FIX,
    wakes=Looks.LAND,
)
