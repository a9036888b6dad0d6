"""The simulated fleet: its plan, and the simulator as a child process.

A trip is a function of its slot, turn and departure alone: the same plan makes the same records
with the same numbers. So when the demo is started again, a crooked lorry sends its history again,
the product recognises every record it has, and the plot goes on where the present finds it. An
honest lorry simply drives on from its last known place, which spares the replay.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tracker.demo.scenario import (
    BATTERY_MIN,
    BEYOND_KM,
    BREAK_STOP_MIN,
    GAP_MIN,
    STOP_MIN,
    Plot,
    Slot,
    stamp,
)
from tracker.embedded import children
from tracker.errors import SetupError

_PATIENCE_S: Final = 10.0
_GOING_ON: Final = timedelta(seconds=5)

_PARAMS: Final[Mapping[Plot, tuple[str, Callable[[Slot], dict[str, Any]]]]] = {
    "rope_cut": ("rope_cut", lambda slot: {"stop_minutes": BREAK_STOP_MIN}),
    "case_opened": ("case_open", lambda slot: {"stop_minutes": BREAK_STOP_MIN}),
    "unauthorised_stop": ("unauthorised_stop", lambda slot: {"minutes": STOP_MIN}),
    "battery_death": ("battery_death", lambda slot: {"minutes": BATTERY_MIN}),
    "coverage_gap": ("coverage_gap", lambda slot: {"minutes": GAP_MIN}),
    "diversion": (
        "diversion",
        lambda slot: {"km": slot.lane.corridor_m / 1000 + BEYOND_KM, "stop_minutes": STOP_MIN},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """Where a lorry was when the server last heard of it: metres along the lane, and when."""

    at_m: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One delivery of a slot, as it is driven."""

    slot: Slot
    turn: int
    departed: datetime
    delivery_id: str
    released: bool = False
    last_seen: LastSeen | None = None

    @property
    def end(self) -> datetime:
        """When it is over for sure."""
        return self.slot.end(self.departed)


def fleet_plan(trips: Iterable[Trip]) -> dict[str, Any]:
    """The plan file's content for these trips."""
    return {"version": 1, "vehicles": [_vehicle(trip) for trip in trips]}


def _vehicle(trip: Trip) -> dict[str, Any]:
    slot, lorry, seen = trip.slot, trip.slot.lorry(trip.turn), trip.last_seen
    start = trip.departed if seen is None else seen.at + _GOING_ON
    # Each life of a device numbers its records from 1 again, in a higher generation: the turn,
    # and for a lorry that drives on, the instant, which is greater than any turn.
    gen = trip.turn if seen is None else int(start.timestamp())
    return {
        "vehicle": lorry.plate,
        "devices": [
            {"id": lorry.seal, "kind": "seal", "gen": gen},
            {"id": lorry.gps, "kind": "gps", "gen": gen},
        ],
        "route": [list(point) for point in slot.lane.points],
        "start": stamp(start),
        "start_at_m": 0.0 if seen is None else min(seen.at_m, slot.lane.length_m - 1),
        "plot": _plot(slot),
        "seed": slot.number * 10_000 + trip.turn,
    }


def _plot(slot: Slot) -> dict[str, Any]:
    if slot.plot not in _PARAMS:
        return {"name": "honest"}
    name, params = _PARAMS[slot.plot]
    return {"name": name, "params": {"at": slot.share, **params(slot)}}


class Fleet:
    """The simulator as a child process that does not outlive us; a context that ends it."""

    def __init__(self, plan: Mapping[str, Any], *, host: str, port: int, directory: Path) -> None:
        self._errors = directory / "fleet.log"
        plan_file = directory / "fleet.json"
        plan_file.write_text(json.dumps(plan), encoding="utf-8")
        # Flat out through the past; the present then holds it to real time.
        command = [sys.executable, "-m", "firmware_sim", "fleet", str(plan_file), "--flat-out"]
        with self._errors.open("wb") as errors:
            self._child = children.start(
                [*command, "--host", host, "--port", str(port)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def check(self) -> bool:
        """Whether it is still driving.

        Raises:
            SetupError: it failed; the text is its last line.
        """
        code = self._child.poll()
        if code:
            lines = self._errors.read_text("utf-8", "replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "no word")
            raise SetupError(f"the simulated fleet ended with code {code}: {last}")
        return code is None

    def end(self) -> None:
        """Ask it to end, and make it end."""
        children.end(self._child, timeout_s=_PATIENCE_S)
