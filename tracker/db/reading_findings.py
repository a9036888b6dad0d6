"""Reading anomalies as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tracker.db.reading import Page, Row, Scope, page_of, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingFilter:
    """What a list of anomalies or alerts is narrowed to; None: not narrowed."""

    delivery_id: UUID | None = None
    code: Sequence[str] | None = None
    status: Sequence[str] | None = None
    severity: Sequence[str] | None = None
    post: str | None = None
    since: datetime | None = None

    def params(self) -> Row:
        """The query parameters that carry the filter."""
        return {
            "delivery_id": self.delivery_id,
            "code": list(self.code) if self.code else None,
            "status": list(self.status) if self.status else None,
            "severity": list(self.severity) if self.severity else None,
            "post": self.post,
            "since": self.since,
        }


_COLUMNS: LiteralString = """
    a.id, a.delivery_id, a.device_id, a.code, a.eaeu_code, a.severity, a.basis, a.status,
    a.provisional, a.start_at, a.end_at, ST_AsGeoJSON(a.geom, 7)::jsonb AS geometry, a.evidence,
    a.found_at, a.found_by, a.settings_version, a.rules_version
"""

# list_anomalies: newest finding first; `since` compares when it was found, not when it happened,
# because a reader asks for what it has not seen yet.
_LIST: LiteralString = (
    "SELECT"
    + _COLUMNS
    + """
FROM anomalies a JOIN deliveries d ON d.id = a.delivery_id
WHERE (%(scope_carrier)s::uuid IS NULL OR d.carrier_id = %(scope_carrier)s)
  AND (%(delivery_id)s::uuid IS NULL OR a.delivery_id = %(delivery_id)s)
  AND (%(code)s::text[] IS NULL OR a.code = ANY(%(code)s))
  AND (%(status)s::text[] IS NULL OR a.status = ANY(%(status)s))
  AND (%(severity)s::text[] IS NULL OR a.severity = ANY(%(severity)s))
  AND (%(post)s::text IS NULL OR %(post)s IN (d.departure_post, d.destination_post))
  AND (%(since)s::timestamptz IS NULL OR a.found_at >= %(since)s)
  AND (%(after_at)s::timestamptz IS NULL OR (a.found_at, a.id) < (%(after_at)s, %(after_id)s::uuid))
ORDER BY a.found_at DESC, a.id DESC
LIMIT %(limit)s + 1
"""
)

# What a gap leaves open: the zones, of use to who unloads or rests, in the region that the vehicle
# can have been in. Looked up when read and not stored: zones are drawn later too.
_WITHIN_REACH: LiteralString = """
LEFT JOIN LATERAL (
    SELECT jsonb_agg(
        jsonb_build_object('code', n.code, 'kind', n.kind)
        ORDER BY n.kind <> 'restricted', n.kind <> 'terminal', n.kind, n.code
    ) FILTER (WHERE n.place <= 20) AS zones, count(*) AS number
    FROM (
        SELECT z.code, z.kind, row_number() OVER (
            ORDER BY z.kind <> 'restricted', z.kind <> 'terminal', z.kind, z.code
        ) AS place
        FROM zones z
        WHERE z.kind <> 'territory'
          AND (z.valid_from IS NULL OR z.valid_from < a.end_at)
          AND (z.valid_to IS NULL OR z.valid_to > a.start_at)
          AND EXISTS (
              SELECT FROM zone_pieces p
              WHERE p.zone_id = z.id AND ST_Intersects(
                  p.geom,
                  ST_SetSRID(ST_GeomFromGeoJSON((a.evidence -> 'reach')::text), 4326)
              )
          )
    ) AS n
) AS reached ON a.evidence ? 'reach'
"""

# list_of_delivery: in the order in which things happened.
_OF_DELIVERY: LiteralString = (
    "SELECT"
    + _COLUMNS
    + """, reached.zones AS zones_within_reach, reached.number AS zones_within_reach_number
FROM anomalies a
"""
    + _WITHIN_REACH
    + """WHERE a.delivery_id = %(delivery_id)s
  AND (%(code)s::text[] IS NULL OR a.code = ANY(%(code)s))
  AND (%(status)s::text[] IS NULL OR a.status = ANY(%(status)s))
  AND (%(severity)s::text[] IS NULL OR a.severity = ANY(%(severity)s))
  AND (%(since)s::timestamptz IS NULL OR a.found_at >= %(since)s)
  AND (%(after_at)s::timestamptz IS NULL OR (a.start_at, a.id) > (%(after_at)s, %(after_id)s::uuid))
ORDER BY a.start_at, a.id
LIMIT %(limit)s + 1
"""
)


def list_anomalies(
    conn: psycopg.Connection[Any], scope: Scope, wanted: FindingFilter, page: Page
) -> tuple[list[Row], str | None]:
    """Anomalies of all deliveries in scope, newest finding first, and the next cursor."""
    return _page(conn, _LIST, "found_at", scope, wanted, page)


def list_of_delivery(
    conn: psycopg.Connection[Any], wanted: FindingFilter, page: Page
) -> tuple[list[Row], str | None]:
    """Anomalies of one delivery (rights checked by the caller) by their start."""
    return _page(conn, _OF_DELIVERY, "start_at", Scope(), wanted, page)


def _page(
    conn: psycopg.Connection[Any],
    query: LiteralString,
    key: str,
    scope: Scope,
    wanted: FindingFilter,
    page: Page,
) -> tuple[list[Row], str | None]:
    after_at, after_id = page.after or (None, None)
    params = {"limit": page.limit, "after_at": after_at, "after_id": after_id}
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, params | scope.params() | wanted.params()).fetchall()
    kept, following = page_of(rows, page.limit, lambda row: (row[key], row["id"]))
    return [anomaly_json(_with_reach(row)) for row in kept], following


def _with_reach(row: Row) -> Row:
    """The anomaly with the zones within reach in its evidence, if they were looked up."""
    if row.get("zones_within_reach") is None:
        return row
    zones = {"zones": row["zones_within_reach"], "count": row["zones_within_reach_number"]}
    return row | {"evidence": row["evidence"] | {"within_reach": zones}}


def anomaly_json(row: Row) -> Row:
    """An anomaly as contract http.md has it."""
    return {
        "id": str(row["id"]),
        "delivery_id": str(row["delivery_id"]),
        "device_id": row["device_id"],
        "code": row["code"],
        "eaeu_code": row["eaeu_code"],
        "severity": row["severity"],
        "basis": row["basis"],
        "status": row["status"],
        "provisional": row["provisional"],
        "start": rfc3339(row["start_at"]),
        "end": rfc3339(row["end_at"]),
        "geometry": row["geometry"],
        "evidence": row["evidence"],
        "found_at": rfc3339(row["found_at"]),
        "found_by": row["found_by"],
        "settings_version": row["settings_version"],
        "rules_version": row["rules_version"],
    }
