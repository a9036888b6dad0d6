"""A scenario without broker and server: every message that its devices would send, to a file."""

from __future__ import annotations

import base64
import heapq
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from firmware_sim.flat import flat
from firmware_sim.report import note_made
from firmware_sim.ride import Ride
from firmware_sim.vehicle import Mount
from firmware_sim.wire import Message

_PROGRESS_EVERY = 1000


class DryRun:
    """Plays rides into a file; `made_ms` tells when each device has made its records."""

    def __init__(self, rides: Sequence[Ride], *, until_ms: int) -> None:
        """`until_ms`: the instant at which trips that are not over break off."""
        self._trips = [_Trip(ride, until_ms) for ride in rides]

    @property
    def made_ms(self) -> list[dict[str, array[int]]]:
        """For each ride: device → time of each of its records."""
        return [trip.made_ms for trip in self._trips]

    def play(self, out: IO[str], progress: Callable[[int], None] = lambda _: None) -> int:
        """Write all messages in order of time; how many there were."""
        count = 0
        streams = [_numbered(number, trip) for number, trip in enumerate(self._trips)]
        for t_ms, _, _, message in heapq.merge(*streams):
            out.write(message_line(t_ms, message))
            count += 1
            if count % _PROGRESS_EVERY == 0:
                progress(count)
        return count


class _Trip:
    """A ride that notes when records are made and ends at an instant."""

    def __init__(self, ride: Ride, until_ms: int) -> None:
        self.mounts = ride.mounts
        self.made_ms: dict[str, array[int]] = {}
        self._logs = [
            (mount, self.made_ms.setdefault(mount.device.config.id, array("q")))
            for mount in ride.mounts
            if not mount.clone
        ]
        self._ride, self._until_ms = ride, until_ms

    @property
    def now_ms(self) -> int:
        return self._ride.now_ms

    @property
    def ended(self) -> bool:
        return self._ride.ended or self._ride.next_ms > self._until_ms

    def tick(self) -> Sequence[tuple[Mount, list[Message]]]:
        told = self._ride.tick()
        for mount, made_ms in self._logs:
            note_made(made_ms, mount.device.store.made, self._ride.now_ms)
        return told


def _numbered(number: int, trip: _Trip) -> Iterator[tuple[int, int, int, Message]]:
    """Messages with numbers that settle which of two at the same instant comes first."""
    for at, (t_ms, message) in enumerate(flat(trip)):
        yield t_ms, number, at, message


def message_line(t_ms: int, message: Message) -> str:
    """One message as a JSON line: the payload as text if it is UTF-8, else in Base64."""
    fields: dict[str, object] = {
        "t": t_ms,
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        **_payload(message.payload),
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def _payload(payload: bytes) -> dict[str, str]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_b64": base64.b64encode(payload).decode()}
