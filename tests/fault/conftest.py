"""Parts that survive being killed: a database that keeps what it has committed, a broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fault.site import Site
from tests.support.services import Broker, cloned_database, create_database
from tracker.embedded.children import choose_port, service_account
from tracker.embedded.parts import find_postgres
from tracker.embedded.postgres import PrivatePostgres

TEMPLATE = "template_fault"

UNSYNCED = {"fsync": "off", "full_page_writes": "off"}
"""Processes die here, not the machine: what a commit has handed to the system stays."""


@pytest.fixture(scope="session")
def durable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """A PostgreSQL whose commits survive ``kill -9``."""
    home = tmp_path_factory.mktemp("durable")
    tools = find_postgres()
    account = service_account(home, tools.bin_dir, data=home / "postgres")
    assert account is not None
    server = PrivatePostgres(
        tools=tools,
        home=home / "postgres",
        log=home / "postgres.log",
        account=account,
        password="test",
        extra=UNSYNCED,
    )
    server.prepare()
    server.start(choose_port(wanted=None, last=None, what="PostgreSQL"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def fault_template(durable_server: PrivatePostgres) -> str:
    """A migrated database to clone."""
    from tracker.db.migrate import upgrade

    upgrade(create_database(durable_server, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def site(
    durable_server: PrivatePostgres,
    fault_template: str,
    broker: Broker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A broker and an empty database; no worker runs yet."""
    with cloned_database(durable_server, fault_template) as dsn:
        made = Site(tmp_path_factory.mktemp("site"), durable_server, dsn, broker)
        yield made
        made.close()
