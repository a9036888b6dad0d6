"""``tracker quarantine``: look at what was refused, take it out as NDJSON, try it again."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Table

from tracker.commands.common import SinceOption, aware, database
from tracker.db.reading import Page
from tracker.db.reading_quarantine import export_lines, list_quarantine, refused_counts
from tracker.db.redrive import Filter
from tracker.errors import Invalid, SetupError
from tracker.redrive import redrive
from tracker.terminal import told_errors

app = typer.Typer(no_args_is_help=True, help="What was refused: look, export, try again.")

log = structlog.get_logger(__name__)

DeviceOption = Annotated[str | None, typer.Option(help="Of this device only.")]
ReasonOption = Annotated[list[str] | None, typer.Option(help="For this reason; may be repeated.")]

SHOWN_CHARACTERS = 60


@app.command("list")
def list_(
    device: DeviceOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """Show what was refused, newest first."""
    table = Table("id", "received", "device", "reason", "bytes", "detail")
    with told_errors(), database() as (_, conn, _begin):
        rows, following = list_quarantine(
            conn, device=device, reason=reason, since=aware(since), page=Page(limit=limit)
        )
    for row in rows:
        table.add_row(
            str(row["id"]),
            row["received_at"],
            row["device_id"] or "",
            row["reason"],
            str(row["size_bytes"]),
            row["detail"][:SHOWN_CHARACTERS],
        )
    _console().print(table)
    if following is not None:
        typer.echo(f"{limit} shown; there are more", err=True)


@app.command()
def counts(limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000) -> None:
    """Show how much of each sender is kept, and how much its bounds kept out."""
    table = Table("sender", "kept", "bytes", "over the bounds", "bytes")
    with told_errors(), database() as (_, conn, _begin):
        rows, _ = refused_counts(conn, Page(limit=limit))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _console().print(table)


@app.command()
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to; default: the output.")] = None,
    device: DeviceOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
) -> None:
    """Write what was refused as NDJSON, newest first, raw bytes in Base64."""
    with told_errors(), database() as (_, _conn, begin):
        lines = export_lines(begin, device=device, reason=reason, since=aware(since))
        if file is None:
            for line in lines:
                typer.echo(line, nl=False)
            return
        try:
            with file.open("wb") as out:
                out.writelines(lines)
        except OSError as exc:
            raise SetupError(f"{file} cannot be written: {exc.strerror}") from exc


@app.command("redrive")
def redrive_(
    device: DeviceOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    ids: Annotated[list[int] | None, typer.Option("--id", help="These rows only.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is there.")] = False,
) -> None:
    """Put what was refused through the storing stage again, after a fix; prints the counts."""
    with told_errors(), database() as (settings, _conn, begin):
        if not (device or reason or since or ids or everything):
            raise Invalid("say what to try again: --device, --reason, --since, --id, or --all")
        wanted = Filter(ids=ids, device=device, reason=reason, since=aware(since))
        done = redrive(begin, wanted, traccar_topic=settings.traccar_topic)
    told = {
        "looked_at": done.looked_at,
        "stored": done.stored,
        "removed": done.removed,
        "kept": done.kept,
    }
    asked = {"device": device, "reason": reason, "since": str(since or ""), "ids": ids}
    log.info("quarantine_redriven", who=f"cli:{getpass.getuser()}", wanted=asked, **told)
    typer.echo(json.dumps(told))


def _console() -> Console:
    # A pipe gets whole lines, a terminal its own width.
    return Console(width=None if sys.stdout.isatty() else 200)
