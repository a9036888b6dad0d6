"""A scenario without broker and server: every message that its devices would send, to a file.

The network takes every record at once, unless the radio is off; what the broker would publish by
itself as a will is among the lines, marked as such.
"""

from __future__ import annotations

import base64
import heapq
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from firmware_sim.ride import Ride
from firmware_sim.store import Ack
from firmware_sim.vehicle import Mount
from firmware_sim.wire import Message, encode

Sent = tuple[int, int, int, Message, bool]
"""(t ms, number of the ride, number within it, message, whether it is a will)."""


@dataclass(slots=True)
class DryRun:
    """Plays rides into a file; afterwards `made_ms` tells when each device made its records."""

    rides: Sequence[Ride]
    until_ms: int
    made_ms: list[dict[str, array[int]]] = field(default_factory=list)

    def play(self, out: IO[str], progress: Callable[[int], None] = lambda _: None) -> int:
        """Write all messages in order of time; how many there were."""
        count = 0
        streams = [self._ride(number, ride) for number, ride in enumerate(self.rides)]
        for t_ms, _, _, message, will in heapq.merge(*streams):
            out.write(message_line(t_ms, message, will=will))
            count += 1
            if count % 1000 == 0:
                progress(count)
        return count

    def _ride(self, number: int, ride: Ride) -> Iterator[Sent]:
        logs: dict[str, array[int]] = {}
        self.made_ms.append(logs)
        cables = [_Cable(mount, logs) for mount in ride.mounts]
        at = 0
        while not ride.ended and ride.next_ms <= self.until_ms:
            told = {id(mount): messages for mount, messages in ride.tick()}
            for cable in cables:
                for message, will in cable.carry(ride.now_ms, told.get(id(cable.mount), [])):
                    yield ride.now_ms, number, at, message, will
                    at += 1


class _Cable:
    """A device's link to a network that acknowledges at once."""

    def __init__(self, mount: Mount, logs: dict[str, array[int]]) -> None:
        self.mount = mount
        self._log = logs.setdefault(mount.device.config.id, array("q"))
        self._first = len(self._log) == 0
        self._will: Message | None = None

    def carry(self, now_ms: int, messages: Sequence[Message]) -> Iterator[tuple[Message, bool]]:
        mount, device = self.mount, self.mount.device
        while self._first and len(self._log) < device.store.made:
            self._log.append(now_ms)
        yield from ((message, False) for message in messages)
        if mount.wants_link and self._will is None:
            self._will = device.connect()
            yield from ((message, False) for message in device.connected(now_ms))
            if device.gen is None:
                answer = encode({"op": "gen", "gen": device.conn})
                yield from ((m, False) for m in device.receive(now_ms, answer))
        elif not mount.wants_link and self._will is not None:
            if mount.leaves_cleanly:
                yield from ((message, False) for message in device.leave(now_ms))
            else:
                yield self._will, True
            device.lost()
            self._will = None
        if self._will is not None and device.gen is not None and device.store:
            made = device.store.made
            ack = Ack(gen=device.gen, upto=made, high=made)
            device.store.free(ack)


def message_line(t_ms: int, message: Message, *, will: bool = False) -> str:
    """One message as a JSON line: the payload as text if it is UTF-8, else in Base64."""
    fields: Mapping[str, object] = {
        "t": t_ms,
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        **_payload(message.payload),
        **({"will": True} if will else {}),
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def _payload(payload: bytes) -> dict[str, str]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_b64": base64.b64encode(payload).decode()}
