"""Reading alerts as the API shows them, ranked by what is at stake, and storing what people do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tracker.alerts import AlertView, Handling
from tracker.db.reading import Page, Row, Scope, page_of, rfc3339
from tracker.db.reading_findings import FindingFilter
from tracker.errors import Invalid, NotFound
from tracker.model import Severity
from tracker.settings import HANDLERS

# alerts_ranked: rank among the unresolved by the delivery's expected loss, then severity, then
# age. The keys are all ascending, so that a page can go on after any row. Only keys are sorted
# here; the rows are joined to those that are kept. A carrier gets neither rank nor an order that
# tells the loss.
_RANKED: LiteralString = """
WITH keyed AS (
    SELECT a.id, a.delivery_id,
           CASE WHEN %(scope_carrier)s::uuid IS NULL
                THEN -coalesce(s.expected_loss_kzt, -1) ELSE 0 END AS k_loss,
           -array_position(ARRAY['info','low','medium','high','critical'], a.severity)
               AS k_severity,
           extract(epoch FROM a.raised_at) AS k_age
    FROM alerts a LEFT JOIN delivery_state s ON s.delivery_id = a.delivery_id
    WHERE a.status IN ('open', 'acknowledged')
), ranked AS (
    SELECT k.*, CASE WHEN %(scope_carrier)s::uuid IS NULL
                     THEN row_number() OVER (ORDER BY k_loss, k_severity, k_age, id)
                END AS rank
    FROM keyed k
)
"""

_FILTER: LiteralString = """
WHERE (%(scope_carrier)s::uuid IS NULL OR d.carrier_id = %(scope_carrier)s)
  AND (%(delivery_id)s::uuid IS NULL OR a.delivery_id = %(delivery_id)s)
  AND (%(code)s::text[] IS NULL OR a.code = ANY(%(code)s))
  AND (%(status)s::text[] IS NULL OR a.status = ANY(%(status)s))
  AND (%(severity)s::text[] IS NULL OR a.severity = ANY(%(severity)s))
  AND (%(post)s::text IS NULL OR %(post)s IN (d.departure_post, d.destination_post))
  AND (%(since)s::timestamptz IS NULL OR a.raised_at >= %(since)s)
"""

_UNRESOLVED: LiteralString = (
    _RANKED
    + """
SELECT a.*, r.rank, 0 AS k_done, r.k_loss, r.k_severity, r.k_age
FROM ranked r
JOIN alerts a ON a.delivery_id = r.delivery_id AND a.id = r.id
JOIN deliveries d ON d.id = a.delivery_id
"""
    + _FILTER
    + """
  AND (%(k_loss)s::bigint IS NULL OR (r.k_loss, r.k_severity, r.k_age, r.id)
       > (%(k_loss)s, %(k_severity)s::int, %(k_age)s::numeric, %(k_id)s::uuid))
ORDER BY r.k_loss, r.k_severity, r.k_age, r.id
LIMIT %(limit)s
"""
)

# alerts_finished: the newest first, by the index on (raised_at, id).
_FINISHED: LiteralString = (
    """
SELECT a.*, NULL AS rank, 1 AS k_done, 0 AS k_loss, 0 AS k_severity,
       extract(epoch FROM a.raised_at) AS k_age
FROM alerts a JOIN deliveries d ON d.id = a.delivery_id
"""
    + _FILTER
    + """
  AND a.status NOT IN ('open', 'acknowledged')
  AND (%(k_age)s::numeric IS NULL
       OR (a.raised_at, a.id) < (to_timestamp(%(k_age)s::numeric), %(k_id)s::uuid))
ORDER BY a.raised_at DESC, a.id DESC
LIMIT %(limit)s
"""
)

_BY_IDS: LiteralString = (
    _RANKED
    + """
SELECT a.*, r.rank FROM alerts a
JOIN deliveries d ON d.id = a.delivery_id
LEFT JOIN ranked r ON r.id = a.id
WHERE a.id = ANY(%(ids)s)
  AND (%(scope_carrier)s::uuid IS NULL OR d.carrier_id = %(scope_carrier)s)
"""
)

RANKS_OF: LiteralString = (
    _RANKED + "SELECT r.id, r.rank FROM ranked r WHERE r.id = ANY(%(ids)s::uuid[])"
)
"""Present ranks of the alerts ``ids``; ``scope_carrier`` must be None."""

_KEY = ("k_done", "k_loss", "k_severity", "k_age", "id")
_UNDONE = frozenset({"open", "acknowledged"})


def list_alerts(
    conn: psycopg.Connection[Any], scope: Scope, wanted: FindingFilter, page: Page
) -> tuple[list[Row], str | None]:
    """Alerts in scope, the one with most at stake first, and the next cursor."""
    rows = _unresolved(conn, scope, wanted, page)
    rows += _finished(conn, scope, wanted, page, page.limit + 1 - len(rows))
    kept, following = page_of(rows, page.limit, lambda row: [row[name] for name in _KEY])
    return _complete(conn, kept, scope), following


def _unresolved(
    conn: psycopg.Connection[Any], scope: Scope, wanted: FindingFilter, page: Page
) -> list[Row]:
    begun = page.after or (0, None, None, None, None)
    if begun[0] or (wanted.status and _UNDONE.isdisjoint(wanted.status)):
        return []
    keys = dict(zip(("k_loss", "k_severity", "k_age", "k_id"), begun[1:], strict=True))
    params = {"limit": page.limit + 1} | keys | scope.params() | wanted.params()
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_UNRESOLVED, params).fetchall()


def _finished(
    conn: psycopg.Connection[Any], scope: Scope, wanted: FindingFilter, page: Page, limit: int
) -> list[Row]:
    if limit <= 0 or (wanted.status and _UNDONE.issuperset(wanted.status)):
        return []
    among = page.after is not None and page.after[0]
    keys = {
        "k_age": page.after[3] if page.after and among else None,
        "k_id": page.after[4] if page.after and among else None,
    }
    params = {"limit": limit} | keys | scope.params() | wanted.params()
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_FINISHED, params).fetchall()


def alerts_by_id(conn: psycopg.Connection[Any], scope: Scope, ids: Sequence[UUID]) -> list[Row]:
    """The alerts among ``ids`` that are in scope, each as the API shows it."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_BY_IDS, {"ids": list(ids)} | scope.params()).fetchall()
    return _complete(conn, rows, scope)


def get_alert(conn: psycopg.Connection[Any], scope: Scope, alert_id: UUID) -> Row:
    """One alert.

    Raises:
        NotFound: there is none, or none that the caller may know of.
    """
    found = alerts_by_id(conn, scope, [alert_id])
    if not found:
        raise NotFound(f"no alert {alert_id}")
    return found[0]


# ---------------------------------------------------------------- the parts of an alert


def _complete(conn: psycopg.Connection[Any], rows: Sequence[Row], scope: Scope) -> list[Row]:
    ids = [row["id"] for row in rows]
    anomalies, history = _anomaly_ids(conn, ids), _history(conn, ids, scope)
    return [_alert_json(row, anomalies[row["id"]], history[row["id"]]) for row in rows]


def _anomaly_ids(conn: psycopg.Connection[Any], ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = defaultdict(list)
    query = """
        SELECT n.alert_id, n.id FROM alerts a
        JOIN anomalies n ON n.delivery_id = a.delivery_id AND n.alert_id = a.id
        WHERE a.id = ANY(%s) ORDER BY n.start_at, n.id"""
    for alert_id, anomaly_id in conn.execute(query, (list(ids),)):
        found[alert_id].append(str(anomaly_id))
    return found


_OFFICERS_OWN = frozenset({"commented", "escalated"})


def _history(
    conn: psycopg.Connection[Any], ids: Sequence[UUID], scope: Scope
) -> dict[UUID, list[Row]]:
    """The lines of each alert. What officers say to each other a carrier does not get."""
    found: dict[UUID, list[Row]] = defaultdict(list)
    query = """
        SELECT alert_id, at, who, what, text FROM alert_history
        WHERE alert_id = ANY(%s) ORDER BY alert_id, id"""
    for alert_id, at, who, what, text in conn.execute(query, (list(ids),)):
        if scope.carrier is None or what not in _OFFICERS_OWN:
            found[alert_id].append({"at": rfc3339(at), "who": who, "what": what, "text": text})
    return found


def _alert_json(row: Row, anomaly_ids: list[str], history: list[Row]) -> Row:
    return {
        "id": str(row["id"]),
        "delivery_id": str(row["delivery_id"]),
        "code": row["code"],
        "status": row["status"],
        "severity": row["severity"],
        "rank": row["rank"],
        "raised_at": rfc3339(row["raised_at"]),
        "due_at": rfc3339(row["due_at"]),
        "count": row["count"],
        "assignee": row["assignee"],
        "anomaly_ids": anomaly_ids,
        "finding": row["finding"],
        "escalation": row["escalation"],
        "escalated_at": rfc3339(row["escalated_at"]),
        "escalated_to": row["escalated_to"],
        "history": history,
    }


# ---------------------------------------------------------------- what people do


def require_user(conn: psycopg.Connection[Any], username: str) -> None:
    """Refuse a name that is no active user who may handle alerts.

    Raises:
        Invalid: there is no such user, or its role handles none.
    """
    query = "SELECT role FROM users WHERE username = %s AND active"
    row = conn.execute(query, (username,)).fetchone()
    if row is None:
        text = "no such user: give a username from /alerts/assignees"
        raise Invalid.field("body", "assignee", msg=text)
    if row[0] not in HANDLERS:
        text = f"a {row[0]} handles no alerts: give a username from /alerts/assignees"
        raise Invalid.field("body", "assignee", msg=text)


def assignees(conn: psycopg.Connection[Any]) -> list[Row]:
    """Everybody whom an alert can be given to, with how many unresolved ones they have."""
    query = """
        SELECT u.username, u.role, u.posts, count(a.id) AS unresolved
        FROM users u
        LEFT JOIN alerts a ON a.assignee = u.username AND a.status IN ('open', 'acknowledged')
        WHERE u.active AND u.role = ANY(%s)
        GROUP BY u.id ORDER BY u.username"""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, (list(HANDLERS),)).fetchall()


def lock_alert(
    conn: psycopg.Connection[Any], scope: Scope, alert_id: UUID
) -> tuple[UUID, AlertView]:
    """The delivery and the state of an alert, locked until the transaction ends.

    Raises:
        NotFound: there is none, or none that the caller may know of.
    """
    query = """
        SELECT a.delivery_id, a.status, a.severity, a.due_at, a.assignee, d.carrier_id
        FROM alerts a JOIN deliveries d ON d.id = a.delivery_id
        WHERE a.id = %s FOR UPDATE OF a"""
    row = conn.execute(query, (alert_id,)).fetchone()
    if row is None or not scope.sees(row[5]):
        raise NotFound(f"no alert {alert_id}")
    standing = conn.execute(
        "SELECT id, severity FROM anomalies"
        " WHERE delivery_id = %s AND alert_id = %s AND status <> 'retracted'",
        (row[0], alert_id),
    )
    view = AlertView(
        status=row[1],
        severity=Severity(row[2]),
        due_at=row[3],
        standing={str(i): Severity(severity) for i, severity in standing},
        assignee=row[4],
    )
    return row[0], view


def store_handling(conn: psycopg.Connection[Any], alert_id: UUID, handling: Handling) -> None:
    """Store what a person's act made of an alert that is locked, with its history."""
    resolved_at = handling.history[-1].at if handling.finding else None
    conn.execute(
        "UPDATE alerts SET status = %s, assignee = %s, finding = coalesce(%s, finding),"
        " resolved_at = coalesce(%s, resolved_at) WHERE id = %s",
        (handling.status, handling.assignee, handling.finding, resolved_at, alert_id),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO alert_history (alert_id, at, who, what, text) VALUES (%s,%s,%s,%s,%s)",
            [(alert_id, line.at, line.who, line.what, line.text) for line in handling.history],
        )
