"""What people record of a delivery: the border crossing, the release, the arrival."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tracker.api.arriving import confirm
from tracker.api.creation import Creating, Creation, IfMatch, require_match
from tracker.api.deliveries import detail_of
from tracker.api.deps import Config, may
from tracker.api.described import refusals
from tracker.api.registering import backdating
from tracker.api.rights import require, require_post, require_sight
from tracker.api.schemas.deliveries import (
    ArrivalIn,
    ArrivalOut,
    BorderCrossingIn,
    DeliveryDetail,
    ReleaseIn,
    where,
)
from tracker.db import deliveries as store
from tracker.db import places
from tracker.db.connect import WriteSession
from tracker.db.tables import Delivery
from tracker.db.users import CurrentUser
from tracker.deliveries import (
    Status,
    Step,
    check_act_time,
    plate_warning,
    require_notifiable,
    take,
)
from tracker.errors import Conflict, FieldError, Invalid, NotFound
from tracker.model import ActKind
from tracker.settings import Settings

router = APIRouter(prefix="/api/v1", tags=["deliveries"], responses=refusals(404, 409, 412))


@router.post("/deliveries/{delivery_id}/border-crossing", response_model=DeliveryDetail)
def border_crossing(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: BorderCrossingIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """The carrier notifies customs that goods and vehicle crossed the border."""
    return _once(
        creating,
        delivery_id,
        body,
        lambda: _crossed(creating.session, user, delivery_id, body, config, if_match),
    )


def _crossed(
    session: WriteSession,
    user: CurrentUser,
    delivery_id: UUID,
    body: BorderCrossingIn,
    config: Settings,
    if_match: str | None,
) -> DeliveryDetail:
    delivery = _opened(session, user, delivery_id, if_match)
    require(user, "deliveries.crossing")
    require_notifiable(Status(delivery.status))
    check_act_time(body.at, now=datetime.now(UTC), backdating=backdating(config))
    if not places.post_exists(session, body.post):
        raise Invalid.field(
            "body", "post", msg=f"there is no post {body.post!r}; see GET /api/v1/posts"
        )
    data = _data(post=body.post, plate=body.plate, position=where(body.position))
    data["documents"] = list(body.documents)
    _record(session, delivery, user, ActKind.BORDER_CROSSING, body.at, data)
    store.move(session, delivery)
    warnings = plate_warning(str(delivery.vehicle["plate"]), body.plate)
    detail = detail_of(session, user, delivery.id, warnings)
    store.announce(session, delivery, body.at)
    return detail


@router.post("/deliveries/{delivery_id}/release", response_model=DeliveryDetail)
def release(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    creating: Creating,
    config: Config,
    body: ReleaseIn | None = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Seals armed, departure: the devices are on the delivery from ``at``, the clock runs."""
    given = body or ReleaseIn()
    return _once(
        creating,
        delivery_id,
        given,
        lambda: _released(creating.session, user, delivery_id, given, config, if_match),
    )


def _released(
    session: WriteSession,
    user: CurrentUser,
    delivery_id: UUID,
    body: ReleaseIn,
    config: Settings,
    if_match: str | None,
) -> DeliveryDetail:
    delivery = _opened(session, user, delivery_id, if_match)
    require_post(user, "deliveries.release", delivery.departure_post)
    status = take(Step.RELEASE, Status(delivery.status))
    now = datetime.now(UTC)
    at = body.at or _whole_ms(now)
    check_act_time(at, now=now, backdating=backdating(config))
    _bind(session, delivery, at)
    notified = store.has_act(session, delivery.id, ActKind.BORDER_CROSSING)
    _record(session, delivery, user, ActKind.RELEASE, at, _data(position=where(body.position)))
    store.move(session, delivery, status=status.value, released_at=at)
    warnings = _release_warnings(delivery, at, notified=notified)
    detail = detail_of(session, user, delivery.id, warnings)
    store.announce(session, delivery, at)
    return detail


def _bind(session: WriteSession, delivery: Delivery, at: datetime) -> None:
    store.lock_bound_devices(session, delivery.id)
    errors = [
        FieldError(
            ("body", "at"),
            f"device {row.device_id} was on delivery {row.registration_number} at that time; "
            "give a later time",
        )
        for row in store.busy_from(session, delivery.id, at)
    ]
    if errors:
        raise Conflict("; ".join(e.msg for e in errors), errors)
    store.bind(session, delivery.id, at)


def _release_warnings(delivery: Delivery, at: datetime, *, notified: bool) -> list[FieldError]:
    warnings = []
    if not notified:
        text = "no border crossing was notified before the release; ask the carrier for it"
        warnings.append(FieldError(("border-crossing",), text))
    if at >= delivery.deadline:
        warnings.append(FieldError(("body", "at"), "lies after the deadline; check both"))
    return warnings


@router.post("/deliveries/{delivery_id}/arrival", response_model=ArrivalOut)
def arrival(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: ArrivalIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """The officer confirms the arrival; the system names the corridor, the measures, the officer
    who carries them out, and every contradiction with telemetry."""
    return _once(
        creating,
        delivery_id,
        body,
        lambda: _arrived(creating.session, user, delivery_id, body, config, if_match),
    )


def _arrived(
    session: WriteSession,
    user: CurrentUser,
    delivery_id: UUID,
    body: ArrivalIn,
    config: Settings,
    if_match: str | None,
) -> ArrivalOut:
    delivery = _opened(session, user, delivery_id, if_match)
    require_post(user, "deliveries.arrival", delivery.destination_post)
    status = take(Step.ARRIVE, Status(delivery.status))
    now = datetime.now(UTC)
    at = body.at or _whole_ms(now)
    check_act_time(at, now=now, backdating=backdating(config), not_before=delivery.released_at)
    decided = confirm(session, delivery, body, at)
    data = _data(remarks=body.remarks, position=where(body.position))
    data["seals"] = [seal.model_dump() for seal in body.seals]
    _record(session, delivery, user, ActKind.ARRIVAL, at, data | decided.stored())
    store.unbind(session, delivery.id, at)
    store.move(session, delivery, status=status.value, arrived_at=at)
    detail = detail_of(session, user, delivery.id, decided.warnings)
    store.announce(session, delivery, at)
    return ArrivalOut.model_validate(detail.model_dump() | decided.stored())


def _once(
    creating: Creation, delivery_id: UUID, body: BaseModel, act: Callable[[], DeliveryDetail]
) -> JSONResponse:
    """Take an act, once for each idempotency key."""
    return creating.once(body, lambda: (act(), f"/api/v1/deliveries/{delivery_id}"), status=200)


def _opened(
    session: WriteSession, user: CurrentUser, delivery_id: UUID, if_match: str | None
) -> Delivery:
    """The delivery, locked, if the user may know of it and has seen its newest version."""
    missing = f"no delivery {delivery_id}"
    delivery = store.locked(session, delivery_id)
    if delivery is None:
        raise NotFound(missing)
    require_sight(user, delivery.carrier_id, missing)
    require_match(if_match, delivery.version)
    return delivery


def _record(
    session: WriteSession,
    delivery: Delivery,
    user: CurrentUser,
    kind: ActKind,
    at: datetime,
    data: dict[str, Any],
) -> None:
    store.record_act(session, delivery.id, kind=kind, at=at, who=user.username, data=data)


def _data(**values: Any) -> dict[str, Any]:
    """What was given; what was left out is not recorded as empty."""
    return {name: value for name, value in values.items() if value is not None}


def _whole_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
