"""A worker of the product in a thread of the test's process, and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.waiting import PATIENCE_S
from tracker.settings import Settings


@contextmanager
def running(
    run: Callable[[Settings, threading.Event], object], settings: Settings
) -> Iterator[None]:
    """``run`` works within the block, and is asked to stop and has to at its end."""
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(settings, stop), name=run.__module__)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), f"{run.__module__} did not stop"
