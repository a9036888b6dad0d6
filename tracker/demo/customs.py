"""What customs officers do in the demo while the fleet drives: release, and confirm arrivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from tracker.demo.fleet import Trip
from tracker.demo.scenario import stamp
from tracker.demo.stage import ON_THE_WAY
from tracker.errors import Conflict
from tracker.reference.client import Api

#: A lorry reports every minute moving, every ten parked; so little behind, it has caught up.
_CAUGHT_UP_MOVING: Final = timedelta(seconds=150)
_CAUGHT_UP_PARKED: Final = timedelta(seconds=660)
#: A lorry that has said nothing for so long is released all the same.
_PATIENCE: Final = timedelta(seconds=60)


class Departures:
    """Records the releases, each once the lorry's history is there.

    A release that is recorded first would find hours of silence, and alerts that the history
    then takes back: true to the rules, but no good first sight.
    """

    def __init__(self, api: Api, trips: Sequence[Trip], began: datetime) -> None:
        self._api, self._began = api, began
        self._waiting = [trip for trip in trips if not trip.released]

    @property
    def waiting(self) -> int:
        """How many releases are still to be recorded."""
        return len(self._waiting)

    def record(self, now: datetime) -> None:
        """Look once and record what is due."""
        for trip in [trip for trip in self._waiting if self._due(trip, now)]:
            self._release(trip)
            self._waiting.remove(trip)

    def _release(self, trip: Trip) -> None:
        body = {"at": stamp(trip.departed)}
        # A conflict: a visitor was quicker.
        with suppress(Conflict):
            self._api.create(f"/deliveries/{trip.delivery_id}/release", body)

    def _due(self, trip: Trip, now: datetime) -> bool:
        if now < trip.departed:
            return False
        if now - self._began > _PATIENCE:
            return True
        last = self._api.get(f"/devices/{trip.slot.lorry(trip.turn).gps}")["last_record"]
        if not last:
            return False
        moving = last.get("mot", {}).get("mov", True)
        behind = now - datetime.fromisoformat(last["t"])
        return behind < (_CAUGHT_UP_MOVING if moving else _CAUGHT_UP_PARKED)


class Arrivals:
    """Confirms, as customs would, the arrival of trips that are over and whose lorry is there."""

    def __init__(self, api: Api, trips: Sequence[Trip]) -> None:
        self._api = api
        self._open = list(trips)

    def confirm(self, now: datetime) -> int:
        """Look once; how many were confirmed."""
        due = [trip for trip in self._open if trip.end < now]
        done = [trip for trip in due if self._confirm(trip)]
        for trip in done:
            self._open.remove(trip)
        return len(done)

    def _confirm(self, trip: Trip) -> bool:
        item = self._api.get(f"/deliveries/{trip.delivery_id}")
        if item["status"] not in ON_THE_WAY:
            return True
        last = item.get("last_position")
        if not last or not _near(last, trip.slot.lane.points[-1]):
            return False
        broken = trip.slot.plot in {"rope_cut", "case_opened"}
        seal = {
            "device_id": trip.slot.lorry(trip.turn).seal,
            "state": "broken" if broken else "intact",
        }
        body = {"at": last["t"], "seals": [seal]}
        try:
            self._api.create(f"/deliveries/{trip.delivery_id}/arrival", body)
        except Conflict:
            return False
        return True


def _near(last: Mapping[str, Any], place: tuple[float, float]) -> bool:
    # Half a hundredth of a degree is some 400 m: the yard of a post.
    off = max(abs(float(last["lon"]) - place[0]), abs(float(last["lat"]) - place[1]))
    return off < 0.005
