"""Sequence: records that the device made and that never came.

A device numbers its records without a gap (mqtt.md), so a missing number is a record that exists,
or existed. It may still come from the device's store: only a day later, or when the device says
that it no longer holds it, is it missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Judged, Rule, Whole, WholeDetector
from tracker.model import Basis, BoundDevice, Finding, Hole, Severity

SEQUENCE_GAP = Rule(
    code="sequence_gap",
    eaeu_code="06",
    severity=Severity.LOW,
    basis=Basis.CLOCK,
    text="Records of the device are missing although later ones have been received.",
)

MOST_LISTED = 16
"""Ranges of numbers told one by one; the count says how many numbers there are."""


class Missing(Struct, frozen=True, kw_only=True):
    """Holes of one device whose spans overlap: one episode."""

    start_ms: int
    end_ms: int
    holes: tuple[Hole, ...]


def holes_within(device: BoundDevice, holes: Iterable[Hole]) -> list[Missing]:
    """The holes of a device that lie within its binding by their neighbours' t*, in order.

    Below the first number of all there is no neighbour: a device that was used before begins its
    first delivery with any number. Those records are this delivery's, from its beginning on, only
    if the device can have made so many since then, at its period under way.
    """
    found = []
    for hole in holes:
        if hole.device != device.id or hole.after_ms is None:
            continue
        if hole.before_ms is None and not _made_since(device, hole):
            continue  # where it begins cannot be told, or lies before the delivery
        # A clock put back between the two makes the later number the earlier time.
        ends = (device.from_ms if hole.before_ms is None else hole.before_ms, hole.after_ms)
        start_ms, end_ms = min(ends), max(ends)
        if start_ms >= device.from_ms and (device.to_ms is None or end_ms <= device.to_ms):
            found.append(Missing(start_ms=start_ms, end_ms=end_ms, holes=(hole,)))
    return sorted(found, key=lambda m: (m.start_ms, m.end_ms, m.holes[0].gen, m.holes[0].seqs))


def _made_since(device: BoundDevice, hole: Hole) -> bool:
    """Whether the first numbers of all can have been made since the device was bound."""
    assert hole.after_ms is not None
    least_ms = hole.seqs[1] * device.periods.moving_s * 1000
    return hole.seqs[0] == 1 and hole.after_ms - device.from_ms >= least_ms


def missed(hole: Hole, now_ms: int, wait_ms: int) -> bool:
    """Whether a hole is to be told: its numbers can never come, or have not for long enough."""
    return hole.final or now_ms >= hole.higher_received_ms + wait_ms


def _find(seen: Whole) -> Judged:
    wait_ms = round(seen.limits.sequence_gap_s * 1000)
    if not seen.around.holes:
        return Judged()
    found: list[Finding] = []
    clocks: list[int] = []
    for device in seen.plan.devices:
        told = []
        for one in holes_within(device, seen.around.holes):
            (hole,) = one.holes
            if missed(hole, seen.now_ms, wait_ms):
                told.append(one)
            else:
                clocks.append(hole.higher_received_ms + wait_ms)
        found += [_finding(device.id, one) for one in _merged(told)]
    return Judged(findings=tuple(found), clocks=tuple(clocks))


def _merged(ordered: Sequence[Missing]) -> list[Missing]:
    """Spans that overlap, as those of two generations may, are one; those that touch are two."""
    merged: list[Missing] = []
    for one in ordered:
        last = merged[-1] if merged else None
        if last is not None and (one.start_ms < last.end_ms or _same_span(one, last)):
            both = (*last.holes, *one.holes)
            merged[-1] = replace(last, end_ms=max(last.end_ms, one.end_ms), holes=both)
        else:
            merged.append(one)
    return merged


def _same_span(a: Missing, b: Missing) -> bool:
    return (a.start_ms, a.end_ms) == (b.start_ms, b.end_ms)


def _finding(device: str, missing: Missing) -> Finding:
    holes = missing.holes
    by_gen: dict[int, list[list[int]]] = defaultdict(list)
    for hole in holes[:MOST_LISTED]:
        by_gen[hole.gen].append(list(hole.seqs))
    return Finding(
        code=SEQUENCE_GAP.code,
        device=device,
        severity=SEQUENCE_GAP.severity,
        basis=SEQUENCE_GAP.basis,
        start_ms=missing.start_ms,
        end_ms=missing.end_ms,
        provisional=not all(hole.final for hole in holes),
        evidence={
            "missing": sum(hole.missing for hole in holes),
            "ranges": [{"gen": gen, "seqs": seqs} for gen, seqs in sorted(by_gen.items())],
            "final": all(hole.final for hole in holes),
        },
    )


sequence_gap = WholeDetector(rule=SEQUENCE_GAP, find=_find)
