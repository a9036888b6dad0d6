"""The product's own processes under one supervisor: started, watched, restarted, ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from tracker.embedded import children

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A process that ran this long is taken as sound again: its next fall is its first."""

log = structlog.get_logger(__name__)


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
        self._falls = 0
        self._started_at = 0.0
        self._start_again_at: float | None = None

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
        self._started_at = time.monotonic()
        self._start_again_at = None

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll() if self._process else None

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "no message")

    def tend(self) -> None:
        """Notice its end and start it again after a pause that grows with each fall."""
        if self.exit_code is None:
            return
        now = time.monotonic()
        if self._start_again_at is None:
            self._falls = 1 if now - self._started_at > STEADY_S else self._falls + 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._falls - 1))
            self._start_again_at = now + pause_s
            log.error(
                "process ended; starting it again",
                process=self.name,
                exit_code=self.exit_code,
                pause_s=pause_s,
                log=str(self.log_path),
            )
        if now >= self._start_again_at:
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
