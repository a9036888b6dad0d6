"""Another route for a delivery that is on its way: a road is closed, customs allows a detour."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tracker.api.acting import Acting, once, opened
from tracker.api.creation import Creating, IfMatch
from tracker.api.deps import Config, may
from tracker.api.described import refusals
from tracker.api.registering import backdating, declared_route
from tracker.api.rights import require
from tracker.api.schemas.deliveries import DeliveryDetail
from tracker.api.schemas.reroutes import RerouteIn
from tracker.db import deliveries as store
from tracker.db import route_store
from tracker.db.tables import Delivery, Route
from tracker.db.users import CurrentUser
from tracker.deliveries import Status, check_reroute_time, require_on_the_way, route_warnings
from tracker.errors import FieldError
from tracker.model import ActKind

router = APIRouter(prefix="/api/v1", tags=["deliveries"], responses=refusals(404, 409, 412))


@router.post("/deliveries/{delivery_id}/reroute", response_model=DeliveryDetail)
def reroute(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: RerouteIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Customs declares another route from a time on. Records before it are judged by the route that
    was in force then, records from it on by this one; the delivery is judged again."""
    return once(
        creating,
        delivery_id,
        body,
        lambda: _rerouted(opened(creating, user, delivery_id, config, if_match), body),
    )


def _rerouted(acting: Acting, body: RerouteIn) -> DeliveryDetail:
    delivery, session = acting.delivery, acting.session
    require(acting.user, "deliveries.reroute")
    require_on_the_way("a reroute", Status(delivery.status))
    now = datetime.now(UTC)
    from_t = body.from_ or now.replace(microsecond=now.microsecond // 1000 * 1000)
    check_reroute_time(
        from_t, now=now, backdating=backdating(acting.config), released=delivery.released_at
    )
    name = f"{delivery.registration_number}: {delivery.destination_post}"
    route = declared_route(session, body.route_code, body.route, name)
    route_store.declare_on_the_way(session, delivery.id, route.id, from_t)
    acting.record(ActKind.REROUTE, from_t, _told(route, body.reason))
    store.move(session, delivery)
    return acting.done(now, _warnings(acting, delivery, route))


def _told(route: Route, reason: str) -> dict[str, Any]:
    return {
        "route_id": route.id,
        "route_code": route.code,
        "route_name": route_store.route_name(route.name),
        "length_m": round(route.length_m, 1),
        "reason": reason,
    }


def _warnings(acting: Acting, delivery: Delivery, route: Route) -> list[FieldError]:
    """It may begin anywhere on the way, but should end where the delivery does."""
    _, end_m = route_store.distances_to_ends(
        acting.session, route.id, delivery.departure_post, delivery.destination_post
    )
    return [
        FieldError(("body", "route"), f"{w.loc[-1]} {w.msg}")
        for w in route_warnings(start_m=0.0, end_m=end_m)
    ]
