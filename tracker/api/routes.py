"""Declared routes: by JSON, or from a GPX, KML or GeoJSON file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from tracker.api.creation import Creating
from tracker.api.deps import Cursor, Limit, Reading, may, page_after
from tracker.api.described import refusals
from tracker.api.route_files import read_line
from tracker.api.schemas.common import Page
from tracker.api.schemas.routes import (
    DEFAULT_CORRIDOR_M,
    RouteIn,
    RouteOut,
    RouteShape,
    route_out,
)
from tracker.db import places, route_store
from tracker.db.connect import WriteSession
from tracker.db.reading import decode_cursor, encode_cursor, int64
from tracker.db.tables import Route
from tracker.db.users import CurrentUser
from tracker.errors import FieldError, Invalid, NotFound
from tracker.routes import Leg, RoutePlan, declare_route

router = APIRouter(prefix="/api/v1", tags=["routes"], responses=refusals(404, 409))


@router.post("/routes", status_code=201, response_model=RouteOut)
def create_route(
    user: Annotated[CurrentUser, may("routes.create")],
    body: RouteIn,
    creating: Creating,
) -> JSONResponse:
    """Declare a route."""
    return creating.once(body, lambda: _make(creating.session, body))


@router.post("/routes/upload", status_code=201, response_model=RouteOut)
def upload_route(
    user: Annotated[CurrentUser, may("routes.create")],
    creating: Creating,
    file: Annotated[
        UploadFile, File(description="GPX, KML or GeoJSON; its longest line is taken.")
    ],
    code: Annotated[str, Form(max_length=64)],
    name: Annotated[str, Form(max_length=300)],
    corridor_m: Annotated[float, Form()] = DEFAULT_CORRIDOR_M,
) -> JSONResponse:
    """Declare a route from a file."""
    points = read_line(file.file.read())
    body = _uploaded(code, name, corridor_m, points)
    return creating.once(body, lambda: _make(creating.session, body))


def _uploaded(
    code: str, name: str, corridor_m: float, points: list[tuple[float, float]]
) -> RouteIn:
    line = {"type": "LineString", "coordinates": points}
    try:
        return RouteIn.model_validate(
            {"code": code, "name": name, "corridor_m": corridor_m, "geometry": line}
        )
    except ValidationError as exc:
        errors = [FieldError(("body", *e["loc"]), e["msg"]) for e in exc.errors()[:10]]
        raise Invalid("the file's route cannot be used", errors) from exc


def _make(session: WriteSession, body: RouteIn) -> tuple[RouteOut, str]:
    name = body.name if isinstance(body.name, str) else body.name.model_dump()
    route = store_route(session, body, code=body.code, name=name, loc=("body",))
    return route_out(route), f"/api/v1/routes/{route.code}"


def store_route(
    session: WriteSession,
    shape: RouteShape,
    *,
    code: str | None,
    name: str | dict[str, str],
    loc: tuple[str, ...],
) -> Route:
    """Check a declared course and store it; ``loc`` is where it stands in the request.

    Raises:
        Invalid: naming the fields that cannot be used.
        Conflict: the code is taken.
    """
    plan = _plan(shape, loc)
    _require_zones(session, shape, loc)
    checkpoints = [c.model_dump() for c in shape.checkpoints]
    return route_store.create_route(session, plan, code=code, name=name, checkpoints=checkpoints)


def _plan(shape: RouteShape, loc: tuple[str, ...]) -> RoutePlan:
    legs = [Leg(**leg.model_dump()) for leg in shape.legs]
    try:
        return declare_route(shape.geometry.points, shape.corridor_m, legs)
    except Invalid as exc:
        errors = [FieldError((*loc, *e.loc), e.msg) for e in exc.errors]
        detail = "; ".join(f"{'.'.join(map(str, e.loc))}: {e.msg}" for e in errors[:3])
        raise Invalid(detail or exc.detail, errors) from exc


def _require_zones(session: WriteSession, shape: RouteShape, loc: tuple[str, ...]) -> None:
    known = places.known_zone_codes(session, [c.zone_code for c in shape.checkpoints])
    errors = [
        FieldError(
            (*loc, "checkpoints", i, "zone_code"),
            f"there is no zone {c.zone_code!r}; create it first",
        )
        for i, c in enumerate(shape.checkpoints)
        if c.zone_code not in known
    ]
    if errors:
        raise Invalid(errors[0].msg, errors)


@router.get("/routes")
def list_routes(
    user: Annotated[CurrentUser, may("routes.read")],
    session: Reading,
    limit: Limit = 100,
    cursor: Cursor = None,
    corridor: Annotated[bool, Query(description="Add the corridors' outlines.")] = False,
) -> Page[RouteOut]:
    """All routes that have a code, in the order of creation."""
    rows = route_store.list_routes(session, page_after(limit, decode_cursor(cursor, int64)))
    shown = rows[:limit]
    outlines = route_store.corridors(session, [r.id for r in shown]) if corridor else {}
    items = [route_out(route, outlines.get(route.id)) for route in shown]
    return Page(items=items, next=encode_cursor([items[-1].id]) if len(rows) > limit else None)


@router.get("/routes/{code}")
def get_route(
    user: Annotated[CurrentUser, may("routes.read")],
    code: str,
    session: Reading,
    corridor: Annotated[bool, Query(description="Add the corridor's outline.")] = False,
) -> RouteOut:
    """One route."""
    route = route_store.route_by_code(session, code)
    if route is None:
        raise NotFound(f"no route {code}")
    outlines = route_store.corridors(session, [route.id]) if corridor else {}
    return route_out(route, outlines.get(route.id))
