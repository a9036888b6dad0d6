"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T], timeout_s: float, what: str, *, every_s: float = 0.05
) -> T:
    """Poll until ``predicate`` is true and return its value.

    Raises:
        AssertionError: it was not true within ``timeout_s``; the text says what was awaited
            and the last value seen.
    """
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}; last seen: {value!r}")
        pause.wait(every_s)
