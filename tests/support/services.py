"""The real database server and broker, private to one test run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tracker.embedded.children import Account, choose_port, service_account
from tracker.embedded.mosquitto import PrivateMosquitto
from tracker.embedded.parts import find_mosquitto, find_postgres
from tracker.embedded.postgres import FAST_AND_LOSING, PrivatePostgres

_numbers = itertools.count(1)


class Broker:
    """A Mosquitto that can be stopped and started again on the same port with its state."""

    def __init__(self, service: PrivateMosquitto) -> None:
        self._service = service
        self.host = service.host
        self.port = 0

    def start(self) -> None:
        """Start it, on the port of last time if it ran before."""
        self.port = choose_port(wanted=None, last=self.port, what="the broker")
        self._service.start(self.port)

    def stop(self) -> None:
        """End it in order: its state is saved."""
        self._service.stop()

    def kill(self) -> None:
        """End it as a crash would: with no time to save anything."""
        process = self._service.process
        assert process is not None, "the broker does not run"
        process.kill()
        process.wait()


def start_postgres(home: Path) -> PrivatePostgres:
    """A fast server that is allowed to lose its data when the machine crashes."""
    server = PrivatePostgres(
        tools=find_postgres(),
        home=home / "postgres",
        log=home / "postgres.log",
        account=_account(home),
        password="test",
        extra=FAST_AND_LOSING,
    )
    server.prepare()
    server.start(choose_port(wanted=None, last=None, what="PostgreSQL"))
    return server


def start_broker(home: Path) -> Broker:
    """A broker with an empty state in ``home``."""
    broker = Broker(
        PrivateMosquitto(
            tools=find_mosquitto(),
            home=home / "mosquitto",
            log=home / "mosquitto.log",
            account=_account(home),
        )
    )
    broker.start()
    return broker


def create_database(server: PrivatePostgres, name: str) -> str:
    """An empty database; returns its URL."""
    _execute(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.dsn(name)


@contextmanager
def cloned_database(server: PrivatePostgres, template: str) -> Iterator[str]:
    """A copy of the template database, gone afterwards; yields its URL."""
    name = f"test_{next(_numbers)}"
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    _execute(server, clone.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield server.dsn(name)
    finally:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
        _execute(server, drop.format(sql.Identifier(name)))


def _execute(server: PrivatePostgres, statement: sql.Composed) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement)


def _account(home: Path) -> Account:
    account = service_account(home, find_postgres().bin_dir, data=home / "postgres")
    assert account is not None, f"the services' user cannot reach {home}"
    return account
