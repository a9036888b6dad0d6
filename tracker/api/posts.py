"""Customs posts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tracker.api.creation import Creating
from tracker.api.deps import Config, Cursor, Limit, Reading, may, page_after
from tracker.api.described import refusals
from tracker.api.schemas.common import Page
from tracker.api.schemas.places import PostIn, PostKind, PostOut, post_out
from tracker.db import places
from tracker.db.connect import WriteSession
from tracker.db.reading import decode_cursor, encode_cursor, int64
from tracker.db.tables import Zone
from tracker.db.users import CurrentUser
from tracker.errors import Conflict, Invalid, NotFound
from tracker.settings import Settings

router = APIRouter(prefix="/api/v1", tags=["places"], responses=refusals(404, 409))


@router.post("/posts", status_code=201, response_model=PostOut)
def create_post(
    user: Annotated[CurrentUser, may("posts.create")],
    body: PostIn,
    creating: Creating,
    config: Config,
) -> JSONResponse:
    """Register a post. With no ``zone_code`` a circle of 500 m around it becomes its zone."""

    def make() -> tuple[PostOut, str]:
        session = creating.session
        if places.post_exists(session, body.code):
            raise Conflict.field(
                "body", "code", msg=f"post {body.code!r} exists; choose another code"
            )
        zone = _zone(session, body, config, user.username)
        lon, lat = body.geometry.lon_lat
        post = places.create_post(
            session,
            code=body.code,
            name=body.name.model_dump(),
            lon=lon,
            lat=lat,
            country=body.country.upper(),
            kind=body.kind,
            zone_id=zone.id,
        )
        return post_out(post, zone.code), f"/api/v1/posts/{post.code}"

    return creating.once(body, make)


def _zone(session: WriteSession, body: PostIn, config: Settings, who: str) -> Zone:
    if body.zone_code is None:
        lon, lat = body.geometry.lon_lat
        return places.create_circle_zone(
            session,
            lon=lon,
            lat=lat,
            radius_m=config.zone_radius_m,
            code=f"post:{body.code}",
            name=body.name.model_dump(),
            kind="border" if body.kind == "border" else "post",
            created_by=who,
        )
    zone = places.zone_by_code(session, body.zone_code)
    if zone is None:
        raise Invalid.field(
            "body",
            "zone_code",
            msg=f"there is no zone {body.zone_code!r}; create it first, or leave zone_code out",
        )
    return zone


@router.get("/posts")
def list_posts(
    user: Annotated[CurrentUser, may("posts.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    kind: PostKind | None = None,
) -> Page[PostOut]:
    """All posts, in the order of creation."""
    page = page_after(limit, decode_cursor(cursor, int64))
    rows = places.list_posts(session, page, kind=kind)
    items = [post_out(post, zone_code) for post, zone_code in rows[:limit]]
    return Page(items=items, next=encode_cursor([items[-1].id]) if len(rows) > limit else None)


@router.get("/posts/{code}")
def get_post(
    user: Annotated[CurrentUser, may("posts.read")],
    code: str,
    session: Reading,
) -> PostOut:
    """One post."""
    row = places.post_by_code(session, code)
    if row is None:
        raise NotFound(f"no post {code}")
    return post_out(row[0], row[1])
