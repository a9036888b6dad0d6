"""The private PostgreSQL and Mosquitto, for real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
import psycopg
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.services import Broker, start_postgres
from tests.support.waiting import wait_until
from tracker.embedded import children
from tracker.embedded.parts import find_mosquitto, find_postgres
from tracker.embedded.postgres import PrivatePostgres
from tracker.errors import SetupError


def test_the_server_holds_postgis(postgres_server: PrivatePostgres, empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE EXTENSION postgis")
        row = connection.execute("SELECT postgis_lib_version()").fetchone()
    assert row is not None
    assert tuple(map(int, row[0].split(".")[:2])) >= (3, 3)


def test_the_server_wants_its_password(postgres_server: PrivatePostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_server.dsn("postgres").replace(":test@", ":guess@"))


def test_the_server_listens_on_the_loopback_only(postgres_server: PrivatePostgres) -> None:
    assert postgres_server.process is not None
    process = psutil.Process(postgres_server.process.pid)
    listening = [c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_data_is_kept_and_a_second_start_is_quick(tmp_path: Path) -> None:
    server = start_postgres(tmp_path)
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    server.stop()
    again = start_postgres(tmp_path)
    with psycopg.connect(again.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    again.stop()


def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    half_made = tmp_path / "postgres.new"
    half_made.mkdir()
    (half_made / "rubbish").write_text("initdb was killed here")
    server = start_postgres(tmp_path)
    server.stop()
    assert not half_made.exists()


def test_a_stale_pid_file_does_not_stop_the_start(tmp_path: Path) -> None:
    server = start_postgres(tmp_path)
    assert server.process is not None
    for process in [server.process, *psutil.Process(server.process.pid).children()]:
        process.kill()
    server.process.wait()
    assert (tmp_path / "postgres/data/postmaster.pid").exists()
    start_postgres(tmp_path).stop()


def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys; from tests.support.services import start_postgres;"
        "s = start_postgres(pathlib.Path(sys.argv[1])); print(s.process.pid, flush=True);"
        "signal.pause()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    server_pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not psutil.pid_exists(server_pid), 60, "the orphaned server to end")
    assert not (tmp_path / "postgres/data/postmaster.pid").exists()


def test_a_broken_cluster_is_reported_in_one_line(tmp_path: Path) -> None:
    start_postgres(tmp_path).stop()
    (tmp_path / "postgres/data/global/pg_control").unlink()
    with pytest.raises(SetupError, match=r"PostgreSQL ended: .*pg_control") as caught:
        start_postgres(tmp_path)
    assert "\n" not in caught.value.detail


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    start_postgres(tmp_path).stop()
    (tmp_path / "postgres/data/PG_VERSION").write_text("14\n")
    with pytest.raises(SetupError, match="was made by PostgreSQL 14"):
        start_postgres(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders others cannot enter")
def test_root_gets_through_its_own_closed_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed" / "data"
    closed.mkdir(parents=True)
    for folder in (closed.parent, closed):
        folder.chmod(0o700)
    server = start_postgres(closed)
    assert server.process is not None
    assert psutil.Process(server.process.pid).uids().effective != 0
    server.stop()
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses the services' account")
def test_existing_data_keeps_its_owner(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    os.chown(data, 12345, 12346)
    account = children.service_account(tmp_path, data=data)
    assert account is not None
    assert (account.uid, account.gid) == (12345, 12346)


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} for HTTP is taken"):
            children.choose_port(wanted=port, last=None, what="HTTP")
        assert children.choose_port(wanted=None, last=port, what="HTTP") != port


def test_missing_parts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.embedded.parts._search_path", lambda: [tmp_path])
    monkeypatch.setattr("tracker.embedded.parts._postgres_dirs", lambda root: [])
    with pytest.raises(SetupError, match=r"Mosquitto broker is missing: .*apt-get install"):
        find_mosquitto(tmp_path)
    with pytest.raises(SetupError, match=r"PostgreSQL with PostGIS is missing: .*apt-get install"):
        find_postgres(tmp_path)


@pytest.mark.parametrize(
    ("major", "said"),
    [(14, "PostgreSQL 14 is too old"), (16, "PostGIS is missing for PostgreSQL 16")],
)
def test_unfit_servers_are_named(
    major: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = tmp_path / f"usr/lib/postgresql/{major}/bin"
    monkeypatch.setattr("tracker.embedded.parts._postgres_dirs", lambda root: [unfit])
    with pytest.raises(SetupError, match=said):
        find_postgres(tmp_path)


def test_the_broker_keeps_a_durable_session_over_a_restart(broker: Broker) -> None:
    with mqtt_client(broker, "durable") as subscriber:
        subscriber.subscribe("kept/#", qos=1)
        wait_until(lambda: subscriber.subscribed, 60, "the subscription")
    with mqtt_client(broker, "publisher") as publisher:
        publisher.publish("kept/a", "still here", qos=1).wait_for_publish(60)
    broker.stop()
    broker.start()
    with mqtt_client(broker, "durable") as subscriber:
        wait_until(lambda: subscriber.received, 60, "the message from before the restart")
    assert subscriber.received == [b"still here"]


class RecordingClient(mqtt.Client):
    """A client with a durable session that notes what happens to it."""

    def __init__(self, client_id: str) -> None:
        super().__init__(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5
        )
        self.subscribed = False
        self.received: list[bytes] = []
        self.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self.on_message = lambda _client, _data, message: self.received.append(message.payload)


@contextmanager
def mqtt_client(broker: Broker, client_id: str) -> Iterator[RecordingClient]:
    client = RecordingClient(client_id)
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 3600
    client.connect(broker.host, broker.port, clean_start=False, properties=lasting)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
