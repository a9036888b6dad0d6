"""The ``tracker`` command: the whole stack, each process alone, and the small tools."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tracker.commands import evidence, limits, quarantine, reference, retention
from tracker.commands.broker import broker_app, ca_app
from tracker.commands.replay import replay_command
from tracker.embedded.stack import RunningStack, StackOptions, running_stack
from tracker.errors import SetupError, TrackerError
from tracker.logs import configure_logging
from tracker.settings import load_settings
from tracker.terminal import stop_on_signal, told_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
user_app = typer.Typer(no_args_is_help=True, help="Users of the API and the console.")
app.add_typer(user_app, name="user")
app.add_typer(broker_app, name="broker")
app.add_typer(ca_app, name="ca")
app.add_typer(limits.app, name="settings")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(retention.app, name="retention")
app.add_typer(reference.app, name="reference")
app.add_typer(evidence.app, name="evidence")
app.command("replay")(replay_command)

DataOption = Annotated[Path, typer.Option("--data", help="Directory of all data; kept.")]
PortOption = Annotated[int | None, typer.Option(min=1, max=65535, help="Default: a free one.")]

PROCESSES = {
    "ingest": ("tracker.ingest_mqtt", "Take records from the broker and store them."),
    "evaluate": ("tracker.evaluate", "Judge what was stored: anomalies, alerts, risk."),
    "watch": ("tracker.watch", "Watch the clocks: silence, deadlines, partitions."),
    "api": ("tracker.api.app", "Serve the API and the console."),
}

DEMO_HTTP_PORT = 8000
"""Tried first, so that the address of the demo is easy to remember."""


@app.callback()
def main() -> None:
    """Transit and delivery control: start the whole stack or one of its processes."""


@app.command()
def up(
    data: DataOption,
    as_json: Annotated[bool, typer.Option("--json", help="When ready: one line of JSON.")] = False,
    http_port: PortOption = None,
    mqtt_port: PortOption = None,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="TLS, passwords or certificates, an access list."),
    ] = False,
) -> None:
    """Start the database, the broker and every process; Ctrl-C ends them all."""
    options = StackOptions(data=data, http_port=http_port, mqtt_port=mqtt_port, secure=secure)
    with told_errors(), stop_on_signal() as stop, running_stack(options, stop) as stack:
        _announce(stack.info, as_json=as_json)
        stack.supervise(stop)


@app.command()
def demo(
    data: DataOption = Path("var/demo"),
    http_port: PortOption = None,
    mqtt_port: PortOption = None,
) -> None:
    """Start the stack with reference data and a simulated fleet; Ctrl-C ends everything."""
    options = StackOptions(
        data=data, http_port=http_port, mqtt_port=mqtt_port, usual_http_port=DEMO_HTTP_PORT
    )
    with told_errors(), stop_on_signal() as stop:
        configure_logging("warning")
        console = Console(stderr=True)
        with ExitStack() as everything:
            with console.status("PostgreSQL, Mosquitto, API …"):
                stack = everything.enter_context(running_stack(options, stop))
            _play(stack, console, stop)


@app.command()
def play(
    http: Annotated[str, typer.Option(help="Address of the running API.")],
    password_file: Annotated[Path, typer.Option(help="File with the user's password.")],
    mqtt_host: Annotated[str, typer.Option()] = "127.0.0.1",
    mqtt_port: Annotated[int, typer.Option(min=1, max=65535)] = 1883,
    username: Annotated[str, typer.Option()] = "admin",
) -> None:
    """Play the demo's fleet on a stack that runs already, until Ctrl-C."""
    from tracker.demo import run_demo

    with told_errors(), stop_on_signal() as stop:
        if not password_file.is_file():
            raise SetupError(f"{password_file} does not exist: give another --password-file")
        info = {
            "http": http,
            "mqtt": {"host": mqtt_host, "port": mqtt_port},
            "admin": {"username": username, "password": password_file.read_text().strip()},
        }
        run_demo(info, console=Console(stderr=True), stop=stop)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from tracker.db.migrate import upgrade

    with told_errors():
        settings = load_settings()
        configure_logging(settings.log_level)
        upgrade(settings.database_url)


@user_app.command("add")
def user_add(
    username: str,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="PASSWORD")],
) -> None:
    """Add an administrator, or give one a new password; other users are made through the API."""
    from tracker.db.users import ensure_admin

    with told_errors():
        ensure_admin(load_settings().database_url, username, password)


def _announce(info: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(info))
    else:
        typer.echo(f"{info['http']}  ({info['admin']['username']} / {info['admin']['password']})")
        typer.echo(f"mqtt://{info['mqtt']['host']}:{info['mqtt']['port']}  {info['database']}")
        typer.echo("Ctrl-C: стоп · тоқтату · stop")
    sys.stdout.flush()


def _play(stack: RunningStack, console: Console, stop: threading.Event) -> None:
    """Run the demonstration beside the supervisor; its failure ends the stack."""
    from tracker.demo import run_demo

    failures: list[TrackerError] = []

    def play() -> None:
        try:
            run_demo(stack.info, console=console, stop=stop)
        except TrackerError as exc:
            failures.append(exc)
        finally:
            stop.set()

    player = threading.Thread(target=play, name="demo")
    player.start()
    try:
        stack.supervise(stop)
    finally:
        # A stack that has fallen for good must not leave the fleet driving alone.
        stop.set()
        player.join()
    if failures:
        raise failures[0]


def _add_process(name: str, module: str, text: str) -> None:
    app.command(name, help=text)(lambda: _run_process(module, {}))


def _run_process(module: str, given: Mapping[str, object]) -> None:
    with told_errors():
        loaded = load_settings(**given)
        with stop_on_signal() as stop:
            configure_logging(loaded.log_level)
            importlib.import_module(module).run(loaded, stop)


@app.command(help=PROCESSES["ingest"][1])
def ingest(
    shards: Annotated[
        str | None, typer.Option(help="As 0-31 or 1,5,7; default: TRACKER_SHARDS, else all.")
    ] = None,
) -> None:
    """Any number run side by side and share the shards they may take."""
    given = {} if shards is None else {"shards": shards}
    _run_process("tracker.ingest_mqtt", given)


for _name in ("evaluate", "watch", "api"):
    _add_process(_name, *PROCESSES[_name])

if __name__ == "__main__":
    app()
