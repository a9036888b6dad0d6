"""``tracker retention``: what would leave the database by its age, and letting it leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tracker.commands.common import database
from tracker.db import workers
from tracker.errors import SetupError
from tracker.settings import Settings
from tracker.terminal import told_errors

app = typer.Typer(no_args_is_help=True, help="Records that have reached their age.")


@app.command()
def plan() -> None:
    """Say, week by week, how many records would go and stay; a line of JSON each."""
    from tracker import archiving  # brings in pyarrow, which other commands need not wait for

    with told_errors(), database() as (settings, conn, _begin):
        _require_policy(settings)
        for week in archiving.plan(conn, settings, workers.now(conn)):
            typer.echo(msgspec.json.encode(week).decode())


@app.command()
def run() -> None:
    """Take out the weeks that are due, as the settings say; a line of JSON each."""
    from tracker import archiving  # brings in pyarrow, which other commands need not wait for

    with told_errors(), database() as (settings, conn, _begin):
        _require_policy(settings)
        for week in archiving.run(conn, settings, workers.now(conn)):
            typer.echo(msgspec.json.encode(week).decode())


@app.command()
def tidy(
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would go.")] = False,
) -> None:
    """Keep the tables beside telemetry to their policies; a line of JSON each."""
    from tracker import tidying

    with told_errors(), database() as (settings, conn, _begin):
        work = tidying.plan if plan else tidying.run
        for table in work(conn, settings, workers.now(conn)):
            typer.echo(msgspec.json.encode(table).decode())


@app.command()
def verify(folder: Path) -> None:
    """Check an archive against its manifest."""
    from tracker import archiving

    with told_errors():
        typer.echo(json.dumps(archiving.verify(folder)))


def _require_policy(settings: Settings) -> None:
    if not settings.retention_days:
        raise SetupError("TRACKER_RETENTION_DAYS is 0: everything is kept; set an age in days")
