"""Which worker serves which shard: fair shares, and the keeper that takes, renews and hands over.

Any number of workers run side by side. Each beats once a second, reads who else lives, and works
out the same distribution as all the others; it gives up what it has too much of and takes what is
free. `tracker.db.leases` sees to it that nobody stores for a shard that is not his.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections import Counter as Tally
from collections.abc import Mapping, Set
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter, Gauge

from tracker.db import leases, workers
from tracker.links import Links
from tracker.sessions import FOREIGN
from tracker.settings import Settings, parse_shards

log = structlog.get_logger(__name__)

BEATS_A_TERM = 6
"""Five may fail before others think that the worker is gone."""

LET_GO_S = 5.0

STOOD_STILL = Counter(
    "tracker_stalled_sessions_ended_total",
    "Sessions with the database that were ended since their client stood still.",
)
OWNED = Gauge("tracker_shards_owned", "Shards this worker owns, the foreign one included.")


def assign(workers: Mapping[str, Set[int]], owners: Mapping[int, str]) -> dict[int, str]:
    """Shard → the worker that should own it. Pure, and the same for all who see the same.

    Every shard that someone would take has an owner; owners stay where fairness allows. Workers
    that would take the same shards end with counts that differ by at most one.
    """
    target = {s: w for s, w in owners.items() if s in workers.get(w, ())}
    load = Tally(target.values())
    for shard in sorted(frozenset().union(*workers.values()) - target.keys()):
        target[shard] = _idlest(workers, load, shard)
        load[target[shard]] += 1
    while move := _unfair(workers, load, target):
        shard, worker = move
        load[target[shard]] -= 1
        load[worker] += 1
        target[shard] = worker
    return target


def _idlest(workers: Mapping[str, Set[int]], load: Tally[str], shard: int) -> str:
    return min((w for w in workers if shard in workers[w]), key=lambda w: (load[w], w))


def _unfair(
    workers: Mapping[str, Set[int]], load: Tally[str], target: Mapping[int, str]
) -> tuple[int, str] | None:
    """A shard that another worker should rather have, from the busiest first."""
    for shard in sorted(target, key=lambda s: (-load[target[s]], target[s], s)):
        idlest = _idlest(workers, load, shard)
        if load[idlest] + 1 < load[target[shard]]:
            return shard, idlest
    return None


def shards_wanted(settings: Settings) -> frozenset[int]:
    """What a worker with these settings would take: its shards, and the foreign one."""
    return parse_shards(settings.shards) | {FOREIGN}


def worker_name() -> str:
    """A name that no other worker has or had: a restarted process is another worker."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Keeper:
    """Keeps this worker alive in the database and its sessions in step with its leases."""

    def __init__(self, settings: Settings, worker: str, links: Links) -> None:
        self._settings = settings
        self._worker = worker
        self._links = links
        self._wanted = shards_wanted(settings)
        self._owned: Set[int] = frozenset()
        self._conn: psycopg.Connection[Any] | None = None
        self._stop = threading.Event()
        self._thread = self._new_thread()

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def tend(self) -> None:
        """Start the thread again if it has ended by a fault."""
        if not self._thread.is_alive():
            log.error("the keeper of the shards had ended, starting it again")
            self._thread = self._new_thread()
            self._thread.start()

    def close(self) -> None:
        """Hand everything over and end. Call it when nothing more is being stored."""
        self._stop.set()
        self._links.changed.set()
        self._thread.join(2 * LET_GO_S)
        self._links.let_go(self._owned, LET_GO_S)
        try:
            leases.leave(self._connection(), self._worker)
        except psycopg.Error as exc:
            log.warning("leases not given up, they will expire", error=str(exc))
        self._drop_connection()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="shards", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._links.changed.clear()
            try:
                self.tick()
            except psycopg.Error as exc:
                log.error("leases not renewed, trying again", error=str(exc))
                self._drop_connection()
                self._stop.wait(self._settings.shard_lease_s / BEATS_A_TERM)
            # A lost connection may mean that the shard has a new owner; all of them up is news to
            # those who wait for it: look at once.
            self._links.changed.wait(self._settings.shard_lease_s / BEATS_A_TERM)
            self._stop.wait(0.1)

    def tick(self) -> None:
        """Beat; put out who stands still; give up what is too much, take what is free.

        A worker that does not reach the broker would take nothing, so that others do.
        """
        conn = self._connection()
        if ended := leases.end_storing_of_expired(conn, self._worker) + workers.end_stalled(conn):
            log.warning("sessions whose client stands still were ended", sessions=ended)
            STOOD_STILL.inc(ended)
        began_s = time.monotonic()
        view = leases.beat(
            conn,
            self._worker,
            self._wanted if self._links.in_reach else (),
            term_s=self._settings.shard_lease_s,
            health=self._links.health,
        )
        target = assign(view.workers, view.owners)
        mine = {shard for shard, worker in target.items() if worker == self._worker}
        owned = {shard for shard, worker in view.owners.items() if worker == self._worker}
        if surplus := owned - mine:
            self._links.let_go(surplus, LET_GO_S)
            leases.release(conn, self._worker, surplus)
        taken = leases.take(conn, self._worker, mine - view.owners.keys())
        self._now_owned((owned & mine) | taken, began_s)

    def _now_owned(self, owned: Set[int], confirmed_s: float) -> None:
        self._links.hold(owned, confirmed_s)
        if owned != self._owned:
            log.info(
                "shards",
                owned=len(owned),
                taken=sorted(owned - self._owned),
                left=sorted(self._owned - owned),
            )
        self._owned = owned
        OWNED.set(len(owned))

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = workers.connect(
                self._settings.database_url,
                "tracker-shards",
                idle_in_transaction_s=self._settings.shard_lease_s,
                statement_timeout="10s",
            )
        return self._conn

    def _drop_connection(self) -> None:
        if self._conn is not None:
            self._conn.close()
        self._conn = None
