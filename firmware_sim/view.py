"""What a person or a script sees of a run: a live table on a terminal, else JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from firmware_sim.fleet import Run
from firmware_sim.report import FleetReport

_ROWS = 15
_LINE_EVERY_S = 10.0


class JsonLines:
    """A progress line every ten seconds; at the end one line a device and a summary."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._due_s = 0.0

    def observe(self, run: Run) -> None:
        """Called by the run about once a second."""
        if run.elapsed_s >= self._due_s:
            self._due_s = run.elapsed_s + _LINE_EVERY_S
            self._line("progress", {**run.report().summary(), "online": run.online})

    def finish(self, report: FleetReport) -> None:
        """The outcome."""
        for device in report.devices:
            self._line("device", device.summary())
        self._line("summary", report.summary())

    def _line(self, kind: str, values: dict[str, object]) -> None:
        self._out.write(json.dumps({"type": kind, **values}, ensure_ascii=False) + "\n")
        self._out.flush()


class LiveTable:
    """A table of the vehicles that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=2, transient=True)
        self._live.start()

    def observe(self, run: Run) -> None:
        """Called by the run about once a second."""
        self._live.update(_table(run))

    def finish(self, report: FleetReport) -> None:
        """The outcome in one line."""
        self._live.stop()
        self._console.print(
            f"{len(report.devices)} devices: {report.made} records made, "
            f"{report.acked} acknowledged, {report.kept} kept, {report.wall_s:.0f} s"
        )


View = JsonLines | LiveTable


def choose_view(out: IO[str]) -> View:
    """A live table if a person is looking, JSON lines otherwise."""
    return LiveTable(Console(file=out)) if out.isatty() else JsonLines(out)


def _table(run: Run) -> Table:
    report = run.report()
    table = Table(
        title=f"{run.online}/{len(run.links)} online · {report.made} made · "
        f"{report.acked} acknowledged · {report.kept} kept"
    )
    for name in ("vehicle", "device time (UTC)", "online", "made", "kept"):
        table.add_column(name, no_wrap=True)
    for party in run.parties[:_ROWS]:
        devices = party.reports()
        reached = datetime.fromtimestamp(party.actor.now_ms / 1000, UTC)
        up = sum(link.state == "up" for _, link in party.members)
        table.add_row(
            party.actor.label,
            f"{reached:%Y-%m-%d %H:%M:%S}" + (" ✓" if party.over else ""),
            f"{up}/{len(party.members)}",
            str(sum(device.made for device in devices)),
            str(sum(device.kept for device in devices)),
        )
    if len(run.parties) > _ROWS:
        table.add_row(f"… {len(run.parties) - _ROWS} more", "", "", "", "")
    return table
