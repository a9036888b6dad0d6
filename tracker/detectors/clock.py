"""Clock: what follows from the plan, the recorded acts and the present alone."""

from __future__ import annotations

from tracker.detectors.base import Judged, Rule, Whole, WholeDetector
from tracker.model import Basis, Finding, Severity

OVERDUE = Rule(
    code="overdue",
    eaeu_code=None,
    severity=Severity.HIGH,
    basis=Basis.CLOCK,
    text="The delivery has not arrived by its deadline.",
)


def _overdue(seen: Whole) -> Judged:
    """From the deadline until the arrival's ``at``; only goods that were released can be late."""
    plan, end_ms = seen.plan, seen.plan.arrived_ms
    if plan.cancelled or plan.released_ms is None:
        return Judged()
    last_ms = seen.now_ms if end_ms is None else end_ms
    if last_ms < plan.deadline_ms:
        return Judged(clocks=(plan.deadline_ms,) if end_ms is None else ())
    if end_ms == plan.deadline_ms:
        return Judged()
    finding = Finding(
        code=OVERDUE.code,
        device=None,
        severity=OVERDUE.severity,
        basis=OVERDUE.basis,
        start_ms=plan.deadline_ms,
        end_ms=end_ms,
        provisional=end_ms is None,
        evidence={"deadline_ms": plan.deadline_ms},
    )
    return Judged(findings=(finding,))


overdue = WholeDetector(rule=OVERDUE, find=_overdue)
