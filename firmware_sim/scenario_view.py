"""What a person or a script sees of a scenario: bars and the latest news, or JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from firmware_sim.acts import Acts
from firmware_sim.fleet import Run
from firmware_sim.perform import Outcome
from firmware_sim.ride import Ride
from firmware_sim.timing import from_ms

_NEWS = 8
_LINE_EVERY_S = 10.0


def summary(outcome: Outcome) -> dict[str, object]:
    """The outcome as plain values."""
    return {
        "deliveries": len(outcome.cast.roles),
        "prefix": outcome.cast.prefix,
        **outcome.fleet.summary(),
        "acts": outcome.acts_recorded,
        "acts_refused": sum(outcome.acts_refused.values()),
        "setup_s": round(outcome.setup_s, 1),
    }


class ScenarioLines:
    """A progress line every ten seconds and at the end of each step; then a summary."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._due_s = 0.0

    def stage(self, what: str, done: int, total: int) -> None:
        """Set-up goes on."""
        if done == total:
            self._line({"type": "setup", "what": what, "made": done})

    def observe(self, run: Run, rides: Iterable[Ride], acts: Acts | None) -> None:
        """Called about once a second."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + _LINE_EVERY_S
        done = {"trips_done": run.done, "online": run.online}
        recorded = {"acts": acts.recorded} if acts else {}
        self._line({"type": "progress", **run.report().summary(), **done, **recorded})

    def stop(self) -> None:
        """It ends with an error, which is told elsewhere."""

    def finish(self, outcome: Outcome) -> None:
        """The outcome."""
        self._line({"type": "summary", **summary(outcome)})

    def _line(self, fields: dict[str, object]) -> None:
        self._out.write(json.dumps(fields, ensure_ascii=False) + "\n")
        self._out.flush()


class ScenarioTable:
    """Bars for set-up, trips, records and acts, and what has happened last, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._live = Live(self._bars, console=console, refresh_per_second=4)
        self._live.start()

    def stage(self, what: str, done: int, total: int) -> None:
        """Set-up goes on."""
        self._bar(what, done, total)

    def observe(self, run: Run, rides: Iterable[Ride], acts: Acts | None) -> None:
        """Called about once a second."""
        report = run.report()
        self._bar("trips", run.done, len(run.parties))
        self._bar("records acknowledged", report.acked, report.made)
        if acts is not None:
            self._bar("acts", acts.recorded, max(acts.recorded, 2 * len(run.parties)))
        title = f"{run.online}/{len(report.devices)} devices online, {report.kept} records kept"
        self._live.update(Group(self._bars, _news(rides, title)))

    def stop(self) -> None:
        """It ends with an error, which is told elsewhere."""
        self._live.stop()

    def finish(self, outcome: Outcome) -> None:
        """The outcome in one line."""
        self._live.stop()
        found = summary(outcome)
        self._console.print(
            f"{found['deliveries']} deliveries, {found['devices']} devices: {found['made']} "
            f"records made, {found['acked']} acknowledged, {found['acts']} acts recorded, "
            f"{found['acts_refused']} refused, {found['wall_s']} s (prefix {found['prefix']})"
        )

    def _bar(self, what: str, done: int, total: int) -> None:
        known = {task.description: task.id for task in self._bars.tasks}
        if what in known:
            self._bars.update(known[what], completed=done, total=total)
        else:
            self._bars.add_task(what, completed=done, total=total)


ScenarioView = ScenarioLines | ScenarioTable


def choose_scenario_view(out: IO[str]) -> ScenarioView:
    """Bars if a person is looking, JSON lines otherwise."""
    return ScenarioTable(Console(file=out)) if out.isatty() else ScenarioLines(out)


def _news(rides: Iterable[Ride], title: str) -> Table:
    told = [(h.start_ms, h) for ride in rides for h in ride.vehicle.happenings]
    latest = sorted(told, key=lambda pair: pair[0])[-_NEWS:]
    table = Table("device time (UTC)", "vehicle", "what", "where", title=title)
    for start_ms, happening in reversed(latest):
        at = f"{from_ms(start_ms):%m-%d %H:%M:%S}"
        table.add_row(at, happening.vehicle, escape(happening.name), escape(happening.place))
    return table
