"""What the words and figures of an anomaly's evidence say. Pure.

An indicator's weight is that of its code; its ``readings`` scale it by the words found here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tracker.riskblock.facts import FindingFacts

#: By these findings alone a seal may be whole: somebody may just have tried to open it.
_TRIED: Final = frozenset({"unauthorised_unlock"})


def words(finding: FindingFacts) -> frozenset[str]:
    """Words of the evidence that scale a weight: ``why``, ``signs``, kinds of contradictions."""
    evidence = finding.evidence
    listed = [*_listed(evidence, "why"), *_listed(evidence, "signs")]
    said = {word for word in listed if isinstance(word, str)}
    return frozenset(said | set(_contradictions(evidence)))


def numbers(finding: FindingFacts) -> dict[str, float]:
    """The finite numbers of the evidence, by name; the duration beside them.

    ``unturned_pct``: how much of the way that positions show the wheels have not driven.
    """
    facts = {name: value for name, value in finding.evidence.items() if _is_number(value)}
    path_m, odometer_m = facts.get("path_m", 0.0), facts.get("odometer_m")
    if path_m > 0 and odometer_m is not None:
        facts["unturned_pct"] = 100.0 * (1.0 - min(1.0, max(0.0, odometer_m / path_m)))
    if finding.duration_s is not None:
        facts["duration_s"] = finding.duration_s
    return facts


def _listed(evidence: Mapping[str, Any], name: str) -> list[Any]:
    value = evidence.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def _contradictions(evidence: Mapping[str, Any]) -> Iterator[str]:
    """Kinds of the contradictions of an arrival; of a broken seal also whether it was told."""
    for one in _listed(evidence, "contradictions"):
        kind = one.get("kind") if isinstance(one, dict) else None
        if kind == "seal_not_intact":
            if frozenset(one.get("findings") or ()) == _TRIED:
                yield "seal_tried"
            else:
                yield "seal_hidden" if one.get("stated") in (None, "intact") else "seal_told"
        elif isinstance(kind, str):
            yield kind


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
