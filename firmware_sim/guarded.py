"""How a command ends: its exit code, or one line with the remedy and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import typer

from firmware_sim.errors import SimError


def guarded(play: Callable[[], int]) -> NoReturn:
    """Run a command. What people can mend is told on one line of stderr."""
    try:
        code = play()
    except SimError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)
