"""Pair: a seal and the vehicle's own unit, which belong together, against each other.

Each valid fix of the one is compared with where the other was at that moment, known from the
other's fixes around it. So nothing can be compared until the slower of the two has been heard of
again: fixes wait for it, and comparisons are made in the order of time whatever came first.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Findings, PairDetector, PairScene, Rule, found_by
from tracker.detectors.limits import Limits
from tracker.geodesy import along, distance_m, is_farther
from tracker.model import Basis, Finding, FoundBy, Observation, Severity, Step

SEPARATION = Rule(
    code="separation",
    eaeu_code="07",
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="The seal is not where the vehicle is.",
)

MOST_WAITING = 256
"""Fixes of one device that wait for the other: hours of a unit under way. Then every other one of
them is dropped, so that an hour more costs precision and no memory."""

_M_PER_DEG = 111_700.0
"""No degree of latitude or longitude is longer: a quick bound from above for short distances."""


class At(Struct, frozen=True, array_like=True):
    """Where a device was: at a valid fix, or between two."""

    t_ms: int
    lon: float
    lat: float
    acc_m: float


class Run(Struct, frozen=True, kw_only=True):
    """Comparisons in a row that say the contrary of what holds: far while together, near while
    apart. ``seal``, ``gps``: where the two were at the first of them."""

    first_ms: int
    seal: tuple[float, float]
    gps: tuple[float, float]
    count: int
    farthest_m: float


class Apart(Struct, frozen=True, kw_only=True):
    """An episode: how it began, and what it has come to."""

    begun: Run
    farthest_m: float
    found_by: FoundBy


class Couple(Struct, frozen=True, array_like=True):
    """A seal and a vehicle unit: the fixes that are still needed of each, and up to when the two
    have been compared."""

    seal: tuple[At, ...] = ()
    gps: tuple[At, ...] = ()
    upto_ms: int | None = None
    run: Run | None = None
    apart: Apart | None = None


_NOT_SEEN = Couple()


class SeparationState(Struct, frozen=True, array_like=True):
    """Every seal with every unit, by both names.

    ``held``: episodes of seals with several units that are over, while one with another unit may
    yet overlap them: to customs they are one.
    """

    couples: dict[str, Couple] = {}
    held: tuple[Finding, ...] = ()


def _step(state: SeparationState, step: Step, scene: PairScene) -> tuple[SeparationState, Findings]:
    seen = step.observation
    fix = seen.fix
    if not step.valid or fix is None or len(scene.plan.devices) < 2:
        return state, ()
    names = _couples_of(seen, scene)
    if not names:
        return state, ()
    at = At(seen.t_ms, fix.lon, fix.lat, fix.acc_m)
    couples = dict(state.couples)
    over: list[Finding] = []
    for name in names:
        couples[name], ended = _taken(couples.get(name) or _NOT_SEEN, at, seen, scene.limits)
        if ended:
            over += [_finding(name, apart, scene.limits, end_ms) for apart, end_ms in ended]
    if not over and not state.held:
        return SeparationState(couples), ()
    return _released(couples, (*state.held, *over))


def _couples_of(seen: Observation, scene: PairScene) -> list[str]:
    """The names of the couples that a device is part of."""
    device, is_seal = seen.device, seen.kind == "seal"
    names = []
    for other in scene.plan.devices:
        if (other.kind == "seal") is not is_seal:
            names.append(f"{device}|{other.id}" if is_seal else f"{other.id}|{device}")
    return names if len(names) == 1 else sorted(set(names))


# ---------------------------------------------------------------- one couple

Ended = tuple[Apart, int]


def _taken(
    couple: Couple, at: At, seen: Observation, limits: Limits
) -> tuple[Couple, tuple[Ended, ...]]:
    """A couple with one fix more, and the episodes that its comparisons end."""
    seals, units = couple.seal, couple.gps
    if seen.kind == "seal":
        seals = (*(seals if len(seals) < MOST_WAITING else _thinned(seals)), at)
    else:
        units = (*(units if len(units) < MOST_WAITING else _thinned(units)), at)
    run, apart = couple.run, couple.apart
    if not seals or not units:
        return Couple(seals, units, None, run, apart), ()
    seal_ms, unit_ms = seals[-1].t_ms, units[-1].t_ms
    upto_ms = seal_ms if seal_ms < unit_ms else unit_ms
    if upto_ms == couple.upto_ms:
        return Couple(seals, units, upto_ms, run, apart), ()
    ended: list[Ended] = []
    for t_ms in _times(seals, units, couple.upto_ms, upto_ms):
        seal, gps = _where(seals, t_ms, limits), _where(units, t_ms, limits)
        if seal is not None and gps is not None:
            off_m, far = _compare(seal, gps, limits)
            if not far and apart is None:  # as nearly always
                run = None
                continue
            run, apart, end = _judged(run, apart, seal, gps, off_m, far, seen, limits)
            if end is not None:
                ended.append(end)
    return Couple(_from(seals, upto_ms), _from(units, upto_ms), upto_ms, run, apart), tuple(ended)


def _thinned(fixes: tuple[At, ...]) -> tuple[At, ...]:
    return (fixes[0], *fixes[1:-1:2], fixes[-1])


def _times(
    seals: tuple[At, ...], units: tuple[At, ...], after_ms: int | None, upto_ms: int
) -> Iterable[int]:
    """The moments of fixes that have not been compared and now can be, in order."""
    since_ms = -inf if after_ms is None else after_ms
    times = []
    for fixes in (seals, units):
        for at in fixes:
            if since_ms < at.t_ms <= upto_ms:
                times.append(at.t_ms)
    return times if len(times) == 1 else sorted(set(times))


def _where(fixes: tuple[At, ...], t_ms: int, limits: Limits) -> At | None:
    """Where a device was; None: not known well enough."""
    before = fixes[0]
    if t_ms < before.t_ms:
        return None
    for after in fixes:
        if after.t_ms >= t_ms:
            break
        before = after
    else:
        return None
    if after.t_ms == t_ms:
        return after
    from_ms, lon, lat, to_lon, to_lat = before.t_ms, before.lon, before.lat, after.lon, after.lat
    gap_ms = after.t_ms - from_ms
    if gap_ms > limits.separation_gap_s * 1000 and is_farther(
        (lon, lat), (to_lon, to_lat), limits.separation_still_m
    ):
        return None
    share = (t_ms - from_ms) / gap_ms
    if abs(to_lon - lon) > 180:
        lon, lat = along((lon, lat), (to_lon, to_lat), share)
    else:
        # Within so short a time a straight line in degrees is within 2 m of the geodesic.
        lon, lat = lon + (to_lon - lon) * share, lat + (to_lat - lat) * share
    return At(t_ms, lon, lat, max(before.acc_m, after.acc_m))


def _compare(seal: At, gps: At, limits: Limits) -> tuple[float, bool]:
    """How far the two are apart (an upper bound where that is near enough), and whether far."""
    bound_m = (abs(seal.lon - gps.lon) + abs(seal.lat - gps.lat)) * _M_PER_DEG
    if bound_m <= limits.separation_m:
        return bound_m, False
    off_m = distance_m((seal.lon, seal.lat), (gps.lon, gps.lat))
    return off_m, off_m > limits.separation_m + seal.acc_m + gps.acc_m


def _judged(
    run: Run | None,
    apart: Apart | None,
    seal: At,
    gps: At,
    off_m: float,
    far: bool,
    seen: Observation,
    limits: Limits,
) -> tuple[Run | None, Apart | None, Ended | None]:
    """The run and the episode after one comparison more, and the episode that it ends."""
    if apart is not None and far and off_m > apart.farthest_m:
        apart = replace(apart, farthest_m=off_m)
    if far is (apart is not None):
        return None, apart, None
    run = _longer(run, seal, gps, off_m)
    if run.count < 2 or seal.t_ms - run.first_ms < limits.separation_s * 1000:
        return run, apart, None
    if apart is not None:
        return None, None, (apart, run.first_ms)
    return None, Apart(begun=run, farthest_m=run.farthest_m, found_by=found_by(seen)), None


def _longer(run: Run | None, seal: At, gps: At, off_m: float) -> Run:
    if run is None:
        return Run(
            first_ms=seal.t_ms,
            seal=(seal.lon, seal.lat),
            gps=(gps.lon, gps.lat),
            count=1,
            farthest_m=off_m,
        )
    return replace(run, count=run.count + 1, farthest_m=max(run.farthest_m, off_m))


def _from(fixes: tuple[At, ...], upto_ms: int) -> tuple[At, ...]:
    """The fixes from the last one that is not after a moment on."""
    if len(fixes) == 1 or fixes[1].t_ms > upto_ms:
        return fixes
    n = 1
    while n + 1 < len(fixes) and fixes[n + 1].t_ms <= upto_ms:
        n += 1
    return fixes[n:]


# ---------------------------------------------------------------- findings


def _finding(name: str, apart: Apart, limits: Limits, end_ms: int | None = None) -> Finding:
    seal, gps = name.split("|")
    begun = apart.begun
    return Finding(
        code=SEPARATION.code,
        device=seal,
        severity=SEPARATION.severity,
        basis=SEPARATION.basis,
        start_ms=begun.first_ms,
        end_ms=end_ms,
        geometry={"type": "LineString", "coordinates": [list(begun.seal), list(begun.gps)]},
        evidence={
            "vehicle_units": [gps],
            "distance_m": round(apart.farthest_m, 1),
            "seal_at": list(begun.seal),
            "vehicle_at": list(begun.gps),
            "limit_m": limits.separation_m,
        },
        found_by=apart.found_by,
    )


def _released(couples: dict[str, Couple], over: Findings) -> tuple[SeparationState, Findings]:
    """Of the episodes that are over, those that no later one of the same seal can join."""
    held: list[Finding] = []
    free: list[Finding] = []
    for episode in _joined(over):
        seal = str(episode.device)
        others = [c for name, c in couples.items() if name.split("|")[0] == seal]
        assert episode.end_ms is not None
        waits = len(others) > 1 and any(_may_join(c, episode.end_ms) for c in others)
        (held if waits else free).append(episode)
    return SeparationState(couples, tuple(held)), tuple(free)


def _may_join(couple: Couple, end_ms: int) -> bool:
    """Whether an episode of this couple may have begun, or yet begin, by a moment."""
    if couple.apart is not None:
        return couple.apart.begun.first_ms <= end_ms
    if not couple.seal or not couple.gps:
        return False
    if couple.run is not None:
        return couple.run.first_ms <= end_ms
    return min(couple.seal[-1].t_ms, couple.gps[-1].t_ms) < end_ms


def _joined(found: Iterable[Finding]) -> list[Finding]:
    """Episodes of one seal that overlap, as one."""
    joined: list[Finding] = []
    for one in sorted(
        found, key=lambda f: (str(f.device), f.start_ms, f.evidence["vehicle_units"])
    ):
        last = joined[-1] if joined else None
        if (
            last
            and last.device == one.device
            and (last.end_ms is None or one.start_ms <= last.end_ms)
        ):
            joined[-1] = _as_one(last, one)
        else:
            joined.append(one)
    return joined


def _place_in_order(found: Finding) -> tuple[str, int, list[str]]:
    return str(found.device), found.start_ms, found.evidence["vehicle_units"]


def _as_one(a: Finding, b: Finding) -> Finding:
    evidence: dict[str, Any] = {
        **a.evidence,
        "vehicle_units": sorted({*a.evidence["vehicle_units"], *b.evidence["vehicle_units"]}),
        "distance_m": max(a.evidence["distance_m"], b.evidence["distance_m"]),
    }
    open_ = a.end_ms is None or b.end_ms is None
    end_ms = None if open_ else max(a.end_ms or 0, b.end_ms or 0)
    return replace(a, end_ms=end_ms, evidence=evidence)


def _finish(state: SeparationState, scene: PairScene) -> Findings:
    lasting = [
        _finding(name, couple.apart, scene.limits)
        for name, couple in state.couples.items()
        if couple.apart is not None
    ]
    if not lasting and not state.held:
        return ()
    return tuple(_joined((*state.held, *lasting)))


separation = PairDetector(rule=SEPARATION, state_type=SeparationState, step=_step, finish=_finish)
