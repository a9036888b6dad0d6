"""Bring a database to the newest schema. Alembic is the only way the schema changes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from tracker.db import workers
from tracker.db.partitions import ensure_partitions
from tracker.errors import SetupError

_MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_url(dsn: str) -> str:
    """A libpq URL → the SQLAlchemy URL of the psycopg 3 driver."""
    scheme, _, rest = dsn.partition("://")
    if scheme not in {"postgresql", "postgres"}:
        raise SetupError(f"TRACKER_DATABASE_URL: {scheme!r} is not postgresql://…")
    return f"postgresql+psycopg://{rest}"


def alembic_config(dsn: str) -> Config:
    """Alembic's configuration without a file: scripts beside this module, the given database."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = alembic_url(dsn)
    return config


def upgrade(dsn: str, revision: str = "head") -> None:
    """Migrate the database up to ``revision``.

    Raises:
        SetupError: PostgreSQL is older than 15 or has no PostGIS 3.3; the text says what to do.
    """
    require_postgis(dsn)
    command.upgrade(alembic_config(dsn), revision)
    # Not now, if a reader is busy with the table: the watch makes them within a minute.
    with psycopg.connect(dsn) as conn, suppress(psycopg.errors.LockNotAvailable):
        ensure_partitions(conn, workers.now(conn))


def downgrade(dsn: str, revision: str) -> None:
    """Migrate the database down to ``revision`` (``base``: empty)."""
    command.downgrade(alembic_config(dsn), revision)


def current_revision(dsn: str) -> str | None:
    """The revision the database is at; None if it has never been migrated."""
    engine = create_engine(alembic_url(dsn))
    try:
        with engine.connect() as conn:
            return MigrationContext.configure(conn).get_current_revision()
    finally:
        engine.dispose()


def head_revision() -> str:
    """The newest revision that this code knows."""
    head = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if head is None:
        raise SetupError("no migrations are installed: the package is incomplete")
    return head


def require_postgis(dsn: str) -> None:
    """Refuse a database that cannot carry the product, in one clear line.

    Raises:
        SetupError: unreachable, too old, or without PostGIS.
    """
    engine = create_engine(alembic_url(dsn))
    try:
        with engine.connect() as conn:
            version = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one())
            postgis = conn.exec_driver_sql(
                "SELECT default_version FROM pg_available_extensions WHERE name = 'postgis'"
            ).scalar()
    except DBAPIError as exc:
        raise SetupError(f"the database cannot be reached: {exc.orig}") from exc
    finally:
        engine.dispose()
    if version < 150000:
        raise SetupError(
            f"PostgreSQL {version // 10000} is too old: install PostgreSQL 15 or newer"
        )
    if postgis is None:
        raise SetupError(
            "PostGIS is missing on the database server: install postgresql-15-postgis-3"
        )
    if tuple(int(n) for n in postgis.split(".")[:2]) < (3, 3):
        raise SetupError(f"PostGIS {postgis} is too old: install PostGIS 3.3 or newer")
