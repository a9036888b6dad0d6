"""What an assessment is made from: findings, the people who answer, the journey. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from tracker.model import BoundDevice, Severity
from tracker.riskblock.consequence import Level

#: A finding that a person resolved so says nothing about non-delivery.
DISMISSED: Final = frozenset({"explained", "technical", "false"})


class SubjectFacts(Struct, frozen=True, kw_only=True):
    """The categories of the two who answer for the goods (participants.category)."""

    carrier: Level = "medium"
    declarant: Level = "medium"


class FindingFacts(Struct, frozen=True, kw_only=True):
    """An anomaly as the assessment needs it.

    ``status`` open, closed or retracted. ``duration_s`` None where it has none. ``device``,
    ``from_ms``, ``to_ms``: whose records show it and when; None: not known, or still so.
    ``lasted_s``: of an open one, from its start until now. ``finding_of_alert``: what a person
    resolved its alert with, if so.
    """

    code: str
    severity: Severity
    status: Literal["open", "closed", "retracted"] = "open"
    evidence: Mapping[str, Any] = {}
    duration_s: float | None = None
    finding_of_alert: str | None = None
    anomaly_id: str | None = None
    device: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    lasted_s: float = 0.0


class JourneyFacts(Struct, frozen=True, kw_only=True):
    """What is known of the journey besides its findings.

    ``devices``: those bound, and when. ``heard_ms``: the time of each one's newest valid fix.
    ``arrived``: customs has confirmed the arrival and telemetry was in the destination's zone.
    ``seals_intact``: the officer stated the state of at least one seal, and each as intact.
    """

    devices: tuple[BoundDevice, ...] = ()
    heard_ms: Mapping[str, int] = {}
    arrived: bool = False
    seals_intact: bool = False


def counts(finding: FindingFacts) -> bool:
    """Whether a finding speaks for non-delivery: neither retracted nor dismissed by a person."""
    return finding.status != "retracted" and finding.finding_of_alert not in DISMISSED
