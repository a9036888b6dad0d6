"""Clock: what follows from the plan, the recorded acts and the present alone."""

from __future__ import annotations

from tracker.detectors.base import Judged, Rule, Whole, WholeDetector
from tracker.model import ActKind, Basis, Finding, Severity

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


NON_ARRIVAL = Rule(
    code="non_arrival",
    eaeu_code=None,
    severity=Severity.CRITICAL,
    basis=Basis.CLOCK,
    text="The delivery has not arrived a day after its deadline, and no enquiry has cleared it up.",
)


def _non_arrival(seen: Whole) -> Judged:
    """From the deadline and the enquiry clock until the arrival's ``at`` or the enquiry's result,
    whichever comes first."""
    plan = seen.plan
    if plan.cancelled or plan.released_ms is None:
        return Judged()
    start_ms = plan.deadline_ms + round(seen.limits.enquiry_s * 1000)
    end_ms = plan.arrived_ms
    for act in plan.acts:
        if act.kind is ActKind.ENQUIRY_RESULT and (end_ms is None or act.t_ms < end_ms):
            end_ms = act.t_ms
    last_ms = seen.now_ms if end_ms is None else end_ms
    if last_ms < start_ms:
        return Judged(clocks=(start_ms,) if end_ms is None else ())
    if end_ms == start_ms:
        return Judged()
    finding = Finding(
        code=NON_ARRIVAL.code,
        device=None,
        severity=NON_ARRIVAL.severity,
        basis=NON_ARRIVAL.basis,
        start_ms=start_ms,
        end_ms=end_ms,
        provisional=end_ms is None,
        evidence={"deadline_ms": plan.deadline_ms, "enquiry_s": seen.limits.enquiry_s},
    )
    return Judged(findings=(finding,))


overdue = WholeDetector(rule=OVERDUE, find=_overdue)
non_arrival = WholeDetector(rule=NON_ARRIVAL, find=_non_arrival)
