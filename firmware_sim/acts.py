"""Records people's acts through the HTTP API at their times, beside the run.

Calls are made on a few threads, so that a slow answer never holds up the devices; a delivery's own
calls keep their order.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from firmware_sim.errors import SimError
from firmware_sim.office import Office, Refusal
from firmware_sim.ride import Ride, Step
from firmware_sim.timing import from_ms, rfc3339

_AT_ONCE = 4
_LOOK_S = 0.2


class Acts:
    """What is still to be recorded of each delivery, and what the server refused."""

    def __init__(self, office: Office, ids: Mapping[str, str], *, together: bool) -> None:
        """`ids`: of deliveries by registration number. `together`: record all acts of a delivery
        when its story is over, as an office does that learns of it afterwards."""
        self._office, self._ids, self._together = office, ids, together
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="acts")
        self._under_way: dict[str, Future[None]] = {}
        self._recorded: dict[str, int] = {}
        self._settled: set[str] = set()
        self._lock = threading.Lock()
        self.recorded = 0
        self.refused: Counter[str] = Counter()

    def look(self, ride: Ride, now_ms: int, *, over: bool) -> bool:
        """Record what is due at this instant; True if nothing of this delivery is left.

        `over`: its story is, so that no more acts will become known.
        """
        name = ride.role.registration
        if name in self._settled:
            return True
        running = self._under_way.get(name)
        if running is not None and not running.done():
            return False
        if running is not None:
            self._under_way.pop(name).result()
        if self._together and not over:
            return False
        steps = ride.steps()
        ahead = steps[self._recorded.get(name, 0) :]
        due = [step for step in ahead if step.at_ms <= now_ms]
        if due:
            self._recorded[name] = self._recorded.get(name, 0) + len(due)
            self._under_way[name] = self._pool.submit(self._record, name, due)
            return False
        if over and not ahead:
            self._settled.add(name)
            return True
        return False

    def finish(
        self,
        rides: Sequence[tuple[Ride, Callable[[], int]]],
        stop: threading.Event,
        observe: Callable[[], None],
    ) -> None:
        """Wait for the acts of stories that are over: (ride, what its clock shows)."""
        try:
            left = list(rides)
            while left and not stop.is_set():
                left = [
                    (ride, now_ms)
                    for ride, now_ms in left
                    if not self.look(ride, now_ms(), over=True)
                ]
                observe()
                stop.wait(_LOOK_S if left else 0)
        finally:
            self.close()

    def close(self) -> None:
        """Let calls that have begun end."""
        self._pool.shutdown(cancel_futures=True)

    def _record(self, name: str, steps: Sequence[Step]) -> None:
        for step in steps:
            body: dict[str, Any] = dict(step.fields or {})
            # The server's clock may be a little behind ours.
            at_ms = min(step.at_ms, time.time_ns() // 1_000_000)
            body["at"] = rfc3339(from_ms(at_ms))
            if step.position is not None:
                lon, lat = step.position
                body["position"] = {"lon": lon, "lat": lat}
            try:
                self._office.create(f"/deliveries/{self._ids[name]}/{step.path}", body)
            except Refusal as refusal:
                self._count(f"{step.path}: {refusal}")
                continue
            except SimError as error:
                self._count(f"{step.path}: {error}")
                return
            with self._lock:
                self.recorded += 1

    def _count(self, text: str) -> None:
        with self._lock:
            self.refused[text] += 1
