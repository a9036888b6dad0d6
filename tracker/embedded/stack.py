"""The whole product on one machine: services, migration, administrator, processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from tracker.embedded.children import LOOPBACK, choose_port
from tracker.embedded.datadir import DataDir
from tracker.embedded.mosquitto import PrivateMosquitto, SubscriptionCount
from tracker.embedded.parts import find_mosquitto, find_postgres
from tracker.embedded.postgres import PrivatePostgres
from tracker.embedded.workers import TendedService, Worker
from tracker.errors import SetupError
from tracker.settings import PREFIX, load_settings

ADMIN = "admin"
WORKERS = ("ingest", "evaluate", "watch", "api")
READY_S = 90.0
WORKERS_END_S = 6.0
LOOK_EVERY_S = 0.25

log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """The stack was asked to stop before it was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What the caller of ``tracker up`` decides; ports are free ones where ``None``."""

    data: Path
    http_port: int | None = None
    mqtt_port: int | None = None
    usual_http_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStack:
    """A ready stack and the processes to watch."""

    info: dict[str, Any]
    watched: tuple[Worker | TendedService, ...]

    def supervise(self, stop: threading.Event) -> None:
        """Restart what falls until ``stop``. Call it from the thread that started the stack."""
        while not stop.wait(LOOK_EVERY_S):
            for one in self.watched:
                one.tend()


@contextmanager
def running_stack(options: StackOptions, stop: threading.Event) -> Iterator[RunningStack]:
    """Start everything, in order; end it in the reverse order on leaving.

    Raises:
        SetupError: something of the machine is not as needed.
        Interrupted: ``stop`` was set before the stack was ready.
    """
    load_settings()  # a misspelt TRACKER_* name is refused before anything starts
    with ExitStack() as cleanup:
        directory = cleanup.enter_context(DataDir(options.data))
        ports = _ports(options, directory)
        postgres, mosquitto = _services(directory)
        cleanup.callback(postgres.stop)
        _go_on(stop)
        postgres.prepare()
        postgres.start(ports["database"])
        _go_on(stop)
        cleanup.callback(mosquitto.stop)
        mosquitto.start(ports["mqtt"])
        _prepare_database(postgres.dsn(), directory.memory.admin_password)
        _go_on(stop)
        workers = _workers(directory, postgres.dsn())
        cleanup.callback(_end_workers, workers)
        for worker in workers:
            worker.start()
        _wait_ready(workers, ports, stop)
        info = _info(directory, postgres.dsn())
        services = (TendedService("postgres", postgres), TendedService("mosquitto", mosquitto))
        yield RunningStack(info=info, watched=(*services, *workers))
        log.info("ending the stack")


def _ports(options: StackOptions, directory: DataDir) -> dict[str, int]:
    last = directory.memory.ports
    wanted = {
        "http": options.http_port or _port_from_env("HTTP_PORT"),
        "mqtt": options.mqtt_port or _port_from_env("MQTT_PORT"),
        "database": None,
    }
    usual = {"http": options.usual_http_port}
    ports = {
        name: choose_port(wanted=port, last=last.get(name, usual.get(name)), what=name.upper())
        for name, port in wanted.items()
    }
    directory.memory.ports = ports
    directory.remember()
    return ports


def _port_from_env(name: str) -> int | None:
    # Already validated by load_settings.
    return int(os.environ.get(PREFIX + name, "0")) or None


def _services(directory: DataDir) -> tuple[PrivatePostgres, PrivateMosquitto]:
    postgres_tools, mosquitto_tools = find_postgres(), find_mosquitto()
    home, account = directory.services(postgres_tools.bin_dir, Path(mosquitto_tools.program))
    held = (directory.children_lock,)
    postgres = PrivatePostgres(
        tools=postgres_tools,
        home=home / "postgres",
        log=directory.log("postgres"),
        account=account,
        password=directory.memory.database_password,
        held=held,
    )
    mosquitto = PrivateMosquitto(
        tools=mosquitto_tools,
        home=home / "mosquitto",
        log=directory.log("mosquitto"),
        account=account,
        held=held,
    )
    return postgres, mosquitto


def _prepare_database(dsn: str, admin_password: str) -> None:
    from tracker.db.migrate import upgrade
    from tracker.db.users import ensure_admin

    log.info("migrating the database")
    upgrade(dsn)
    ensure_admin(dsn, ADMIN, admin_password)


def _workers(directory: DataDir, dsn: str) -> tuple[Worker, ...]:
    ours = {
        "DATABASE_URL": dsn,
        "MQTT_HOST": LOOPBACK,
        "MQTT_PORT": str(directory.memory.ports["mqtt"]),
        "HTTP_HOST": LOOPBACK,
        "HTTP_PORT": str(directory.memory.ports["http"]),
        "SECRET_KEY": directory.memory.secret_key,
    }
    env = {PREFIX + name: value for name, value in ours.items()}
    return tuple(
        Worker(name=name, env=env, log_path=directory.log(name), held=(directory.children_lock,))
        for name in WORKERS
    )


def _wait_ready(workers: tuple[Worker, ...], ports: dict[str, int], stop: threading.Event) -> None:
    deadline = time.monotonic() + READY_S
    with SubscriptionCount(host=LOOPBACK, port=ports["mqtt"]) as subscriptions:
        while subscriptions.of_others < 1 or not _is_ready(ports["http"]):
            for worker in workers:
                if worker.exit_code is not None:
                    raise SetupError(f"{worker.name} ended while starting: {worker.last_words()}")
            if time.monotonic() > deadline:
                late = "ingest" if subscriptions.of_others < 1 else "the API"
                raise SetupError(f"{late} is not ready after {READY_S:g} s; see its log in logs/")
            stop.wait(0.1)
            _go_on(stop)


def _is_ready(http_port: int) -> bool:
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{http_port}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def _info(directory: DataDir, dsn: str) -> dict[str, Any]:
    ports = directory.memory.ports
    return {
        "http": f"http://{LOOPBACK}:{ports['http']}",
        "mqtt": {"host": LOOPBACK, "port": ports["mqtt"]},
        "database": dsn,
        "admin": {"username": ADMIN, "password": directory.memory.admin_password},
    }


def _end_workers(workers: tuple[Worker, ...]) -> None:
    for worker in workers:
        worker.ask_to_end()
    deadline = time.monotonic() + WORKERS_END_S
    for worker in workers:
        worker.end(max(0.1, deadline - time.monotonic()))


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise Interrupted
