"""The product's own processes under one supervisor: started, watched, restarted, ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from tracker.embedded import children
from tracker.errors import SetupError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A process that ran this long is taken as sound again: its next fall is its first."""

log = structlog.get_logger(__name__)


class Restarts:
    """When to start something again: after a pause that grows with each fall."""

    def __init__(self) -> None:
        self._falls = 0
        self._started_at = time.monotonic()
        self._again_at: float | None = None

    def started(self) -> None:
        """It has been started just now."""
        self._started_at = time.monotonic()
        self._again_at = None

    def due(self, **about: object) -> bool:
        """Whether it is time to start it again; logs its fall the first time it is asked."""
        now = time.monotonic()
        if self._again_at is None:
            self._falls = 1 if now - self._started_at > STEADY_S else self._falls + 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._falls - 1))
            self._again_at = now + pause_s
            log.error("process ended; starting it again", pause_s=pause_s, **about)
        return now >= self._again_at


class Worker:
    """One process ``tracker NAME``."""

    def __init__(
        self, *, name: str, env: Mapping[str, str], log_path: Path, held: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._env = env
        self._held = held
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = Restarts()

    def start(self) -> None:
        """Start it; from a thread that lives as long as it should."""
        with self.log_path.open("ab") as output:
            self._process = children.start(
                [sys.executable, "-m", "tracker.cli", self.name],
                env=self._env,
                stdout=output,
                stderr=output,
                held=self._held,
            )
        self._restarts.started()

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll() if self._process else None

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "no message")

    def tend(self) -> None:
        """Notice its end and start it again after a pause."""
        if self.exit_code is not None and self._restarts.due(
            process=self.name, exit_code=self.exit_code, log=str(self.log_path)
        ):
            self.start()

    def ask_to_end(self) -> None:
        """Send SIGTERM; ``end`` then waits."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, timeout_s: float) -> None:
        """Wait for its end and kill it after ``timeout_s``."""
        if self._process:
            children.end(self._process, timeout_s=timeout_s)
            self._process = None


class Service(Protocol):
    """A private database or broker."""

    port: int

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """Its process, if it was started."""

    def prepare(self) -> None:
        """Make its folder fit for a start."""

    def start(self, port: int) -> None:
        """Start it and wait until it answers."""


class TendedService:
    """A service that is started again on its port when it falls."""

    def __init__(self, name: str, service: Service) -> None:
        self._name = name
        self._service = service
        self._restarts = Restarts()

    def tend(self) -> None:
        """Notice its end and start it again after a pause."""
        process = self._service.process
        if process is None or process.poll() is None:
            return
        if not self._restarts.due(process=self._name, exit_code=process.returncode):
            return
        try:
            self._service.prepare()
            self._service.start(self._service.port)
        except SetupError as exc:
            log.error("process does not start", process=self._name, reason=exc.detail)
        self._restarts.started()
