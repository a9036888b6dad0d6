"""What the groups of commands share: a database, a transaction at a time; times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
import typer

from tracker.db.workers import LOST, keep_in_touch
from tracker.errors import SetupError
from tracker.logs import configure_logging
from tracker.settings import Settings, load_settings

Begin = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]

IDLE_IN_TRANSACTION_MS = 600_000
"""A command that was suspended at the terminal (Ctrl-Z) in the middle of a transaction keeps its
locks from the workers: after so long the server ends its session."""

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"]
SinceOption = Annotated[
    datetime | None, typer.Option(help="Received since then (UTC).", formats=FORMATS)
]


@contextmanager
def database() -> Iterator[tuple[Settings, psycopg.Connection[Any], Begin]]:
    """The settings, a connection that commits each statement, and how to begin a transaction.

    Raises:
        SetupError: the database cannot be reached, or failed in between.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    try:
        conn = psycopg.connect(
            settings.database_url,
            autocommit=True,
            application_name="tracker-cli",
            **keep_in_touch(idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_MS),
        )
    except psycopg.OperationalError as exc:
        raise SetupError(f"the database cannot be reached: {exc}") from exc

    @contextmanager
    def begin() -> Iterator[psycopg.Connection[Any]]:
        with conn.transaction():
            yield conn

    try:
        with conn:
            yield settings, conn, begin
    except LOST as exc:
        raise SetupError(f"the database failed: {' '.join(str(exc).split())}") from exc


def aware(at: datetime | None) -> datetime | None:
    """A time given without a zone is UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
