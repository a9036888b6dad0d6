"""Fleet: vehicles of two deliveries side by side where neither may stand.

Each delivery leaves traces of its long unauthorised stops; the rule compares its own with those of
others near by. It is asked of each of the two, so both have the anomaly, whichever came first.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Judged, Rule, Whole, WholeDetector, point
from tracker.detectors.limits import Limits
from tracker.geodesy import distance_m
from tracker.model import Basis, Finding, FoundBy, Severity, Trace

RENDEZVOUS = Rule(
    code="rendezvous",
    eaeu_code="07",
    severity=Severity.HIGH,
    basis=Basis.FLEET,
    text="The vehicle has stood beside the vehicle of another delivery outside allowed zones.",
)

STOP = "stop"
"""The kind of the traces of stops."""


class Meeting(Struct, frozen=True, kw_only=True):
    """Two stops side by side, or several meetings that overlap.

    ``end_ms`` None: all still stand. ``together_ms``: the time that the records of both cover.
    """

    start_ms: int
    end_ms: int | None
    together_ms: int
    off_m: float
    lon: float
    lat: float
    others: tuple[str, ...]
    found_by: FoundBy


def meetings(own: Iterable[Trace], others: Iterable[Trace], limits: Limits) -> list[Meeting]:
    """All meetings of a delivery's vehicle, in order; those that overlap are one."""
    beside = [other for other in others if other.kind == STOP]
    found = [
        met
        for mine in own
        if mine.kind == STOP
        for other in beside
        if (met := _meeting(mine, other, limits)) is not None
    ]
    joined: list[Meeting] = []
    for met in sorted(found, key=lambda m: (m.start_ms, m.others, m.off_m, m.lon, m.lat)):
        last = joined[-1] if joined else None
        if last is not None and (last.end_ms is None or met.start_ms <= last.end_ms):
            joined[-1] = _as_one(last, met)
        else:
            joined.append(met)
    return joined


def _meeting(mine: Trace, other: Trace, limits: Limits) -> Meeting | None:
    start_ms = max(mine.from_ms, other.from_ms)
    together_ms = min(_until_ms(mine), _until_ms(other)) - start_ms
    if mine.delivery == other.delivery or together_ms < limits.rendezvous_s * 1000:
        return None
    off_m = distance_m((mine.lon, mine.lat), (other.lon, other.lat))
    if off_m > limits.rendezvous_m:
        return None
    ends = [end for end in (mine.to_ms, other.to_ms) if end is not None]
    return Meeting(
        start_ms=start_ms,
        end_ms=min(ends, default=None),
        together_ms=together_ms,
        off_m=off_m,
        lon=mine.lon,
        lat=mine.lat,
        others=(other.delivery,),
        found_by=FoundBy(device=mine.device, gen=mine.data["gen"], seq=mine.data["seq"]),
    )


def _until_ms(stop: Trace) -> int:
    """Up to when records show the vehicle standing there."""
    last_ms: int = stop.data["last_ms"]
    return last_ms


def _as_one(a: Meeting, b: Meeting) -> Meeting:
    open_ = a.end_ms is None or b.end_ms is None
    return replace(
        a,
        end_ms=None if open_ else max(a.end_ms or 0, b.end_ms or 0),
        together_ms=max(a.together_ms, b.together_ms),
        off_m=min(a.off_m, b.off_m),
        others=tuple(sorted({*a.others, *b.others})),
    )


def _find(seen: Whole) -> Judged:
    if not seen.around.others or not seen.around.own:
        return Judged()
    met = meetings(seen.around.own, seen.around.others, seen.limits)
    return Judged(findings=tuple(map(_finding, met)))


def _finding(met: Meeting) -> Finding:
    return Finding(
        code=RENDEZVOUS.code,
        device=None,
        severity=RENDEZVOUS.severity,
        basis=RENDEZVOUS.basis,
        start_ms=met.start_ms,
        end_ms=met.end_ms,
        geometry=point(met.lon, met.lat),
        evidence={
            "other_deliveries": list(met.others),
            "together_s": met.together_ms / 1000,
            "apart_m": round(met.off_m, 1),
        },
        found_by=met.found_by,
    )


rendezvous = WholeDetector(rule=RENDEZVOUS, find=_find)
