"""Layers: what is known of a place lowers the severity of what was found there, and nothing else.

Where many devices fall silent and come back, silence is no sign of guilt by itself; where several
vehicles are jammed at once, none of them carries the jammer. The evidence names the dated layer
that was used, so that a severity can be understood and appealed years later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from tracker.detectors.communication import SILENCE
from tracker.detectors.limits import Limits
from tracker.detectors.radio import JAMMING, cell_of
from tracker.model import Around, Finding, Severity, Trace, from_ms

JAM = "jam"
"""The kind of the traces of jamming, and of vehicles without a fix."""


def day_of(t_ms: int) -> str:
    """The day of a moment in UTC: layers are dated by it."""
    return f"{from_ms(t_ms):%Y-%m-%d}"


# ---------------------------------------------------------------- area jamming


def jammed_area(
    cell: str, start_ms: int, delivery: str, others: Iterable[Trace], limits: Limits
) -> bool:
    """Whether vehicles of enough deliveries, this one included, went blind in one cell within the
    time: then the jammer is not aboard this one."""
    within_ms = round(limits.area_jam_s * 1000)
    starts: dict[str, list[int]] = defaultdict(list)
    for other in others:
        near = abs(other.from_ms - start_ms) <= within_ms
        if near and other.kind == JAM and other.cell == cell and other.delivery != delivery:
            starts[other.delivery].append(other.from_ms)
    needed = limits.area_jam_vehicles - 1
    if len(starts) < needed:
        return False
    begins = {start_ms, *(t for times in starts.values() for t in times if t < start_ms)}
    return any(
        sum(any(b <= t <= b + within_ms for t in times) for times in starts.values()) >= needed
        for b in begins
    )


def temper_jamming(finding: Finding, around: Around, limits: Limits) -> Finding:
    """Jamming of an area is of low severity: it happens to a vehicle."""
    if finding.code != JAMMING.code or not around.others:
        return finding
    cell = finding.evidence.get("cell")
    if cell is None or not jammed_area(cell, finding.start_ms, "", around.others, limits):
        return finding
    told: dict[str, Any] = {
        "layer_date": day_of(finding.start_ms),
        "cell": cell,
        # How many more there were is not evidence: it would change with each that comes.
        "vehicles_at_least": limits.area_jam_vehicles,
    }
    return replace(
        finding, severity=Severity.LOW, evidence={**finding.evidence, "area_jamming": told}
    )


# ---------------------------------------------------------------- dead zones


def dead_key(cell: str, t_ms: int) -> str:
    """The name in `Around.dead` of a cell as it was known before the day of a moment."""
    return f"{cell}@{day_of(t_ms)}"


def silence_key(finding: Finding) -> tuple[str, str] | None:
    """The cell in which a silence began, and its day; None: it is none, or its place not known."""
    last_fix = finding.evidence.get("last_fix")
    if finding.code != SILENCE.code or last_fix is None:
        return None
    return cell_of(*last_fix), day_of(finding.start_ms)


def temper_silence(finding: Finding, around: Around, limits: Limits) -> Finding:
    """Silence that began in a known dead zone weighs one step less, if the place explains it.

    It does not explain time to spare: with a slack that makes a silence grave, it weighs less only
    if slow driving accounts for the slack. While such a silence lasts, nothing does.
    """
    if not around.dead or finding.code != SILENCE.code:
        return finding
    key = silence_key(finding)
    zone = None if key is None else around.dead.get(f"{key[0]}@{key[1]}")
    if zone is None:
        return finding
    lowered = finding.severity.order <= SILENCE.severity.order or _slowly(finding, limits)
    told = {
        "layer_date": zone.layer_date,
        "cell": zone.cell,
        "devices": zone.devices,
        "gaps": zone.gaps,
        "lowered": lowered,
    }
    severity = lower(finding.severity) if lowered else finding.severity
    return replace(finding, severity=severity, evidence={**finding.evidence, "dead_zone": told})


def _slowly(finding: Finding, limits: Limits) -> bool:
    """Whether driving at a slow pace all the way accounts for a slack."""
    slack_min = finding.evidence.get("slack_min")
    shortest_min = finding.evidence.get("shortest_min")
    if slack_min is None or shortest_min is None:
        return False
    return bool(slack_min <= (limits.legal_speed_kmh / limits.dead_zone_kmh - 1) * shortest_min)


def lower(severity: Severity) -> Severity:
    """One step less, but never below low: it stays something that a person may see."""
    return list(Severity)[max(Severity.LOW.order, severity.order - 1)]
