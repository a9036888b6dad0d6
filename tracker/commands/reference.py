"""``tracker reference``: zones, posts, routes of Kazakhstan for a server that has none yet."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from tracker.reference.client import Api
from tracker.reference.loader import load_with
from tracker.terminal import told_errors

app = typer.Typer(no_args_is_help=True, help="Reference data.")


@app.callback()
def main() -> None:
    """Reference data."""


@app.command()
def load(
    url: Annotated[str, typer.Option(help="Address of the API, as http://127.0.0.1:8000.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="PASSWORD")],
    username: Annotated[str, typer.Option(help="An administrator.")] = "admin",
) -> None:
    """Load what the server does not have yet; safe to repeat. Prints what it made."""
    with told_errors(), Api(url) as api:
        api.login(username, password)
        made = load_with(api)
    typer.echo(json.dumps(asdict(made)))
