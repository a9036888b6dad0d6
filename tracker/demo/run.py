"""The demo from the first call to the last: set the stage, start the fleet, watch over it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from tracker.demo.fleet import Fleet, Trip, fleet_plan
from tracker.demo.people import PEOPLE, make_people
from tracker.demo.scenario import fleet
from tracker.demo.stage import Arrivals, Stage, find_subjects
from tracker.errors import TrackerError
from tracker.reference.client import Api
from tracker.reference.files import RESOURCES, read_bodies
from tracker.reference.loader import load_with

_LOOK_S: Final = 5.0
#: A fresh token well before the twelve hours of the default end.
_LOGIN_S: Final = 3600.0


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
            _show(stack_info, trips, console)
            _watch(running, Arrivals(api, trips), lambda: _login(api, stack_info), console, stop)


def _login(api: Api, stack_info: Mapping[str, Any]) -> None:
    api.login(stack_info["admin"]["username"], stack_info["admin"]["password"])


def _set_stage(api: Api, console: Console, stop: threading.Event) -> list[Trip]:
    """Reference data, people, deliveries, with progress; the trips to be driven."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with progress:
        _load_reference(api, progress)
        subjects = find_subjects(api)
        make_people(api, subjects.carriers)
        return _prepare(Stage(api, subjects, datetime.now(UTC)), progress, stop)


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
            progress.console.print(f"[yellow]slot {slot.number}: {exc.detail}[/]", markup=True)
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


def _watch(
    running: Fleet,
    arrivals: Arrivals,
    login: Callable[[], None],
    console: Console,
    stop: threading.Event,
) -> None:
    """Until told to stop: confirm arrivals, keep the log-in fresh, notice a fleet that fails."""
    looks = 0
    while not stop.wait(_LOOK_S):
        looks += 1
        if looks * _LOOK_S % _LOGIN_S == 0:
            login()
        arrivals.confirm(datetime.now(UTC))
        if not running.check():
            console.print("Все рейсы завершены · all trips are over")
            stop.wait()
            return
