"""What people record of a delivery: the border crossing, the release, the arrival."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tracker.api.acting import Acting, given, once, opened
from tracker.api.arriving import confirm
from tracker.api.creation import Creating, IfMatch
from tracker.api.deps import Config, may
from tracker.api.described import refusals
from tracker.api.rights import require, require_post
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
from tracker.deliveries import Status, Step, plate_warning, require_notifiable, take
from tracker.errors import Conflict, FieldError, Invalid
from tracker.model import ActKind

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
    return once(
        creating,
        delivery_id,
        body,
        lambda: _crossed(opened(creating, user, delivery_id, config, if_match), body),
    )


def _crossed(acting: Acting, body: BorderCrossingIn) -> DeliveryDetail:
    delivery, session = acting.delivery, acting.session
    require(acting.user, "deliveries.crossing")
    require_notifiable(Status(delivery.status))
    at = acting.when(body.at, after_release=False)
    if not places.post_exists(session, body.post):
        raise Invalid.field(
            "body", "post", msg=f"there is no post {body.post!r}; see GET /api/v1/posts"
        )
    data = given(post=body.post, plate=body.plate, position=where(body.position))
    data["documents"] = list(body.documents)
    acting.record(ActKind.BORDER_CROSSING, at, data)
    store.move(session, delivery)
    return acting.done(at, plate_warning(str(delivery.vehicle["plate"]), body.plate))


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
    asked = body or ReleaseIn()
    return once(
        creating,
        delivery_id,
        asked,
        lambda: _released(opened(creating, user, delivery_id, config, if_match), asked),
    )


def _released(acting: Acting, body: ReleaseIn) -> DeliveryDetail:
    delivery, session = acting.delivery, acting.session
    require_post(acting.user, "deliveries.release", delivery.departure_post)
    status = take(Step.RELEASE, Status(delivery.status))
    at = acting.when(body.at)
    _bind(session, delivery, at)
    notified = store.has_act(session, delivery.id, ActKind.BORDER_CROSSING)
    acting.record(ActKind.RELEASE, at, given(position=where(body.position), cards=body.cards))
    store.move(session, delivery, status=status.value, released_at=at)
    return acting.done(at, _release_warnings(delivery, at, notified=notified))


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
    return once(
        creating,
        delivery_id,
        body,
        lambda: arrive(opened(creating, user, delivery_id, config, if_match), body),
    )


def arrive(acting: Acting, body: ArrivalIn) -> ArrivalOut:
    """Confirm an arrival: the system decides on the control, the devices are free again.

    Raises:
        Forbidden: the user is no officer of the destination post.
        Conflict: the delivery is in no state in which it can arrive.
    """
    delivery, session = acting.delivery, acting.session
    require_post(acting.user, "deliveries.arrival", delivery.destination_post)
    status = take(Step.ARRIVE, Status(delivery.status))
    at = acting.when(body.at)
    decided = confirm(session, delivery, body, at)
    data = given(remarks=body.remarks, position=where(body.position))
    data["seals"] = [seal.model_dump() for seal in body.seals]
    acting.record(ActKind.ARRIVAL, at, data | decided.stored())
    store.unbind(session, delivery.id, at)
    store.move(session, delivery, status=status.value, arrived_at=at)
    detail = acting.done(at, decided.warnings)
    return ArrivalOut.model_validate(detail.model_dump() | decided.stored())
