"""Alerts whose time has passed: found by the due time, passed on, told to the stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from tracker.alerts import TIME_NORMS, AlertView, escalate
from tracker.db.findings import write_history
from tracker.db.outbox import Event, append
from tracker.db.reading import EVERYTHING
from tracker.db.reading_alerts import alerts_by_id
from tracker.model import Severity

AT_ONCE = 500
"""Alerts passed on in one transaction: after a night without a watch there may be thousands."""

# alerts_due: unresolved alerts that may be passed on further and whose time for it has come (as
# `tracker.alerts.escalate` has it, which decides), the longest overdue first. One that a person
# handles just now is left for the next tick.
_DUE: LiteralString = """
SELECT id, delivery_id, status, severity, due_at, assignee, escalation
FROM alerts
WHERE status IN ('open', 'acknowledged') AND due_at <= %(now)s AND escalation < %(most)s
  AND due_at + (escalation + (status = 'acknowledged')::int)
      * make_interval(secs => (%(norms)s::jsonb ->> severity)::float8) <= %(now)s
ORDER BY escalation, due_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""


_NORMS = json.dumps({str(name): norm.total_seconds() for name, norm in TIME_NORMS.items()})


def escalate_due(conn: psycopg.Connection[Any], now: datetime, to: Sequence[str]) -> int:
    """Pass on the alerts whose time has passed at ``now``; how many. Inside a transaction."""
    if not to:
        return 0
    with conn.cursor(row_factory=dict_row) as cursor:
        params = {"now": now, "most": len(to), "limit": AT_ONCE, "norms": _NORMS}
        rows = cursor.execute(_DUE, params).fetchall()
    told = []
    for row in rows:
        view = AlertView(
            status=row["status"],
            severity=Severity(row["severity"]),
            due_at=row["due_at"],
            standing={},
            assignee=row["assignee"],
        )
        passed = escalate(view, level=row["escalation"], to=to, now=now)
        if passed is None:
            continue
        conn.execute(
            "UPDATE alerts SET escalation = %s, escalated_at = %s, escalated_to = %s WHERE id = %s",
            (passed.level, now, passed.to, row["id"]),
        )
        write_history(conn, row["id"], [passed.line])
        told.append(row["id"])
    if told:
        append(
            conn,
            [
                Event(
                    kind="alert",
                    delivery_id=alert["delivery_id"],
                    payload={name: value for name, value in alert.items() if name != "rank"},
                )
                for alert in alerts_by_id(conn, EVERYTHING, told)
            ],
        )
    return len(told)
