"""The rest of the life cycle: cancelling, enquiries, new seals, another vehicle."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tracker.api.acting import Acting, given, once, opened
from tracker.api.acts import arrive
from tracker.api.creation import Creating, IfMatch
from tracker.api.deps import Config, may
from tracker.api.described import refusals
from tracker.api.rebinding import Wanted, rebind
from tracker.api.rights import require, require_either_post, require_post
from tracker.api.schemas.acts import (
    CancelIn,
    EnquiryIn,
    RebindingOut,
    ResealIn,
    TransshipmentIn,
)
from tracker.api.schemas.deliveries import ArrivalIn, DeliveryDetail, where
from tracker.db import deliveries as store
from tracker.db.users import CurrentUser
from tracker.deliveries import Status, Step, require_on_the_way, take
from tracker.model import ActKind

router = APIRouter(prefix="/api/v1", tags=["deliveries"], responses=refusals(404, 409, 412))


@router.post("/deliveries/{delivery_id}/cancel", response_model=DeliveryDetail)
def cancel(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    creating: Creating,
    config: Config,
    body: CancelIn | None = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """A delivery that was declared will not take place; its devices are free again."""
    asked = body or CancelIn()

    def act() -> DeliveryDetail:
        acting = opened(creating, user, delivery_id, config, if_match)
        delivery, session = acting.delivery, acting.session
        require_post(user, "deliveries.cancel", delivery.departure_post)
        status = take(Step.CANCEL, Status(delivery.status))
        at = acting.when(asked.at)
        acting.record(ActKind.CANCEL, at, given(reason=asked.reason))
        store.free_reserved(session, delivery.id)
        store.move(session, delivery, status=status.value)
        return acting.done(at)

    return once(creating, delivery_id, asked, act)


@router.post("/deliveries/{delivery_id}/enquiry", response_model=DeliveryDetail)
def enquiry(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    creating: Creating,
    config: Config,
    body: EnquiryIn | None = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Begin an enquiry into a delivery that is overdue, or say what it has found."""
    asked = body or EnquiryIn()

    def act() -> DeliveryDetail:
        acting = opened(creating, user, delivery_id, config, if_match)
        delivery = acting.delivery
        posts = (delivery.departure_post, delivery.destination_post)
        require_either_post(user, "deliveries.enquiry", posts)
        return _begun(acting, asked) if asked.result is None else _answered(acting, asked)

    return once(creating, delivery_id, asked, act)


def _begun(acting: Acting, body: EnquiryIn) -> DeliveryDetail:
    status = take(Step.ENQUIRE, Status(acting.delivery.status))
    at = acting.when(body.at)
    acting.record(ActKind.ENQUIRY, at, given(text=body.text))
    store.move(acting.session, acting.delivery, status=status.value)
    return acting.done(at)


def _answered(acting: Acting, body: EnquiryIn) -> DeliveryDetail:
    """What an enquiry has found. One that finds it arrived confirms the arrival with it."""
    delivery = acting.delivery
    # In a state without an enquiry there is none to be answered, whatever the answer.
    established = take(Step.ESTABLISH_NON_DELIVERY, Status(delivery.status))
    at = acting.when(body.at)
    data = given(result=body.result, text=body.text)
    if body.result == "arrived":
        require_post(acting.user, "deliveries.arrival", delivery.destination_post)
    acting.record(ActKind.ENQUIRY_RESULT, at, data)
    if body.result == "arrived":
        return arrive(acting, ArrivalIn(at=at, remarks=body.text))
    if body.result == "non_delivery":
        store.unbind(acting.session, delivery.id, at)
        store.move(acting.session, delivery, status=established.value)
    else:
        store.move(acting.session, delivery)
    return acting.done(at)


@router.post("/deliveries/{delivery_id}/reseal", response_model=RebindingOut)
def reseal(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    creating: Creating,
    config: Config,
    body: ResealIn | None = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """An officer reseals: what the seals said before is over, and others may be on from then."""
    asked = body or ResealIn()

    def act() -> RebindingOut:
        acting = opened(creating, user, delivery_id, config, if_match)
        require(user, "deliveries.reseal")
        require_on_the_way("reseal", Status(acting.delivery.status))
        seals = [seal.device_id for seal in asked.seals or ()]
        if asked.device_id is not None:
            seals.append(asked.device_id)
        given_whole = asked.seals is not None or asked.device_id is not None
        listed = [*(asked.devices or ()), *seals]
        whole = given_whole or asked.devices is not None
        wanted = Wanted(
            add=[*asked.add, *listed],
            remove=asked.remove,
            keep_seals=not whole,
        )
        data = given(
            seals=None if asked.seals is None else [s.model_dump() for s in asked.seals],
            cards=asked.cards,
            place=asked.place,
            position=where(asked.position),
            reason=asked.reason,
            text=asked.text,
        )
        return _changed(acting, ActKind.RESEAL, asked, wanted, data)

    return once(creating, delivery_id, asked, act)


@router.post("/deliveries/{delivery_id}/transshipment", response_model=RebindingOut)
def transshipment(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    body: TransshipmentIn,
    creating: Creating,
    config: Config,
    if_match: IfMatch = None,
) -> JSONResponse:
    """The goods go on in another vehicle; devices change with time and place."""

    def act() -> RebindingOut:
        acting = opened(creating, user, delivery_id, config, if_match)
        require(user, "deliveries.transship")
        require_on_the_way("transshipment", Status(acting.delivery.status))
        wanted = Wanted(
            add=[*body.add, *(body.devices or ())],
            remove=body.remove,
            keep_seals=body.devices is None,
            keep_units=body.devices is None,
        )
        data = given(
            vehicle=None if body.vehicle is None else body.vehicle.model_dump(),
            former_vehicle=None if body.vehicle is None else dict(acting.delivery.vehicle),
            place=body.place,
            position=where(body.position),
            reason=body.reason,
            text=body.text,
        )
        if body.vehicle is not None:
            acting.delivery.vehicle = body.vehicle.model_dump()
        return _changed(acting, ActKind.TRANSSHIPMENT, body, wanted, data)

    return once(creating, delivery_id, body, act)


def _changed(
    acting: Acting,
    kind: ActKind,
    body: ResealIn | TransshipmentIn,
    wanted: Wanted,
    data: dict[str, Any],
) -> RebindingOut:
    at = acting.when(body.at)
    change = rebind(acting.session, acting.delivery, wanted, at)
    data |= {"added": change.added, "removed": change.removed}
    acting.record(kind, at, data)
    store.move(acting.session, acting.delivery)
    detail = acting.done(at, change.warnings)
    return RebindingOut(
        **detail.model_dump(by_alias=False), added=change.added, removed=change.removed
    )
