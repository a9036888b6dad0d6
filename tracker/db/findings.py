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
from tracker.anomalies import RULES, VERSION
from tracker.db.arrays import flags, numbers, uuids, words
from tracker.db.reading import Row, rfc3339
from tracker.db.reading_findings import anomaly_json
from tracker.model import Basis, Finding, FoundBy, Newest, Severity, from_ms, to_ms
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
WHERE a.delivery_id = ANY(%s::uuid[]) AND a.status <> 'retracted'
ORDER BY a.start_at, a.id
"""


def standing_anomalies(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, list[StoredAnomaly]]:
    """The anomalies of deliveries that have not been retracted."""
    found: dict[UUID, list[StoredAnomaly]] = {id_: [] for id_ in ids}
    with conn.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_ANOMALIES, (uuids(ids),)):
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
    end_at, decided_at, geom, evidence, found_at, found_by, settings_version, alert_id, updated_at,
    rules_version
) VALUES (
    %(id)s, %(delivery_id)s, %(device_id)s, %(code)s, %(eaeu_code)s, %(severity)s, %(basis)s,
    %(status)s, %(provisional)s, %(start_at)s, %(end_at)s, %(decided_at)s,
    ST_SetSRID(ST_GeomFromGeoJSON(%(geometry)s), 4326), %(evidence)s, %(found_at)s, %(found_by)s,
    %(settings_version)s, %(alert_id)s, clock_timestamp(), %(rules_version)s
)
ON CONFLICT (delivery_id, id) DO UPDATE SET
    severity = excluded.severity, basis = excluded.basis, status = excluded.status,
    provisional = excluded.provisional, start_at = excluded.start_at, end_at = excluded.end_at,
    decided_at = excluded.decided_at, geom = excluded.geom, evidence = excluded.evidence,
    found_by = excluded.found_by, settings_version = excluded.settings_version,
    rules_version = excluded.rules_version,
    alert_id = excluded.alert_id, updated_at = excluded.updated_at
"""


def write_anomalies(conn: Connection, anomalies: Iterable[tuple[UUID, StoredAnomaly]]) -> None:
    """Insert or update anomalies of deliveries."""
    rows = [_row(id_, anomaly) for id_, anomaly in anomalies]
    if rows:
        with conn.cursor() as cursor:
            cursor.executemany(_UPSERT, rows)


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
        "rules_version": VERSION,
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


def write_assessments(
    conn: Connection, assessed: Mapping[UUID, Assessment], now: datetime
) -> dict[UUID, Row]:
    """Store assessments; each as the stream shows it."""
    if not assessed:
        return {}
    reasons = {id_: to_builtins(a.reasons) for id_, a in assessed.items()}
    conn.execute(
        """
        INSERT INTO risk_assessments (delivery_id, at, probability, consequence_kzt,
            expected_loss_kzt, level, corridor, reasons, weights_version)
        SELECT w.id, %(now)s, w.p, w.consequence, w.loss, w.level, w.corridor,
               w.reasons::jsonb, w.version
        FROM unnest(%(ids)s::uuid[], %(p)s::float8[], %(consequence)s::bigint[],
            %(loss)s::bigint[], %(level)s::text[], %(corridor)s::text[], %(reasons)s::text[],
            %(version)s::text[])
            AS w (id, p, consequence, loss, level, corridor, reasons, version)
        """,
        {
            "now": now,
            "ids": list(assessed),
            "p": [a.probability for a in assessed.values()],
            "consequence": [a.consequence_kzt for a in assessed.values()],
            "loss": [a.expected_loss_kzt for a in assessed.values()],
            "level": [str(a.level) for a in assessed.values()],
            "corridor": [str(a.corridor) for a in assessed.values()],
            "reasons": [json.dumps(reasons[id_]) for id_ in assessed],
            "version": [a.weights_version for a in assessed.values()],
        },
    )
    return {id_: _risk_payload(id_, a, reasons[id_], now) for id_, a in assessed.items()}


def _risk_payload(delivery_id: UUID, a: Assessment, reasons: Any, now: datetime) -> Row:
    return {
        "delivery_id": str(delivery_id),
        "at": rfc3339(now),
        "probability": a.probability,
        "expected_loss_kzt": a.expected_loss_kzt,
        "level": a.level,
        "corridor": a.corridor,
        "profiles": list(a.profiles),
        "reasons": reasons,
    }


# ---------------------------------------------------------------- state, status, positions


class Standing(Struct, frozen=True, kw_only=True):
    """Where evaluation of a delivery now stands. ``assessed`` None: as before."""

    delivery_id: UUID
    next_clock_ms: int | None
    progress_m: float | None
    assessment: Assessment | None
    digest: str | None


def write_standings(conn: Connection, standings: Sequence[Standing], *, now: datetime) -> None:
    """Write where evaluation stands, for a whole batch; former faults are over.

    A clock that stands and comes sooner is left: looking once too often costs less than changing
    an indexed column with every record.
    """
    assessments = [w.assessment for w in standings]
    conn.execute(
        """
        UPDATE delivery_state s SET
            evaluated_at = %(now)s,
            next_clock_at = CASE
                WHEN s.next_clock_at > %(now)s
                    AND s.next_clock_at <= to_timestamp(w.clock / 1000.0::float8)
                THEN s.next_clock_at ELSE to_timestamp(w.clock / 1000.0::float8) END,
            progress_m = w.progress, probability = coalesce(w.p, s.probability),
            expected_loss_kzt = coalesce(w.loss, s.expected_loss_kzt),
            level = coalesce(w.level, s.level), assessed = coalesce(w.digest, s.assessed),
            error = NULL, retry_at = NULL
        FROM unnest(%(ids)s::uuid[], %(clock)s::bigint[], %(progress)s::float8[], %(p)s::float8[],
            %(loss)s::bigint[], %(level)s::text[], %(digest)s::text[])
            AS w (id, clock, progress, p, loss, level, digest)
        WHERE s.delivery_id = w.id
        """,
        {
            "now": now,
            "ids": uuids([w.delivery_id for w in standings]),
            "clock": numbers([w.next_clock_ms for w in standings]),
            "progress": numbers([w.progress_m for w in standings]),
            "p": numbers([a.probability if a else None for a in assessments]),
            "loss": numbers([a.expected_loss_kzt if a else None for a in assessments]),
            "level": words([str(a.level) if a else None for a in assessments]),
            "digest": words([w.digest for w in standings]),
        },
    )


def write_status(conn: Connection, delivery_id: UUID, before: str, after: str) -> bool:
    """Move a delivery on, unless a person has moved it meanwhile.

    The version stays: it counts what people did. What telemetry moves on is not an edit that an
    officer, who read the delivery a minute before, could have lost.
    """
    row = conn.execute(
        """
        UPDATE deliveries SET status = %s
        WHERE id = %s AND status = %s RETURNING 1
        """,
        (after, delivery_id, before),
    ).fetchone()
    return row is not None


def write_positions(conn: Connection, newest: Sequence[tuple[UUID, int, Newest]]) -> None:
    """Keep each device's newest valid position for the live map; wakes the stream at commit."""
    if not newest:
        return
    fixes = [n.fix for _, _, n in newest]
    places = [n.place for _, _, n in newest]
    conn.execute(
        """
        INSERT INTO device_positions AS p (device_no, delivery_id, t, geom, speed_kmh,
            heading_deg, moving, progress_m, distance_m, updated_at)
        SELECT w.no, w.delivery, to_timestamp(w.t / 1000.0::float8),
            ST_SetSRID(ST_MakePoint(w.lon, w.lat), 4326), w.speed, w.heading, w.moving,
            w.progress, w.distance, clock_timestamp()
        FROM unnest(%(no)s::int[], %(delivery)s::uuid[], %(t)s::bigint[], %(lon)s::float8[],
            %(lat)s::float8[], %(speed)s::float8[], %(heading)s::float8[], %(moving)s::bool[],
            %(progress)s::float8[], %(distance)s::float8[])
            AS w (no, delivery, t, lon, lat, speed, heading, moving, progress, distance)
        ON CONFLICT (device_no) DO UPDATE SET
            delivery_id = excluded.delivery_id, t = excluded.t, geom = excluded.geom,
            speed_kmh = excluded.speed_kmh, heading_deg = excluded.heading_deg,
            moving = excluded.moving, progress_m = excluded.progress_m,
            distance_m = excluded.distance_m, updated_at = excluded.updated_at
        WHERE p.t <= excluded.t OR p.delivery_id = excluded.delivery_id
        """,
        {
            "no": numbers([no for _, no, _ in newest]),
            "delivery": uuids([id_ for id_, _, _ in newest]),
            "t": numbers([n.t_ms for _, _, n in newest]),
            "lon": numbers([fix.lon for fix in fixes]),
            "lat": numbers([fix.lat for fix in fixes]),
            "speed": numbers([fix.speed_kmh for fix in fixes]),
            "heading": numbers([fix.heading_deg for fix in fixes]),
            "moving": flags([n.moving for _, _, n in newest]),
            "progress": numbers([place.progress_m if place else None for place in places]),
            "distance": numbers([place.distance_m if place else None for place in places]),
        },
    )
    conn.execute("SELECT pg_notify(%s, '')", (POSITIONS_CHANNEL,))
