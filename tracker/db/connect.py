"""The API's connections to the database: one engine, and two types of session.

A `ReadSession` cannot write: its transactions are read only, and the type checker keeps it away
from functions that do. A `WriteSession` commits once, at the edge, when its block ends well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from tracker.db.migrate import alembic_url

STATEMENT_TIMEOUT_MS = 30_000
"""A statement of the API that takes longer holds a connection that others wait for."""

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
                "connect_timeout": 5,
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
            },
        )
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
            yield session

    @contextmanager
    def write(self) -> Iterator[WriteSession]:
        """A transaction that is committed when the block ends and rolled back when it raises."""
        with WriteSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections of the pool."""
        self.engine.dispose()


def raw(session: Session) -> psycopg.Connection[Any]:
    """The psycopg connection of a session, inside its transaction."""
    return cast("psycopg.Connection[Any]", session.connection().connection.driver_connection)
