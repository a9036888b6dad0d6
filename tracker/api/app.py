"""The HTTP application: which modules it has, and how it is run."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from tracker.api import problems
from tracker.api.described import refusals
from tracker.api.guard import Guard
from tracker.api.state import AppState, hold
from tracker.db.connect import Database
from tracker.errors import SetupError
from tracker.settings import Settings

#: The modules whose ``router`` makes up the application, in the order of the contract.
MODULES: Final = (
    "tracker.api.sessions",
    "tracker.api.users",
    "tracker.api.posts",
    "tracker.api.zones",
    "tracker.api.routes",
    "tracker.api.dead_zones",
    "tracker.api.devices",
    "tracker.api.device_keys",
    "tracker.api.participants",
    "tracker.api.deliveries",
    "tracker.api.acts",
    "tracker.api.incidents",
    "tracker.api.controls",
    "tracker.api.journeys",
    "tracker.api.rerouting",
    "tracker.api.track",
    "tracker.api.anomalies",
    "tracker.api.alerts",
    "tracker.api.risk",
    "tracker.api.evidence",
    "tracker.api.positions",
    "tracker.api.stream",
    "tracker.api.tiles",
    "tracker.api.settings",
    "tracker.api.quarantine",
    "tracker.api.health",
    "tracker.console.routes",
)

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""A territory's outline or a recorded track fits several times over."""

DESCRIPTION: Final = """\
Transit and delivery control. Times are RFC 3339 in UTC with milliseconds, geometry is GeoJSON
(lon, lat), money is whole tenge. Lists answer `{"items":[…],"next":cursor|null}`. Errors are
RFC 9457 problems. A creation may carry an `Idempotency-Key`, an edit an `If-Match`.
"""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; it opens no connection before the first request.

    Raises:
        SetupError: a setting that the API needs is missing.
    """
    if not settings.secret_key:
        raise SetupError("TRACKER_SECRET_KEY is empty: set it to at least 32 random characters")
    state = AppState(
        settings=settings,
        database=Database(settings.database_url, pool_size=settings.database_pool_size),
    )
    app = FastAPI(
        title="Tracker",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        # The stock pages load scripts from another site; no request leaves this one.
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        responses=refusals(401, 403, 422),
    )
    hold(app, state)
    problems.install(app)
    # Not as the application's own limit: that one answers in plain text.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app.add_middleware(Guard, max_body_bytes=MAX_BODY_BYTES)
    for name in MODULES:
        _include(app, name)
    return app


def _include(app: FastAPI, name: str) -> None:
    """Add a module's ``router``, its ``pages``, and what it mounts (``install(app)``)."""
    module = importlib.import_module(name)
    app.include_router(module.router)
    if hasattr(module, "pages"):
        app.include_router(module.pages)
    if hasattr(module, "install"):
        module.install(app)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    state: AppState = app.state.tracker
    state.database.close()


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until ``stop`` is set, then let running requests end.

    Raises:
        SetupError: the port is taken or a setting is missing.
    """
    app = create_app(settings)
    app.state.stop = stop  # open streams end with the server
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    with _listen(settings.http_host, settings.http_port) as listener:
        _Server(config, stop).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Bind before the server starts, so that a taken port is one clear line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        raise SetupError(
            f"cannot listen on {host}:{port}: {exc.strerror}; "
            "set TRACKER_HTTP_HOST and TRACKER_HTTP_PORT to a free address"
        ) from exc


class _Server(uvicorn.Server):
    """A server that another thread can stop, and that leaves signals to the process."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if self._stop.is_set():
            self.should_exit = True
        return await super().on_tick(counter)
