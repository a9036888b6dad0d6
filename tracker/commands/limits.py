"""``tracker settings``: those of the environment, and the dated ones of the thresholds."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from tracker.api.schemas.settings import LimitSettingIn
from tracker.api.settings import fit
from tracker.commands.common import FORMATS, aware, database
from tracker.db import limit_settings as store
from tracker.db.reading import Page, rfc3339
from tracker.detectors.limits import Limits
from tracker.errors import SetupError
from tracker.model import from_ms, to_ms
from tracker.settings import PREFIX, Settings
from tracker.terminal import told_errors

app = typer.Typer(help="Settings of the processes; thresholds: list, set, show.")

AtOption = Annotated[
    datetime | None, typer.Option(help="At that time (UTC); default: now.", formats=FORMATS)
]
FromOption = Annotated[
    datetime | None,
    typer.Option("--from", help="In force from then on (UTC); default: now.", formats=FORMATS),
]


@app.callback(invoke_without_command=True)
def settings(context: typer.Context) -> None:
    """With no further word: list every setting of the environment, its default and meaning."""
    if context.invoked_subcommand is not None:
        return
    table = Table("name", "default", "meaning")
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        table.add_row(PREFIX + name.upper(), default, field.description or "")
    _console().print(table)


@app.command("list")
def list_(
    scope: Annotated[str | None, typer.Option(help="national, post, lane or delivery")] = None,
    key: Annotated[
        str | None, typer.Option(help="The post, FROM>TO, or the delivery's id.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="That set this threshold.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """Show the dated settings of thresholds, the last entered first."""
    with told_errors(), database() as (_, conn, _begin):
        rows, following = store.list_settings(
            conn, Page(limit=limit), scope=scope, key=key, name=name
        )
    table = Table("id", "scope", "key", "from", "values", "reason", "by")
    for row in rows:
        values = ", ".join(f"{n}={_shown(v)}" for n, v in row["values"].items())
        table.add_row(
            str(row["id"]),
            row["scope"],
            row["key"] or "",
            row["from"],
            values,
            row["reason"],
            row["created_by"],
        )
    _console().print(table)
    if following is not None:
        typer.echo(f"{limit} shown; there are more", err=True)


@app.command("set")
def set_(
    values: Annotated[list[str], typer.Argument(help="NAME=NUMBER, or NAME= to take it back.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the setting.")],
    scope: Annotated[str, typer.Option(help="national, post, lane or delivery")] = "national",
    key: Annotated[
        str | None, typer.Option(help="The post, FROM>TO, or the delivery's id.")
    ] = None,
    from_: FromOption = None,
) -> None:
    """Set thresholds from a time on; what they concern is judged again."""
    with told_errors(), database() as (config, _conn, begin):
        since = aware(from_) or datetime.now(UTC)
        body = _body(
            {
                "scope": scope,
                "key": key,
                "from": rfc3339(since),
                "values": dict(_pairs(values)),
                "reason": reason,
            }
        )
        with begin() as conn:
            fitting = fit(conn, body, config)
            row, concerned = store.add_setting(
                conn,
                scope=body.scope,
                key=body.key or "",
                from_t=body.from_,
                values=fitting,
                reason=body.reason,
                who=f"cli:{getpass.getuser()}",
            )
    typer.echo(json.dumps(row | {"deliveries_judged_again": concerned}, ensure_ascii=False))


def _body(given: dict[str, Any]) -> LimitSettingIn:
    try:
        return LimitSettingIn.model_validate(given)
    except ValidationError as exc:
        told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors()]
        raise SetupError("; ".join(told)) from exc


def _pairs(values: list[str]) -> Iterator[tuple[str, float | int | None]]:
    for one in values:
        name, sign, number = one.partition("=")
        if not sign:
            raise SetupError(f"{one!r} is no NAME=NUMBER, as stop_s=1800")
        try:
            yield name.strip(), _number(number.strip())
        except ValueError:
            raise SetupError(f"{name}: {number!r} is no number") from None


def _number(text: str) -> float | int | None:
    if not text:
        return None
    return float(text) if any(c in text for c in ".eEnN") else int(text)


@app.command("show")
def show(
    delivery: Annotated[str | None, typer.Option(help="In force for this delivery (id).")] = None,
    version: Annotated[str | None, typer.Option(help="Behind this settings_version.")] = None,
    at: AtOption = None,
) -> None:
    """Show the thresholds in force: nationally, for a delivery, or behind a finding's version."""
    when = aware(at) or datetime.now(UTC)
    with told_errors(), database() as (_, conn, _begin):
        if version is not None:
            found = store.read_version(conn, version)
            if found is None:
                raise SetupError(f"no finding was made with thresholds {version!r}")
            known = found[0]
        elif delivery is not None:
            known, _rows = store.in_force_of(conn, _id(delivery))
        else:
            known = store.in_force_of_national(conn)
    if version is not None and at is None and known.later:
        when = from_ms(known.later[-1][0])
    table = Table("threshold", "in force", "published")
    published = msgspec.to_builtins(Limits())
    for name, value in msgspec.to_builtins(known.at(to_ms(when))).items():
        table.add_row(name, _shown(value), _shown(published[name]))
    _console().print(table)
    typer.echo(known.version)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise SetupError(f"{text!r} is no delivery's id") from None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _console() -> Console:
    # A pipe gets whole lines, a terminal its own width.
    return Console(width=None if sys.stdout.isatty() else 200)
