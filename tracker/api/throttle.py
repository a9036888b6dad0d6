"""A modest brake on guessing passwords. Bounded memory, one process; no lock-out of a user."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tracker.api.problems import TooManyAttempts

#: A person mistypes a few times; ten wrong passwords in five minutes are a program.
MAX_FAILURES: Final = 10
WINDOW_S: Final = 300.0
MAX_KEYS: Final = 10_000


class Throttle:
    """Counts failed log-ins by (user name, address) within a window."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def check(self, username: str, address: str) -> None:
        """Refuse a further attempt while there were too many failures.

        Raises:
            TooManyAttempts: with the seconds to wait.
        """
        with self._lock:
            count, since = self._failures.get((username, address), (0, 0.0))
            left_s = since + WINDOW_S - self._clock()
        if count >= MAX_FAILURES and left_s > 0:
            raise TooManyAttempts(
                f"too many failed log-ins; try again in {left_s:.0f} s", int(left_s) + 1
            )

    def failed(self, username: str, address: str) -> None:
        """Count a failure; the oldest are forgotten first when there are too many to keep."""
        key, now = (username, address), self._clock()
        with self._lock:
            count, since = self._failures.pop(key, (0, now))
            self._failures[key] = (count + 1, since) if since + WINDOW_S > now else (1, now)
            while len(self._failures) > MAX_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, username: str, address: str) -> None:
        """Forget the failures of who has logged in after all."""
        with self._lock:
            self._failures.pop((username, address), None)
