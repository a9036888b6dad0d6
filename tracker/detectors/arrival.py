"""Arrival: an arrival on paper that telemetry contradicts.

Telemetry that says nothing contradicts nothing: without any valid fix the place is not judged, and
without a word of the seal its state is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracker.detectors.base import Judged, Rule, Whole, WholeDetector, point
from tracker.geodesy import distance_m
from tracker.model import (
    Act,
    ActKind,
    Basis,
    Finding,
    Newest,
    PlanPost,
    Severity,
)

ARRIVAL_MISMATCH = Rule(
    code="arrival_mismatch",
    eaeu_code="07",
    severity=Severity.HIGH,
    basis=Basis.DATA,
    text="The arrival was confirmed, but telemetry contradicts it.",
)

BREAKS = frozenset({"seal_cut", "seal_body_open", "unauthorised_unlock"})
"""Findings, open at the arrival, with which a seal is not intact."""

ANSWERS = frozenset({ActKind.RESEAL, ActKind.CONTROL, ActKind.CLOSE})
"""Acts by which an officer deals with what has arrived: the contradiction has been looked at."""


def _find(seen: Whole) -> Judged:
    arrivals = [act for act in seen.plan.acts if act.kind is ActKind.ARRIVAL]
    if not arrivals or seen.plan.cancelled:
        return Judged()
    arrival = arrivals[-1]
    contradictions = [*_of_place(seen, arrival), *_of_seals(seen, arrival)]
    if not contradictions:
        return Judged()
    elsewhere = next((c["position"] for c in contradictions if c.get("position")), None)
    finding = Finding(
        code=ARRIVAL_MISMATCH.code,
        device=None,
        severity=ARRIVAL_MISMATCH.severity,
        basis=ARRIVAL_MISMATCH.basis,
        start_ms=arrival.t_ms,
        end_ms=_answered_ms(seen, arrival),
        geometry=point(*elsewhere) if elsewhere else None,
        evidence={"contradictions": contradictions},
    )
    return Judged(findings=(finding,))


def _answered_ms(seen: Whole, arrival: Act) -> int | None:
    """When an officer dealt with it: the first resealing, control or closing after the arrival."""
    answers = [a.t_ms for a in seen.plan.acts if a.kind in ANSWERS and a.t_ms >= arrival.t_ms]
    return min(answers, default=None)


# ---------------------------------------------------------------- the place


def _of_place(seen: Whole, arrival: Act) -> Iterator[dict[str, Any]]:
    """Where its devices were: never in the destination's zone, or gone from it again."""
    post = seen.plan.destination
    newest = dict(sorted(seen.newest.items()))
    if post is None or not newest:
        return
    entered = any(post.zone in seen.visits.get(device, {}) for device in newest)
    if not entered:
        device, last = max(newest.items(), key=lambda item: item[1].t_ms)
        yield {"kind": "zone_not_entered", "zone": post.zone, **_whereabouts(device, last, post)}
    for device, last in newest.items():
        if entered and _is_elsewhere(last, post, arrival, seen):
            yield {"kind": "elsewhere", **_whereabouts(device, last, post)}


def _is_elsewhere(last: Newest, post: PlanPost, arrival: Act, seen: Whole) -> bool:
    """Whether a device is so far from the post that it cannot have been there at the arrival.

    One that fell silent on the road may have come in the meantime, at legal speed.
    """
    if any(zone.code == post.zone for zone in last.fix.zones):
        return False
    off_m = distance_m((last.fix.lon, last.fix.lat), (post.lon, post.lat))
    passed_s = max(0, arrival.t_ms - last.t_ms) / 1000
    way_m = passed_s * seen.limits.legal_speed_kmh / 3.6
    return off_m > max(seen.limits.arrival_far_m, way_m)


def _whereabouts(device: str, last: Newest, post: PlanPost) -> dict[str, Any]:
    at = (last.fix.lon, last.fix.lat)
    return {
        "device": device,
        "position": list(at),
        "t_ms": last.t_ms,
        "distance_m": round(distance_m(at, (post.lon, post.lat))),
    }


# ---------------------------------------------------------------- the seals


def _of_seals(seen: Whole, arrival: Act) -> Iterator[dict[str, Any]]:
    """What the officer stated of each seal, against what the seal says."""
    stated = {s["device_id"]: s["state"] for s in arrival.data.get("seals") or ()}
    bound = {device.id for device in seen.plan.devices}
    broken = _broken(seen, arrival.t_ms)
    for device, codes in sorted(broken.items()):
        yield {
            "kind": "seal_not_intact",
            "device": device,
            "stated": stated.get(device),
            "findings": codes,
        }
    for device, state in sorted(stated.items()):
        if device not in bound:
            yield {"kind": "seal_unknown", "device": device, "stated": state}
        elif state != "intact" and device not in broken:
            yield {"kind": "seal_state", "device": device, "stated": state, "findings": []}


def _broken(seen: Whole, t_ms: int) -> dict[str, list[str]]:
    """Devices with a finding, open at a time, that means a broken or opened seal."""
    broken: dict[str, set[str]] = {}
    for finding in seen.standing:
        lasts = finding.end_ms is None or finding.end_ms > t_ms
        if finding.code in BREAKS and finding.device and finding.start_ms <= t_ms and lasts:
            broken.setdefault(finding.device, set()).add(finding.code)
    return {device: sorted(codes) for device, codes in broken.items()}


arrival_mismatch = WholeDetector(rule=ARRIVAL_MISMATCH, find=_find)
