"""Keeps the broker's files equal to the database and the authority, without a restart."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from tracker.broker.folder import BrokerFolder
from tracker.broker.rules import Login
from tracker.db import workers
from tracker.db.broker_logins import CHANNEL, read_logins

log = structlog.get_logger(__name__)

TICK_S = 0.5
RETRY_S = 2.0
PAUSE_S = 2.0
"""Between two signals. Mosquitto 2.0 loses one that comes while it obeys the one before: a second
device registered in the same moment would stay unknown to it."""

AGAIN_S = 10.0
READ_EVERY_S = 60.0
"""Also without a notice: one could have been lost with its connection."""


def logins_of(conn: psycopg.Connection[Any]) -> list[Login]:
    """Who is registered."""
    return [
        Login(device=device, password_hash=hash_, may_own_tracks=owntracks)
        for device, hash_, owntracks in read_logins(conn)
    ]


def sync_once(folder: BrokerFolder, database_url: str) -> bool:
    """Write the broker's files from the database; whether anything has changed."""
    with _connect(database_url) as conn:
        return folder.write(logins_of(conn))


class Sync:
    """Waits for news of devices or certificates, writes the files, has the broker read them.

    ``reload`` answers False while the broker cannot be told; it is then asked again.
    """

    def __init__(self, folder: BrokerFolder, database_url: str, reload: Callable[[], bool]) -> None:
        self._folder = folder
        self._database_url = database_url
        self._reload = reload
        self._read_at_s: float | None = None
        self._changed_ns = 0
        self._owed = False
        self._again = False
        self._told_at_s = -math.inf

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; a lost database or a full disk is waited for."""
        while not stop.is_set():
            try:
                with _connect(self._database_url) as conn:
                    conn.execute(f"LISTEN {CHANNEL}")
                    self._read_at_s = None
                    while not stop.is_set():
                        self._tick(conn)
            except (psycopg.Error, OSError) as exc:
                log.error("the broker's files are not up to date, trying again", error=str(exc))
                stop.wait(RETRY_S)

    def _tick(self, conn: psycopg.Connection[Any]) -> None:
        if self._is_due():
            self._read_at_s = time.monotonic()
            self._owed = self._folder.write(logins_of(conn)) or self._owed
        self._tell()
        for _ in conn.notifies(timeout=TICK_S, stop_after=1):
            self._read_at_s = None

    def _tell(self) -> None:
        """Have the broker read its files, and once more: one signal in time may have been lost."""
        since_s = time.monotonic() - self._told_at_s
        if self._owed and since_s >= PAUSE_S and self._reload():
            self._owed, self._again = False, True
            self._told_at_s = time.monotonic()
            log.info("the broker has been told of its devices")
        elif self._again and since_s >= AGAIN_S and self._reload():
            self._again = False

    def _is_due(self) -> bool:
        changed_ns = self._folder.authority.changed_ns()
        news = changed_ns != self._changed_ns
        self._changed_ns = changed_ns
        late = self._read_at_s is None or time.monotonic() - self._read_at_s > READ_EVERY_S
        return news or late


def _connect(database_url: str) -> psycopg.Connection[Any]:
    return workers.connect(database_url, "tracker-broker")
