"""The whole product as other people start it: ``tracker up --data DIR --json``."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tracker.embedded import children

START_S = 120.0
STOP_S = 90.0


@dataclass(slots=True)
class Stack:
    """A running stack and what its one JSON line said."""

    process: subprocess.Popen[bytes]
    home: Path
    info: dict[str, Any]
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def http(self) -> str:
        """Base URL of the API and the console."""
        return str(self.info["http"])

    @property
    def mqtt(self) -> tuple[str, int]:
        """Host and port of the broker."""
        return self.info["mqtt"]["host"], self.info["mqtt"]["port"]

    @property
    def dsn(self) -> str:
        """URL of the database."""
        return str(self.info["database"])

    def token(self, username: str | None = None, password: str | None = None) -> str:
        """A bearer token of a user, by default of the administrator."""
        admin = self.info["admin"]
        key = (username or admin["username"], password or admin["password"])
        if key not in self._tokens:
            form = {"username": key[0], "password": key[1]}
            answer = httpx.post(f"{self.http}/api/v1/auth/token", data=form, timeout=60)
            assert answer.status_code == 200, answer.text
            self._tokens[key] = str(answer.json()["access_token"])
        return self._tokens[key]

    def http_client(self, username: str | None = None, password: str | None = None) -> httpx.Client:
        """A client logged in as a user, by default as the administrator."""
        headers = {"Authorization": f"Bearer {self.token(username, password)}"}
        # The server ends idle connections after 5 s; one reused at that moment would fail.
        limits = httpx.Limits(keepalive_expiry=2)
        return httpx.Client(base_url=self.http, headers=headers, timeout=60, limits=limits)

    def stop(self) -> int:
        """End it as Ctrl-C does and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)


def start_stack(home: Path, *options: str, env: dict[str, str] | None = None) -> Stack:
    """Start a stack on ``home`` and wait until it says that it is ready."""
    command = [sys.executable, "-m", "tracker.cli", "up", "--data", str(home), "--json", *options]
    log = home.with_name(home.name + ".stderr")
    with log.open("wb") as stderr:
        process = children.start(command, stdout=subprocess.PIPE, stderr=stderr, env=env)
    line = _first_line(process, START_S)
    if not line:
        children.end(process, timeout_s=STOP_S)
        raise AssertionError(f"the stack did not start: {log.read_text()[-4000:]}")
    return Stack(process=process, home=home, info=json.loads(line))


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if selector.select(deadline - time.monotonic()):
            return process.stdout.readline()
    return b""
