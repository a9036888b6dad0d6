"""The life of an alert: what anomalies do to it, and what people do. Pure.

One alert at a time is unresolved for a (delivery, code). It counts the anomalies that stand, has
the severity of the gravest of them, and keeps every change as a line of its history. A resolved
or retracted alert is final: only a new anomaly of its code makes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from tracker.errors import Conflict
from tracker.model import Severity

AlertStatus = Literal["open", "acknowledged", "resolved", "retracted"]
AlertFinding = Literal["confirmed", "explained", "false", "technical"]
SYSTEM: Final = "system"

#: Time to act, by severity (detection.md): a cut seal can be followed up only at once, while a
#: low battery waits for the next shift.
TIME_NORMS: Final[Mapping[Severity, timedelta]] = {
    Severity.CRITICAL: timedelta(minutes=5),
    Severity.HIGH: timedelta(minutes=15),
    Severity.MEDIUM: timedelta(minutes=60),
    Severity.LOW: timedelta(hours=24),
    Severity.INFO: timedelta(hours=24),
}


class HistoryLine(Struct, frozen=True, kw_only=True):
    """One line of an alert's history. ``what`` is a code that the pages translate."""

    at: datetime
    who: str
    what: str
    text: str = ""


class AlertView(Struct, frozen=True, kw_only=True):
    """An alert as the rules need it. ``standing``: its anomalies that are not retracted."""

    status: AlertStatus
    severity: Severity
    due_at: datetime
    standing: Mapping[str, Severity]
    assignee: str | None = None

    @property
    def unresolved(self) -> bool:
        """Whether a person still has to handle it."""
        return self.status in ("open", "acknowledged")


class AnomalyChange(Struct, frozen=True, kw_only=True):
    """What happened to one anomaly; ``severity`` is the one it has now.

    ``text`` says it in words ("was: silence 47 min; now: stop 22 min at …").
    """

    anomaly_id: str
    kind: Literal["new", "amended", "closed", "retracted"]
    severity: Severity
    text: str = ""


class AlertPlan(Struct, frozen=True, kw_only=True):
    """What is to be done with the alert, and its fields afterwards.

    ``none``: nothing changed. ``raise``: make a new alert. ``anomaly_ids``: the anomalies that
    now belong to it because of these changes.
    """

    action: Literal["raise", "update", "retract", "none"]
    status: AlertStatus = "open"
    severity: Severity = Severity.INFO
    count: int = 0
    due_at: datetime | None = None
    anomaly_ids: tuple[str, ...] = ()
    history: tuple[HistoryLine, ...] = ()


NOTHING: Final = AlertPlan(action="none")


def plan(current: AlertView | None, changes: Sequence[AnomalyChange], now: datetime) -> AlertPlan:
    """Decide what changes of anomalies of one (delivery, code) do to its unresolved alert.

    Args:
        current: the unresolved alert. None, a resolved or a retracted one is not touched: then
            only anomalies that are new and stand raise an alert. (For the anomalies of a former
            alert, `notes` gives the lines for its history.)
        changes: in the order in which they came.
        now: the time of the decision; a new alert is due its time norm after it.
    """
    if current is None or not current.unresolved:
        return _raise(changes, now)
    return _update(current, changes, now)


def notes(changes: Sequence[AnomalyChange], now: datetime) -> tuple[HistoryLine, ...]:
    """Lines for the history of a finished alert whose anomalies changed; it stays finished."""
    return tuple(_line(change, now) for change in changes if change.kind != "new")


def _raise(changes: Sequence[AnomalyChange], now: datetime) -> AlertPlan:
    """A new alert for the new anomalies that stand at the end of the changes."""
    new = {change.anomaly_id for change in changes if change.kind == "new"}
    own = [change for change in changes if change.anomaly_id in new]
    standing = _apply({}, own)
    if not standing:
        return NOTHING
    kept = [change for change in own if change.anomaly_id in standing]
    lines = [_line(change, now) for change in kept]
    severity = _gravest(standing)
    return AlertPlan(
        action="raise",
        severity=severity,
        count=len(standing),
        due_at=now + TIME_NORMS[severity],
        anomaly_ids=tuple(standing),
        history=(replace(lines[0], what="raised"), *lines[1:]),
    )


def _update(current: AlertView, changes: Sequence[AnomalyChange], now: datetime) -> AlertPlan:
    known = set(current.standing) | {c.anomaly_id for c in changes if c.kind == "new"}
    own = [change for change in changes if change.anomaly_id in known]
    if not own:
        return NOTHING
    standing = _apply(current.standing, own)
    lines = tuple(_line(change, now) for change in own)
    if not standing:
        return _retract(current, lines, own[-1].text, now)
    severity = _gravest(standing)
    return AlertPlan(
        action="update",
        status=current.status,
        severity=severity,
        count=len(standing),
        due_at=_due(current, severity, now),
        anomaly_ids=tuple(i for i in standing if i not in current.standing),
        history=lines + _severity_line(current.severity, severity, now),
    )


def _retract(
    current: AlertView, lines: tuple[HistoryLine, ...], reason: str, now: datetime
) -> AlertPlan:
    last = HistoryLine(at=now, who=SYSTEM, what="retracted", text=reason)
    return AlertPlan(
        action="retract",
        status="retracted",
        severity=current.severity,
        count=len(current.standing),
        due_at=current.due_at,
        history=(*lines, last),
    )


def _apply(
    standing: Mapping[str, Severity], changes: Sequence[AnomalyChange]
) -> dict[str, Severity]:
    after = dict(standing)
    for change in changes:
        if change.kind == "retracted":
            after.pop(change.anomaly_id, None)
        elif change.kind == "new" or change.anomaly_id in after:
            after[change.anomaly_id] = change.severity
    return after


def _gravest(standing: Mapping[str, Severity]) -> Severity:
    return max(standing.values(), key=lambda severity: severity.order)


def _due(current: AlertView, severity: Severity, now: datetime) -> datetime:
    """A graver alert is due sooner; a milder one keeps the time that was promised."""
    if severity.order <= current.severity.order:
        return current.due_at
    return min(current.due_at, now + TIME_NORMS[severity])


def _severity_line(before: Severity, after: Severity, now: datetime) -> tuple[HistoryLine, ...]:
    if before == after:
        return ()
    what = "severity_raised" if after.order > before.order else "severity_lowered"
    return (HistoryLine(at=now, who=SYSTEM, what=what, text=f"{before} → {after}"),)


_WHAT: Final = {
    "new": "repeated",
    "amended": "amended",
    "closed": "closed",
    "retracted": "anomaly_retracted",
}


def _line(change: AnomalyChange, now: datetime) -> HistoryLine:
    return HistoryLine(at=now, who=SYSTEM, what=_WHAT[change.kind], text=change.text)


# ---------------------------------------------------------------- what time does


class Escalation(Struct, frozen=True, kw_only=True):
    """An alert whose time has passed: how often, and whose it is now."""

    level: int
    to: str
    line: HistoryLine


def escalate(
    alert: AlertView, *, level: int, to: Sequence[str], now: datetime
) -> Escalation | None:
    """Whether an alert is to be passed on, and to whom.

    An open one is when its due time has passed, and again with each further time norm, as long as
    there is somebody above. For one that a person has taken note of the clock begins a norm later:
    somebody is at it, but it has no end yet.

    Args:
        level: how often it was passed on before.
        to: whose it is at each level, the first for level 1.
    """
    if not alert.unresolved:
        return None
    norm = TIME_NORMS[alert.severity]
    due_at = alert.due_at + (norm if alert.status == "acknowledged" else timedelta(0))
    if now < due_at:
        return None
    reached = min(len(to), 1 + (now - due_at) // norm)
    if reached <= level:
        return None
    text = f"level {reached}: {to[reached - 1]}; due {alert.due_at:%Y-%m-%dT%H:%M:%SZ}"
    line = HistoryLine(at=now, who=SYSTEM, what="escalated", text=text)
    return Escalation(level=reached, to=to[reached - 1], line=line)


# ---------------------------------------------------------------- what people do


class Handling(Struct, frozen=True, kw_only=True):
    """What a person's act makes of an alert. No history: the act changed nothing."""

    status: AlertStatus
    assignee: str | None = None
    finding: AlertFinding | None = None
    history: tuple[HistoryLine, ...] = ()


def acknowledge(alert: AlertView, *, who: str, text: str, now: datetime) -> Handling:
    """Take note of an alert. Doing it again changes nothing.

    Raises:
        Conflict: the alert is resolved or retracted.
    """
    _require_unresolved(alert)
    if alert.status == "acknowledged":
        return Handling(status="acknowledged", assignee=alert.assignee)
    return Handling(
        status="acknowledged",
        assignee=alert.assignee,
        history=(HistoryLine(at=now, who=who, what="acknowledged", text=text),),
    )


def assign(alert: AlertView, *, to: str, who: str, text: str, now: datetime) -> Handling:
    """Give an alert to a person. It counts as taken note of by neither.

    Raises:
        Conflict: the alert is resolved or retracted.
    """
    _require_unresolved(alert)
    words = f"{to}: {text}" if text else to
    return Handling(
        status=alert.status,
        assignee=to,
        history=(HistoryLine(at=now, who=who, what="assigned", text=words),),
    )


def comment(alert: AlertView, *, who: str, text: str, now: datetime) -> Handling:
    """Add words to the history; allowed in every state, because knowledge comes late too."""
    return Handling(
        status=alert.status,
        assignee=alert.assignee,
        history=(HistoryLine(at=now, who=who, what="commented", text=text),),
    )


def resolve(
    alert: AlertView, *, finding: AlertFinding, who: str, text: str, now: datetime
) -> Handling:
    """Close an alert with a finding, acknowledged before or not.

    Raises:
        Conflict: the alert is resolved or retracted.
    """
    _require_unresolved(alert)
    words = f"{finding}: {text}" if text else finding
    return Handling(
        status="resolved",
        assignee=alert.assignee,
        finding=finding,
        history=(HistoryLine(at=now, who=who, what="resolved", text=words),),
    )


def explain(alert: AlertView, *, ends: bool, who: str, text: str, now: datetime) -> Handling:
    """An incident speaks of what the alert was raised for.

    Args:
        ends: telemetry says the same: the alert ends as explained. Else it gets a line, and a
            person decides.

    Raises:
        Conflict: the alert is resolved or retracted.
    """
    _require_unresolved(alert)
    if not ends:
        line = HistoryLine(at=now, who=who, what="incident", text=text)
        return Handling(status=alert.status, assignee=alert.assignee, history=(line,))
    return Handling(
        status="resolved",
        assignee=alert.assignee,
        finding="explained",
        history=(HistoryLine(at=now, who=who, what="explained", text=text),),
    )


def _require_unresolved(alert: AlertView) -> None:
    if not alert.unresolved:
        raise Conflict(
            f"status: the alert is {alert.status} already; add a comment, or wait for a new alert"
        )
