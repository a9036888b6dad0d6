"""Zones: areas with a meaning for a stop or a passage, and their versions over time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from tracker.api.creation import Creating, IfMatch, etag_of, require_match
from tracker.api.deps import Cursor, Limit, Reading, Writing, may, page_after
from tracker.api.described import refusals
from tracker.api.outlines import outline
from tracker.api.schemas.common import Page
from tracker.api.schemas.places import (
    ZoneIn,
    ZoneKind,
    ZoneOut,
    ZoneShape,
    ZoneUses,
    ZoneVersionIn,
    zone_out,
)
from tracker.db import places
from tracker.db.connect import WriteSession
from tracker.db.reading import decode_cursor, encode_cursor, int64
from tracker.db.tables import Zone
from tracker.db.users import CurrentUser
from tracker.errors import Conflict, FieldError, Invalid, NotFound

router = APIRouter(prefix="/api/v1", tags=["places"], responses=refusals(404, 409))

At = Annotated[
    AwareDatetime | None, Query(description="As of this time; by default now, else the newest.")
]


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
            valid_from=body.valid_from,
            created_by=user.username,
            **_values(body),
        )
        return zone_out(zone), f"/api/v1/zones/{zone.code}"

    return creating.once(body, make)


def _values(body: ZoneShape) -> dict[str, Any]:
    return {
        "name": body.name.model_dump(),
        "kind": body.kind,
        "geometry": outline(body.geometry),
        "max_dwell_s": body.max_dwell_s,
        "valid_to": body.valid_to,
    }


@router.get("/zones")
def list_zones(
    user: Annotated[CurrentUser, may("zones.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    kind: ZoneKind | None = None,
    at: At = None,
) -> Page[ZoneOut]:
    """All zones, each by one of its versions, in the order of creation. With ``at`` only those in
    force at that time; else also those that are over or yet to come."""
    page = page_after(limit, decode_cursor(cursor, int64))
    rows = places.list_zones(session, page, kind=kind, at=at)
    items = [zone_out(zone, authors=_sees_authors(user)) for zone in rows[:limit]]
    return Page(items=items, next=encode_cursor([items[-1].id]) if len(rows) > limit else None)


@router.get("/zones/{code}", response_model=ZoneOut)
def get_zone(
    user: Annotated[CurrentUser, may("zones.read")],
    code: str,
    session: Reading,
    at: At = None,
) -> JSONResponse:
    """One zone, by the version in force at a time."""
    zone = places.zone_by_code(session, code, at)
    if zone is None and at is not None and places.zone_by_code(session, code) is not None:
        raise NotFound(f"no version of zone {code} is in force at that time; see its versions")
    if zone is None:
        raise NotFound(f"no zone {code}")
    shown = zone_out(zone, authors=_sees_authors(user))
    return _answer(shown, places.newest_number(session, code))


@router.get("/zones/{code}/versions")
def get_zone_versions(
    user: Annotated[CurrentUser, may("zones.read")],
    code: str,
    session: Reading,
) -> Page[ZoneOut]:
    """The history of a zone: all its versions, the oldest first."""
    zones = places.versions_of(session, code)
    if not zones:
        raise NotFound(f"no zone {code}")
    return Page(items=[zone_out(zone, authors=_sees_authors(user)) for zone in zones], next=None)


@router.get("/zones/{code}/uses")
def get_zone_uses(
    user: Annotated[CurrentUser, may("zones.change")],
    code: str,
    session: Reading,
) -> ZoneUses:
    """What a change of a zone concerns: the posts and the routes that refer to it."""
    if not places.known_zone_codes(session, [code]):
        raise NotFound(f"no zone {code}")
    return ZoneUses(
        posts=list(places.posts_of_zone(session, code)),
        routes=list(places.routes_through(session, code)),
    )


@router.put("/zones/{code}", response_model=ZoneOut, responses=refusals(412))
def change_zone(
    user: Annotated[CurrentUser, may("zones.change")],
    code: str,
    body: ZoneVersionIn,
    creating: Creating,
    if_match: IfMatch = None,
) -> JSONResponse:
    """Change a zone from a time on, maybe in the past. The present version is closed there and
    kept; a record is judged by the version in force at its own time. Deliveries under way are
    judged again."""
    if body.code is not None and body.code != code:
        raise Invalid.field("body", "code", msg=f"is not {code!r}; a zone keeps its code")

    def make() -> tuple[ZoneOut, str]:
        session = creating.session
        newest = _newest(session, code, if_match)
        valid_from = body.valid_from or _now()
        if body.valid_to is not None:
            if body.valid_to <= valid_from:
                raise Invalid.field("body", "valid_to", msg="must lie after valid_from")
            _require_no_post(session, code, ("body", "valid_to"))
        zone = places.supersede(
            session,
            newest,
            valid_from=valid_from,
            created_by=user.username,
            **_values(body),
        )
        return zone_out(zone), f"/api/v1/zones/{code}"

    return creating.once(body, make, status=200)


@router.delete("/zones/{code}", response_model=ZoneOut, responses=refusals(412))
def end_zone(
    user: Annotated[CurrentUser, may("zones.change")],
    code: str,
    session: Writing,
    at: Annotated[AwareDatetime | None, Query(description="From when on; by default now.")] = None,
    if_match: IfMatch = None,
) -> JSONResponse:
    """End a zone: from ``at`` on it is not in force. It stays in the history, and records before
    that are judged by it as ever. Deliveries under way are judged again."""
    zone = _newest(session, code, if_match)
    _require_no_post(session, code, ("path", "code"))
    places.end_zone(session, zone, at or _now(), user.username)
    session.refresh(zone)
    return _answer(zone_out(zone, _checkpoint_warnings(session, code)), zone.version)


def _newest(session: WriteSession, code: str, if_match: str | None) -> Zone:
    zone = places.newest_version(session, code)
    if zone is None:
        raise NotFound(f"no zone {code}; POST /zones declares one")
    require_match(if_match, zone.version)
    return zone


def _require_no_post(session: WriteSession, code: str, loc: tuple[str, ...]) -> None:
    posts = places.posts_of_zone(session, code)
    if posts:
        raise Conflict.field(
            *loc,
            msg=f"it is the zone of post {', '.join(posts)}, which cannot be without one; "
            "PUT a new version of it instead",
        )


def _checkpoint_warnings(session: WriteSession, code: str) -> list[FieldError]:
    routes = places.routes_through(session, code)
    text = f"is a checkpoint of {', '.join(routes)}; from then on it cannot be missed"
    return [FieldError(("path", "code"), text)] if routes else []


def _sees_authors(user: CurrentUser) -> bool:
    """Names of customs' people are customs' own."""
    return user.role != "carrier"


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _answer(zone: ZoneOut, newest: int) -> JSONResponse:
    """A version of a zone, with the tag of the zone as a whole: a change is made on the newest."""
    content = zone.model_dump(mode="json", by_alias=True)
    return JSONResponse(content, headers={"ETag": etag_of({"version": newest})})
