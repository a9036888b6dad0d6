"""Composite: what several findings together look like."""

from __future__ import annotations

from typing import Any

from tracker.detectors.base import Judged, Rule, Whole, WholeDetector
from tracker.model import Basis, Finding, Severity

UNLOADING_SIGNATURE = Rule(
    code="unloading_signature",
    eaeu_code="07",
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="An unauthorised stop together with a seal event, separation, silence or jamming.",
)

STOP = "unauthorised_stop"

SEAL_EVENTS = frozenset({"seal_cut", "seal_body_open", "unauthorised_unlock"})
"""They last until an officer reseals, but happen at a moment: a seal that was cut before does not
make an unloading of every later stop."""

SPANS = frozenset({"separation", "silence", "jamming"})

MOST_PARTS = 32
"""Parts named in evidence; the count says how many there were."""


def _find(seen: Whole) -> Judged:
    stops = [f for f in seen.standing if f.code == STOP]
    if not stops:
        return Judged()
    parts = [f for f in seen.standing if _is_part(f)]
    found = []
    for stop in stops:
        overlapping = [part for part in parts if overlaps(stop, part)]
        if overlapping:
            found.append(_finding(stop, overlapping))
    return Judged(findings=tuple(found))


def _is_part(finding: Finding) -> bool:
    """A silence that only the clock shows is no part: the records after it will decide."""
    return (finding.code in SEAL_EVENTS or finding.code in SPANS) and not finding.provisional


def overlaps(stop: Finding, part: Finding) -> bool:
    """Whether a finding falls into a stop. A common instant suffices: a stop ends with its last
    fix, and a silence that begins with that fix began at the stop."""
    after_start = part.code in SPANS and (part.end_ms is None or part.end_ms >= stop.start_ms)
    if not after_start and part.start_ms < stop.start_ms:
        return False
    return stop.end_ms is None or part.start_ms <= stop.end_ms


def _finding(stop: Finding, parts: list[Finding]) -> Finding:
    ordered = sorted(parts, key=lambda f: (f.start_ms, f.code, f.device or ""))
    return Finding(
        code=UNLOADING_SIGNATURE.code,
        device=stop.device,
        severity=UNLOADING_SIGNATURE.severity,
        basis=UNLOADING_SIGNATURE.basis,
        start_ms=stop.start_ms,
        end_ms=stop.end_ms,
        geometry=stop.geometry,
        evidence={
            "stop": _plain(stop),
            "parts": [_plain(part) for part in ordered[:MOST_PARTS]],
            "count": len(ordered),
        },
        found_by=stop.found_by,
    )


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "device": finding.device,
        "start_ms": finding.start_ms,
        "end_ms": finding.end_ms,
    }


unloading_signature = WholeDetector(rule=UNLOADING_SIGNATURE, find=_find)
