"""Declared routes: storing them with their pieces, finding, listing, their corridors' outlines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from geoalchemy2.shape import from_shape
from shapely import to_wkb
from shapely.geometry import LineString
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.db.connect import WriteSession, raw
from tracker.db.reading import Page, rfc3339
from tracker.db.tables import Delivery, DeliveryRoute, Route
from tracker.errors import Conflict
from tracker.routes import RoutePlan

RouteName = str | dict[str, str]


def create_route(
    session: WriteSession,
    plan: RoutePlan,
    *,
    code: str | None,
    name: RouteName,
    checkpoints: Sequence[dict[str, Any]],
) -> Route:
    """Store a checked route and its pieces.

    Raises:
        Conflict: the code is taken.
    """
    values = {
        "code": code,
        "name": _name_text(name),
        "geom": from_shape(LineString(plan.points), srid=4326),
        "length_m": plan.length_m,
        "corridor_m": plan.corridor_m,
        "legs": [msgspec.to_builtins(leg) for leg in plan.legs],
        "checkpoints": list(checkpoints),
    }
    statement = insert(Route).values(**values)
    route: Route | None = session.scalar(
        statement.on_conflict_do_nothing(index_elements=["code"]).returning(Route)
    )
    if route is None:
        raise Conflict.field("body", "code", msg=f"route {code!r} exists; choose another code")
    _insert_pieces(session, route.id, plan)
    return route


_PIECES: Final = """
INSERT INTO route_pieces (route_id, piece_no, start_m, length_m, half_width_m, geom_plane)
SELECT %(route)s, p.no - 1, p.start_m, p.length_m, p.half_width_m,
       ST_Transform(ST_SetSRID(ST_GeomFromWKB(p.wkb), 4326), 3857)
FROM unnest(%(starts)s::float8[], %(lengths)s::float8[], %(widths)s::float8[], %(wkbs)s::bytea[])
     WITH ORDINALITY AS p (start_m, length_m, half_width_m, wkb, no)
"""


def _insert_pieces(session: WriteSession, route_id: int, plan: RoutePlan) -> None:
    raw(session).execute(
        _PIECES,
        {
            "route": route_id,
            "starts": [p.start_m for p in plan.pieces],
            "lengths": [p.length_m for p in plan.pieces],
            "widths": [p.half_width_m for p in plan.pieces],
            "wkbs": [to_wkb(LineString(p.points)) for p in plan.pieces],
        },
    )


# The column holds a plain text; a name in three languages is kept in it as JSON.


def _name_text(name: RouteName) -> str:
    return name if isinstance(name, str) else json.dumps(name, ensure_ascii=False)


def route_name(stored: str) -> RouteName:
    """A route's name as it was declared: one text, or one for each language."""
    if not stored.startswith("{"):
        return stored
    try:
        name = json.loads(stored)
    except ValueError:
        return stored
    return name if isinstance(name, dict) and set(name) == {"ru", "kk", "en"} else stored


def route_by_code(session: Session, code: str) -> Route | None:
    """The route of this code."""
    return session.scalar(select(Route).where(Route.code == code))


def route_by_id(session: Session, route_id: int) -> Route:
    """A route that is known to exist."""
    return session.get_one(Route, route_id)


class InForce(NamedTuple):
    """A route of a delivery, and from when on; None: from the beginning."""

    route: Route
    from_t: datetime | None


def routes_of_delivery(session: Session, delivery_id: UUID) -> list[InForce]:
    """The routes that were declared for a delivery that is known, in the order of their times."""
    first = select(Route).join(Delivery, Delivery.route_id == Route.id)
    on_the_way = (
        select(Route, DeliveryRoute.from_t)
        .join(DeliveryRoute, DeliveryRoute.route_id == Route.id)
        .where(DeliveryRoute.delivery_id == delivery_id)
        .order_by(DeliveryRoute.from_t)
    )
    route = session.scalars(first.where(Delivery.id == delivery_id)).one()
    return [InForce(route, None), *(InForce(*row) for row in session.execute(on_the_way))]


def declare_on_the_way(
    session: WriteSession, delivery_id: UUID, route_id: int, from_t: datetime
) -> None:
    """Let another route be in force for a delivery from a time on.

    Raises:
        Conflict: one has been declared from exactly that time.
    """
    values = {"delivery_id": delivery_id, "route_id": route_id, "from_t": from_t}
    statement = insert(DeliveryRoute).values(**values).on_conflict_do_nothing()
    if session.scalar(statement.returning(DeliveryRoute.route_id)) is None:
        raise Conflict.field(
            "body",
            "from",
            msg=f"another route was declared from {rfc3339(from_t)} on; give another time",
        )


def list_routes(session: Session, page: Page) -> Sequence[Route]:
    """One route more than the page holds, in the order of creation; only those with a code."""
    query = select(Route).where(Route.code.is_not(None)).order_by(Route.id).limit(page.limit + 1)
    if page.after:
        query = query.where(Route.id > page.after[0])
    return session.scalars(query).all()


# corridors: the union of the pieces' buffers. Each piece is buffered alone because a geography's
# buffer is taken in one plane, and none is true over a thousand kilometres. Simplified to a
# twentieth of the narrowest half-width, which no screen shows.
_CORRIDORS: Final = text("""
    SELECT route_id, ST_AsGeoJSON(ST_SimplifyPreserveTopology(
               ST_Union(ST_Buffer(ST_Transform(geom_plane, 4326)::geography, half_width_m,
                                  'quad_segs=6')::geometry),
               min(half_width_m) / 20 / 111000), 6)
    FROM route_pieces WHERE route_id = ANY(:ids) GROUP BY route_id
""")


def corridors(session: Session, route_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The corridors of these routes as GeoJSON polygons."""
    rows = session.execute(_CORRIDORS, {"ids": list(route_ids)})
    return {row[0]: json.loads(row[1]) for row in rows}


_ENDS: Final = text("""
    SELECT ST_Distance(d.geom::geography, ST_StartPoint(r.geom)::geography) AS start_m,
           ST_Distance(a.geom::geography, ST_EndPoint(r.geom)::geography) AS end_m
    FROM routes r, posts d, posts a
    WHERE r.id = :route AND d.code = :departure AND a.code = :destination
""")


def distances_to_ends(
    session: Session, route_id: int, departure: str, destination: str
) -> tuple[float, float]:
    """Metres from the departure post to the route's start, and from the destination to its end."""
    row = session.execute(
        _ENDS, {"route": route_id, "departure": departure, "destination": destination}
    ).one()
    return float(row.start_m), float(row.end_m)
