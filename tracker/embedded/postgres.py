"""A private PostgreSQL with PostGIS, on the loopback, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import psycopg

from tracker.embedded import children
from tracker.embedded.children import LOOPBACK, Account
from tracker.embedded.parts import PostgresTools
from tracker.errors import SetupError

ROLE = DATABASE = "tracker"
START_S = 60.0
STOP_S = 15.0

FAST_AND_LOSING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests only: a crash of the machine would lose the data."""


class PrivatePostgres:
    """One server under ``home``; ``home`` is made whole or not at all."""

    def __init__(
        self,
        *,
        tools: PostgresTools,
        home: Path,
        log: Path,
        account: Account,
        password: str,
        extra: dict[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> None:
        self._tools = tools
        self._home = home
        self._log = log
        self._account = account
        self._password = password
        self._extra = extra or {}
        self._held = held
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server's process while it runs."""
        return self._process

    def dsn(self, database: str = DATABASE) -> str:
        """Connection URL of a database on this server."""
        return f"postgresql://{ROLE}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the cluster if there is none, clear away half-made and left-over ones.

        Raises:
            SetupError: ``initdb`` failed, or the cluster belongs to another version.
        """
        if not self._home.exists():
            self._create()
        version = int((self._data / "PG_VERSION").read_text())
        if version != self._tools.major:
            raise SetupError(
                f"{self._home} was made by PostgreSQL {version}, here is {self._tools.major}: "
                f"install postgresql-{version}-postgis-3, or start with another directory"
            )
        self._end_left_over()

    def start(self, port: int) -> None:
        """Start on ``port`` and wait until it answers; make the database on the first start.

        Raises:
            SetupError: it did not come up; the text holds its last log line.
        """
        self.port = port
        begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = children.start(
                self._command(),
                account=self._account,
                death_signal=signal.SIGINT,
                env=self._tools.env,
                stdout=log,
                stderr=log,
                held=self._held,
            )
        self._wait_ready(begin)
        self._create_database()

    def stop(self) -> None:
        """Fast shutdown: sessions are cut, everything committed is kept."""
        if self._process:
            children.end(self._process, how=signal.SIGINT, timeout_s=STOP_S)
            self._process = None

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _create(self) -> None:
        half_made = self._home.with_name(self._home.name + ".new")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        self._account.own(half_made)
        password_file = half_made / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password + "\n")
        self._account.own(password_file)
        initdb = [self._tools.program("initdb"), "-D", str(half_made / "data"), "-U", ROLE]
        initdb += ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]
        initdb += [f"--pwfile={password_file}"]
        initdb += ["--no-sync"] if self._extra.get("fsync") == "off" else ["--data-checksums"]
        children.run(initdb, account=self._account, env=self._tools.env)
        password_file.unlink()
        half_made.rename(self._home)

    def _end_left_over(self) -> None:
        """A server of a killed parent may still be shutting down on this data."""
        pid_file = self._data / "postmaster.pid"
        try:
            left_over = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            if not left_over.name().startswith("postgres"):
                return
            if Path(left_over.cwd()).resolve() != self._data.resolve():
                return
            left_over.send_signal(signal.SIGINT)
            left_over.wait(STOP_S)
        except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
            return  # ended already; PostgreSQL itself clears a stale pid file
        except (psutil.TimeoutExpired, psutil.AccessDenied) as exc:
            raise SetupError(f"another PostgreSQL still runs on {self._data}: end it") from exc

    def _command(self) -> list[str]:
        options = {**tuning(), **self._extra}
        options |= {
            "port": str(self.port),
            "listen_addresses": LOOPBACK,
            # A socket path may be longer than the system allows; the loopback is enough.
            "unix_socket_directories": "",
        }
        command = [self._tools.program("postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _wait_ready(self, log_begin: int) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                with psycopg.connect(self.dsn("postgres"), connect_timeout=5):
                    return
            except psycopg.OperationalError as exc:
                if self._process is None or self._process.poll() is not None:
                    raise SetupError(f"PostgreSQL ended: {self._reason(log_begin)}") from exc
                if time.monotonic() > deadline:
                    self.stop()
                    raise SetupError(f"PostgreSQL does not answer; see {self._log}") from exc
            time.sleep(0.05)

    def _reason(self, log_begin: int) -> str:
        with self._log.open("rb") as log:
            log.seek(log_begin)
            lines = log.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if "FATAL" in line or "rror" in line]
        message = telling[:1] or lines or ["no message"]
        return f"{' '.join(' '.join(message).split())} (log: {self._log})"

    def _create_database(self) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")


def tuning() -> dict[str, str]:
    """Server settings for a machine shared with everything else; durability stays on."""
    memory_mb = psutil.virtual_memory().total // 2**20
    return {
        "shared_buffers": f"{max(64, min(4096, memory_mb // 8))}MB",
        "effective_cache_size": f"{max(256, memory_mb // 3)}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "128MB",
        "max_connections": "200",
        # Partitions multiply the locks of one transaction.
        "max_locks_per_transaction": "256",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "15min",
        "wal_compression": "on",
        "random_page_cost": "1.1",
        "jit": "off",
        "autovacuum_naptime": "15s",
        "log_min_duration_statement": "2s",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "max_worker_processes": str(max(8, (os.cpu_count() or 2) * 2)),
    }
