"""Builders shared by the simulator's unit tests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from firmware_sim.build import build_vehicle
from firmware_sim.device import Device, DeviceConfig
from firmware_sim.plan import VehiclePlan, parse_plan
from firmware_sim.store import Ack
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
