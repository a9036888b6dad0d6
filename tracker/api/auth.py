"""Who calls: bearer tokens for programs, a cookie with CSRF protection for the console.

Both carry the same signed token (JWT, HS256 with ``settings.secret_key``). The user is read from
the database at every call, so a user who was switched off or changed the password is out at once.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import jwt
from fastapi import Depends, Request, Response
from fastapi.security import OAuth2PasswordBearer
from starlette.concurrency import run_in_threadpool

from tracker.api.state import state_of
from tracker.db.users import CurrentUser, check_password, find_active
from tracker.errors import Forbidden, Unauthenticated
from tracker.settings import Settings

SESSION_COOKIE: Final = "tracker_session"
CSRF_COOKIE: Final = "tracker_csrf"
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ALGORITHM: Final = "HS256"
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")

_scheme = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A signed token, how long it lives, and the CSRF token bound to it."""

    token: str
    csrf: str
    expires_in_s: int


def issue(user: CurrentUser, settings: Settings) -> Login:
    """Sign a token for a user."""
    now, life = datetime.now(UTC), timedelta(hours=settings.token_hours)
    csrf = secrets.token_urlsafe(24)
    claims = {
        "sub": user.username,
        "iat": now,
        "exp": now + life,
        "mark": user.token_mark,
        "csrf": csrf,
    }
    token = jwt.encode(claims, settings.secret_key, _ALGORITHM)
    return Login(token=token, csrf=csrf, expires_in_s=int(life.total_seconds()))


def log_in(request: Request, username: str, password: str) -> Login:
    """Check a password and sign a token.

    Raises:
        Unauthenticated: no such user, or another password; it does not say which.
        TooManyAttempts: after too many failures.
    """
    state = state_of(request)
    address = request.client.host if request.client else ""
    state.throttle.check(username, address)
    with state.database.read() as session:
        user = check_password(session, username, password)
    if user is None:
        state.throttle.failed(username, address)
        raise Unauthenticated("the user name or the password is wrong")
    state.throttle.succeeded(username, address)
    return issue(user, state.settings)


async def current_user(
    request: Request, _documented: Annotated[str | None, Depends(_scheme)] = None
) -> CurrentUser:
    """The user who makes this call, by bearer token or by the console's cookie.

    Raises:
        Unauthenticated: there is neither, or it is no longer valid.
        Forbidden: a cookie came with an unsafe method and without the CSRF token.
    """
    bearer = _bearer(request)
    token = bearer or request.cookies.get(SESSION_COOKIE)
    if not token:
        raise Unauthenticated("log in: POST /api/v1/auth/token, then Authorization: Bearer …")
    state = state_of(request)
    claims = _claims(token, state.settings)
    if not bearer and request.method not in SAFE_METHODS:
        await _require_csrf(request, claims)
    user = await run_in_threadpool(_find, request, str(claims["sub"]))
    if user is None or user.token_mark != claims.get("mark"):
        raise Unauthenticated("this log-in is no longer valid; log in again")
    return user


def _find(request: Request, username: str) -> CurrentUser | None:
    with state_of(request).database.read() as session:
        return find_active(session, username)


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _claims(token: str, settings: Settings) -> Mapping[str, Any]:
    try:
        return jwt.decode(
            token,
            settings.secret_key,
            algorithms=[_ALGORITHM],
            options={"require": ["sub", "exp"]},
        )
    except jwt.ExpiredSignatureError as exc:
        raise Unauthenticated("the log-in has expired; log in again") from exc
    except jwt.InvalidTokenError as exc:
        raise Unauthenticated("the token is not valid; log in again") from exc


async def _require_csrf(request: Request, claims: Mapping[str, Any]) -> None:
    """The token is signed into the session, so a cookie planted by another site does not do."""
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(CSRF_FIELD)
        given = field if isinstance(field, str) else None
    wanted = str(claims.get("csrf", ""))
    if not given or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Forbidden(f"send the cookie {CSRF_COOKIE} back as the header {CSRF_HEADER}")


def set_cookies(response: Response, login: Login, settings: Settings) -> None:
    """Give the browser the session, hidden from scripts, and the CSRF token, open to them."""
    for name, value, hidden in (
        (SESSION_COOKIE, login.token, True),
        (CSRF_COOKIE, login.csrf, False),
    ):
        response.set_cookie(
            name,
            value,
            max_age=login.expires_in_s,
            httponly=hidden,
            secure=settings.cookie_secure,
            samesite="lax",
        )


def clear_cookies(response: Response) -> None:
    """Take both cookies back."""
    response.delete_cookie(SESSION_COOKIE)
    response.delete_cookie(CSRF_COOKIE)
