"""Reading deliveries: the list with its filters, and one delivery with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from tracker.db.reading import Page, Scope
from tracker.db.reading_risk import ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries to list; None: any."""

    status: Sequence[str] | None = None
    carrier_id: UUID | None = None
    post: str | None = None
    registration_number: str | None = None
    q: str | None = None
    level: str | None = None
    by_rank: bool = False


# The page is chosen first; devices, positions and the rest are fetched for its rows alone.
_SHOWN: Final = """
    SELECT d.*, r.id AS route_now, r.code AS route_code, r.name AS route_name, r.corridor_m,
           r.length_m,
           c.name AS carrier_name, x.name AS declarant_name,
           s.level, s.probability, s.expected_loss_kzt, s.evaluated_at, s.progress_m,
           coalesce(s.expected_loss_kzt, -1) AS loss, coalesce(s.probability, 0) AS likelihood,
           {rank} AS rank,
           NOT EXISTS (SELECT FROM dirty WHERE dirty.delivery_id = d.id) AS settled,
           (SELECT coalesce(json_agg(json_build_object(
                       'device_id', dev.id, 'kind', dev.kind, 'from', b.bound_from,
                       'to', b.bound_to) ORDER BY b.id), '[]'::json)
            FROM bindings b JOIN devices dev ON dev.device_no = b.device_no
            WHERE b.delivery_id = d.id) AS bindings,
           (SELECT json_build_object(
                       't', p.t, 'lon', ST_X(p.geom), 'lat', ST_Y(p.geom),
                       'speed_kmh', p.speed_kmh, 'heading_deg', p.heading_deg,
                       'moving', p.moving, 'device_id', dev.id,
                       'distance_m', p.distance_m, 'progress_m', p.progress_m)
            FROM device_positions p JOIN devices dev ON dev.device_no = p.device_no
            WHERE p.delivery_id = d.id ORDER BY p.t DESC LIMIT 1) AS last_position
    FROM page
    JOIN deliveries d ON d.id = page.id
    JOIN routes r ON r.id = coalesce(
        (SELECT w.route_id FROM delivery_routes w
         WHERE w.delivery_id = d.id AND w.from_t <= clock_timestamp()
         ORDER BY w.from_t DESC LIMIT 1),
        d.route_id)
    JOIN participants c ON c.id = d.carrier_id
    JOIN participants x ON x.id = d.declarant_id
    LEFT JOIN delivery_state s ON s.delivery_id = d.id
    {join}
"""

_CHOSEN: Final = """
    SELECT d.id, d.declared_at,
           coalesce(s.expected_loss_kzt, -1) AS loss, coalesce(s.probability, 0) AS p
    FROM deliveries d LEFT JOIN delivery_state s ON s.delivery_id = d.id
    WHERE (CAST(:scope_carrier AS uuid) IS NULL OR d.carrier_id = :scope_carrier)
      AND (CAST(:status AS text[]) IS NULL OR d.status = ANY(:status))
      AND (CAST(:carrier AS uuid) IS NULL OR d.carrier_id = :carrier)
      AND (CAST(:post AS text) IS NULL OR :post IN (d.departure_post, d.destination_post))
      AND (CAST(:number AS text) IS NULL OR d.registration_number = :number)
      AND (CAST(:q AS text) IS NULL OR d.registration_number ILIKE :q ESCAPE '\\'
           OR translate(upper(d.vehicle ->> 'plate'), :written, :meant) LIKE :plate ESCAPE '\\')
      AND (CAST(:level AS text) IS NULL OR s.level = :level)
"""

_NEWEST_FIRST: Final = text(f"""
    WITH page AS ({_CHOSEN}
      AND (CAST(:after_at AS timestamptz) IS NULL OR (d.declared_at, d.id) < (:after_at, :after_id))
    ORDER BY d.declared_at DESC, d.id DESC LIMIT :limit)
    {_SHOWN.format(rank="NULL::bigint", join="")}
    ORDER BY page.declared_at DESC, page.id DESC
""")

# The rank counts all active deliveries by expected loss, as reading_risk.delivery_rank does for
# one, whatever the filter of the list.
_BY_RANK: Final = text(f"""
    WITH ranked AS (
        SELECT d.id, row_number() OVER (
                   ORDER BY coalesce(s.expected_loss_kzt, -1) DESC, coalesce(s.probability, 0) DESC,
                            d.id) AS rank
        FROM deliveries d LEFT JOIN delivery_state s ON s.delivery_id = d.id
        WHERE d.status = ANY(:active)
    ), page AS ({_CHOSEN}
      AND (CAST(:after_loss AS bigint) IS NULL
           OR (-coalesce(s.expected_loss_kzt, -1), -coalesce(s.probability, 0), d.id)
              > (-CAST(:after_loss AS bigint), -CAST(:after_p AS float8), CAST(:after_id AS uuid)))
    ORDER BY loss DESC, p DESC, d.id LIMIT :limit)
    {_SHOWN.format(rank="ranked.rank", join="LEFT JOIN ranked ON ranked.id = d.id")}
    ORDER BY page.loss DESC, page.p DESC, page.id
""")

_ONE: Final = text(f"""
    WITH page AS (
        SELECT d.id FROM deliveries d
        WHERE d.id = :id AND (CAST(:scope_carrier AS uuid) IS NULL OR d.carrier_id = :scope_carrier)
    )
    {_SHOWN.format(rank="NULL::bigint", join="")}
""")


def list_deliveries(
    session: Session, scope: Scope, wanted: DeliveryFilter, page: Page
) -> Sequence[RowMapping]:
    """One delivery more than the page holds: newest first, or by rank (most at stake first)."""
    params: dict[str, Any] = {
        **scope.params(),
        "status": list(wanted.status) if wanted.status else None,
        "carrier": wanted.carrier_id,
        "post": wanted.post,
        "number": wanted.registration_number,
        "q": _like(wanted.q),
        "plate": _like(_plate(wanted.q)),
        "written": _WRITTEN,
        "meant": _MEANT,
        "level": wanted.level,
        "limit": page.limit + 1,
    }
    names = ("after_loss", "after_p", "after_id") if wanted.by_rank else ("after_at", "after_id")
    params |= dict(zip(names, page.after or [None] * len(names), strict=True))
    if wanted.by_rank:
        params["active"] = ACTIVE
    statement = _BY_RANK if wanted.by_rank else _NEWEST_FIRST
    return session.execute(statement, params).mappings().all()


_WRITTEN: Final = "АВЕКМНОРСТУХГДЗИЛФ -"
_MEANT: Final = "ABEKMHOPCTYXGDZILF"
"""Cyrillic letters for the Latin ones that they look like, as on Russian plates, or sound like, as
people type Kazakh ones; blanks and dashes are left out."""


def _plate(q: str | None) -> str | None:
    """As plates are compared: in capitals, Latin, without blanks and dashes."""
    return q and q.upper().translate(str.maketrans(_WRITTEN[:-2], _MEANT, _WRITTEN[-2:]))


def _like(q: str | None) -> str | None:
    """Anywhere in the text; its own wildcards are meant as they are."""
    if not q:
        return None
    for sign in ("\\", "%", "_"):
        q = q.replace(sign, f"\\{sign}")
    return f"%{q}%"


def cursor_key(row: RowMapping, *, by_rank: bool) -> tuple[Any, ...]:
    """The key of a row in the order of the list."""
    if by_rank:
        return row["loss"], row["likelihood"], row["id"]
    return row["declared_at"], row["id"]


def read_delivery(session: Session, scope: Scope, delivery_id: UUID) -> RowMapping | None:
    """The delivery, if there is one and the caller may know of it."""
    params = {"id": delivery_id, **scope.params()}
    return session.execute(_ONE, params).mappings().one_or_none()


_ACTS: Final = text("""
    SELECT id, kind, at, recorded_at, recorded_by, data
    FROM delivery_acts WHERE delivery_id = :id ORDER BY at, id
""")


def acts_of(session: Session, delivery_id: UUID) -> Sequence[RowMapping]:
    """What people did, in the order in which it happened."""
    return session.execute(_ACTS, {"id": delivery_id}).mappings().all()


_ARRIVAL: Final = text("""
    SELECT (SELECT ST_Distance(p.geom::geography, z.geom::geography)
            FROM device_positions p WHERE p.delivery_id = d.id ORDER BY p.t DESC LIMIT 1)
               AS distance_m,
           NOT EXISTS (SELECT FROM dirty WHERE dirty.delivery_id = d.id) AS settled,
           (SELECT coalesce(json_object_agg(a.device_id, a.code), '{}'::json)
            FROM anomalies a
            WHERE a.delivery_id = d.id AND a.status = 'open' AND a.device_id IS NOT NULL
              AND a.code IN ('seal_cut', 'seal_body_open')) AS broken_seals
    FROM deliveries d
    CROSS JOIN (SELECT coalesce(CAST(:at AS timestamptz), now()) AS at) w
    JOIN posts ON posts.code = d.destination_post
    JOIN LATERAL (
        SELECT v.geom FROM zones known JOIN zones v ON v.code = known.code
        WHERE known.id = posts.zone_id
        ORDER BY (coalesce(v.valid_from, '-infinity') <= w.at
                  AND coalesce(v.valid_to, 'infinity') > w.at) DESC, v.id DESC
        LIMIT 1
    ) z ON true
    WHERE d.id = :id
""")


def arrival_facts(session: Session, delivery_id: UUID, at: datetime | None = None) -> RowMapping:
    """What telemetry says of an arrival at ``at`` (default: now), by the post's zone as of then."""
    return session.execute(_ARRIVAL, {"id": delivery_id, "at": at}).mappings().one()
