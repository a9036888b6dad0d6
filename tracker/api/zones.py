"""Zones: areas with a meaning for a stop or a passage."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tracker.api.creation import Creating
from tracker.api.deps import Cursor, Limit, Reading, may, page_after
from tracker.api.described import refusals
from tracker.api.outlines import outline
from tracker.api.schemas.common import Page
from tracker.api.schemas.places import ZoneIn, ZoneKind, ZoneOut, zone_out
from tracker.db import places
from tracker.db.reading import decode_cursor, encode_cursor, int64
from tracker.db.users import CurrentUser
from tracker.errors import NotFound

router = APIRouter(prefix="/api/v1", tags=["places"], responses=refusals(404, 409))


@router.post("/zones", status_code=201, response_model=ZoneOut)
def create_zone(
    user: Annotated[CurrentUser, may("zones.create")],
    body: ZoneIn,
    creating: Creating,
) -> JSONResponse:
    """Declare a zone. Deliveries under way are judged again with it."""

    def make() -> tuple[ZoneOut, str]:
        zone = places.create_zone(
            creating.session,
            code=body.code,
            name=body.name.model_dump(),
            kind=body.kind,
            geometry=outline(body.geometry),
            max_dwell_s=body.max_dwell_s,
            valid_from=body.valid_from,
            valid_to=body.valid_to,
        )
        return zone_out(zone), f"/api/v1/zones/{zone.code}"

    return creating.once(body, make)


@router.get("/zones")
def list_zones(
    user: Annotated[CurrentUser, may("zones.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    kind: ZoneKind | None = None,
) -> Page[ZoneOut]:
    """All zones, in the order of creation."""
    page = page_after(limit, decode_cursor(cursor, int64))
    rows = places.list_zones(session, page, kind=kind)
    items = [zone_out(zone) for zone in rows[:limit]]
    return Page(items=items, next=encode_cursor([items[-1].id]) if len(rows) > limit else None)


@router.get("/zones/{code}")
def get_zone(
    user: Annotated[CurrentUser, may("zones.read")],
    code: str,
    session: Reading,
) -> ZoneOut:
    """One zone."""
    zone = places.zone_by_code(session, code)
    if zone is None:
        raise NotFound(f"no zone {code}")
    return zone_out(zone)
