"""Commands for scenarios: run, check, schema, score. Bad input is one line and exit code 2."""

from __future__ import annotations

import json
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from firmware_sim.edge import Broker
from firmware_sim.errors import PlanError
from firmware_sim.fleet import RunOptions
from firmware_sim.guarded import guarded
from firmware_sim.perform import Outcome, Server, checked_cast, perform, rehearse
from firmware_sim.plan import start_time
from firmware_sim.scenario import Scenario, read_scenario
from firmware_sim.scenario_schema import schema_text
from firmware_sim.scenario_view import choose_scenario_view
from firmware_sim.score import score
from firmware_sim.score_source import read_findings
from firmware_sim.score_table import as_json, show
from firmware_sim.truthfile import read_truth

Source = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Scenario file, or a name from the library.")
]
Deliveries = Annotated[
    int | None, typer.Option(min=1, help="Same mix with about so many deliveries.")
]
Seed = Annotated[int | None, typer.Option(help="Instead of the scenario's seed.")]
Prefix = Annotated[
    str | None, typer.Option(help="Begins device ids and registration numbers; default: new.")
]
Truth = Annotated[Path | None, typer.Option(help="Write the ground truth here, JSON lines.")]
Http = Annotated[str | None, typer.Option(help="URL of the server; registers and records acts.")]
User = Annotated[str, typer.Option(help="An administrator of the server.")]
Password = Annotated[
    str | None,
    typer.Option(envvar="FIRMWARE_SIM_PASSWORD", help="That user's password (or by environment)."),
]
Mqtt = Annotated[str, typer.Option(metavar="HOST:PORT", help="The broker.")]
MqttUser = Annotated[str | None, typer.Option(help="Broker user of all devices.")]
MqttPassword = Annotated[
    str | None, typer.Option(envvar="FIRMWARE_SIM_MQTT_PASSWORD", help="That user's password.")
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", "--tls-ca", exists=True, dir_okay=False, help="CA; turns TLS on."),
]
CertDir = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Holds ID.crt and ID.key of each device."),
]
Speed = Annotated[float, typer.Option(min=0.01, help="Device seconds in a real second.")]
FlatOut = Annotated[bool, typer.Option("--flat-out", help="As fast as the server's acks allow.")]
Abreast = Annotated[
    int, typer.Option(min=1, help="Flat out: so many vehicles under way at a time.")
]
DryRunFile = Annotated[
    Path | None,
    typer.Option("--dry-run", help="Write the messages to this file; no broker, no server."),
]
Now = Annotated[str, typer.Option(help="Dry run: the instant that is `now`, RFC 3339.")]
AckTimeout = Annotated[
    float, typer.Option(min=1, help="Seconds without an ack, after all is sent, before giving up.")
]

# A secured broker hears of newly registered devices within seconds.
_PATIENCE_S = 30.0


def run(
    source: Source,
    http: Http = None,
    user: User = "admin",
    password: Password = None,
    mqtt: Mqtt = "127.0.0.1:1883",
    mqtt_user: MqttUser = None,
    mqtt_password: MqttPassword = None,
    ca: Ca = None,
    cert_dir: CertDir = None,
    speed: Speed = 1.0,
    flat_out: FlatOut = False,
    abreast: Abreast = 200,
    deliveries: Deliveries = None,
    seed: Seed = None,
    prefix: Prefix = None,
    truth: Truth = None,
    dry_run: DryRunFile = None,
    now: Now = "now",
    ack_timeout: AckTimeout = 300.0,
) -> None:
    """Play a scenario: register it, drive its vehicles, record its acts, write its truth."""

    def play() -> int:
        scenario = _chosen(source, deliveries, seed)
        if dry_run is not None:
            return _rehearse(scenario, dry_run, prefix, _instant(now), truth)
        broker = _broker(mqtt, mqtt_user, mqtt_password, ca, cert_dir)
        options = RunOptions(
            speed=speed,
            flat_out=flat_out,
            exit_when_done=True,
            ack_timeout_s=ack_timeout,
            abreast=abreast,
            patience_s=0.0 if http is None else _PATIENCE_S,
        )
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        view = choose_scenario_view(sys.stdout)
        try:
            outcome = perform(
                scenario,
                broker,
                options,
                server=_server(http, user, password),
                prefix=prefix,
                # Over TLS without certificates a device has to say its password.
                logins=ca is not None and cert_dir is None and mqtt_user is None,
                truth=truth,
                view=view,
                stop=stop,
            )
        except BaseException:
            view.stop()
            raise
        view.finish(outcome)
        return _judged(outcome)

    guarded(play)


def check(
    source: Source,
    deliveries: Deliveries = None,
    seed: Seed = None,
    prefix: Prefix = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="Print the devices' ids, for their certificates.")
    ] = False,
) -> None:
    """Say whether a scenario can be played, and what is in it."""

    def look() -> int:
        scenario = _chosen(source, deliveries, seed)
        chosen = prefix or scenario.name
        cast = checked_cast(scenario, prefix=chosen, now=datetime.now(UTC)).cast
        ids = [device.id for role in cast.roles for device in role.plan.devices]
        if list_devices:
            typer.echo("\n".join(ids))
            return 0
        typer.echo(
            f"{scenario.name}: {len(cast.roles)} deliveries in {len(scenario.deliveries)} groups "
            f"on {len(cast.lanes)} roads, {len(ids)} devices"
        )
        return 0

    guarded(look)


def schema() -> None:
    """Print the JSON schema of a scenario file."""
    typer.echo(schema_text(), nl=False)


def score_command(
    truth: Annotated[Path, typer.Option(help="What run --truth wrote.")],
    http: Annotated[str, typer.Option(help="URL of the server that it was played on.")],
    user: User = "admin",
    password: Password = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Seconds by which times may differ.")
    ] = 60.0,
    settle_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until all is judged.")
    ] = 600.0,
) -> None:
    """Compare what the server found with the truth: recall, precision, delay, false alarms."""

    def judge() -> int:
        told = read_truth(truth)
        server = _server(http, user, password)
        assert server is not None
        findings = read_findings(server, told, settle_timeout_s=settle_timeout)
        figures = score(told, findings, tolerance_s=tolerance)
        show(figures, Console())
        if json_file is not None:
            text = json.dumps(as_json(figures), indent=1, ensure_ascii=False)
            json_file.write_text(text + "\n", encoding="utf-8")
        return 0

    guarded(judge)


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("run")(run)
    app.command("check")(check)
    app.command("schema")(schema)
    app.command("score")(score_command)


def _chosen(source: str, deliveries: int | None, seed: int | None) -> Scenario:
    scenario = read_scenario(source)
    if seed is not None:
        scenario = scenario.model_copy(update={"seed": seed})
    return scenario if deliveries is None else scenario.scaled(deliveries)


def _rehearse(
    scenario: Scenario, file: Path, prefix: str | None, now: datetime, truth: Path | None
) -> int:
    try:
        with file.open("w", encoding="utf-8") as out:
            cast, count = rehearse(scenario, out, prefix=prefix, now=now, truth=truth)
    except OSError as error:
        raise PlanError(f"--dry-run {file}: {error.strerror}; give a file to write") from error
    summary: dict[str, Any] = {"deliveries": len(cast.roles), "messages": count}
    typer.echo(json.dumps({"type": "summary", **summary, "prefix": cast.prefix}))
    return 0


def _judged(outcome: Outcome) -> int:
    for text, count in outcome.acts_refused.items():
        typer.echo(f"{count} × not recorded: {text}", err=True)
    if outcome.fleet.caught_up:
        text = (
            "device clocks reached real time and went on at speed 1; let the scenario begin earlier"
        )
        typer.echo(text, err=True)
    if not outcome.fleet.timed_out:
        return 0
    typer.echo(
        f"{outcome.fleet.kept} records got no ack; is ingest running, are the devices registered?",
        err=True,
    )
    return 1


def _instant(text: str) -> datetime:
    try:
        return start_time(text, datetime.now(UTC))
    except ValueError as error:
        raise PlanError(f"--now: {error}") from error


def _server(http: str | None, user: str, password: str | None) -> Server | None:
    if http is None:
        return None
    if password is None:
        raise PlanError("--http needs --password or FIRMWARE_SIM_PASSWORD: an administrator's")
    return Server(url=http, username=user, password=password)


def _broker(
    mqtt: str, user: str | None, password: str | None, ca: Path | None, cert_dir: Path | None
) -> Broker:
    host, _, port = mqtt.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise PlanError(f"--mqtt {mqtt}: give HOST:PORT")
    if cert_dir is not None and ca is None:
        raise PlanError("--cert-dir needs --ca, the authority that the broker's certificate has")
    return Broker(
        host=host.strip("[]"),
        port=int(port),
        username=user,
        password=password,
        tls_ca=ca,
        cert_dir=cert_dir,
    )
