"""``tracker up`` from outside: its one line, its restarts, its end, its errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.support.stack import STOP_S, Stack, start_stack
from tests.support.waiting import wait_until
from tracker.embedded import datadir
from tracker.embedded.datadir import DataDir
from tracker.embedded.mosquitto import SubscriptionCount
from tracker.errors import SetupError

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0
"""Far above what anything awaited takes when both cores are busy."""
SLACK_S = 10.0
"""By so much a second start may be slower than the first, which makes a cluster and its tables:
less than a lease or a time-out that it would wait for."""


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that a test may break."""
    running = start_stack(tmp_path / "data")
    yield running
    if running.process.poll() is None:
        running.stop()


def test_the_one_line_tells_how_to_reach_everything(stack: Stack) -> None:
    assert set(stack.info) == {"http", "mqtt", "database", "admin"}
    assert httpx.get(f"{stack.http}/readyz", timeout=30).status_code == 200
    with socket.create_connection(stack.mqtt, timeout=5):
        pass
    with psycopg.connect(stack.dsn) as connection:
        assert connection.execute("SELECT postgis_lib_version()").fetchone() is not None
    assert stack.info["admin"]["username"] == "admin"


def test_each_process_serves_its_metrics_where_the_file_says(stack: Stack) -> None:
    listed = json.loads((stack.home / "metrics.json").read_text())
    targets = {one["labels"]["process"]: one["targets"] for one in listed}
    own = {
        "api": "tracker_database_up 1.0",
        "ingest": "tracker_store_batch_seconds_count",
        "evaluate": "tracker_judge_batch_seconds_count",
        "watch": "tracker_clocks_total",
    }
    assert set(targets) == set(own)
    for process, metric in own.items():
        (target,) = targets[process]
        assert target.startswith("127.0.0.1:")
        assert metric in httpx.get(f"http://{target}/metrics", timeout=30).text, process


def test_the_administrator_can_log_in(stack: Stack) -> None:
    with stack.http_client() as client:
        assert client.get("/api/v1/deliveries").status_code == 200


def test_ingest_has_subscribed_before_the_line_is_printed(own_stack: Stack) -> None:
    host, port = own_stack.mqtt
    with SubscriptionCount(host=host, port=port) as subscriptions:
        # Three channels of each shard.
        wait_until(lambda: subscriptions.of_others >= 3 * 64, WAIT_S, "every subscription")
    log = (own_stack.home / "logs/ingest.log").read_text()
    assert '"connected"' in log


def test_no_reference_data_is_loaded(own_stack: Stack) -> None:
    with psycopg.connect(own_stack.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM posts").fetchone() == (0,)


def test_secrets_are_for_the_owner_only(stack: Stack) -> None:
    assert (stack.home / "stack.json").stat().st_mode & 0o077 == 0


def test_a_second_stack_on_the_same_data_is_refused(stack: Stack) -> None:
    second = _up(stack.home)
    assert second.returncode == 1
    assert "already runs" in _only_line(second)
    assert second.stdout == ""


def test_it_ends_in_order_and_starts_again_quickly_with_its_data(own_stack: Stack) -> None:
    process = psutil.Process(own_stack.process.pid)
    first_s = time.time() - process.create_time()
    with psycopg.connect(own_stack.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    family = process.children(recursive=True)
    assert own_stack.stop() == 0
    assert [child for child in family if child.is_running()] == []

    def started_again_s() -> float:
        begin = time.monotonic()
        again = start_stack(own_stack.home)
        took_s = time.monotonic() - begin
        with psycopg.connect(again.dsn) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(STOP_S) == 0
        assert again.info == own_stack.info
        return took_s

    # One start may fall into a busy moment of the machine's, all three hardly.
    assert any(started_again_s() < first_s + SLACK_S for _ in range(3))


def test_nothing_is_left_after_a_kill_and_it_starts_again(own_stack: Stack) -> None:
    family = psutil.Process(own_stack.process.pid).children(recursive=True)
    assert family
    own_stack.process.kill()
    own_stack.process.wait()
    again = start_stack(own_stack.home)
    # They are told by the kernel to end, each when it comes to run.
    wait_until(lambda: not any(child.is_running() for child in family), WAIT_S, "the end of all")
    assert again.stop() == 0


@pytest.mark.parametrize("name", ["ingest", "api"])
def test_a_fallen_process_is_started_again(own_stack: Stack, name: str) -> None:
    fallen = _child(own_stack, name)
    fallen.kill()

    def replaced() -> bool:
        found = [p for p in _children(own_stack, name) if p.pid != fallen.pid]
        return bool(found) and _ready(own_stack)

    wait_until(replaced, WAIT_S, f"{name} to be started again")
    log = own_stack.home.with_name("data.stderr").read_text()
    assert f'"process": "{name}"' in log


def test_a_fallen_broker_and_database_are_started_again(own_stack: Stack) -> None:
    for name in ("mosquitto", "postgres"):
        next(p for p in _descendants(own_stack) if p.name() == name).kill()
    wait_until(lambda: _answers(own_stack.mqtt), WAIT_S, "the broker to come back")
    wait_until(lambda: _ready(own_stack), WAIT_S, "the stack to be ready again")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_starting_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tracker.cli", "up", "--data", str(tmp_path / "data")]
    starting = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert starting.stderr is not None
    assert b"migrating" in starting.stderr.readline()
    family = psutil.Process(starting.pid).children(recursive=True)
    assert family
    starting.send_signal(number)
    out, _ = starting.communicate(timeout=STOP_S)
    assert (starting.returncode, out) == (0, b"")
    assert [child for child in family if child.is_running()] == []


def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = _up(tmp_path / "data", "--http-port", str(port))
    assert refused.returncode == 1
    assert f"port {port} for HTTP is taken" in _only_line(refused)


def test_a_misspelt_setting_is_told_in_one_line(tmp_path: Path) -> None:
    refused = _up(tmp_path / "data", env={"TRACKER_BACKDATING_DAY": "400"})
    assert refused.returncode == 1
    assert "unknown setting TRACKER_BACKDATING_DAY" in _only_line(refused)


def test_settings_of_the_caller_reach_the_processes(stack: Stack) -> None:
    assert os.environ.get("TRACKER_LOG_LEVEL") is None
    env = _child(stack, "api").environ()
    assert env["TRACKER_DATABASE_URL"] == stack.dsn


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil._ntuple_diskusage(10**9, 10**9, 5 * 2**20)  # type: ignore[attr-defined]
    monkeypatch.setattr(datadir.shutil, "disk_usage", lambda _: full)
    with pytest.raises(SetupError, match="no disk space: 5 MB free"), DataDir(tmp_path / "data"):
        raise AssertionError("it was let in")


def test_a_damaged_memory_is_told(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(SetupError, match=r"stack\.json is damaged"), DataDir(tmp_path):
        raise AssertionError("it was let in")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands its services to another account")
def test_services_move_out_where_their_account_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = datadir.service_account
    monkeypatch.setattr(
        datadir,
        "service_account",
        lambda home, *rest, data: None if home == tmp_path else real(home, *rest, data=data),
    )
    with DataDir(tmp_path) as directory:
        home, account = directory.services()
        again, _ = directory.services()
    assert home == again == (tmp_path / "services").resolve()
    assert account.uid
    home.rmdir()


def _up(
    home: Path, *options: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracker.cli", "up", "--data", str(home), "--json", *options],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        cwd=ROOT,
        check=False,
    )


def _only_line(done: subprocess.CompletedProcess[str]) -> str:
    told = [line for line in done.stderr.splitlines() if not _is_log(line)]
    assert len(told) == 1, done.stderr
    return told[0]


def _is_log(line: str) -> bool:
    try:
        return "event" in json.loads(line)
    except ValueError:
        return False


def _descendants(stack: Stack) -> list[psutil.Process]:
    return psutil.Process(stack.process.pid).children(recursive=True)


def _children(stack: Stack, name: str) -> list[psutil.Process]:
    return [p for p in _descendants(stack) if _command(p)[-2:] == ["tracker.cli", name]]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _child(stack: Stack, name: str) -> psutil.Process:
    return _children(stack, name)[0]


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


def _ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.http}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
