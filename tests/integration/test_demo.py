"""The demo on the real parts: a live map soon, news soon after, a quick second start."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from tests.support.stack import STOP_S, Stack, start_stack
from tests.support.waiting import wait_until
from tracker.demo import run_demo
from tracker.demo.people import PEOPLE
from tracker.demo.scenario import fleet
from tracker.embedded import children
from tracker.reference import load_reference
from tracker.reference.client import Api
from tracker.reference.files import RESOURCES, read_bodies

SLOTS = fleet()
#: Beside other work on the same two cores; alone it takes some twenty seconds.
START_S = 180.0


@pytest.fixture(scope="module")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: the demo fills it, which would disturb others."""
    running = start_stack(tmp_path_factory.mktemp("demo") / "data")
    yield running
    children.end(running.process, timeout_s=STOP_S)


@pytest.fixture
def api(demo_stack: Stack) -> Iterator[Api]:
    with Api(demo_stack.http, demo_stack.token()) as client:
        yield client


@contextmanager
def demo(stack: Stack) -> Iterator[StringIO]:
    """A running demo; what it prints. Its failure is raised at the end."""
    stop, out, failed = threading.Event(), StringIO(), list[BaseException]()

    def play() -> None:
        try:
            run_demo(stack.info, console=Console(file=out, width=120), stop=stop)
        except BaseException as exc:  # noqa: BLE001 - raised again in the test's own thread
            failed.append(exc)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield out
    finally:
        stop.set()
        thread.join(90)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def shown(out: StringIO) -> bool:
    """Whether the log-ins are on the screen."""
    return all(person.password in out.getvalue() for person in PEOPLE)


def live(api: Api) -> int:
    """How many deliveries have a position of the last minutes: parked units report every ten."""
    recent = datetime.now(UTC) - timedelta(minutes=11)
    positions = api.every("/positions")
    return len({p["delivery_id"] for p in positions if datetime.fromisoformat(p["t"]) > recent})


def codes(api: Api) -> set[str]:
    return {str(alert["code"]) for alert in api.every("/alerts")}


def deliveries(api: Api) -> dict[str, str]:
    return {d["registration_number"]: d["released_at"] for d in api.every("/deliveries")}


def simulators() -> list[int]:
    """Simulators that this process has started and that still live."""
    mine: list[Any] = psutil.Process().children(recursive=True)
    return [p.pid for p in mine if "firmware_sim" in p.cmdline()]


@pytest.mark.timeout(900)
def test_demo_lives_and_starts_again_without_doubles(
    demo_stack: Stack, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # On a slow machine the history takes longer than a visitor is kept waiting for it.
    monkeypatch.setattr("tracker.demo.customs._PATIENCE", timedelta(seconds=START_S))
    began = time.monotonic()
    with demo(demo_stack) as out:
        wait_until(lambda: shown(out), START_S, "the log-ins", every_s=0.5)
        wait_until(lambda: live(api) == len(SLOTS), START_S, "a live map", every_s=1)
        first_s = time.monotonic() - began
        wait_until(lambda: codes(api) >= {"overdue", "seal_cut"}, 180, "the first news", every_s=1)
        # Releases are recorded after the history has come: nobody was thought silent.
        assert "silence" not in codes(api)
        assert len(simulators()) == 1
    assert simulators() == []
    assert list(tmp_path.iterdir()) == []
    first = deliveries(api)
    assert len(first) == len(SLOTS)
    assert None not in first.values()

    began = time.monotonic()
    with demo(demo_stack) as out:
        wait_until(lambda: shown(out), START_S, "the log-ins", every_s=0.5)
        wait_until(lambda: live(api) == len(SLOTS), START_S, "a live map", every_s=1)
        # Nothing is made or waited for again: some two seconds to some twenty, on any machine.
        assert time.monotonic() - began < first_s
        wait_until(lambda: _heard_since(api, began), 180, "lorries that drive on", every_s=1)
    assert deliveries(api) == first
    assert list(api.every("/quarantine")) == []
    for person in PEOPLE:
        assert demo_stack.token(person.username, person.password)


def _heard_since(api: Api, began: float) -> bool:
    """Whether most vehicle units have sent something since."""
    start = datetime.now(UTC) - timedelta(seconds=time.monotonic() - began)
    heard = (d["last_received_at"] for d in api.every("/devices") if d["kind"] == "gps")
    return sum(datetime.fromisoformat(at) > start for at in heard if at) > len(SLOTS) / 2


def test_the_loader_serves_any_server(stack: Stack) -> None:
    load_reference(stack.http, stack.token())
    again = load_reference(stack.http, stack.token())
    assert again.created == {}
    assert again.present == {resource: len(read_bodies(resource)) for resource in RESOURCES}
    with Api(stack.http, stack.token()) as client:
        categories = {p["tax_id"]: p["category"]["level"] for p in client.every("/participants")}
    demo_levels = {categories[body["tax_id"]] for body in read_bodies("participants")}
    assert demo_levels == {"low", "medium", "high"}
