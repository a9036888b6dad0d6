"""Puts the fleet's deliveries on a server: makes what is missing, keeps what is there.

Every step asks what the server has before it acts, so a start after a crash goes on where the
last one broke off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tracker.demo.fleet import LastSeen, Trip
from tracker.demo.scenario import NOTICE, Slot, delivery_body, parse_registration, stamp
from tracker.reference import read_bodies
from tracker.reference.client import Api

#: Statuses in which the goods are on their way and the lorry must be driven.
ON_THE_WAY: Final = frozenset({"released", "in_transit", "overdue", "enquiry"})
#: A lorry is ready for another trip so long after an arrival.
_TURNAROUND: Final = timedelta(minutes=10)

Deliveries = Mapping[int, Sequence[tuple[int, Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Ids of the demo's participants on this server."""

    carriers: tuple[str, ...]
    declarants: tuple[str, ...]


def find_subjects(api: Api) -> Subjects:
    """The participants of the reference data; others on the server are left alone."""
    ids = {str(item["tax_id"]): str(item["id"]) for item in api.every("/participants")}
    bodies = read_bodies("participants")
    carriers = (ids[b["tax_id"]] for b in bodies if b["kind"] in {"carrier", "both"})
    declarants = (ids[b["tax_id"]] for b in bodies if b["kind"] in {"declarant", "both"})
    return Subjects(carriers=tuple(carriers), declarants=tuple(declarants))


class Stage:
    """Prepares one slot after another on a server, at one instant."""

    def __init__(self, api: Api, subjects: Subjects, now: datetime) -> None:
        self._api, self._subjects, self._now = api, subjects, now
        self._devices = {str(item["id"]) for item in api.every("/devices")}
        self._known = _by_slot(api)

    def prepare(self, slot: Slot) -> list[Trip]:
        """The trips that are to be driven for a slot: the one under way, or a new one, or both.

        Both when the lorry under way has reached its destination while the demo was off: its
        history is still to be sent before customs can confirm its arrival.
        """
        known = self._known.get(slot.number, ())
        under_way = [
            self._resume(slot, turn, item)
            for turn, item in known
            if _unfinished(str(item["status"]))
        ]
        if any(trip.end > self._now for trip in under_way):
            return under_way
        # Two lorries serve a slot: with both still out, the next start will see to it.
        if len(under_way) < 2:
            under_way.append(self._begin(slot, known))
        return under_way

    def _resume(self, slot: Slot, turn: int, item: Mapping[str, Any]) -> Trip:
        departed = _time(item["scheduled_departure"])
        released = item["status"] != "declared"
        trip = Trip(
            slot=slot,
            turn=turn,
            departed=departed,
            delivery_id=str(item["id"]),
            released=released,
            last_seen=_last_seen(item) if slot.drives_on else None,
        )
        if not released and not self._notified(trip):
            self._notify(trip)
        return trip

    def _notified(self, trip: Trip) -> bool:
        acts = self._api.get(f"/deliveries/{trip.delivery_id}")["acts"]
        return any(act["kind"] == "border_crossing" for act in acts)

    def _begin(self, slot: Slot, known: Sequence[tuple[int, Mapping[str, Any]]]) -> Trip:
        turn = max((turn for turn, _ in known), default=0) + 1
        self._register_devices(slot, turn)
        earliest = max((self._free_from(t, item, turn) for t, item in known), default=None)
        departed = max(filter(None, (slot.departure(self._now), earliest)))
        body = delivery_body(
            slot,
            turn,
            carriers=self._subjects.carriers,
            declarants=self._subjects.declarants,
            departed=departed,
            now=self._now,
        )
        made = self._api.create("/deliveries", body)
        trip = Trip(slot=slot, turn=turn, departed=departed, delivery_id=str(made["id"]))
        self._notify(trip)
        return trip

    def _free_from(self, turn: int, item: Mapping[str, Any], new_turn: int) -> datetime:
        """From when a new turn's lorry is free of an earlier one."""
        if turn % 2 != new_turn % 2:
            return datetime.min.replace(tzinfo=UTC)
        arrived = item.get("arrived_at")
        return (_time(arrived) if arrived else self._now) + _TURNAROUND

    def _register_devices(self, slot: Slot, turn: int) -> None:
        lorry = slot.lorry(turn)
        for device_id, kind in ((lorry.seal, "seal"), (lorry.gps, "gps")):
            if device_id not in self._devices:
                # The key is shown once and the demo keeps no secrets from one start to the next.
                body = {"id": device_id, "kind": kind, "model": "demo", "hmac_required": False}
                self._api.create("/devices", body)

    def _notify(self, trip: Trip) -> None:
        """The carrier's notice of the crossing, recorded after the fact."""
        notice = {
            "post": trip.slot.lane.departure,
            "at": stamp(trip.departed - NOTICE),
            "plate": trip.slot.lorry(trip.turn).plate,
        }
        self._api.create(f"/deliveries/{trip.delivery_id}/border-crossing", notice)


def _unfinished(status: str) -> bool:
    return status in ON_THE_WAY or status == "declared"


def _last_seen(item: Mapping[str, Any]) -> LastSeen | None:
    last, progress_m = item.get("last_position"), item.get("progress_m")
    if not last or progress_m is None:
        return None
    return LastSeen(at_m=float(progress_m), at=_time(last["t"]))


def _by_slot(api: Api) -> dict[int, list[tuple[int, Mapping[str, Any]]]]:
    """The demo's deliveries on the server, by slot, with their turns."""
    found: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
    for item in api.every("/deliveries"):
        place = parse_registration(str(item["registration_number"]))
        if place is not None:
            found.setdefault(place[0], []).append((place[1], item))
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
