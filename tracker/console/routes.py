"""Addresses of the console: its pages and what they load. Data comes from the JSON API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from maps.basemap import BASEMAP
from maps.styles import PALETTES, Locale, style
from tracker.api.auth import current_user
from tracker.api.deps import Config
from tracker.api.rights import grant
from tracker.console.catalogs import LOCALES, texts
from tracker.console.pages import render, render_or_log_in
from tracker.db.users import CurrentUser
from tracker.errors import Unauthenticated

STATIC = Path(__file__).parent / "static"
_REVALIDATE: Final = {"Cache-Control": "no-cache"}

router = APIRouter(include_in_schema=False)
_files = StaticFiles(directory=STATIC)


async def page_user(request: Request) -> CurrentUser | None:
    """The person of the session cookie, or None: a page then leads to the log-in."""
    try:
        return await current_user(request)
    except Unauthenticated:
        return None


Someone = Annotated[CurrentUser | None, Depends(page_user)]


@router.get("/login")
def login(request: Request, error: str = "", way: Annotated[str, Query(alias="next")] = "/") -> Any:
    """The form to log in; ``next`` must lead back into this site."""
    own = way.startswith("/") and not way.startswith(("//", "/\\"))
    return render(request, "login.html", None, failed=error, next=way if own else "/")


@router.get("/")
def live_map(request: Request, user: Someone) -> Response:
    """The live map with the ranked alerts."""
    return render_or_log_in(request, "map.html", user)


@router.get("/deliveries")
def deliveries(request: Request, user: Someone) -> Response:
    """The list of deliveries."""
    return render_or_log_in(request, "deliveries.html", user)


@router.get("/deliveries/{delivery_id}")
def delivery(request: Request, delivery_id: str, user: Someone) -> Response:
    """All about one delivery."""
    return render_or_log_in(request, "delivery.html", user, delivery_id=delivery_id)


@router.get("/arrivals")
def arrivals(request: Request, user: Someone) -> Response:
    """What is bound for an officer's post."""
    return render_or_log_in(request, "arrivals.html", user)


@router.get("/carrier")
def carrier(request: Request, user: Someone) -> Response:
    """A carrier's own deliveries and notifications."""
    return render_or_log_in(request, "carrier.html", user)


@router.get("/zones")
def zones(request: Request, user: Someone) -> Response:
    """Zones on the map and in a list; a form for who may enter or change them."""
    rights = [act for act in ("create", "change") if user and grant(user, f"zones.{act}") != "-"]
    return render_or_log_in(request, "zones.html", user, rights=rights)


@router.get("/settings")
def settings_page(request: Request, user: Someone) -> Response:
    """Thresholds of detection, as set by dates and scopes."""
    return render_or_log_in(request, "settings.html", user)


@router.get("/static/{path:path}")
async def static(request: Request, path: str) -> Response:
    """Scripts, styles, fonts. Those of packages are pinned and change only with a release."""
    response = await _files.get_response(path, request.scope)
    vendor = path.startswith("vendor/")
    response.headers["Cache-Control"] = "max-age=86400" if vendor else "no-cache"
    return response


@router.api_route("/basemap.pmtiles", methods=["GET", "HEAD"])
def basemap(settings: Config) -> Response:
    """The basemap; browsers read it in ranges."""
    path = settings.basemap or BASEMAP
    if not path.is_file():
        raise HTTPException(404, "no basemap is built: run `make assets`")
    return FileResponse(path, media_type="application/octet-stream", headers=_REVALIDATE)


@router.get("/style/{theme}/{locale}.json")
def map_style(theme: str, locale: str) -> Response:
    """A style of the basemap."""
    if theme not in PALETTES or locale not in LOCALES:
        raise HTTPException(404, "no such style")
    found = style(theme, cast("Locale", locale))
    return JSONResponse(found, headers=_REVALIDATE)


@router.get("/texts/{locale}.json")
def page_texts(locale: str) -> Response:
    """The catalog of a language for the scripts of the pages."""
    if locale not in LOCALES:
        raise HTTPException(404, "no such language")
    return JSONResponse(texts(locale), headers=_REVALIDATE)
