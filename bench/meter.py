"""Where the time goes: CPU of our process and of the database's backend, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg


@dataclass(kw_only=True)
class Spent:
    """Seconds spent in one stage: on the clock, by our CPU, by the backend's CPU."""

    wall_s: float = 0.0
    python_s: float = 0.0
    database_s: float = 0.0


@dataclass(kw_only=True)
class Meter:
    """Adds up what stages spend. The backend's CPU is counted in ticks of 10 ms: trust sums."""

    backend: psutil.Process
    spent: dict[str, Spent] = field(default_factory=dict)

    @classmethod
    def of(cls, conn: psycopg.Connection[Any]) -> Meter:
        """A meter of the backend that serves this connection."""
        return cls(backend=psutil.Process(conn.info.backend_pid))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block towards a stage."""
        wall, python, database = self._now()
        try:
            yield
        finally:
            wall_end, python_end, database_end = self._now()
            total = self.spent.setdefault(name, Spent())
            total.wall_s += wall_end - wall
            total.python_s += python_end - python
            total.database_s += database_end - database

    def _now(self) -> tuple[float, float, float]:
        times = self.backend.cpu_times()
        return time.perf_counter(), time.process_time(), times.user + times.system

    def us_per_record(self, records: int) -> dict[str, dict[str, float]]:
        """Microseconds per record by stage."""
        scale = 1e6 / records
        return {
            name: {
                "wall": round(spent.wall_s * scale, 1),
                "python": round(spent.python_s * scale, 1),
                "database": round(spent.database_s * scale, 1),
            }
            for name, spent in self.spent.items()
        }


class Family:
    """Processes that are watched together: ours, the product's, and all of the database's."""

    def __init__(self, conn: psycopg.Connection[Any], *pids: int) -> None:
        self._ours = [psutil.Process(pid) for pid in pids]
        self._postmaster = psutil.Process(conn.info.backend_pid).parent()

    def cpu_s(self) -> tuple[float, float]:
        """CPU so far: of ours, of the database's; those that ended count for their parent."""
        assert self._postmaster is not None
        theirs = self._postmaster.children(recursive=True)
        ended = self._postmaster.cpu_times()
        own = ended.user + ended.system + ended.children_user + ended.children_system
        return sum(map(_cpu_s, self._ours)), own + sum(map(_cpu_s, theirs))


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it ended since it was listed
    return times.user + times.system


def rss_mb(pid: int) -> float:
    """Resident memory of a process, MiB."""
    return round(psutil.Process(pid).memory_info().rss / 2**20, 1)
