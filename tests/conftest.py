"""Fixtures: a real PostGIS migrated once and cloned per test, a real broker, the whole stack.

A fixture starts its services in the main thread: they end when it does, even by ``kill -9``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser

from tests.support.browser import launched_browser
from tests.support.services import (
    Broker,
    cloned_database,
    create_database,
    start_broker,
    start_postgres,
)
from tests.support.stack import STOP_S, Stack, start_stack
from tracker.embedded import children
from tracker.embedded.postgres import PrivatePostgres

TEMPLATE = "template_tracker"

# How long an example takes says how busy the machine is, and nothing of the law.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A gate must not fail by chance: it tries the same examples each time. A desk looks for new ones.
settings.register_profile(
    "gate", settings.get_profile("desk"), derandomize=True, database=None, print_blob=True
)
settings.load_profile("gate" if os.environ.get("CI") else "desk")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """A private PostgreSQL with PostGIS for the whole run."""
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template_database(postgres_server: PrivatePostgres) -> str:
    """Name of a migrated database to clone; nobody may stay connected to it."""
    from tracker.db.migrate import upgrade

    upgrade(create_database(postgres_server, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database(postgres_server: PrivatePostgres, template_database: str) -> Iterator[str]:
    """URL of a migrated, empty database of the test's own."""
    with cloned_database(postgres_server, template_database) as dsn:
        yield dsn


@pytest.fixture
def empty_database(postgres_server: PrivatePostgres) -> Iterator[str]:
    """URL of a database with nothing in it, not even PostGIS."""
    with cloned_database(postgres_server, "template0") as dsn:
        yield dsn


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Mosquitto of the test's own, which can be stopped, killed and started again."""
    broker = start_broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A complete ``tracker up``, shared by the run: use devices and deliveries of your own."""
    running = start_stack(tmp_path_factory.mktemp("stack") / "data")
    yield running
    children.end(running.process, timeout_s=STOP_S)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; take a context of your own: ``browser.new_context(...)``."""
    with launched_browser() as launched:
        yield launched
