"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0
"""No wait gives up sooner: a time-out tells a hang from a success, never a slow machine from a
quick one."""


def wait_until(
    predicate: Callable[[], T], timeout_s: float, what: str, *, every_s: float = 0.05
) -> T:
    """Poll until ``predicate`` is true and return its value.

    ``timeout_s``: for what may take longer than `PATIENCE_S`. The last look comes after the
    deadline, so that what happened while this process itself stood still counts.

    Raises:
        AssertionError: it was not true in time; the text says what was awaited and the last value
            seen.
    """
    pause = threading.Event()
    patience_s = max(timeout_s, PATIENCE_S)
    deadline = time.monotonic() + patience_s
    while True:
        late = time.monotonic() > deadline
        value = predicate()
        if value:
            return value
        if late:
            raise AssertionError(f"waited {patience_s:g} s for {what}; last seen: {value!r}")
        pause.wait(every_s)
