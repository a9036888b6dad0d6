"""Clock: what follows from the plan, the recorded acts and the present alone."""

from __future__ import annotations

from tracker.detectors.base import Findings, Rule
from tracker.model import Basis, DeliveryPlan, Finding, Severity

OVERDUE = Rule(
    code="overdue",
    eaeu_code=None,
    severity=Severity.HIGH,
    basis=Basis.CLOCK,
    text="The delivery has not arrived by its deadline.",
)


def overdue(plan: DeliveryPlan, now_ms: int) -> Findings:
    """From the deadline until the arrival's ``at``; only goods that were released can be late."""
    end_ms = plan.arrived_ms
    last_ms = now_ms if end_ms is None else end_ms
    if plan.cancelled or plan.released_ms is None or last_ms < plan.deadline_ms:
        return ()
    if end_ms == plan.deadline_ms:
        return ()
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
    return (finding,)
