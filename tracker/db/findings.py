"""Writing what evaluation found: anomalies, alerts with history, risk, positions, status."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct, to_builtins
from psycopg.rows import dict_row

from tracker.alerts import AlertPlan, AlertView, HistoryLine
from tracker.anomalies import RULES, Newest
from tracker.db.reading import Row
from tracker.db.reading_findings import anomaly_json
from tracker.model import Basis, Finding, FoundBy, Severity, from_ms, to_ms
from tracker.risk import Assessment

Connection = psycopg.Connection[Any]
POSITIONS_CHANNEL = "tracker_positions"


class StoredAnomaly(Struct, frozen=True, kw_only=True):
    """An anomaly as it stands in the database."""

    id: UUID
    finding: Finding
    status: str
    settings_version: str
    found_at: datetime
    alert_id: UUID | None


# ---------------------------------------------------------------- anomalies

_ANOMALIES = """
SELECT a.id, a.delivery_id, a.device_id, a.code, a.severity, a.basis, a.status, a.provisional,
       a.start_at, a.end_at, a.decided_at, ST_AsGeoJSON(a.geom, 9)::jsonb AS geometry, a.evidence,
       a.found_at, a.found_by, a.settings_version, a.alert_id
FROM anomalies a
WHERE a.delivery_id = ANY(%s) AND a.status <> 'retracted'
ORDER BY a.start_at, a.id
"""


def standing_anomalies(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, list[StoredAnomaly]]:
    """The anomalies of deliveries that have not been retracted."""
    found: dict[UUID, list[StoredAnomaly]] = {id_: [] for id_ in ids}
    with conn.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_ANOMALIES, (list(ids),)):
            found[row["delivery_id"]].append(_stored(row))
    return found


def _stored(row: Row) -> StoredAnomaly:
    finding = Finding(
        code=row["code"],
        device=row["device_id"],
        severity=Severity(row["severity"]),
        basis=Basis(row["basis"]),
        start_ms=to_ms(row["start_at"]),
        end_ms=None if row["end_at"] is None else to_ms(row["end_at"]),
        provisional=row["provisional"],
        geometry=row["geometry"],
        evidence=row["evidence"],
        found_by=FoundBy(**row["found_by"]) if row["found_by"] else None,
        decided_ms=None if row["decided_at"] is None else to_ms(row["decided_at"]),
    )
    return StoredAnomaly(
        id=row["id"],
        finding=finding,
        status=row["status"],
        settings_version=row["settings_version"],
        found_at=row["found_at"],
        alert_id=row["alert_id"],
    )


_UPSERT = """
INSERT INTO anomalies AS a (
    id, delivery_id, device_id, code, eaeu_code, severity, basis, status, provisional, start_at,
    end_at, decided_at, geom, evidence, found_at, found_by, settings_version, alert_id, updated_at
) VALUES (
    %(id)s, %(delivery_id)s, %(device_id)s, %(code)s, %(eaeu_code)s, %(severity)s, %(basis)s,
    %(status)s, %(provisional)s, %(start_at)s, %(end_at)s, %(decided_at)s,
    ST_SetSRID(ST_GeomFromGeoJSON(%(geometry)s), 4326), %(evidence)s, %(found_at)s, %(found_by)s,
    %(settings_version)s, %(alert_id)s, clock_timestamp()
)
ON CONFLICT (delivery_id, id) DO UPDATE SET
    severity = excluded.severity, basis = excluded.basis, status = excluded.status,
    provisional = excluded.provisional, start_at = excluded.start_at, end_at = excluded.end_at,
    decided_at = excluded.decided_at, geom = excluded.geom, evidence = excluded.evidence,
    found_by = excluded.found_by, settings_version = excluded.settings_version,
    alert_id = excluded.alert_id, updated_at = excluded.updated_at
"""


def write_anomalies(conn: Connection, anomalies: Iterable[tuple[UUID, StoredAnomaly]]) -> None:
    """Insert or update anomalies of deliveries."""
    with conn.cursor() as cursor:
        cursor.executemany(_UPSERT, [_row(id_, anomaly) for id_, anomaly in anomalies])


def _row(delivery_id: UUID, anomaly: StoredAnomaly) -> Row:
    f = anomaly.finding
    return {
        "id": anomaly.id,
        "delivery_id": delivery_id,
        "device_id": f.device,
        "code": f.code,
        "eaeu_code": RULES[f.code].eaeu_code,
        "severity": str(f.severity),
        "basis": str(f.basis),
        "status": anomaly.status,
        "provisional": f.provisional,
        "start_at": from_ms(f.start_ms),
        "end_at": None if f.end_ms is None else from_ms(f.end_ms),
        "decided_at": None if f.decided_ms is None else from_ms(f.decided_ms),
        "geometry": None if f.geometry is None else json.dumps(f.geometry),
        "evidence": json.dumps(f.evidence),
        "found_at": anomaly.found_at,
        "found_by": json.dumps(to_builtins(f.found_by)) if f.found_by else None,
        "settings_version": anomaly.settings_version,
        "alert_id": anomaly.alert_id,
    }


def anomaly_payload(delivery_id: UUID, anomaly: StoredAnomaly) -> Row:
    """An anomaly as the API and the stream show it."""
    row = _row(delivery_id, anomaly)
    shown = {
        "geometry": anomaly.finding.geometry,
        "evidence": anomaly.finding.evidence,
        "found_by": to_builtins(anomaly.finding.found_by) if anomaly.finding.found_by else None,
    }
    return anomaly_json(row | shown)


# ---------------------------------------------------------------- alerts

AlertKey = tuple[UUID, str]
"""(delivery, code)."""


class StoredAlert(Struct, frozen=True, kw_only=True):
    """The unresolved alert of a (delivery, code)."""

    id: UUID
    view: AlertView


_UNRESOLVED = """
SELECT a.delivery_id, a.code, a.id, a.status, a.severity, a.due_at, a.assignee,
       coalesce((
           SELECT jsonb_object_agg(n.id, n.severity) FROM anomalies n
           WHERE n.delivery_id = a.delivery_id AND n.alert_id = a.id AND n.status <> 'retracted'
       ), '{}') AS standing
FROM alerts a
WHERE a.delivery_id = ANY(%s) AND a.status IN ('open', 'acknowledged')
FOR UPDATE OF a
"""


def unresolved_alerts(conn: Connection, ids: Sequence[UUID]) -> dict[AlertKey, StoredAlert]:
    """The unresolved alerts of deliveries, locked: a person may be handling one just now."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_UNRESOLVED, (list(ids),)).fetchall()
    return {
        (row["delivery_id"], row["code"]): StoredAlert(
            id=row["id"],
            view=AlertView(
                status=row["status"],
                severity=Severity(row["severity"]),
                due_at=row["due_at"],
                standing={k: Severity(v) for k, v in row["standing"].items()},
                assignee=row["assignee"],
            ),
        )
        for row in rows
    }


def write_alert(
    conn: Connection, key: AlertKey, alert_id: UUID, plan: AlertPlan, now: datetime
) -> None:
    """Store what was planned for an alert, with the lines of its history."""
    conn.execute(
        """
        INSERT INTO alerts (id, delivery_id, code, status, severity, raised_at, due_at, count)
        VALUES (%(id)s, %(delivery)s, %(code)s, %(status)s, %(severity)s, %(now)s, %(due)s,
                %(count)s)
        ON CONFLICT (delivery_id, id) DO UPDATE SET
            status = excluded.status, severity = excluded.severity, due_at = excluded.due_at,
            count = excluded.count,
            resolved_at = CASE WHEN excluded.status = 'retracted' THEN excluded.raised_at END
        """,
        {
            "id": alert_id,
            "delivery": key[0],
            "code": key[1],
            "status": plan.status,
            "severity": str(plan.severity),
            "now": now,
            "due": plan.due_at,
            "count": plan.count,
        },
    )
    write_history(conn, alert_id, plan.history)


def write_history(conn: Connection, alert_id: UUID, lines: Sequence[HistoryLine]) -> None:
    """Add lines to an alert's history."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO alert_history (alert_id, at, who, what, text) VALUES (%s, %s, %s, %s, %s)",
            [(alert_id, line.at, line.who, line.what, line.text) for line in lines],
        )


def findings_of_alerts(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """How people resolved the alerts of deliveries: alert → finding."""
    rows = conn.execute(
        "SELECT id, finding FROM alerts WHERE delivery_id = ANY(%s) AND finding IS NOT NULL",
        (list(ids),),
    ).fetchall()
    return dict(rows)


# ---------------------------------------------------------------- risk


def write_assessment(
    conn: Connection, delivery_id: UUID, assessed: Assessment, now: datetime
) -> Row | None:
    """Store an assessment if it says something new; what it says as the stream shows it."""
    reasons = to_builtins(assessed.reasons)
    row = conn.execute(
        """
        WITH newest AS (
            SELECT * FROM risk_assessments WHERE delivery_id = %(id)s ORDER BY id DESC LIMIT 1
        )
        INSERT INTO risk_assessments (delivery_id, at, probability, consequence_kzt,
            expected_loss_kzt, level, corridor, reasons, weights_version)
        SELECT %(id)s, %(now)s, %(p)s, %(consequence)s, %(loss)s, %(level)s, %(corridor)s,
               %(reasons)s::jsonb, %(version)s
        WHERE NOT EXISTS (
            SELECT 1 FROM newest WHERE reasons = %(reasons)s::jsonb AND level = %(level)s
              AND expected_loss_kzt = %(loss)s AND weights_version = %(version)s
        )
        RETURNING 1
        """,
        {
            "id": delivery_id,
            "now": now,
            "p": assessed.probability,
            "consequence": assessed.consequence_kzt,
            "loss": assessed.expected_loss_kzt,
            "level": assessed.level,
            "corridor": assessed.corridor,
            "reasons": json.dumps(reasons),
            "version": assessed.weights_version,
        },
    ).fetchone()
    if row is None:
        return None
    return {
        "delivery_id": str(delivery_id),
        "at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "probability": assessed.probability,
        "expected_loss_kzt": assessed.expected_loss_kzt,
        "level": assessed.level,
        "corridor": assessed.corridor,
        "profiles": list(assessed.profiles),
        "reasons": reasons,
    }


# ---------------------------------------------------------------- state, status, positions


def write_state(
    conn: Connection,
    delivery_id: UUID,
    *,
    now: datetime,
    next_clock_ms: int | None,
    progress_m: float | None,
    assessed: Assessment,
) -> None:
    """Where evaluation of a delivery now stands; a former fault is over."""
    conn.execute(
        """
        UPDATE delivery_state SET
            evaluated_at = %(now)s, next_clock_at = %(clock)s, progress_m = %(progress)s,
            probability = %(p)s, expected_loss_kzt = %(loss)s, level = %(level)s,
            error = NULL, retry_at = NULL
        WHERE delivery_id = %(id)s
        """,
        {
            "id": delivery_id,
            "now": now,
            "clock": None if next_clock_ms is None else from_ms(next_clock_ms),
            "progress": progress_m,
            "p": assessed.probability,
            "loss": assessed.expected_loss_kzt,
            "level": assessed.level,
        },
    )


def write_status(conn: Connection, delivery_id: UUID, before: str, after: str) -> bool:
    """Move a delivery on, unless a person has moved it meanwhile."""
    row = conn.execute(
        """
        UPDATE deliveries SET status = %s, version = version + 1
        WHERE id = %s AND status = %s RETURNING 1
        """,
        (after, delivery_id, before),
    ).fetchone()
    return row is not None


def write_positions(conn: Connection, newest: Iterable[tuple[UUID, int, Newest]]) -> None:
    """Keep each device's newest valid position for the live map; wakes the stream at commit."""
    rows = [_position(*one) for one in newest]
    if not rows:
        return
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO device_positions AS p (device_no, delivery_id, t, geom, speed_kmh,
                heading_deg, moving, progress_m, distance_m, updated_at)
            VALUES (%(no)s, %(delivery)s, %(t)s, ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326),
                %(speed)s, %(heading)s, %(moving)s, %(progress)s, %(distance)s, clock_timestamp())
            ON CONFLICT (device_no) DO UPDATE SET
                delivery_id = excluded.delivery_id, t = excluded.t, geom = excluded.geom,
                speed_kmh = excluded.speed_kmh, heading_deg = excluded.heading_deg,
                moving = excluded.moving, progress_m = excluded.progress_m,
                distance_m = excluded.distance_m, updated_at = excluded.updated_at
            WHERE p.t <= excluded.t OR p.delivery_id = excluded.delivery_id
            """,
            rows,
        )
    conn.execute("SELECT pg_notify(%s, '')", (POSITIONS_CHANNEL,))


def _position(delivery_id: UUID, device_no: int, newest: Newest) -> Mapping[str, Any]:
    fix, place = newest.fix, newest.place
    return {
        "no": device_no,
        "delivery": delivery_id,
        "t": from_ms(newest.t_ms),
        "lon": fix.lon,
        "lat": fix.lat,
        "speed": fix.speed_kmh,
        "heading": fix.heading_deg,
        "moving": newest.moving,
        "progress": place.progress_m if place else None,
        "distance": place.distance_m if place else None,
    }
