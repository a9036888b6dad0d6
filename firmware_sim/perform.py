"""A whole scenario: set-up, devices, acts, truth. Real time, speeded up, or flat out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

from firmware_sim.acts import Acts
from firmware_sim.build import make_draft
from firmware_sim.cast import Cast, draw_cast
from firmware_sim.dryrun import DryRun
from firmware_sim.edge import Broker
from firmware_sim.errors import PlanError
from firmware_sim.fleet import Party, Run, RunOptions
from firmware_sim.office import Office
from firmware_sim.offroad import leaves_at_m, stopping_zones
from firmware_sim.report import FleetReport
from firmware_sim.ride import Ride, build_rides
from firmware_sim.scenario import Scenario
from firmware_sim.setup import Registered, derived_keys, register
from firmware_sim.timing import rfc3339, to_ms
from firmware_sim.truthfile import Reports, reports_of, run_line, story_lines
from firmware_sim.wire import Key

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIX_ROOM = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the HTTP API is, and an administrator's log-in."""

    url: str
    username: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a performance."""

    fleet: FleetReport
    cast: Cast
    acts_recorded: int
    acts_refused: Mapping[str, int]
    setup_s: float
    finished: bool


class View(Protocol):
    """Who watches."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Set-up goes on."""

    def observe(self, run: Run, rides: Iterable[Ride], acts: Acts | None) -> None:
        """Called about once a second."""


def new_prefix(scenario: Scenario, now: datetime) -> str:
    """A prefix of this run's own: the scenario's name and the second, as short as can be."""
    number, word = int(now.timestamp()), ""
    while number:
        number, at = divmod(number, 36)
        word = _BASE36[at] + word
    return f"{scenario.name}-{word}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A cast that can be played, and where its vehicles leave their corridors, metres driven."""

    cast: Cast
    leaves_at_m: Mapping[str, list[float]]


def checked_cast(scenario: Scenario, *, prefix: str, now: datetime) -> Checked:
    """The deliveries of a scenario, checked as far as can be without a server: PlanError."""
    if not prefix.replace("-", "").replace("_", "").isalnum() or not prefix.isascii():
        raise PlanError(f"--prefix {prefix!r}: give letters, digits, - and _ only")
    if len(prefix) > _PREFIX_ROOM:
        raise PlanError(f"--prefix {prefix!r}: give at most {_PREFIX_ROOM} characters")
    cast = draw_cast(scenario, prefix=prefix, now=now)
    leaves: dict[str, list[float]] = {}
    for role in cast.roles:
        try:
            found = leaves_at_m(make_draft(role.plan).path, role.lane)
        except PlanError as error:
            raise PlanError(f"group {role.group.group}: {error}") from error
        if found:
            leaves[role.registration] = found
    return Checked(cast=cast, leaves_at_m=leaves)


def perform(
    scenario: Scenario,
    broker: Broker,
    options: RunOptions,
    *,
    server: Server | None = None,
    prefix: str | None = None,
    logins: bool = False,
    truth: Path | None = None,
    view: View,
    stop: threading.Event,
) -> Outcome:
    """Play a scenario to its end or until `stop`. Without a server nothing is registered, no act
    is recorded, and devices that sign have keys of the scenario's seed.

    Raises PlanError, BrokerError or OfficeError, each with its remedy.
    """
    now = datetime.now(UTC)
    checked = checked_cast(scenario, prefix=prefix or new_prefix(scenario, now), now=now)
    cast = checked.cast
    broker.check(device.id for role in cast.roles for device in role.plan.devices)
    with ExitStack() as stack:
        began_s = time.monotonic()
        made, acts = _set_up(stack, cast, server, options, now=now, logins=logins, view=view)
        setup_s = time.monotonic() - began_s
        rides = _rides(checked, made.keys, now)
        run = Run(rides, broker, options, logins=made.logins)
        pairs = list(zip(rides, run.parties, strict=True))

        def observe(running: Run) -> None:
            if acts is not None:
                for ride, party in pairs:
                    acts.look(ride, running.now_ms(party), over=party.done)
            view.observe(running, rides, acts)

        try:
            report = run.play(stop, observe)
            if acts is not None:
                clocks = [(ride, _clock(run, party)) for ride, party in pairs if party.done]
                acts.finish(clocks, stop, lambda: view.observe(run, rides, acts))
        finally:
            if acts is not None:
                acts.close()
            if truth is not None:
                _write_truth(truth, cast, now, ((r, reports_of(r, p.made_ms)) for r, p in pairs))
        return Outcome(
            fleet=report,
            cast=cast,
            acts_recorded=acts.recorded if acts else 0,
            acts_refused=dict(acts.refused) if acts else {},
            setup_s=setup_s,
            finished=not stop.is_set() and not report.timed_out,
        )


def rehearse(
    scenario: Scenario,
    out: IO[str],
    *,
    prefix: str | None = None,
    now: datetime,
    truth: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Cast, int]:
    """The dry run: all messages to a file; the cast and how many there were.

    The same scenario, prefix and instant give the same bytes, truth included.
    """
    checked = checked_cast(scenario, prefix=prefix or scenario.name, now=now)
    cast = checked.cast
    rides = _rides(checked, derived_keys(cast), now)
    dry = DryRun(rides, until_ms=to_ms(now))
    count = dry.play(out, progress)
    if truth is not None:
        told = zip(rides, dry.made_ms, strict=True)
        _write_truth(truth, cast, now, ((r, reports_of(r, made)) for r, made in told))
    return cast, count


def _rides(checked: Checked, keys: Mapping[str, Key], now: datetime) -> list[Ride]:
    return build_rides(
        checked.cast,
        keys=keys,
        now=now,
        life=int(now.timestamp()),
        leaves_at_m=checked.leaves_at_m,
    )


def _set_up(
    stack: ExitStack,
    cast: Cast,
    server: Server | None,
    options: RunOptions,
    *,
    now: datetime,
    logins: bool,
    view: View,
) -> tuple[Registered, Acts | None]:
    if server is None:
        return Registered(keys=derived_keys(cast)), None
    office = stack.enter_context(Office(server.url))
    office.login(server.username, server.password)
    made = register(office, cast, now=now, logins=logins, progress=view.stage)
    return made, Acts(office, made.deliveries, together=options.flat_out)


def _clock(run: Run, party: Party) -> Callable[[], int]:
    return lambda: run.now_ms(party)


def _write_truth(
    file: Path, cast: Cast, now: datetime, told: Iterable[tuple[Ride, Iterator[Reports]]]
) -> None:
    scenario = cast.scenario
    about: dict[str, Any] = {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "prefix": cast.prefix,
        "begin": rfc3339(cast.begin),
        "now": rfc3339(now),
        "deliveries": len(cast.roles),
    }
    zoned = stopping_zones(scenario)
    try:
        with file.open("w", encoding="utf-8") as stream:
            stream.write(run_line(**about) + "\n")
            for ride, reports in told:
                lines = story_lines(ride, reports, zoned=zoned)
                stream.writelines(line + "\n" for line in lines)
    except OSError as error:
        raise PlanError(f"--truth {file}: {error.strerror}; give a file that can be written") from (
            error
        )
