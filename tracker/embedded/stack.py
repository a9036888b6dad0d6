"""The whole product on one machine: services, migration, administrator, processes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import structlog

from tracker.broker.rules import Ports
from tracker.db.leases import sessions_up
from tracker.embedded.children import LOOPBACK, Account, choose_port
from tracker.embedded.datadir import DataDir
from tracker.embedded.mosquitto import Access, PrivateMosquitto
from tracker.embedded.parts import find_mosquitto, find_postgres
from tracker.embedded.postgres import PrivatePostgres
from tracker.embedded.secured import SecuredBroker, SyncThread, secured_broker
from tracker.embedded.workers import TendedService, Worker
from tracker.errors import SetupError
from tracker.settings import PREFIX, load_settings
from tracker.shards import shards_wanted

ADMIN = "admin"
WORKERS = ("ingest", "evaluate", "watch", "api")
MEASURED = ("ingest", "evaluate", "watch")
"""Those with a port for their metrics; the API has its own address."""
TARGETS = "metrics.json"
READY_S = 90.0
WORKERS_END_S = 6.0
LOOK_EVERY_S = 0.25

log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """The stack was asked to stop before it was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What the caller of ``tracker up`` decides; ports are free ones where ``None``.

    ``secure``: the broker asks for TLS and a password or certificate, and has an access list.
    """

    data: Path
    http_port: int | None = None
    mqtt_port: int | None = None
    usual_http_port: int | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStack:
    """A ready stack and the processes to watch."""

    info: dict[str, Any]
    watched: tuple[Worker | TendedService | SyncThread, ...]

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
        home, account = _home(directory)
        postgres = _postgres(directory, home, account)
        cleanup.callback(postgres.stop)
        _go_on(stop)
        postgres.prepare()
        postgres.start(ports["database"])
        _go_on(stop)
        dsn = postgres.dsn()
        # Before the broker: a secured one reads its users from the database.
        _prepare_database(dsn, directory.memory.admin_password)
        _go_on(stop)
        secured = _secured(directory, home, account, ports, dsn) if options.secure else None
        mosquitto = _mosquitto(directory, home, account, secured)
        access = secured.access if secured else Access(host=LOOPBACK, port=ports["mqtt"])
        cleanup.callback(mosquitto.stop)
        mosquitto.start(ports["mqtt"])
        workers = _workers(directory, dsn, access)
        _write_targets(directory)
        cleanup.callback(_end_workers, workers)
        for worker in workers:
            worker.start()
        _wait_ready(workers, dsn, ports, stop)
        services = (TendedService("postgres", postgres), TendedService("mosquitto", mosquitto))
        yield RunningStack(
            info=_info(directory, dsn, secured),
            watched=(*services, *workers, *_sync(cleanup, secured, mosquitto)),
        )
        log.info("ending the stack")


def _ports(options: StackOptions, directory: DataDir) -> dict[str, int]:
    last = directory.memory.ports
    wanted = {
        "http": options.http_port or _port_from_env("HTTP_PORT"),
        "mqtt": options.mqtt_port or _port_from_env("MQTT_PORT"),
        "database": None,
    }
    wanted |= {_key(name): None for name in MEASURED}
    if options.secure:
        wanted |= {"mqtt_certificates": None, "mqtt_services": None}
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


def _home(directory: DataDir) -> tuple[Path, Account]:
    programs = find_postgres().bin_dir, Path(find_mosquitto().program)
    return directory.services(*programs)


def _postgres(directory: DataDir, home: Path, account: Account) -> PrivatePostgres:
    return PrivatePostgres(
        tools=find_postgres(),
        home=home / "postgres",
        log=directory.log("postgres"),
        account=account,
        password=directory.memory.database_password,
        held=(directory.children_lock,),
    )


def _mosquitto(
    directory: DataDir, home: Path, account: Account, secured: SecuredBroker | None
) -> PrivateMosquitto:
    return PrivateMosquitto(
        tools=find_mosquitto(),
        home=home / "mosquitto",
        log=directory.log("mosquitto"),
        account=account,
        held=(directory.children_lock,),
        secured=secured,
    )


def _secured(
    directory: DataDir, home: Path, account: Account, ports: dict[str, int], dsn: str
) -> SecuredBroker:
    listening = Ports(
        devices=ports["mqtt"],
        certificates=ports["mqtt_certificates"],
        services=ports["mqtt_services"],
        bind=LOOPBACK,
    )
    return secured_broker(directory.path, home / "mosquitto", account, listening, dsn)


def _sync(
    cleanup: ExitStack, secured: SecuredBroker | None, mosquitto: PrivateMosquitto
) -> tuple[SyncThread, ...]:
    if secured is None:
        return ()
    thread = SyncThread(secured, mosquitto)
    cleanup.callback(thread.end)
    thread.start()
    return (thread,)


def _prepare_database(dsn: str, admin_password: str) -> None:
    from tracker.db.leases import forget_workers
    from tracker.db.migrate import upgrade
    from tracker.db.users import ensure_admin

    log.info("migrating the database")
    upgrade(dsn)
    ensure_admin(dsn, ADMIN, admin_password)
    # The directory is ours alone, so whoever owned shards is dead: nobody need wait for that.
    with psycopg.connect(dsn, autocommit=True) as connection:
        forget_workers(connection)


def _workers(directory: DataDir, dsn: str, access: Access) -> tuple[Worker, ...]:
    ours = {
        "DATABASE_URL": dsn,
        "MQTT_HOST": access.host,
        "MQTT_PORT": str(access.port),
        "HTTP_HOST": LOOPBACK,
        "HTTP_PORT": str(directory.memory.ports["http"]),
        "SECRET_KEY": directory.memory.secret_key,
        "EVIDENCE_KEY": str(directory.evidence_key()),
    }
    if access.username and access.password and access.tls_ca:
        ours |= {"MQTT_USERNAME": access.username, "MQTT_PASSWORD": access.password}
        ours["MQTT_TLS_CA"] = str(access.tls_ca)
    return tuple(
        Worker(
            name=name,
            env={PREFIX + key: value for key, value in (ours | _metrics(directory, name)).items()},
            log_path=directory.log(name),
            held=(directory.children_lock,),
        )
        for name in WORKERS
    )


def _metrics(directory: DataDir, name: str) -> dict[str, str]:
    if name not in MEASURED:
        return {}
    return {"METRICS_HOST": LOOPBACK, "METRICS_PORT": str(directory.memory.ports[_key(name)])}


def _key(name: str) -> str:
    return f"{name}_metrics"


def _write_targets(directory: DataDir) -> None:
    """Where each process serves its metrics, as Prometheus reads it (``file_sd_configs``)."""
    ports = directory.memory.ports
    measured = {"api": ports["http"]} | {name: ports[_key(name)] for name in MEASURED}
    targets = [
        {"targets": [f"{LOOPBACK}:{port}"], "labels": {"job": "tracker", "process": name}}
        for name, port in measured.items()
    ]
    draft = directory.path / f"{TARGETS}.new"
    draft.write_text(json.dumps(targets, indent=1) + "\n")
    draft.replace(directory.path / TARGETS)


def _wait_ready(
    workers: tuple[Worker, ...], dsn: str, ports: dict[str, int], stop: threading.Event
) -> None:
    """What is published before ingest has subscribed for the first time reaches nobody."""
    deadline = time.monotonic() + READY_S
    sessions = len(shards_wanted(load_settings()))
    with psycopg.connect(dsn, autocommit=True) as connection:
        while (waiting := sessions_up(connection) < sessions) or not _is_ready(ports["http"]):
            for worker in workers:
                if worker.exit_code is not None:
                    raise SetupError(f"{worker.name} ended while starting: {worker.last_words()}")
            if time.monotonic() > deadline:
                late = "ingest" if waiting else "the API"
                raise SetupError(f"{late} is not ready after {READY_S:g} s; see its log in logs/")
            stop.wait(0.1)
            _go_on(stop)


def _is_ready(http_port: int) -> bool:
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{http_port}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def _info(directory: DataDir, dsn: str, secured: SecuredBroker | None) -> dict[str, Any]:
    ports = directory.memory.ports
    more = secured.info() if secured else {}
    return {
        "http": f"http://{LOOPBACK}:{ports['http']}",
        "mqtt": {"host": LOOPBACK, "port": ports["mqtt"], **more},
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
