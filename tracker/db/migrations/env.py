"""Alembic's environment: online migrations over the URL that `tracker.db.migrate` passes in."""

from __future__ import annotations

from typing import Any

from alembic import context
from geoalchemy2 import alembic_helpers
from sqlalchemy import create_engine, pool

from tracker.db.tables import Base

_NOT_OURS = {"spatial_ref_sys"}


def include_object(obj: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Leave out what PostGIS brings and the partitions, which are made by time, not by models."""
    if kind == "table" and name is not None:
        return name not in _NOT_OURS and not name.startswith("telemetry_")
    keep = alembic_helpers.include_object(obj, name, kind, reflected, compare_to)  # type: ignore[no-untyped-call]
    return bool(keep)


def run() -> None:
    """Migrate in one transaction, under a lock so that two starters wait for each other."""
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    with engine.connect() as conn:
        context.configure(
            connection=conn,
            target_metadata=Base.metadata,
            include_object=include_object,
            compare_type=True,
            process_revision_directives=alembic_helpers.writer,
            render_item=alembic_helpers.render_item,
        )
        with context.begin_transaction():
            conn.exec_driver_sql("SELECT pg_advisory_xact_lock(7238245)")
            context.run_migrations()


run()
