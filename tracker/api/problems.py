"""Every error becomes RFC 9457 ``application/problem+json`` here, by one table.

What an error says to the client is written by hand for the client; the words of drivers and
libraries, and tracebacks, go to the log only. A 500 tells nothing but an id to search it by.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from tracker.db.workers import LOST
from tracker.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    TrackerError,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 50
"""A body with ten thousand bad fields is told about the first fifty."""

log = structlog.get_logger(__name__)


class LostUpdate(Conflict):
    """The resource has changed since the caller read it (HTTP 412)."""


class TooManyAttempts(TrackerError):
    """Too many failed log-ins (HTTP 429)."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


#: The first line that fits decides: subclasses stand before their bases.
STATUS: Final[tuple[tuple[type[TrackerError], int, str], ...]] = (
    (LostUpdate, 412, "lost-update"),
    (Invalid, 422, "invalid"),
    (Conflict, 409, "conflict"),
    (NotFound, 404, "not-found"),
    (Forbidden, 403, "forbidden"),
    (Unavailable, 503, "unavailable"),
    (Unauthenticated, 401, "unauthenticated"),
    (TooManyAttempts, 429, "too-many-attempts"),
)


def problem(
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """An answer that says what is wrong and, for each bad field, where and what to do."""
    body: dict[str, Any] = {
        "type": f"/problems/{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }
    if errors:
        body["errors"] = [{"loc": list(e.loc), "msg": e.msg} for e in errors]
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have the application answer all its errors as problems."""
    app.add_exception_handler(TrackerError, _own)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(psycopg.Error, _database)
    app.add_exception_handler(PoolTimeout, _busy)
    app.add_exception_handler(UnicodeEncodeError, _unwritable)
    app.add_exception_handler(Exception, _fault)


def _own(request: Request, exc: Exception) -> JSONResponse:
    for kind, status, name in STATUS:
        if isinstance(exc, kind):
            return problem(
                status, exc.detail, kind=name, errors=exc.errors, headers=_headers(status, exc)
            )
    return _fault(request, exc)


def _headers(status: int, exc: TrackerError) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(exc, TooManyAttempts):
        return {"Retry-After": str(exc.retry_after_s)}
    return {}


def _validation(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    errors = [_field(e) for e in exc.errors()[:MAX_ERRORS]]
    first = errors[0]
    if first.loc[0] == "path":
        # What cannot be an id is nobody's id: as with every other id that there is not.
        return problem(404, f"there is no such {first.loc[-1]}", kind="not-found")
    detail = f"{'.'.join(map(str, first.loc))}: {first.msg}"
    if len(exc.errors()) > 1:
        detail += f" (and {len(exc.errors()) - 1} more)"
    return problem(422, detail, kind="invalid", errors=errors)


#: Words for the commonest faults that name the remedy; the library's own words for the rest.
_REMEDY: Final = {
    "missing": "is required; add it",
    "extra_forbidden": "is not a field of this request; remove it or check its spelling",
    "json_invalid": "the body is not valid JSON",
    "model_attributes_type": "give a JSON object (Content-Type: application/json)",
    "string_unicode": "holds characters that are no valid Unicode; send UTF-8",
    "finite_number": "give a finite number",
}


def _field(error: Mapping[str, Any]) -> FieldError:
    words = _REMEDY.get(error["type"])
    if words is None:
        words = str(error["msg"]).removeprefix("Value error, ")
    return FieldError(tuple(_part(p) for p in error["loc"]), words)


def _part(part: str | int) -> str | int:
    """A part of a location; names come from the client, so they are made safe and short."""
    if isinstance(part, int):
        return part
    return part.encode("utf-8", "backslashreplace").decode()[:100]


def _http(request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    detail = exc.detail if isinstance(exc.detail, str) else HTTPStatus(exc.status_code).phrase
    if exc.status_code == 404 and detail == "Not Found":
        detail = f"there is nothing at {_part(request.url.path)}; see /api/openapi.json"
    if exc.status_code == 405:
        detail = f"{request.method} is not allowed here"
    return problem(exc.status_code, detail, headers=exc.headers)


def _database(request: Request, exc: Exception) -> JSONResponse:
    """Faults that the database found and no check before it: psycopg's, wrapped or not."""
    fault = exc.orig if isinstance(exc, DBAPIError) else exc
    if isinstance(fault, psycopg.DataError):
        log.info("data_refused", path=request.url.path, error=str(fault))
        return problem(
            422, "a value cannot be stored: it is out of range or holds a NUL", kind="invalid"
        )
    if isinstance(fault, psycopg.IntegrityError):
        log.info("integrity_refused", path=request.url.path, error=str(fault))
        return problem(
            409, "somebody else has just changed this; read it again and retry", kind="conflict"
        )
    if isinstance(exc, OperationalError) or isinstance(fault, LOST):
        log.warning("database_unavailable", path=request.url.path, error=str(fault))
        return _unavailable()
    return _fault(request, exc)


def _busy(request: Request, exc: Exception) -> JSONResponse:
    log.warning("database_pool_exhausted", path=request.url.path)
    return _unavailable()


def _unavailable() -> JSONResponse:
    return problem(
        503,
        "the database does not answer; try again shortly",
        kind="unavailable",
        headers={"Retry-After": "5"},
    )


def _unwritable(request: Request, exc: Exception) -> JSONResponse:
    return problem(422, "a text holds characters that are no valid Unicode", kind="invalid")


def _fault(request: Request, exc: Exception) -> JSONResponse:
    fault_id = secrets.token_hex(8)
    log.error("fault", id=fault_id, path=request.url.path, exc_info=exc)
    return problem(
        500, f"an internal error; its id is {fault_id}", kind="internal-error", id=fault_id
    )
