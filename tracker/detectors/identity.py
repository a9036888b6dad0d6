"""Identity: a device's name used by somebody else, on two deliveries, or in two places at once.

Whole-delivery rules: each looks at all it is given and says what is the case now. What the server
refused is known by when it was received, not by a t*: a forged message proves nothing of its own
time. So these episodes stand at times of reception, and close by the clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Findings, Judged, Rule, Whole, WholeDetector, point
from tracker.detectors.limits import Limits
from tracker.geodesy import distance_m
from tracker.model import (
    Basis,
    BoundDevice,
    DeliveryPlan,
    Finding,
    FoundBy,
    OtherBinding,
    Refusal,
    Severity,
    Trace,
)
from tracker.track import reachable

IDENTITY_CONFLICT = Rule(
    code="identity_conflict",
    eaeu_code="07",
    severity=Severity.CRITICAL,
    basis=Basis.FLEET,
    text="A device's identity has been used by another sender, or in two places at once.",
)


PUBLISHED = Limits()

MAX_LISTED = 16
"""Ids and numbers listed in evidence; the count says how many there were."""

MAX_TOPICS = 8
"""A device has four topics; more are a forger's."""


class Sighting(Struct, frozen=True, kw_only=True):
    """A usable position of a device's record, whether or not the track accepted it.

    Leave out those that the device itself calls spoofed: they have a code of their own.
    """

    device: str
    gen: int
    seq: int
    fix_ms: int
    lon: float
    lat: float
    acc_m: float


# ---------------------------------------------------------------- refused messages


def identity_conflicts(
    refusals: Iterable[Refusal],
    plan: DeliveryPlan,
    now_ms: int,
    limits: Limits = PUBLISHED,
) -> Findings:
    """Messages in the name of a bound device that were refused for their sender or as second body.

    One finding for each episode of a (device, reason): from the first refusal to the last, over
    when ``identity_quiet_s`` have passed without another. Repeating a message only adds to the
    evidence of its episode.
    """
    quiet_ms = round(limits.identity_quiet_s * 1000)
    return tuple(
        _refused(episode, open_=now_ms - episode.last_ms <= quiet_ms)
        for episode in _episodes(refusals, plan, quiet_ms)
    )


def identity_clock_ms(
    refusals: Iterable[Refusal],
    plan: DeliveryPlan,
    now_ms: int,
    limits: Limits = PUBLISHED,
) -> int | None:
    """When the next open episode closes if nothing more is refused; None: none is open."""
    quiet_ms = round(limits.identity_quiet_s * 1000)
    closing = [e.last_ms + quiet_ms + 1 for e in _episodes(refusals, plan, quiet_ms)]
    return min((t for t in closing if t > now_ms), default=None)


def _episodes(refusals: Iterable[Refusal], plan: DeliveryPlan, quiet_ms: int) -> list[Refusal]:
    """Refusals of this delivery's devices, merged while they follow each other closely."""
    bound: dict[str, list[BoundDevice]] = defaultdict(list)
    for device in plan.devices:
        bound[device.id].append(device)
    grouped: dict[tuple[str, str], list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        if any(_within(refusal, device) for device in bound[refusal.device]):
            grouped[refusal.device, refusal.reason].append(refusal)
    merged = chain.from_iterable(_merged(group, quiet_ms) for group in grouped.values())
    return sorted(merged, key=lambda e: (e.first_ms, e.device, e.reason))


def _within(refusal: Refusal, device: BoundDevice) -> bool:
    return refusal.to_ms >= device.from_ms and (
        device.to_ms is None or refusal.from_ms <= device.to_ms
    )


def _merged(group: Sequence[Refusal], quiet_ms: int) -> Iterator[Refusal]:
    ordered = sorted(group, key=lambda r: (r.first_ms, r.last_ms, r.from_ms))
    episode = ordered[0]
    for refusal in ordered[1:]:
        if refusal.first_ms - episode.last_ms <= quiet_ms:
            episode = _joined(episode, refusal)
        else:
            yield episode
            episode = refusal
    yield episode


def _joined(a: Refusal, b: Refusal) -> Refusal:
    return replace(
        a,
        last_ms=max(a.last_ms, b.last_ms),
        count=a.count + b.count,
        from_ms=min(a.from_ms, b.from_ms),
        to_ms=max(a.to_ms, b.to_ms),
        topics=tuple(dict.fromkeys(a.topics + b.topics))[:MAX_TOPICS],
        quarantine_ids=tuple(sorted({*a.quarantine_ids, *b.quarantine_ids}))[:MAX_LISTED],
        identities=tuple(dict.fromkeys(a.identities + b.identities))[:MAX_LISTED],
    )


def _refused(episode: Refusal, *, open_: bool) -> Finding:
    evidence = {
        "case": "refused",
        "reason": episode.reason,
        "count": episode.count,
        "first_received_ms": episode.first_ms,
        "last_received_ms": episode.last_ms,
        "topics": list(episode.topics),
        "quarantine_ids": list(episode.quarantine_ids),
    }
    found_by = None
    if episode.identities:
        gen, seq = episode.identities[0]
        found_by = FoundBy(device=episode.device, gen=gen, seq=seq)
        evidence["identities"] = [{"gen": g, "seq": s} for g, s in episode.identities]
        evidence |= {"gen": gen, "seq": seq}
    return Finding(
        code=IDENTITY_CONFLICT.code,
        device=episode.device,
        severity=IDENTITY_CONFLICT.severity,
        basis=IDENTITY_CONFLICT.basis,
        start_ms=episode.first_ms,
        end_ms=None if open_ else episode.last_ms,
        evidence=evidence,
        found_by=found_by,
    )


# ---------------------------------------------------------------- two deliveries at once


def device_on_two(others: Iterable[OtherBinding], plan: DeliveryPlan) -> Findings:
    """A device of this delivery that is bound to another one as well: one finding for each overlap.

    A binding that ends at the moment another begins does not overlap it.
    """
    found = []
    for other in others:
        for own in plan.devices:
            if own.id == other.device and other.delivery != plan.id:
                start_ms, end_ms = _overlap(own, other)
                if end_ms is None or start_ms < end_ms:
                    found.append(_on_two(other, start_ms, end_ms))
    return tuple(sorted(found, key=lambda f: (f.start_ms, f.device, f.evidence["other_delivery"])))


def _overlap(own: BoundDevice, other: OtherBinding) -> tuple[int, int | None]:
    ends = [end for end in (own.to_ms, other.to_ms) if end is not None]
    return max(own.from_ms, other.from_ms), min(ends, default=None)


def _on_two(other: OtherBinding, start_ms: int, end_ms: int | None) -> Finding:
    return Finding(
        code=IDENTITY_CONFLICT.code,
        device=other.device,
        severity=IDENTITY_CONFLICT.severity,
        basis=IDENTITY_CONFLICT.basis,
        start_ms=start_ms,
        end_ms=end_ms,
        evidence={"case": "two_deliveries", "other_delivery": other.delivery},
    )


# ---------------------------------------------------------------- two places at once


def two_places(sightings: Iterable[Sighting], limits: Limits = PUBLISHED) -> Findings:
    """A device whose records alternate between places that cannot be reached from each other.

    An episode begins with the first record at the second place, is found with the
    ``two_places_switches``-th switch, and ends with the last one: when the other place has been
    left long enough ago that one vehicle could have come from there, or a third place is seen. It
    is open while the data ends in it. Places within ``two_places_m`` of each other are one to a
    receiver among houses. In the order (time of fix, gen, seq) of each device.
    """
    by_device: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        by_device[sighting.device].append(sighting)
    found: list[Finding] = []
    for device in sorted(by_device):
        ordered = sorted(by_device[device], key=lambda s: (s.fix_ms, s.gen, s.seq))
        found.extend(at_two_places(run) for run in _runs(ordered) if is_told(run, limits))
    return tuple(found)


class TwoPlaces(Struct, frozen=True, kw_only=True):
    """Two tracks at once: ``here`` and ``there`` are the newest sighting on each.

    ``first`` and ``second``: the sightings of the first switch; ``last``: that of the last one.
    """

    first: Sighting
    second: Sighting
    here: Sighting
    there: Sighting
    last: Sighting
    switches: int = 1
    fastest_kmh: float = 0.0
    farthest_m: float = 0.0
    over: bool = False


def _runs(ordered: Sequence[Sighting]) -> Iterator[TwoPlaces]:
    """The runs in which a track is in two places; the last one may not be over."""
    here = ordered[0]
    run: TwoPlaces | None = None
    for seen in ordered[1:]:
        before = here
        here = seen
        if run is None:
            run = None if reachable(before, seen) else begin_two_places(before, seen)
            continue
        after = continue_two_places(run, seen)
        if after.over:
            yield after
            run = None if reachable(before, seen) else begin_two_places(before, seen)
        else:
            run = after
    if run is not None:
        yield run


def begin_two_places(before: Sighting, seen: Sighting) -> TwoPlaces:
    """A run that begins with a sighting out of reach of the one before."""
    return TwoPlaces(
        first=before,
        second=seen,
        here=seen,
        there=before,
        last=seen,
        fastest_kmh=_speed_kmh(before, seen),
        farthest_m=_apart_m(before, seen),
    )


def continue_two_places(run: TwoPlaces, seen: Sighting) -> TwoPlaces:
    """The run with one sighting more, which may be its end."""
    from_here, from_there = reachable(run.here, seen), reachable(run.there, seen)
    if from_here and not from_there:
        return replace(run, here=seen)
    if from_there and not from_here:
        return replace(
            run,
            here=seen,
            there=run.here,
            last=seen,
            switches=run.switches + 1,
            fastest_kmh=max(run.fastest_kmh, _speed_kmh(run.here, seen)),
            farthest_m=max(run.farthest_m, _apart_m(run.here, seen)),
        )
    return replace(run, over=True)


def is_told(run: TwoPlaces, limits: Limits) -> bool:
    """Whether a run has gone there, back and there again, between places that are two."""
    return run.switches >= limits.two_places_switches and run.farthest_m > limits.two_places_m


def _apart_m(a: Sighting, b: Sighting) -> float:
    return distance_m((a.lon, a.lat), (b.lon, b.lat))


def _speed_kmh(a: Sighting, b: Sighting) -> float:
    """The speed that the switch would have needed; as over one second where it took no time."""
    off_m = _apart_m(a, b) - a.acc_m - b.acc_m
    return off_m / max(1.0, (b.fix_ms - a.fix_ms) / 1000) * 3.6


def at_two_places(run: TwoPlaces) -> Finding:
    """The finding of a run."""
    off_m = distance_m((run.first.lon, run.first.lat), (run.second.lon, run.second.lat))
    return Finding(
        code=IDENTITY_CONFLICT.code,
        device=run.first.device,
        severity=IDENTITY_CONFLICT.severity,
        basis=IDENTITY_CONFLICT.basis,
        start_ms=run.second.fix_ms,
        end_ms=run.last.fix_ms if run.over else None,
        geometry=point(run.second.lon, run.second.lat),
        evidence={
            "case": "two_places",
            "places": [[run.first.lon, run.first.lat], [run.second.lon, run.second.lat]],
            "apart_m": round(off_m, 1),
            "switches": run.switches,
            "fastest_kmh": round(run.fastest_kmh, 1),
        },
        found_by=FoundBy(device=run.second.device, gen=run.second.gen, seq=run.second.seq),
    )


TWO_PLACES = "two_places"
"""The kind of the traces that `tracker.detectors.twins` leaves."""


def _in_two_places(trace: Trace) -> Finding:
    """What was found in the delivery's own records, as they came."""
    evidence = dict(trace.data)
    gen, seq = evidence.pop("gen"), evidence.pop("seq")
    return Finding(
        code=IDENTITY_CONFLICT.code,
        device=trace.device,
        severity=IDENTITY_CONFLICT.severity,
        basis=IDENTITY_CONFLICT.basis,
        start_ms=trace.from_ms,
        end_ms=trace.to_ms,
        geometry=point(trace.lon, trace.lat),
        evidence=evidence,
        found_by=FoundBy(device=trace.device, gen=gen, seq=seq),
    )


def _find(seen: Whole) -> Judged:
    around = seen.around
    if not (around.refusals or around.bindings or around.own):
        return Judged()  # as nearly always
    refused = identity_conflicts(around.refusals, seen.plan, seen.now_ms, seen.limits)
    clock_ms = identity_clock_ms(around.refusals, seen.plan, seen.now_ms, seen.limits)
    return Judged(
        findings=(
            *refused,
            *device_on_two(around.bindings, seen.plan),
            *map(_in_two_places, (t for t in around.own if t.kind == TWO_PLACES)),
        ),
        clocks=() if clock_ms is None else (clock_ms,),
    )


identity_conflict = WholeDetector(rule=IDENTITY_CONFLICT, find=_find)
