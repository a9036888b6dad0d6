"""Builders shared by the simulator's unit tests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from firmware_sim.build import build_vehicle
from firmware_sim.device import Device, DeviceConfig
from firmware_sim.flat import flat
from firmware_sim.plan import VehiclePlan, parse_plan
from firmware_sim.store import Ack
from firmware_sim.truth import Happening
from firmware_sim.vehicle import Vehicle
from firmware_sim.wire import Message, split_trailer
from firmware_sim.world import Condition, Receiver, Truth, World

NOW = datetime(2025, 11, 20, 8, tzinfo=UTC)
T0 = int(NOW.timestamp()) * 1000
# Shelek to Almaty, with bends: 120 km.
ROUTE = [[78.2575, 43.5962], [77.9, 43.52], [77.45, 43.40], [77.2, 43.33], [76.9115, 43.2525]]


def device(kind: str = "gps", **changes: Any) -> Device:
    config = DeviceConfig(id=changes.pop("id", "d1"), kind=kind, **changes)  # type: ignore[arg-type]
    return Device(config, random.Random(1))


def world(at_s: float = 0, *, speed_kmh: float = 0.0, **changes: Any) -> World:
    body = {k: changes.pop(k) for k in list(changes) if k in Condition.__dataclass_fields__}
    fields: dict[str, Any] = {
        "t_ms": T0 + int(at_s * 1000),
        "driven_m": 0.0,
        "lat": 43.25,
        "lon": 76.9,
        "speed_kmh": speed_kmh,
        "heading_deg": 90.0,
        "moving": speed_kmh > 1,
        "ignition": True,
        "odo_m": 1000.0,
        "ext_mv": 27_600,
    }
    receiver = Receiver(random.Random(2))
    return World(truth=Truth(**{**fields, **changes}), condition=Condition(**body), locate=receiver)


def vehicle_plan(**changes: Any) -> VehiclePlan:
    fields: dict[str, Any] = {
        "vehicle": "A",
        "devices": [{"id": "s1", "kind": "seal", "gen": 0}, {"id": "g1", "kind": "gps", "gen": 0}],
        "route": ROUTE,
        "start": "now-12h",
        "seed": 1,
    }
    return parse_plan({"vehicles": [{**fields, **changes}]}).vehicles[0]


def vehicle(**changes: Any) -> Vehicle:
    return build_vehicle(vehicle_plan(**changes), now=NOW, life=1)


def drive(subject: Vehicle, *, hours: float = 60) -> list[Message]:
    """Play a trip to its end, every device online when its radio is, acked at once."""
    sent: list[Message] = []
    while not subject.ended and subject.now_ms < subject.start_ms + hours * 3_600_000:
        for mount in subject.mounts:
            if mount.wants_link and not mount.device.online:
                mount.device.connect()
                sent += mount.device.connected(subject.now_ms)
            elif not mount.wants_link:
                mount.device.lost()
        sent += [message for _, messages in subject.tick() for message in messages]
        for mount in subject.mounts:
            if mount.device.online:
                made = mount.device.store.made
                mount.device.store.free(Ack(gen=0, upto=made, high=made))
    return sent


def body(message: Message) -> Any:
    return json.loads(split_trailer(message.payload)[0])


def records(messages: list[Message], device_id: str | None = None) -> Iterator[dict[str, Any]]:
    for message in messages:
        _, _, _, _, name, channel = message.topic.split("/")
        if channel in ("tlm", "evt") and device_id in (None, name):
            found = body(message)
            yield from found if isinstance(found, list) else [found]


@dataclass(frozen=True, slots=True)
class Played:
    """A trip played flat: the vehicle at its end and (true ms, message) in order."""

    vehicle: Vehicle
    sent: list[tuple[int, Message]]

    def messages(self, device_id: str | None = None, *channels: str) -> list[tuple[int, Message]]:
        """Those of a device's channels; of all without names."""
        return [
            (t_ms, m)
            for t_ms, m in self.sent
            if device_id in (None, m.topic.split("/")[4])
            and (not channels or m.topic.split("/")[5] in channels)
        ]

    def records(self, device_id: str) -> list[tuple[int, dict[str, Any]]]:
        """(true ms of sending, record), in the order of the wire."""
        return [
            (t_ms, record)
            for t_ms, message in self.messages(device_id, "tlm", "evt")
            for record in records([message])
        ]

    def made(self, device_id: str) -> list[dict[str, Any]]:
        """Each record once, in order of its seq."""
        once = {(r["gen"], r["seq"]): r for _, r in self.records(device_id)}
        return [once[key] for key in sorted(once)]

    def events(self, device_id: str) -> list[dict[str, Any]]:
        """Bodies of the events, in order of seq."""
        return [r["evt"] for r in self.made(device_id) if "evt" in r]

    def states(self, device_id: str) -> list[dict[str, Any]]:
        """Births, wills and goodbyes."""
        return [body(m) for _, m in self.messages(device_id, "state")]

    def happening(self, name: str) -> Happening:
        """The one of this name."""
        (found,) = [h for h in self.vehicle.happenings if h.name == name]
        return found

    def during(self, device_id: str, name: str) -> list[dict[str, Any]]:
        """The device's records made while a happening lasted, by their true time of making."""
        found = self.happening(name)
        return [
            r
            for r in self.made(device_id)
            if found.start_ms <= r["fix"].get("t", r["ts"]) < found.end_ms
        ]


def play(*plots: Any, seals: int = 1, **changes: Any) -> Played:
    """Play a trip with these plots (names, or (name, params)) to its end, all assumed acked."""
    ids = [*(f"s{n}" for n in range(1, seals + 1)), "g1"]
    given = changes.pop("keys", {})
    devices = [
        {
            "id": id_,
            "kind": "gps" if id_ == "g1" else "seal",
            "gen": 0,
            **({"key": given[id_]} if id_ in given else {}),
        }
        for id_ in ids
    ]
    named = [p if isinstance(p, str) else {"name": p[0], "params": p[1]} for p in plots]
    subject = vehicle(plot=named, **{"devices": devices, **changes})
    return Played(subject, list(flat(subject)))


@cache
def trip_of(name: str) -> Played:
    """A trip with this plot, its parameters as they stand; played once for all tests."""
    return play(name, seals=2 if name == "device_swap" else 1)
