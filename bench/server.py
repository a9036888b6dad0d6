"""Private, durable services for benchmarks, and databases cloned from one that is seeded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql

from bench.load import Load
from bench.seeding import seed
from tracker.db.migrate import upgrade
from tracker.embedded.children import choose_port, service_account
from tracker.embedded.mosquitto import PrivateMosquitto
from tracker.embedded.parts import find_mosquitto, find_postgres
from tracker.embedded.postgres import PrivatePostgres
from tracker.errors import SetupError
from tracker.settings import PREFIX

TEMPLATE = "bench_template"
BLANK = "bench_blank"


@contextmanager
def running_server() -> Iterator[PrivatePostgres]:
    """A server with the settings of ``tracker up``: what is measured survives a crash."""
    with TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        tools = find_postgres()
        account = service_account(home, tools.bin_dir, data=home / "postgres")
        if account is None:
            raise SetupError(f"the services' user cannot reach {home}: set TMPDIR")
        server = PrivatePostgres(
            tools=tools,
            home=home / "postgres",
            log=home / "postgres.log",
            account=account,
            password="bench",
        )
        server.prepare()
        server.start(choose_port(wanted=None, last=None, what="PostgreSQL"))
        try:
            yield server
        finally:
            server.stop()


def make_blank(server: PrivatePostgres) -> None:
    """A migrated database with nothing in it, of which templates are made."""
    _execute(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(BLANK)))
    upgrade(server.dsn(BLANK))


def make_template(server: PrivatePostgres, load: Load, name: str = TEMPLATE) -> None:
    """A database that holds the load's fleet."""
    _copy(server, BLANK, name)
    seed(server.dsn(name), load)


def _copy(server: PrivatePostgres, source: str, name: str) -> None:
    names = sql.Identifier(name), sql.Identifier(source)
    _execute(server, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


@contextmanager
def clone(server: PrivatePostgres, name: str, template: str = TEMPLATE) -> Iterator[str]:
    """A copy of the template, gone afterwards; yields its URL."""
    _copy(server, template, name)
    # What copying has left to be written must not be paid for by the run.
    _execute(server, sql.SQL("CHECKPOINT"))
    try:
        yield server.dsn(name)
    finally:
        drop(server, name)


def drop(server: PrivatePostgres, name: str) -> None:
    """Remove a database, whoever is still connected."""
    query = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    _execute(server, query.format(sql.Identifier(name)))


@contextmanager
def running_broker() -> Iterator[PrivateMosquitto]:
    """A broker with the settings of ``tracker up``."""
    with TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        tools = find_mosquitto()
        account = service_account(home, Path(tools.program), data=home / "mosquitto")
        if account is None:
            raise SetupError(f"the services' user cannot reach {home}: set TMPDIR")
        broker = PrivateMosquitto(
            tools=tools, home=home / "mosquitto", log=home / "mosquitto.log", account=account
        )
        broker.start(choose_port(wanted=None, last=None, what="the broker"))
        try:
            yield broker
        finally:
            broker.stop()


@contextmanager
def process(name: str, dsn: str, **settings: str | int) -> Iterator[subprocess.Popen[bytes]]:
    """One of the product's processes, on a database of the benchmark."""
    given = {"database_url": dsn, "log_level": "error", **settings}
    env = {PREFIX + key.upper(): str(value) for key, value in given.items()}
    command = [sys.executable, "-m", "tracker.cli", name]
    running = subprocess.Popen(command, env={**os.environ, **env})
    try:
        yield running
    finally:
        running.terminate()
        running.wait(timeout=30)


def _execute(server: PrivatePostgres, statement: sql.SQL | sql.Composed) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement)
