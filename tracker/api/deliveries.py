"""Deliveries: registering, listing, reading."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from msgspec import structs
from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from tracker.api.creation import Creating, etag_of
from tracker.api.deps import Config, Cursor, Limit, Reading, may, page_after
from tracker.api.described import refusals
from tracker.api.registering import register
from tracker.api.rights import require_post, scope_of, sees_risk
from tracker.api.schemas.common import Page, warning_of
from tracker.api.schemas.deliveries import (
    ActOut,
    BindingOut,
    DeliveryDetail,
    DeliveryIn,
    DeliveryOut,
    DeliveryRoute,
    LastPosition,
    RiskBrief,
    RouteBrief,
    RouteInForce,
    StepOut,
)
from tracker.api.schemas.routes import route_out
from tracker.db import reading_deliveries as reading
from tracker.db import route_store
from tracker.db.connect import raw
from tracker.db.deliveries import announce
from tracker.db.reading import decode_cursor, encode_cursor, int64
from tracker.db.reading_risk import delivery_rank
from tracker.db.users import CurrentUser
from tracker.deliveries import Status
from tracker.errors import FieldError, NotFound
from tracker.norms import Course, Event, measured

router = APIRouter(prefix="/api/v1", tags=["deliveries"], responses=refusals(404, 409))


@router.post("/deliveries", status_code=201, response_model=DeliveryDetail)
def create_delivery(
    user: Annotated[CurrentUser, may("deliveries.create")],
    body: DeliveryIn,
    creating: Creating,
    config: Config,
) -> JSONResponse:
    """Register a delivery and reserve its devices."""
    require_post(user, "deliveries.create", body.departure_post)

    def make() -> tuple[DeliveryDetail, str]:
        row, warnings = register(creating.session, body, config)
        detail = detail_of(creating.session, user, row.id, warnings)
        announce(creating.session, row, row.declared_at)
        return detail, f"/api/v1/deliveries/{row.id}"

    return creating.once(body, make)


@router.get("/deliveries")
def list_deliveries(
    user: Annotated[CurrentUser, may("deliveries.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    status: Annotated[list[Status] | None, Query(description="May be given several times.")] = None,
    carrier_id: UUID | None = None,
    post: Annotated[str | None, Query(max_length=64, description="At either end.")] = None,
    registration_number: Annotated[str | None, Query(max_length=100)] = None,
    q: Annotated[str | None, Query(max_length=100, description="In the number or plate.")] = None,
    level: Literal["low", "medium", "high"] | None = None,
    order: Literal["declared_at", "rank"] = "declared_at",
) -> Page[DeliveryOut]:
    """Deliveries in sight: newest first, or those with most at stake first (``order=rank``)."""
    # Filtering or sorting by risk would tell a carrier what it must not see.
    shows_risk = sees_risk(user)
    by_rank = order == "rank" and shows_risk
    wanted = reading.DeliveryFilter(
        status=[s.value for s in status] if status else None,
        carrier_id=carrier_id,
        post=post,
        registration_number=registration_number,
        q=q,
        level=level if shows_risk else None,
        by_rank=by_rank,
    )
    parts: Any = (int64, float, UUID) if by_rank else (datetime.fromisoformat, UUID)
    page = page_after(limit, decode_cursor(cursor, *parts))
    rows = reading.list_deliveries(session, scope_of(user), wanted, page)
    items = [DeliveryOut(**_fields(row, shows_risk)) for row in rows[:limit]]
    more = len(rows) > limit
    key = reading.cursor_key(rows[limit - 1], by_rank=by_rank) if more else None
    return Page(items=items, next=encode_cursor(key) if key else None)


@router.get("/deliveries/{delivery_id}", response_model=DeliveryDetail)
def get_delivery(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    session: Reading,
) -> JSONResponse:
    """A delivery with its bindings, newest position, acts, and whether it is settled."""
    return answer(detail_of(session, user, delivery_id))


@router.get("/deliveries/{delivery_id}/route")
def get_delivery_route(
    user: Annotated[CurrentUser, may("deliveries.read")],
    delivery_id: UUID,
    session: Reading,
    corridor: Annotated[bool, Query(description="Add the corridor's outline.")] = False,
) -> DeliveryRoute:
    """The declared route of a delivery that is in force now, with its line; in ``routes`` all that
    were declared for it, each with the time from which it is in force."""
    require_delivery(session, user, delivery_id)
    declared = route_store.routes_of_delivery(session, delivery_id)
    ids = [one.route.id for one in declared]
    outlines = route_store.corridors(session, ids) if corridor else {}
    routes = [
        RouteInForce(**route_out(route, outlines.get(route.id)).model_dump(), from_=from_t)
        for route, from_t in declared
    ]
    begun = [one for one in routes if one.from_ is None or one.from_ <= datetime.now(UTC)]
    return DeliveryRoute(**begun[-1].model_dump(), routes=routes)


def answer(detail: DeliveryDetail, status: int = 200) -> JSONResponse:
    """A delivery with the tag of its version."""
    content = detail.model_dump(mode="json", by_alias=True)
    return JSONResponse(content, status, headers={"ETag": etag_of(content)})


def detail_of(
    session: Session, user: CurrentUser, delivery_id: UUID, warnings: list[FieldError] | None = None
) -> DeliveryDetail:
    """The delivery as this user may see it.

    Raises:
        NotFound: there is none, or none that the user may know of.
    """
    row = require_delivery(session, user, delivery_id)
    rank = delivery_rank(raw(session), delivery_id) if sees_risk(user) else None
    acts = [ActOut(**act) for act in reading.acts_of(session, delivery_id)]
    steps = measured(_course(row, acts), datetime.now(UTC))
    return DeliveryDetail(
        **_fields(row, sees_risk(user), rank),
        acts=acts if sees_risk(user) else [_without_decisions(act) for act in acts],
        steps=[StepOut(**structs.asdict(step)) for step in steps],
        warnings=[warning_of(w) for w in warnings or []],
    )


def _course(row: RowMapping, acts: list[ActOut]) -> Course:
    return Course(
        declared_at=row["declared_at"],
        deadline=row["deadline"],
        released_at=row["released_at"],
        arrived_at=row["arrived_at"],
        cancelled=row["status"] == Status.CANCELLED,
        events=[Event(kind=a.kind, at=a.at, recorded_at=a.recorded_at) for a in acts],
    )


#: The system's decisions on the control rest on risk, which carriers never see.
_DECISIONS = frozenset({"corridor", "measures", "profiles", "officer", "contradictions", "cards"})

#: What officers write to each other about a control is not for the one who is controlled.
_OFFICERS_ACTS = frozenset({"control", "scan", "enquiry", "enquiry_result"})
_OFFICERS_WORDS = frozenset({"text", "code", "ordered_by"})


def _without_decisions(act: ActOut) -> ActOut:
    hidden = _DECISIONS | (_OFFICERS_WORDS if act.kind in _OFFICERS_ACTS else frozenset())
    kept = {name: value for name, value in act.data.items() if name not in hidden}
    return act.model_copy(update={"data": kept})


def require_delivery(session: Session, user: CurrentUser, delivery_id: UUID) -> RowMapping:
    """The delivery as stored.

    Raises:
        NotFound: there is none, or none that the user may know of.
    """
    row = reading.read_delivery(session, scope_of(user), delivery_id)
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    return row


_SAME = (
    "id",
    "version",
    "registration_number",
    "direction",
    "status",
    "carrier_id",
    "carrier_name",
    "declarant_id",
    "declarant_name",
    "departure_post",
    "destination_post",
    "route_code",
    "deadline",
    "scheduled_departure",
    "goods",
    "vehicle",
    "declared_at",
    "released_at",
    "arrived_at",
    "progress_m",
    "settled",
)


def _fields(row: RowMapping, shows_risk: bool, rank: int | None = None) -> dict[str, Any]:
    last = row["last_position"]
    return {
        **{name: row[name] for name in _SAME},
        "route": RouteBrief(
            id=row["route_now"],
            code=row["route_code"],
            name=route_store.route_name(row["route_name"]),
            corridor_m=row["corridor_m"],
            length_m=row["length_m"],
        ),
        "devices": list(dict.fromkeys(b["device_id"] for b in row["bindings"])),
        "bindings": [BindingOut(**b) for b in row["bindings"]],
        "last_position": LastPosition(**last) if last else None,
        "risk": _risk(row, rank or row["rank"]) if shows_risk and row["level"] else None,
    }


def _risk(row: RowMapping, rank: int | None) -> RiskBrief:
    return RiskBrief(
        level=row["level"],
        rank=rank,
        probability=row["probability"],
        expected_loss_kzt=row["expected_loss_kzt"],
        at=row["evaluated_at"],
    )
