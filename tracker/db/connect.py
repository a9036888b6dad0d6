"""The API's connections to the database: one engine, and two types of session.

A `ReadSession` cannot write: its transactions are read only, and the type checker keeps it away
from functions that do. A `WriteSession` commits once, at the edge, when its block ends well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session

from tracker.db.migrate import alembic_url
from tracker.db.workers import keep_in_touch

STATEMENT_TIMEOUT_MS = 30_000
"""A statement of the API that takes longer holds a connection that others wait for."""

IDLE_IN_TRANSACTION_MS = 60_000
"""A process that is stopped between a write and its commit keeps a delivery, and the lock of the
outbox, from everybody else: after so long the server ends its session."""

SNAPSHOT_IDLE_MS = 600_000
"""An evidence pack is made in Python between its statements, for minutes where a journey was long;
its transaction locks no row."""

POOL_TIMEOUT_S = 10.0


class ReadSession(Session):
    """A session whose transaction is read only."""


class WriteSession(Session):
    """A session that may write; its block commits."""


class Database:
    """The engine of one process, and the two ways to use it."""

    def __init__(self, dsn: str, *, pool_size: int = 10) -> None:
        self.dsn = dsn
        self.engine: Engine = create_engine(
            alembic_url(dsn),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            # A database that was restarted costs one ping, not one failed request per connection.
            pool_pre_ping=True,
            connect_args={
                "application_name": "tracker-api",
                **keep_in_touch(
                    statement_timeout=STATEMENT_TIMEOUT_MS,
                    idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_MS,
                ),
            },
        )
        event.listen(self.engine, "checkin", _as_the_server_has_it)
        self._reading = self.engine.execution_options(postgresql_readonly=True)
        self._one_moment = self.engine.execution_options(
            postgresql_readonly=True, isolation_level="REPEATABLE READ"
        )

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """A read-only transaction."""
        with ReadSession(self._reading) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[ReadSession]:
        """A read-only transaction that sees one moment, however long it lasts."""
        with ReadSession(self._one_moment) as session:
            session.execute(
                text(f"SET LOCAL idle_in_transaction_session_timeout = {SNAPSHOT_IDLE_MS}")
            )
            yield session

    @contextmanager
    def write(self) -> Iterator[WriteSession]:
        """A transaction that is committed when the block ends and rolled back when it raises."""
        with WriteSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections of the pool."""
        self.engine.dispose()


def _as_the_server_has_it(connection: psycopg.Connection[Any] | None, _record: object) -> None:
    """After a read-only transaction SQLAlchemy asks for READ WRITE in those that follow, and so
    writes to a database that is set to be only read. Whether it is shall be the server's say."""
    if connection is not None:
        connection.read_only = None


def raw(session: Session) -> psycopg.Connection[Any]:
    """The psycopg connection of a session, inside its transaction."""
    return cast("psycopg.Connection[Any]", session.connection().connection.driver_connection)
