"""A step of the second stage: what changed anomalies do to alerts.

`tracker.alerts` decides; here the changes of a batch are handed to it, one (delivery, code) at a
time, and what it decides is stored with the anomalies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID, uuid4

from tracker import alerts
from tracker.changes import Change, by_code, sentence
from tracker.db import findings as out
from tracker.db.findings import StoredAlert, StoredAnomaly
from tracker.db.limit_settings import keep_versions
from tracker.incidents import explains
from tracker.incidents import sentence as sentence_of
from tracker.judging import Case, Connection, Judging
from tracker.model import ActKind


def plan_alerts(conn: Connection, batch: Judging) -> None:
    """What the changes do to alerts, and the anomalies with the alerts they belong to."""
    changed = [id_ for id_, case in batch.cases.items() if case.changed]
    if not changed:
        return
    unresolved = out.unresolved_alerts(conn, changed)
    written: list[tuple[UUID, StoredAnomaly]] = []
    for id_ in changed:
        case = batch.cases[id_]
        keyed = [_keyed(change) for change in case.changed]
        for code, items in by_code(keyed).items():
            ids = _plan(conn, batch, case, unresolved.get((id_, code)), code, items)
            written += [(id_, case.anomalies[anomaly_id]) for anomaly_id in ids]
    keep_versions(conn, {batch.cases[id_].in_force for id_, _ in written})
    out.write_anomalies(conn, written)


def _keyed(change: Change[UUID]) -> Change[UUID]:
    if change.key is not None:
        return change
    return Change(kind=change.kind, key=uuid4(), before=change.before, after=change.after)


def _plan(
    conn: Connection,
    batch: Judging,
    case: Case,
    alert: StoredAlert | None,
    code: str,
    items: list[Change[UUID]],
) -> list[UUID]:
    """Plan and store the alert of one (delivery, code); returns the anomalies to be written."""
    told = [change for change in items if change.kind != "refreshed"]
    plan = alerts.plan(alert.view if alert else None, _anomaly_changes(case, told), batch.now)
    alert_id = alert.id if alert else uuid4()
    if plan.action != "none":
        out.write_alert(conn, (case.file.id, code), alert_id, plan, batch.now)
        out.write_history(conn, alert_id, _incident_lines(case, told, batch.now))
        case.alert_ids.add(alert_id)
    _note_finished(conn, case, alert, told, batch.now)
    raised = set(plan.anomaly_ids)
    for change in items:
        assert change.key is not None
        joins = alert_id if str(change.key) in raised else None
        _apply(case, change, change.key, batch, joins)
    case.told += [change.key for change in told if change.key is not None]
    return [change.key for change in items if change.key is not None]


def _anomaly_changes(case: Case, items: Iterable[Change[UUID]]) -> list[alerts.AnomalyChange]:
    result = []
    found = case.found
    for change in items:
        finding = change.after or change.before
        if finding is not None and change.kind != "refreshed":
            result.append(
                alerts.AnomalyChange(
                    anomaly_id=str(change.key),
                    kind=change.kind,
                    severity=finding.severity,
                    text=sentence(change.before, change.after, found),
                )
            )
    return result


def _incident_lines(
    case: Case, told: Iterable[Change[UUID]], now: datetime
) -> list[alerts.HistoryLine]:
    """A line for each incident reported before that speaks of what was found only now."""
    new = [change.after for change in told if change.kind == "new" and change.after is not None]
    return [
        alerts.HistoryLine(at=now, who=alerts.SYSTEM, what="incident", text=sentence_of(act))
        for act in case.file.plan.acts
        if act.kind is ActKind.INCIDENT and any(explains(act, finding) for finding in new)
    ]


def _note_finished(
    conn: Connection,
    case: Case,
    alert: StoredAlert | None,
    told: list[Change[UUID]],
    now: datetime,
) -> None:
    """A resolved alert whose anomalies change gets a line in its history, and stays resolved."""
    finished: dict[UUID, list[Change[UUID]]] = defaultdict(list)
    for change in told:
        stored = case.anomalies.get(change.key) if change.key else None
        if stored and stored.alert_id and (alert is None or stored.alert_id != alert.id):
            finished[stored.alert_id].append(change)
    for alert_id, items in finished.items():
        out.write_history(conn, alert_id, alerts.notes(_anomaly_changes(case, items), now))
        case.alert_ids.add(alert_id)


def _apply(case: Case, change: Change[UUID], key: UUID, batch: Judging, joins: UUID | None) -> None:
    stored = case.anomalies.get(key)
    finding = change.after or change.before
    assert finding is not None
    status = "open" if finding.end_ms is None else "closed"
    case.anomalies[key] = StoredAnomaly(
        id=key,
        finding=finding,
        status="retracted" if change.kind == "retracted" else status,
        settings_version=case.in_force.version,
        found_at=stored.found_at if stored else batch.now,
        alert_id=joins or (stored.alert_id if stored else None),
    )
