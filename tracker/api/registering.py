"""Checks of a delivery to be registered: what it names must exist, fit, and be free."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from tracker.api.routes import store_route
from tracker.api.schemas.deliveries import DeliveryIn
from tracker.api.schemas.routes import InlineRouteIn
from tracker.db import deliveries as store
from tracker.db import devices, places, route_store
from tracker.db.connect import WriteSession
from tracker.db.participants import participant_by_id
from tracker.db.reading import EVERYTHING
from tracker.db.tables import Delivery, Device, Route
from tracker.deliveries import check_plan_times, device_warnings, route_warnings
from tracker.errors import Conflict, FieldError, Invalid
from tracker.settings import Settings

LONGEST_BACKDATING = timedelta(days=36_500)


def backdating(settings: Settings) -> timedelta:
    """How far back an act may be recorded."""
    return min(timedelta(days=min(settings.backdating_days, 36_500)), LONGEST_BACKDATING)


def register(
    session: WriteSession, body: DeliveryIn, settings: Settings
) -> tuple[Delivery, list[FieldError]]:
    """Store a delivery and reserve its devices; returns it and the warnings.

    Raises:
        Invalid: it names what does not exist, or its fields contradict each other.
        Conflict: the registration number is taken, or a device is on another delivery.
    """
    warnings = check_plan_times(
        deadline=body.deadline,
        scheduled_departure=body.scheduled_departure,
        now=datetime.now(UTC),
        backdating=backdating(settings),
    )
    found = devices.lock_devices(session, body.devices)
    errors = [*_post_errors(session, body), *_party_errors(session, body), *_unknown(body, found)]
    if errors:
        raise Invalid("; ".join(f"{e.loc[1]}: {e.msg}" for e in errors[:5]), errors)
    _require_free(session, found)
    name = f"{body.departure_post} – {body.destination_post}"
    route = declared_route(session, body.route_code, body.route, name)
    row = _store(session, body, route, found)
    start_m, end_m = route_store.distances_to_ends(
        session, route.id, body.departure_post, body.destination_post
    )
    return row, [
        *warnings,
        *route_warnings(start_m=start_m, end_m=end_m),
        *device_warnings([device.kind for device in found.values()]),
    ]


def _store(
    session: WriteSession, body: DeliveryIn, route: Route, found: dict[str, Device]
) -> Delivery:
    return store.create_delivery(
        session,
        device_nos=[found[device_id].device_no for device_id in body.devices],
        registration_number=body.registration_number,
        direction=body.direction,
        carrier_id=body.carrier_id,
        declarant_id=body.declarant_id,
        departure_post=body.departure_post,
        destination_post=body.destination_post,
        route_id=route.id,
        deadline=body.deadline,
        scheduled_departure=body.scheduled_departure,
        goods=[line.model_dump() for line in body.goods],
        vehicle=body.vehicle.model_dump(),
    )


def _post_errors(session: Session, body: DeliveryIn) -> Iterator[FieldError]:
    for field in ("departure_post", "destination_post"):
        code = getattr(body, field)
        if not places.post_exists(session, code):
            yield _error(field, f"there is no post {code!r}; see GET /api/v1/posts, or create it")
    if body.departure_post == body.destination_post:
        yield _error("destination_post", "is the departure post too; give another post")


def _party_errors(session: Session, body: DeliveryIn) -> Iterator[FieldError]:
    for field, kind in (("carrier_id", "carrier"), ("declarant_id", "declarant")):
        party_id = getattr(body, field)
        party = participant_by_id(session, party_id, EVERYTHING)
        if party is None:
            yield _error(field, f"there is no participant {party_id}; register it first")
        elif party.kind not in (kind, "both"):
            yield _error(
                field, f"{party.name} is registered as {party.kind}; give a {kind} or both"
            )


def _unknown(body: DeliveryIn, found: dict[str, Device]) -> Iterator[FieldError]:
    for i, device_id in enumerate(body.devices):
        if device_id not in found:
            yield _error("devices", f"there is no device {device_id!r}; register it first", i)
        elif device_id in body.devices[:i]:
            yield _error("devices", f"{device_id!r} is given twice; give it once", i)


def _error(field: str, msg: str, *more: int) -> FieldError:
    return FieldError(("body", field, *more), msg)


def _require_free(session: Session, found: dict[str, Device]) -> None:
    held = store.holders(session, [device.device_no for device in found.values()])
    if not held:
        return
    errors = [
        _error(
            "devices",
            f"device {row.device_id} is on delivery {row.registration_number}, which is not "
            "finished; take another device, or confirm that arrival first",
        )
        for row in held
    ]
    raise Conflict("; ".join(e.msg for e in errors), errors)


def declared_route(
    session: WriteSession, code: str | None, shape: InlineRouteIn | None, default_name: str
) -> Route:
    """The route that a request names by its code, or declares within itself.

    Raises:
        Invalid: there is no route of that code, or the course cannot be used.
        Conflict: the code of the route that is declared is taken.
    """
    if shape is not None:
        name = shape.name or default_name
        return store_route(
            session,
            shape,
            code=shape.code,
            name=name if isinstance(name, str) else name.model_dump(),
            loc=("body", "route"),
        )
    route = route_store.route_by_code(session, str(code))
    if route is None:
        raise Invalid.field(
            "body",
            "route_code",
            msg=f"there is no route {code!r}; see GET /api/v1/routes, or declare one",
        )
    return route
