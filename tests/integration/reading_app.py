"""The application of the reading calls on a database of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from tests.support.world import World, settings_for
from tracker.api.app import create_app


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """A database with posts, a route, carriers and one user of each role."""
    world = World(database)
    for role in ("monitor", "officer", "analyst", "auditor", "admin"):
        world.user(role, role)
    world.user("carrier", "carrier", world.carrier)
    world.user("stranger", "carrier", world.other_carrier)
    yield world
    world.conn.close()


#: The modules under test alone: the others have tests of their own.
READING = tuple(
    f"tracker.api.{name}"
    for name in (
        "track",
        "anomalies",
        "alerts",
        "dead_zones",
        "risk",
        "positions",
        "stream",
        "tiles",
        "quarantine",
        "health",
    )
)


@pytest.fixture
def app(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The application on that database, with no broker."""
    monkeypatch.setattr("tracker.api.app.MODULES", READING)
    app = create_app(settings_for(world.dsn, mqtt_port=1))
    app.state.stop = threading.Event()
    yield app
    app.state.tracker.database.close()
