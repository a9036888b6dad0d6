"""The demo from the first call to the last: set the stage, start the fleet, watch over it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from tracker.demo.customs import Arrivals, Departures
from tracker.demo.fleet import Fleet, Trip, fleet_plan
from tracker.demo.people import PEOPLE, make_people
from tracker.demo.scenario import fleet
from tracker.demo.stage import Stage, find_subjects
from tracker.errors import TrackerError
from tracker.reference.client import Api
from tracker.reference.files import RESOURCES, read_bodies
from tracker.reference.loader import load_with

_LOOK_S: Final = 5.0
_GLANCE_S: Final = 0.5
#: A fresh token well before the twelve hours of the default end.
_LOGIN: Final = timedelta(hours=1)
#: Longest wait for lorries to set out before the log-ins are shown all the same.
_SETTING_OUT: Final = timedelta(seconds=75)


def run_demo(stack_info: Mapping[str, Any], *, console: Console, stop: threading.Event) -> None:
    """Fill a ready stack with a live demonstration; blocks until ``stop`` is set.

    Safe to repeat on kept data: deliveries under way go on, finished ones are followed by new
    ones, nothing is made twice.

    Args:
        stack_info: what ``tracker up --json`` prints.
        console: where progress and the log-ins are shown.
        stop: ends it, the fleet's process included.

    Raises:
        TrackerError: the server refused a step or the fleet failed; the text says why.
    """
    with Api(stack_info["http"]) as api:
        _login(api, stack_info)
        trips = _set_stage(api, console, stop)
        if stop.is_set():
            return
        mqtt = stack_info["mqtt"]
        with (
            tempfile.TemporaryDirectory(prefix="tracker-demo-") as directory,
            Fleet(
                fleet_plan(trips), host=mqtt["host"], port=mqtt["port"], directory=Path(directory)
            ) as running,
        ):
            departures = Departures(api, trips, datetime.now(UTC))
            _release(departures, running, console, stop)
            if not stop.is_set():
                _show(stack_info, trips, console)
            arrivals = Arrivals(api, trips)

            def work(now: datetime) -> None:
                departures.record(now)
                arrivals.confirm(now)

            _watch(running, work, lambda: _login(api, stack_info), console, stop)


def _login(api: Api, stack_info: Mapping[str, Any]) -> None:
    api.login(stack_info["admin"]["username"], stack_info["admin"]["password"])


def _set_stage(api: Api, console: Console, stop: threading.Event) -> list[Trip]:
    """Reference data, people, deliveries, with progress; the trips to be driven."""
    with _progress(console) as progress:
        _load_reference(api, progress)
        subjects = find_subjects(api)
        make_people(api, subjects.carriers)
        return _prepare(Stage(api, subjects, datetime.now(UTC)), progress, stop)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _load_reference(api: Api, progress: Progress) -> None:
    total = sum(len(read_bodies(resource)) for resource in RESOURCES)
    task = progress.add_task("Справочники · Reference data", total=total)
    load_with(api, on_progress=lambda *_: progress.advance(task))


def _prepare(stage: Stage, progress: Progress, stop: threading.Event) -> list[Trip]:
    slots = fleet()
    task = progress.add_task("Перевозки · Deliveries", total=len(slots))
    trips: list[Trip] = []
    for slot in slots:
        if stop.is_set():
            break
        try:
            trips += stage.prepare(slot)
        except TrackerError as exc:
            # One delivery that a visitor has changed must not keep the others off the road.
            progress.console.print(f"[yellow]{slot.registration(0)}: {escape(exc.detail)}[/]")
        progress.advance(task)
    return trips


def _show(stack_info: Mapping[str, Any], trips: list[Trip], console: Console) -> None:
    console.print(f"[bold]{stack_info['http']}[/]  ({len(trips)} перевозок · deliveries)")
    table = Table("Логин · user", "Пароль · password", "Кто · who")
    admin = stack_info["admin"]
    table.add_row(admin["username"], admin["password"], "администратор · administrator")
    for person in PEOPLE:
        table.add_row(person.username, person.password, person.what)
    console.print(table)
    console.print("Ctrl-C: стоп · тоқтату · stop")


def _release(
    departures: Departures, running: Fleet, console: Console, stop: threading.Event
) -> None:
    """Until every lorry that should be on the road is, or all but those that leave later."""
    total = departures.waiting
    if not total:
        return
    began = datetime.now(UTC)
    with _progress(console) as progress:
        task = progress.add_task("Выезд · Departures", total=total)
        while departures.waiting and running.check():
            now = datetime.now(UTC)
            departures.record(now)
            progress.update(task, completed=total - departures.waiting)
            if now - began > _SETTING_OUT or stop.wait(_GLANCE_S):
                return


def _watch(
    running: Fleet,
    work: Callable[[datetime], None],
    login: Callable[[], None],
    console: Console,
    stop: threading.Event,
) -> None:
    """Until told to stop: do customs' work, keep the log-in fresh, notice a fleet that fails."""
    logged_in = datetime.now(UTC)
    while not stop.wait(_LOOK_S):
        running.check()
        now = datetime.now(UTC)
        try:
            if now - logged_in > _LOGIN:
                login()
                logged_in = now
            work(now)
        except TrackerError as exc:
            # A server that is being restarted is no reason to take the fleet off the road.
            if not stop.is_set():
                console.print(f"[yellow]{escape(exc.detail)}[/]")
