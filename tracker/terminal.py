"""What every command does at the terminal: expected errors as one line, an orderly end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tracker.embedded.stack import Interrupted
from tracker.errors import TrackerError
from tracker.logs import configure_logging


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn an expected error into one clear line on stderr and exit code 1."""
    try:
        yield
    except Interrupted:
        return
    except TrackerError as exc:
        typer.echo(f"tracker: {exc.detail}", err=True)
        raise typer.Exit(1) from exc


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, instead of cutting the work short."""
    configure_logging("info")
    stop = threading.Event()
    handlers = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
