"""The ``tracker`` command: the whole stack, each process alone, and the small tools."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Transit and delivery control: start the stack or one of its processes."""
