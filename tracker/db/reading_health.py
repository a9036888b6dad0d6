"""What health and metrics ask of the database. Cheap: every scrape runs them."""

from __future__ import annotations

from typing import Any

import psycopg


def only_read(conn: psycopg.Connection[Any]) -> bool:
    """Whether the server refuses every write: it is a standby, or was set to."""
    row = conn.execute(
        "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
    ).fetchone()
    return bool(row and row[0])


def revision(conn: psycopg.Connection[Any]) -> str | None:
    """The schema's revision; None if it was never migrated."""
    exists = conn.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if not exists or not exists[0]:
        return None
    row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def evaluator_lag_s(conn: psycopg.Connection[Any]) -> float:
    """Age of the oldest mark that has not been judged, in seconds; 0 if there is none."""
    row = conn.execute(
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(marked_at)), 0) FROM dirty"
    ).fetchone()
    return max(0.0, float(row[0])) if row else 0.0


def dirty_deliveries(conn: psycopg.Connection[Any]) -> int:
    """Deliveries that wait to be judged."""
    row = conn.execute("SELECT count(DISTINCT delivery_id) FROM dirty").fetchone()
    return int(row[0]) if row else 0


def telemetry_estimate(conn: psycopg.Connection[Any]) -> int:
    """Stored records by the planner's estimate: counting them would read them all."""
    query = """
        SELECT coalesce(sum(greatest(s.n_live_tup, 0)), 0)
        FROM pg_inherits i JOIN pg_stat_user_tables s ON s.relid = i.inhrelid
        WHERE i.inhparent = 'telemetry'::regclass"""
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0


def quarantine_by_reason(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Records kept in quarantine, by reason."""
    query = "SELECT reason, count(*) FROM quarantine GROUP BY reason ORDER BY reason"
    return {str(reason): int(n) for reason, n in conn.execute(query)}


def quarantine_over_limit(conn: psycopg.Connection[Any]) -> int:
    """Refused records that the bound a device kept out of quarantine."""
    row = conn.execute("SELECT coalesce(sum(over_limit), 0) FROM quarantine_counts").fetchone()
    return int(row[0]) if row else 0


def unresolved_alerts(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Unresolved alerts, by severity."""
    query = """
        SELECT severity, count(*) FROM alerts WHERE status IN ('open', 'acknowledged')
        GROUP BY severity"""
    return {str(severity): int(n) for severity, n in conn.execute(query)}


def deliveries_by_status(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Deliveries, by status."""
    rows = conn.execute("SELECT status, count(*) FROM deliveries GROUP BY status")
    return {str(status): int(n) for status, n in rows}


def outbox_newest(conn: psycopg.Connection[Any]) -> int:
    """Id of the newest event."""
    row = conn.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()
    return int(row[0]) if row else 0
