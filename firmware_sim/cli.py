"""The command line: fleet, trip, replay, plots; `cli_scenario` adds those for scenarios.

Bad input is one line and exit code 2."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from firmware_sim.build import build_fleet, make_key
from firmware_sim.cli_scenario import add_commands
from firmware_sim.device import Device, DeviceConfig
from firmware_sim.edge import Broker
from firmware_sim.errors import PlanError
from firmware_sim.fleet import Actor, Run, RunOptions
from firmware_sim.guarded import guarded
from firmware_sim.plan import Plan, parse_plan, read_plan, read_route
from firmware_sim.plots import PLOTS
from firmware_sim.replay import Replay, read_track, shifted
from firmware_sim.view import choose_view

app = typer.Typer(
    help="Simulated seals and vehicle units that speak the MQTT contract.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Host = Annotated[str, typer.Option(help="Host of the broker.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port of the broker.")]
Username = Annotated[str | None, typer.Option(help="Broker user of all devices.")]
Password = Annotated[str | None, typer.Option(help="That user's password.")]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        "--ca", "--tls-ca", exists=True, help="CA certificate; turns TLS on.", dir_okay=False
    ),
]
CertDir = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Holds ID.crt and ID.key of each device."),
]
Speed = Annotated[float, typer.Option(min=0.01, help="Device seconds in a real second.")]
FlatOut = Annotated[bool, typer.Option("--flat-out", help="As fast as the server's acks allow.")]
ExitWhenAcked = Annotated[
    bool, typer.Option("--exit-when-acked", help="End when all trips are over and acknowledged.")
]
AckTimeout = Annotated[
    float, typer.Option(min=1, help="Seconds without an ack, after all is sent, before giving up.")
]


@app.command()
def fleet(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file, YAML or JSON.")],
    host: Host = "127.0.0.1",
    port: Port = 1883,
    username: Username = None,
    password: Password = None,
    tls_ca: TlsCa = None,
    cert_dir: CertDir = None,
    speed: Speed = 1.0,
    flat_out: FlatOut = False,
    exit_when_acked: ExitWhenAcked = False,
    ack_timeout: AckTimeout = 300.0,
) -> None:
    """Play a plan: many vehicles with their devices and plots."""
    broker = _broker(host, port, username, password, tls_ca, cert_dir)
    options = RunOptions(
        speed=speed,
        flat_out=flat_out,
        exit_when_done=exit_when_acked,
        ack_timeout_s=ack_timeout,
    )
    guarded(lambda: _play_plan(read_plan(plan_file), broker, options))


@app.command()
def trip(
    route: Annotated[Path | None, typer.Option(help="GeoJSON file with the route.")] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="LON,LAT of the route; repeat it instead of --route.")
    ] = None,
    vehicle: Annotated[str, typer.Option(help="Label or number plate.")] = "vehicle-1",
    seal: Annotated[list[str] | None, typer.Option(help="Id of a seal; repeatable.")] = None,
    gps: Annotated[list[str] | None, typer.Option(help="Id of a unit; repeatable.")] = None,
    key: Annotated[str | None, typer.Option(help="KID:HEX, signs all messages.")] = None,
    start: Annotated[str, typer.Option(help="now, now-12h, or RFC 3339.")] = "now",
    start_at_m: Annotated[float, typer.Option(min=0, help="Begin so far along, m.")] = 0.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="LON,LAT,MINUTES of a planned stop; repeatable.")
    ] = None,
    plot: Annotated[str, typer.Option(help="What goes wrong; see the command plots.")] = "honest",
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the plot.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same trip.")] = 0,
    host: Host = "127.0.0.1",
    port: Port = 1883,
    username: Username = None,
    password: Password = None,
    tls_ca: TlsCa = None,
    cert_dir: CertDir = None,
    speed: Speed = 1.0,
    flat_out: FlatOut = False,
    exit_when_acked: ExitWhenAcked = False,
    ack_timeout: AckTimeout = 300.0,
) -> None:
    """Play one vehicle's trip, described by flags."""
    broker = _broker(host, port, username, password, tls_ca, cert_dir)
    options = RunOptions(
        speed=speed,
        flat_out=flat_out,
        exit_when_done=exit_when_acked,
        ack_timeout_s=ack_timeout,
    )

    def play() -> int:
        one = {
            "vehicle": vehicle,
            "devices": _devices(seal or [], gps or [], key),
            "route": read_route(route) if route else [_numbers(p, 2) for p in point or []],
            "start": start,
            "start_at_m": start_at_m,
            "stops": [_stop(text) for text in stop or []],
            "plot": {"name": plot, "params": dict(_pair(text) for text in param or [])},
            "seed": seed,
        }
        return _play_plan(parse_plan({"vehicles": [one]}, name="trip"), broker, options)

    guarded(play)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Track: .gpx, or .csv with a header.")],
    device: Annotated[str, typer.Option(help="Id of the unit it is sent as.")],
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move the track's times to the present.")
    ] = False,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="With --shift-to-now: which fix is now, first or last "
            "(first at --speed 1, else last)."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="KID:HEX, signs all messages.")] = None,
    gen: Annotated[
        int | None, typer.Option(min=0, help="Generation of the store; default: a new one.")
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="End when all is sent, without waiting for acks.")
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 1883,
    username: Username = None,
    password: Password = None,
    tls_ca: TlsCa = None,
    cert_dir: CertDir = None,
    speed: Speed = 1.0,
    flat_out: FlatOut = False,
    ack_timeout: AckTimeout = 300.0,
) -> None:
    """Send a recorded track as a vehicle unit, with its own times or moved to now."""
    broker = _broker(host, port, username, password, tls_ca, cert_dir)
    options = RunOptions(
        speed=speed,
        flat_out=flat_out,
        exit_when_done=True,
        wait=not no_wait,
        ack_timeout_s=ack_timeout,
    )

    def play() -> int:
        now = datetime.now(UTC)
        points = read_track(file)
        if shift_to_now:
            live = speed == 1.0 and not flat_out
            points = shifted(points, now=now, anchor=_anchor(anchor, live=live))
        life = int(now.timestamp())
        config = _replay_config(device, key=key, gen=life if gen is None else gen, life=life)
        return _play([Replay(Device(config, random.Random(device)), points)], broker, options)

    guarded(play)


@app.command()
def plots() -> None:
    """List the plots with their parameters."""
    for name, plot in PLOTS.items():
        typer.echo(f"{name}: {(plot.__doc__ or '').strip()}")
        for field_name, field in plot.model_fields.items():
            typer.echo(f"    {field_name}={field.default}  {field.description}")


def _broker(
    host: str,
    port: int,
    username: str | None,
    password: str | None,
    tls_ca: Path | None,
    cert_dir: Path | None,
) -> Broker:
    return Broker(
        host=host,
        port=port,
        username=username,
        password=password,
        tls_ca=tls_ca,
        cert_dir=cert_dir,
    )


def _play_plan(plan: Plan, broker: Broker, options: RunOptions) -> int:
    now = datetime.now(UTC)
    logins = {d.id: (d.username, d.password) for v in plan.vehicles for d in v.devices}
    actors = build_fleet(plan, now=now, life=int(now.timestamp()))
    return _play(actors, broker, options, logins)


def _play(
    actors: Sequence[Actor],
    broker: Broker,
    options: RunOptions,
    logins: dict[str, tuple[str | None, str | None]] | None = None,
) -> int:
    """Run until the end or a signal; the exit code."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    view = choose_view(sys.stdout)
    report = Run(actors, broker, options, logins=logins).play(stop, view.observe)
    view.finish(report)
    if report.caught_up:
        typer.echo(
            "device clocks reached real time and went on at speed 1; let trips start earlier",
            err=True,
        )
    if not report.timed_out:
        return 0
    typer.echo(
        f"{report.kept} records got no ack; is ingest running, are the devices registered?",
        err=True,
    )
    return 1


def _devices(seals: list[str], units: list[str], key: str | None) -> list[dict[str, Any]]:
    signed = {"key": _key_fields(key)} if key else {}
    return [
        *({"id": name, "kind": "seal", **signed} for name in seals),
        *({"id": name, "kind": "gps", **signed} for name in units),
    ]


def _replay_config(device: str, *, key: str | None, gen: int, life: int) -> DeviceConfig:
    # The plan's own checks of ids and keys serve here too.
    fields = _devices([], [device], key)
    plan = parse_plan(
        {"vehicles": [{"vehicle": "replay", "devices": fields, "route": [[0, 0], [1, 1]]}]},
        name="replay",
    )
    checked = plan.vehicles[0].devices[0]
    return DeviceConfig(id=checked.id, kind="gps", key=make_key(checked), gen=gen, conn_before=life)


def _key_fields(text: str) -> dict[str, str]:
    kid, colon, secret = text.partition(":")
    if not colon:
        raise PlanError("--key: give KID:HEX")
    return {"kid": kid, "secret": secret}


def _anchor(text: str | None, *, live: bool) -> Literal["first", "last"]:
    if text is None:
        return "first" if live else "last"
    if text == "first":
        return "first"
    if text == "last":
        return "last"
    raise PlanError(f"--anchor {text}: give first or last")


def _stop(text: str) -> dict[str, Any]:
    lon, lat, minutes = _numbers(text, 3)
    return {"at": [lon, lat], "minutes": minutes}


def _numbers(text: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise PlanError(f"{text!r}: give {count} numbers with commas between") from error
    if len(values) != count:
        raise PlanError(f"{text!r}: give {count} numbers with commas between")
    return values


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PlanError(f"--param {text}: give NAME=VALUE")
    return name, value


add_commands(app)
