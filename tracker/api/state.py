"""What one application holds: its settings, its database, its brake on guessing passwords."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from fastapi import FastAPI
from starlette.requests import HTTPConnection

from tracker.api.throttle import Throttle
from tracker.db.connect import Database
from tracker.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AppState:
    """Held in ``app.state.tracker``; endpoints reach it through `tracker.api.deps`."""

    settings: Settings
    database: Database
    throttle: Throttle = field(default_factory=Throttle)


def hold(app: FastAPI, state: AppState) -> None:
    """Give the application its state."""
    app.state.tracker = state


def state_of(connection: HTTPConnection) -> AppState:
    """The state of the application that serves this request."""
    return cast("AppState", connection.app.state.tracker)
