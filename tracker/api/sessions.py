"""Logging in and out: a token for programs, a cookie for the console."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from tracker.api.auth import clear_cookies, log_in, set_cookies
from tracker.api.deps import Caller, Config
from tracker.api.described import refusals
from tracker.api.problems import TooManyAttempts
from tracker.errors import Unauthenticated

router = APIRouter(prefix="/api/v1", tags=["log-in"], responses=refusals(429))
pages = APIRouter(include_in_schema=False)

Name = Annotated[str, Form(max_length=200, examples=["monitor"])]
Password = Annotated[str, Form(max_length=1000, examples=["a long pass phrase"])]


class Token(BaseModel):
    """A bearer token: send it as ``Authorization: Bearer <access_token>``."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds for which it is valid.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"access_token": "eyJhbGciOi…", "token_type": "bearer", "expires_in": 43200}
            ]
        }
    )


@router.post("/auth/token")
def token(
    request: Request,
    username: Name,
    password: Password,
    grant_type: Annotated[Literal["password"], Form()] = "password",
) -> Token:
    """Log in with the OAuth2 password form and get a bearer token."""
    login = log_in(request, username, password)
    return Token(access_token=login.token, expires_in=login.expires_in_s)


@pages.post("/login")
def login_page(
    request: Request,
    config: Config,
    username: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> RedirectResponse:
    """Log in to the console: sets the cookies and goes to ``next``."""
    way = _own_page(next)
    try:
        login = log_in(request, username, password)
    except Unauthenticated:
        return _again("1", way)
    except TooManyAttempts:
        return _again("attempts", way)
    answer = RedirectResponse(way, 303)
    set_cookies(answer, login, config)
    return answer


@pages.post("/logout")
def logout(user: Caller) -> RedirectResponse:
    """Log out of the console."""
    answer = RedirectResponse("/login", 303)
    clear_cookies(answer)
    return answer


def _again(error: str, way: str) -> RedirectResponse:
    """Back to the form, which still leads to where the person wanted to go."""
    asked = {"error": error} if way == "/" else {"error": error, "next": way}
    return RedirectResponse(f"/login?{urlencode(asked)}", 303)


def _own_page(address: str) -> str:
    """Only a path of this site: a form must not send people elsewhere after they logged in."""
    parts = urlsplit(address.replace("\\", "/"))
    own = not parts.scheme and not parts.netloc and parts.path.startswith("/")
    safe = own and not parts.path.startswith("//") and address.isprintable()
    return address if safe else "/"
