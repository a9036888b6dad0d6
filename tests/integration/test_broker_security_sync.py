"""The broker's files against the database: no news is missed, none is written twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.integration.api_world import bare  # noqa: F401 - fixture
from tests.support.api import ApiWorld
from tests.support.waiting import wait_until
from tracker.broker.ca import CertificateAuthority
from tracker.broker.folder import BrokerFolder, service_passwords
from tracker.broker.passwords import matches
from tracker.broker.rules import Ports
from tracker.broker.sync import Sync, sync_once

PORTS = Ports(devices=1, certificates=2, services=3)


@pytest.fixture
def folder(tmp_path: Path) -> BrokerFolder:
    made = BrokerFolder(
        tmp_path / "broker",
        authority=CertificateAuthority(tmp_path / "ca"),
        services=service_passwords(tmp_path / "users.json"),
    )
    made.configure(PORTS, hosts=["localhost"])
    return made


@contextmanager
def syncing(
    folder: BrokerFolder, dsn: str, reloads: list[int], *, able: bool = True
) -> Iterator[None]:
    """A running sync whose broker counts how often it was told."""

    def reload() -> bool:
        reloads.append(1)
        return able

    stop = threading.Event()
    thread = threading.Thread(target=Sync(folder, dsn, reload).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


def users(folder: BrokerFolder) -> dict[str, str]:
    lines = folder.paths.passwords.read_text().splitlines()
    return {name: hash_ for name, _, hash_ in (line.partition(":") for line in lines)}


def test_every_device_of_a_quick_series_arrives(
    bare: ApiWorld,  # noqa: F811
    database: str,
    folder: BrokerFolder,
) -> None:
    reloads: list[int] = []
    folder.write([])
    with syncing(folder, database, reloads):
        made = [bare.made("/devices", {"id": f"q-{i}", "kind": "gps"}) for i in range(30)]
        names = {one["id"] for one in made}
        wait_until(lambda: names <= users(folder).keys(), 10, "all of them in the file")
        wait_until(lambda: reloads, 5, "the broker to be told")
    for one in made:
        assert matches(one["mqtt"]["password"], users(folder)[one["id"]])


def test_a_broker_that_cannot_be_told_is_asked_again(
    bare: ApiWorld,  # noqa: F811
    database: str,
    folder: BrokerFolder,
) -> None:
    reloads: list[int] = []
    folder.write([])
    bare.made("/devices", {"id": "later", "kind": "gps"})
    with syncing(folder, database, reloads, able=False):
        wait_until(lambda: len(reloads) >= 2, 10, "a second attempt")


def test_nothing_new_is_no_news(bare: ApiWorld, database: str, folder: BrokerFolder) -> None:  # noqa: F811
    bare.made("/devices", {"id": "same", "kind": "gps"})
    assert sync_once(folder, database)
    assert not sync_once(folder, database)
    other = BrokerFolder(
        folder.paths.home,
        authority=folder.authority,
        services=service_passwords(folder.authority.home.parent / "users.json"),
    )
    assert not sync_once(other, database)
    bare.call("PATCH", "/devices/same", json={"hmac_required": True})
    assert not sync_once(folder, database)


def test_a_lost_database_is_waited_for(database: str, folder: BrokerFolder) -> None:
    reloads: list[int] = []
    folder.write([])
    with syncing(folder, database, reloads), psycopg.connect(database, autocommit=True) as conn:
        own = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'tracker-broker' AND datname = current_database()"
        )
        (before,) = wait_until(lambda: conn.execute(own).fetchall(), 10, "the sync to connect")
        conn.execute("SELECT pg_terminate_backend(%s)", before)
        wait_until(lambda: before not in conn.execute(own).fetchall(), 10, "its session to end")
        conn.execute(
            "INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)"
            " VALUES ('meanwhile', 'gps', true, 60, 600)"
        )
        conn.execute(
            "INSERT INTO broker_logins (device_no, password_hash)"
            " SELECT device_no, '$7$101$c2FsdA==$aGFzaA==' FROM devices"
        )
        wait_until(lambda: "meanwhile" in users(folder), 15, "what changed meanwhile")


def test_a_hash_that_is_none_makes_no_second_login(database: str, folder: BrokerFolder) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)"
            " VALUES ('odd', 'gps', true, 60, 600)"
        )
        conn.execute(
            "INSERT INTO broker_logins (device_no, password_hash)"
            " SELECT device_no, E'x\nadmin:$7$101$c2FsdA==$aGFzaA==' FROM devices"
        )
    sync_once(folder, database)
    assert set(users(folder)) == {"tracker.ingest", "tracker.traccar"}
