"""Spoofing: positions that cannot be true, by what else is known of the vehicle.

Four signs: a place that cannot be reached and is kept; a track that is longer than the wheels have
turned; a position that stands still while they turn; and the device's own word. What honest devices
do is none of them: noise, tunnels, a fix repeated with its old time, an odometer that starts anew,
and a vehicle carried by ferry or rail, whose wheels stand still as the device itself says.
"""

from __future__ import annotations

from math import cos, hypot, pi

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.detectors.limits import Limits
from tracker.geodesy import distance_m
from tracker.model import Basis, Finding, FixFacts, FoundBy, Observation, Severity, Step, TimeFlag

SPOOFING_SUSPECTED = Rule(
    code="spoofing_suspected",
    eaeu_code="07",
    severity=Severity.HIGH,
    basis=Basis.DATA,
    text="The position that the device reports is suspected to be forged.",
)

LEG_M = 2_000.0
"""A track's length is measured in steps of this much, so that the noise of a standing receiver adds
nothing to it, and what bends add is left out."""

CLOSE_LEG_M = 300.0
"""… and in finer steps once a leg is longer than the wheels have turned."""

MOST_MARKS = 64
"""Marks kept of a track: more than 10 km of the finer steps."""

AWAY_S = 30 * 60.0
"""A device that was off for longer may not have counted what the wheels turned meanwhile."""

STRAYED = 1.5
"""A jump to the side makes a way at most 1.41 times as long; there and back is longer. And a wrong
fix is about as far from where the vehicle was as from where it is."""

_M_PER_DEG = 111_700.0
"""No degree of latitude or longitude is longer: a quick bound from above for short distances."""

_RAD = pi / 180

_NO_TIME = int(TimeFlag.FROM_TS)


class Mark(Struct, frozen=True, array_like=True):
    """A place on the track: its time, the length of the track up to it, and the odometer."""

    t_ms: int
    lon: float
    lat: float
    path_m: float
    odo_m: float


class Held(Struct, frozen=True, array_like=True):
    """A position repeated to the last digit. ``t_ms``, ``odo_m``: the last fix at which the wheels
    had not begun to turn."""

    t_ms: int
    odo_m: float


class Landing(Struct, frozen=True, array_like=True):
    """A place that could not be reached: its first fix, how many there have been, and when the
    second came, from which on the track agrees with itself again."""

    t_ms: int
    lon: float
    lat: float
    fixes: int
    jump_m: float
    speed_kmh: float
    second_ms: int | None = None


class Suspicion(Struct, frozen=True, kw_only=True):
    """An episode. ``clear_ms``: since when all has been consistent; ``facts``: by their names."""

    start_ms: int
    lon: float | None
    lat: float | None
    signs: tuple[str, ...]
    found_by: FoundBy
    facts: dict[str, float] = {}
    clear_ms: int | None = None


class Came(Struct, frozen=True, array_like=True):
    """The valid fix before the last one, if a longer way lies between the two."""

    t_ms: int
    lon: float
    lat: float


class SpoofState(Struct, frozen=True, array_like=True):
    """The last odometer at a valid fix, with its time and whether the vehicle drives by its own
    wheels; the marks of the track; what is under suspicion; and the last longer way."""

    odo_m: float | None = None
    t_ms: int = 0
    marks: tuple[Mark, ...] = ()
    close: bool = False
    held: Held | None = None
    landing: Landing | None = None
    episode: Suspicion | None = None
    came: Came | None = None


def _step(state: SpoofState, step: Step, scene: Scene) -> tuple[SpoofState, Findings]:
    seen = step.observation
    fix = seen.fix
    told = seen.spoof or seen.event == "spoof_on"
    if not told and fix is not None and step.valid and _as_ever(state, step, fix, scene.limits):
        came = _came(step.previous, fix, scene.limits)
        return SpoofState(seen.odometer_m, seen.t_ms, state.marks, came=came), ()
    if told:
        state = _suspect(state, step, "device", seen.t_ms, step.here)
        if state.landing is not None:
            # From when on all is consistent is to be asked anew.
            state = replace(state, landing=replace(state.landing, second_ms=None))
    if fix is None or not step.valid:
        return state, ()
    previous = step.previous
    if previous is not None and _has_jumped(state, seen, previous, fix, scene.limits):
        state, clean = _landed(state, step, previous, fix), False
    else:
        came = _came(previous, fix, scene.limits)
        state, clean = _looked(state, step, fix, scene)
        if came is not None or state.came is not None:
            state = replace(state, came=came)
    if state.episode is None:
        return state, ()
    return _settled(state, state.episode, step, scene, clean and not told)


def _as_ever(state: SpoofState, step: Step, fix: FixFacts, limits: Limits) -> bool:
    """Whether this is a fix of a vehicle that drives, of whose track no leg is due to be measured:
    nearly every fix is, so this looks at nothing twice."""
    seen, previous, before_m = step.observation, step.previous, state.odo_m
    odo_m = seen.odometer_m
    if previous is None or odo_m is None or before_m is None or not state.marks:
        return False
    if state.close or state.held or state.landing or state.episode:
        return False
    lon, lat, mark = fix.lon, fix.lat, state.marks[-1]
    most_m = limits.spoof_jump_kmh / 3600 * (fix.fix_ms - previous.fix_ms)
    return (
        0 < (abs(lon - previous.lon) + abs(lat - previous.lat)) * _M_PER_DEG <= most_m
        and 0 <= odo_m - before_m <= most_m
        and hypot((lon - mark.lon) * cos(lat * _RAD), lat - mark.lat) * _M_PER_DEG < LEG_M
    )


def _looked(state: SpoofState, step: Step, fix: FixFacts, scene: Scene) -> tuple[SpoofState, bool]:
    """The state after a valid fix, and whether the fix agrees with all that is known."""
    seen, previous = step.observation, step.previous
    if state.landing is not None:
        state = _stayed(state, state.landing, step, scene.limits)
    odo_m = seen.odometer_m
    if odo_m is None:
        return state, True
    if state.odo_m is None or not _goes_on(state.odo_m, state.t_ms, odo_m, seen.t_ms, scene):
        return _fresh(state, seen, fix, odo_m), True
    clean = True
    if previous is not None and previous.lon == fix.lon and previous.lat == fix.lat:
        state, clean = _repeated(state, step, previous, odo_m, scene.limits)
    elif state.held is not None:
        state = replace(state, held=None)
    state, agrees = _longer(state, step, fix, odo_m, scene.limits)
    return state, clean and agrees


# ---------------------------------------------------------------- a place out of reach


def _has_jumped(
    state: SpoofState, seen: Observation, a: FixFacts, b: FixFacts, limits: Limits
) -> bool:
    """Whether the newest fix, b, is out of reach of the valid one before it, and nothing honest
    explains that."""
    most_m = limits.spoof_jump_kmh / 3600 * (b.fix_ms - a.fix_ms)
    if (abs(b.lon - a.lon) + abs(b.lat - a.lat)) * _M_PER_DEG <= most_m:
        return False
    jump_m = distance_m((a.lon, a.lat), (b.lon, b.lat))
    noise_m = a.acc_m + b.acc_m
    if jump_m - noise_m <= most_m or jump_m <= limits.spoof_jump_m:
        return False
    return not (
        _strayed(state.came, jump_m, a, b, limits)
        or _thawed(state.held, seen, jump_m - noise_m, limits)
    )


def _strayed(came: Came | None, jump_m: float, a: FixFacts, b: FixFacts, limits: Limits) -> bool:
    """Whether fix a was the wrong one: a place off the road that could just be reached, and that b
    is back from, so that the way past it is far shorter than the way over it."""
    if came is None:
        return False
    from_, here = (came.lon, came.lat), (b.lon, b.lat)
    out_m, past_m = distance_m(from_, (a.lon, a.lat)), distance_m(from_, here)
    most_m = limits.spoof_jump_kmh / 3600 * (b.fix_ms - came.t_ms)
    over_m = out_m + jump_m
    return jump_m <= STRAYED * out_m and past_m <= most_m and over_m >= STRAYED * past_m


def _thawed(held: Held | None, seen: Observation, jump_m: float, limits: Limits) -> bool:
    """Whether the wheels have turned for the whole way while the position was repeated: a receiver
    that was in a tunnel, and told the last place it knew as new."""
    odo_m = seen.odometer_m
    if held is None or odo_m is None:
        return False
    turned_m = odo_m - held.odo_m
    most_m = limits.spoof_jump_kmh / 3600 * (seen.t_ms - held.t_ms)
    return jump_m <= limits.spoof_path_factor * turned_m and turned_m <= most_m


def _came(previous: FixFacts | None, fix: FixFacts, limits: Limits) -> Came | None:
    """Where a longer way came from; a shorter one leads to no place that is out of reach."""
    if previous is None:
        return None
    way_m = (abs(fix.lon - previous.lon) + abs(fix.lat - previous.lat)) * _M_PER_DEG
    if way_m <= limits.spoof_jump_m / 2:
        return None
    return Came(previous.fix_ms, previous.lon, previous.lat)


def _landed(state: SpoofState, step: Step, a: FixFacts, b: FixFacts) -> SpoofState:
    """The track has jumped. Nothing before that is compared with what comes after."""
    seen = step.observation
    jump_m = distance_m((a.lon, a.lat), (b.lon, b.lat))
    speed_kmh = (jump_m - a.acc_m - b.acc_m) / max(0.001, (b.fix_ms - a.fix_ms) / 1000) * 3.6
    landing = Landing(seen.t_ms, b.lon, b.lat, 1, jump_m, speed_kmh)
    return SpoofState(landing=landing, episode=state.episode)


def _stayed(state: SpoofState, landing: Landing, step: Step, limits: Limits) -> SpoofState:
    """One fix more at the place that could not be reached."""
    seen = step.observation
    second_ms = seen.t_ms if landing.second_ms is None else landing.second_ms
    landing = replace(landing, fixes=landing.fixes + 1, second_ms=second_ms)
    span_ms = seen.t_ms - landing.t_ms
    if landing.fixes < limits.spoof_jump_fixes and span_ms < limits.spoof_jump_s * 1000:
        return replace(state, landing=landing)
    facts = {"jump_m": round(landing.jump_m, 1), "jump_kmh": round(landing.speed_kmh, 1)}
    state = replace(state, landing=None)
    state = _suspect(state, step, "jump", landing.t_ms, (landing.lon, landing.lat), facts)
    assert state.episode is not None
    return replace(state, episode=replace(state.episode, clear_ms=second_ms))


# ---------------------------------------------------------------- the odometer


def _goes_on(before_m: float, before_ms: int, odo_m: float, t_ms: int, scene: Scene) -> bool:
    """Whether the odometer can be compared with what it was: it was neither reset nor set.

    One that counts in whole kilometres may show one that was driven before.
    """
    most_m = scene.limits.spoof_jump_kmh / 3600 * (t_ms - before_ms) + 1_000
    return 0 <= odo_m - before_m <= most_m


def _fresh(state: SpoofState, seen: Observation, fix: FixFacts, odo_m: float) -> SpoofState:
    mark = Mark(seen.t_ms, fix.lon, fix.lat, 0.0, odo_m)
    return SpoofState(odo_m, seen.t_ms, (mark,), False, None, state.landing, state.episode)


def _repeated(
    state: SpoofState, step: Step, previous: FixFacts, odo_m: float, limits: Limits
) -> tuple[SpoofState, bool]:
    """The same position again, of a standing vehicle or a frozen one; whether it agrees."""
    seen = step.observation
    if seen.flags & _NO_TIME:
        # The fix has no time of its own: it may be the last one, repeated, and says nothing.
        return state, True
    assert state.odo_m is not None
    held = state.held
    if held is None:
        known = state.t_ms == previous.fix_ms and odo_m > state.odo_m
        held = Held(state.t_ms, state.odo_m) if known else Held(seen.t_ms, odo_m)
    elif odo_m <= held.odo_m:
        held = Held(seen.t_ms, odo_m)
    turned_m = odo_m - held.odo_m
    agrees = odo_m <= state.odo_m
    state = replace(state, held=held)
    if turned_m < limits.spoof_frozen_m:
        return state, agrees
    facts = {"frozen_odometer_m": round(turned_m, 1)}
    return _suspect(state, step, "frozen", held.t_ms, step.here, facts), False


def _longer(
    state: SpoofState, step: Step, fix: FixFacts, odo_m: float, limits: Limits
) -> tuple[SpoofState, bool]:
    """The track's length against the odometer's, leg by leg, with what the odometer now shows;
    whether the newest leg agrees."""
    seen, last = step.observation, state.marks[-1]
    t_ms, held, landing, episode = seen.t_ms, state.held, state.landing, state.episode
    least_m = CLOSE_LEG_M if state.close or episode is not None else LEG_M
    leg_m = distance_m((last.lon, last.lat), (fix.lon, fix.lat))
    if leg_m < least_m:
        return SpoofState(odo_m, t_ms, state.marks, state.close, held, landing, episode), True
    turned_m = odo_m - last.odo_m
    if _carried(seen, turned_m, leg_m) or t_ms - state.t_ms > AWAY_S * 1000:
        return _fresh(state, seen, fix, odo_m), True
    marks = _marked(state.marks, step, fix, odo_m, leg_m, limits)
    excess_m = leg_m - limits.spoof_path_factor * turned_m
    first, newest = marks[0], marks[-1]
    path_m, odometer_m = newest.path_m - first.path_m, newest.odo_m - first.odo_m
    if path_m < limits.spoof_path_m or path_m <= limits.spoof_path_factor * odometer_m:
        state = SpoofState(odo_m, t_ms, marks, excess_m > 0, held, landing, episode)
        noise_m = 2 * fix.acc_m
        agrees = excess_m <= noise_m or excess_m <= noise_m + _grain_m(odo_m, last.odo_m)
        return state, agrees
    facts = {"path_m": round(path_m, 1), "odometer_m": round(odometer_m, 1)}
    first = _begun(marks, limits)
    # What is counted from here on is new evidence.
    state = SpoofState(odo_m, t_ms, (newest,), True, held, landing, episode)
    at = (first.lon, first.lat)
    return _suspect(state, step, "path", first.t_ms, at, facts), False


def _begun(marks: tuple[Mark, ...], limits: Limits) -> Mark:
    """The mark from which on the track is longest beyond what the odometer allows: before it the
    two agreed."""
    return min(marks, key=lambda m: (m.path_m - limits.spoof_path_factor * m.odo_m, m.t_ms))


def _grain_m(a_m: float, b_m: float) -> float:
    """What an odometer counts in, by what it shows: a leg of its own way may be so much more."""
    return next((grain for grain in (1_000.0, 100.0) if not a_m % grain and not b_m % grain), 0.0)


def _carried(seen: Observation, turned_m: float, leg_m: float) -> bool:
    """By ferry or rail: the wheels have not turned, and the device itself says that it stands."""
    return (seen.moving is False or seen.ignition is False) and turned_m < 0.01 * leg_m


def _marked(
    marks: tuple[Mark, ...],
    step: Step,
    fix: FixFacts,
    odo_m: float,
    leg_m: float,
    limits: Limits,
) -> tuple[Mark, ...]:
    """The marks with one more, those left out that the last 10 km do not need.

    A place off the road and back is one wrong fix, and no way that was driven: if the way past it
    agrees with the odometer, it is dropped.
    """
    last = marks[-1]
    factor = limits.spoof_path_factor
    if len(marks) > 1 and last.path_m - marks[-2].path_m > factor * (last.odo_m - marks[-2].odo_m):
        base = marks[-2]
        past_m = distance_m((base.lon, base.lat), (fix.lon, fix.lat))
        if past_m <= factor * (odo_m - base.odo_m):
            marks, last, leg_m = marks[:-1], base, past_m
    path_m = last.path_m + leg_m
    first = max(0, len(marks) + 1 - MOST_MARKS)
    while first + 1 < len(marks) and path_m - marks[first + 1].path_m >= limits.spoof_path_m:
        first += 1
    newest = Mark(step.observation.t_ms, fix.lon, fix.lat, path_m, odo_m)
    return (*marks[first:], newest)


# ---------------------------------------------------------------- the episode


def _suspect(
    state: SpoofState,
    step: Step,
    sign: str,
    start_ms: int,
    at: tuple[float, float] | None,
    facts: dict[str, float] | None = None,
) -> SpoofState:
    """A sign of forgery: an episode begins, or goes on. A jump that was undecided when the device
    gave its own word is where it began."""
    episode = state.episode
    if episode is None:
        episode = Suspicion(
            start_ms=start_ms,
            lon=at[0] if at else None,
            lat=at[1] if at else None,
            signs=(sign,),
            found_by=found_by(step.observation),
            facts=facts or {},
        )
    else:
        signs = tuple(sorted({*episode.signs, sign}))
        worst = {k: max(v, episode.facts.get(k, v)) for k, v in (facts or {}).items()}
        episode = replace(episode, signs=signs, facts={**episode.facts, **worst}, clear_ms=None)
        if sign == "jump" and start_ms < episode.start_ms and at is not None:
            episode = replace(episode, start_ms=start_ms, lon=at[0], lat=at[1])
    return replace(state, episode=episode)


def _settled(
    state: SpoofState,
    episode: Suspicion,
    step: Step,
    scene: Scene,
    clean: bool,
) -> tuple[SpoofState, Findings]:
    """The episode after a valid fix: over once all has been consistent for long enough."""
    t_ms = step.observation.t_ms
    if not clean:
        if episode.clear_ms is None:
            return state, ()
        return replace(state, episode=replace(episode, clear_ms=None)), ()
    if episode.clear_ms is None:
        return replace(state, episode=replace(episode, clear_ms=t_ms)), ()
    if t_ms - episode.clear_ms < scene.limits.spoof_clear_s * 1000:
        return state, ()
    # Nothing of what belongs to this episode may begin another one.
    over = SpoofState(state.odo_m, state.t_ms, state.marks[-1:], False, None, None, None)
    return over, (_finding(episode, scene, episode.clear_ms),)


def _finding(episode: Suspicion, scene: Scene, end_ms: int | None) -> Finding:
    at = None
    if episode.lon is not None and episode.lat is not None:
        at = point(episode.lon, episode.lat)
    return Finding(
        code=SPOOFING_SUSPECTED.code,
        device=scene.device.id,
        severity=SPOOFING_SUSPECTED.severity,
        basis=SPOOFING_SUSPECTED.basis,
        start_ms=episode.start_ms,
        end_ms=end_ms,
        geometry=at,
        evidence={"signs": list(episode.signs), **episode.facts},
        found_by=episode.found_by,
    )


def _finish(state: SpoofState, scene: Scene) -> Findings:
    return () if state.episode is None else (_finding(state.episode, scene, None),)


spoofing_suspected = Detector(
    rule=SPOOFING_SUSPECTED,
    state_type=SpoofState,
    step=_step,
    finish=_finish,
    looks=Looks.FIX | Looks.JAM,
)
