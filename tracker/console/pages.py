"""Rendering of the console's pages in the language of the reader."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from tracker.api.auth import CSRF_COOKIE
from tracker.console.catalogs import LOCALES, choose_locale, translations
from tracker.db.users import CurrentUser

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGE_COOKIE: Final = "tracker_lang"
YEAR_S: Final = 365 * 24 * 3600

#: No inline script anywhere; MapLibre's worker is a module of our own, its images are blobs.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)

MENU: Final[dict[str, frozenset[str]]] = {
    "map": frozenset({"monitor", "officer", "analyst", "auditor", "admin", "carrier"}),
    "deliveries": frozenset({"monitor", "officer", "analyst", "auditor", "admin"}),
    "arrivals": frozenset({"officer", "admin"}),
    "carrier": frozenset({"carrier", "admin"}),
    "zones": frozenset({"monitor", "officer", "analyst", "auditor", "admin", "carrier"}),
    "settings": frozenset({"admin"}),
}
"""Pages of the menu and the roles that see them there; the API decides what they may read."""


def render(
    request: Request, template: str, user: CurrentUser | None, **values: Any
) -> HTMLResponse:
    """A page, in the language asked for by query, else cookie, else browser."""
    asked = request.query_params.get("lang")
    locale = choose_locale(
        asked, request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language")
    )
    html = (
        _environment(locale)
        .get_template(template)
        .render(
            locale=locale,
            locales=LOCALES,
            path=request.url.path,
            user=user,
            csrf=request.cookies.get(CSRF_COOKIE, ""),
            menu=[name for name, roles in MENU.items() if user and user.role in roles],
            version=version("tracker"),
            **values,
        )
    )
    response = HTMLResponse(html, headers=_HEADERS)
    if asked == locale:
        response.set_cookie(LANGUAGE_COOKIE, locale, max_age=YEAR_S, samesite="lax")
    return response


def render_or_log_in(
    request: Request, template: str, user: CurrentUser | None, **values: Any
) -> Response:
    """The page, or the way to the log-in for who is not logged in."""
    if user is None:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(asked)}", status_code=303)
    return render(request, template, user, **values)


_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Vary": "Cookie, Accept-Language",
}


@cache
def _environment(locale: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(locale))  # type: ignore[attr-defined]
    return environment
