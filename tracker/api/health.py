"""Liveness, readiness with each dependency, and metrics: at the root and under /api/v1."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import psycopg
import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from tracker.api.metrics import HttpMetrics, Metrics
from tracker.api.queries import answer
from tracker.api.state import AppState, state_of
from tracker.db.connect import raw
from tracker.db.leases import Fleet, fleet
from tracker.db.migrate import head_revision
from tracker.db.reading_health import evaluator_lag_s, only_read, revision
from tracker.errors import SetupError

router = APIRouter(prefix="/api/v1", tags=["health"])
pages = APIRouter(include_in_schema=False)

CONNECT_S: Final = 2.0
#: Judging is normally under a second behind; a minute means that it stands still or is swamped.
LAG_LIMIT_S: Final = 60.0

DATABASE_FAULTS: Final = (psycopg.Error, SQLAlchemyError)

log = structlog.get_logger(__name__)

Check = Callable[[AppState], dict[str, Any]]


def install(app: FastAPI) -> None:
    """Count the calls of the application."""
    state: AppState = app.state.tracker
    app.state.metrics = metrics = Metrics(state.database)
    app.add_middleware(HttpMetrics, metrics=metrics)


@pages.get("/healthz")
@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """Answers as long as the process serves; asks nobody."""
    return {"status": "ok"}


@pages.get("/readyz")
@router.get("/readyz", summary="Whether each dependency is ready")
def readyz(request: Request) -> Response:
    """200 when all that is needed answers, else 503; each dependency says how it is.

    The evaluator's lag is told, and never refuses: storing and reading go on without judging.
    """
    state = state_of(request)
    checks = {name: check(state) for name, check in CHECKS.items()}
    ready = all(found["ok"] for name, found in checks.items() if name != "evaluator")
    return answer({"status": "ready" if ready else "not ready", "checks": checks}, _status(ready))


def _status(ready: bool) -> int:
    return 200 if ready else 503


@pages.get("/metrics")
@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    summary="Metrics for Prometheus",
)
def metrics(request: Request) -> Response:
    """Counters of this process, and gauges read from the database."""
    found: Metrics = request.app.state.metrics
    return Response(found.render(), media_type=CONTENT_TYPE_LATEST)


# ---------------------------------------------------------------- the dependencies


def check_database(state: AppState) -> dict[str, Any]:
    """Whether the database answers, and takes writes."""
    return _asked(state, _answered)


def _answered(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    if only_read(conn):
        return {"ok": False, "detail": "the database can only be read: a standby, or set so"}
    return {"ok": True}


def check_migrations(state: AppState) -> dict[str, Any]:
    """Whether the schema is the one this code knows."""
    return _asked(state, _migrated)


def _migrated(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    at, head = revision(conn), _head()
    return {"ok": at == head, "revision": at, "head": head}


@cache
def _head() -> str:
    return head_revision()


def check_broker(state: AppState) -> dict[str, Any]:
    """Whether the broker takes connections, and what it has dropped since its start.

    Drops are told and never refuse: they are past, and our devices send again.
    """
    host, port = state.settings.mqtt_host, state.settings.mqtt_port
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError:
        return {"ok": False, "detail": "the broker takes no connection"}
    try:
        with state.database.read() as session:
            return {"ok": True, **_drops(fleet(raw(session)))}
    except (*DATABASE_FAULTS, SetupError):
        return {"ok": True}  # the database speaks for itself


def _drops(ingest: Fleet) -> dict[str, Any]:
    if not ingest.dropped:
        return {"dropped": 0}
    return {
        "dropped": ingest.dropped,
        "warning": "the broker's queue was full and it dropped messages: add ingest workers,"
        " look at the database",
    }


def check_evaluator(state: AppState) -> dict[str, Any]:
    """How far judging is behind, in seconds."""
    return _asked(state, _lag)


def _lag(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    lag_s = evaluator_lag_s(conn)
    return {"ok": lag_s <= LAG_LIMIT_S, "lag_s": round(lag_s, 3)}


def _asked(
    state: AppState, ask: Callable[[psycopg.Connection[Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Ask the database; its faults are in the log, the answer says only that it is not well."""
    try:
        with state.database.read() as session:
            return ask(raw(session))
    except (*DATABASE_FAULTS, SetupError) as exc:
        log.warning("not_ready", error=str(exc))
        return {"ok": False, "detail": "the database does not answer as it should"}


CHECKS: Final[dict[str, Check]] = {
    "database": check_database,
    "migrations": check_migrations,
    "broker": check_broker,
    "evaluator": check_evaluator,
}
