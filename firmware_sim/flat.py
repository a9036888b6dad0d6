"""A vehicle's whole trip as messages in order of time: no sockets, no broker, no clock.

What a broker would say of its own (wills) is among the messages; what the server would answer is
assumed by the contract's rules, or given by a `Server` of the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Protocol

from firmware_sim.vehicle import Mount
from firmware_sim.wire import Message, encode

# A broker gives a silent connection up after one and a half keepalives of 60 s.
WILL_AFTER_MS = 90_000
ACK_RECORDS = 32
ACK_AFTER_MS = 120_000


class Server(Protocol):
    """What answers the devices on `cmd`."""

    def hear(self, t_ms: int, mount: Mount, message: Message) -> Sequence[bytes]:
        """Commands to the device in answer to its message."""

    def waits(self, t_ms: int, mount: Mount) -> bool:
        """Whether there are commands whose time has come though nothing was heard."""

    def idle(self, t_ms: int, mount: Mount) -> Sequence[bytes]:
        """Those commands."""


class Driven(Protocol):
    """What makes a trip: a vehicle, or whoever drives one."""

    @property
    def mounts(self) -> Sequence[Mount]:
        """Its devices."""

    @property
    def now_ms(self) -> int:
        """True time it has reached."""

    @property
    def ended(self) -> bool:
        """Whether its story is over."""

    def tick(self) -> Sequence[tuple[Mount, list[Message]]]:
        """One instant further: what each device wants sent."""


class AssumedAcks:
    """Acknowledges as the contract says: after 32 records or 120 s, at once after birth and event.

    It holds everything that was sent for stored, unless its signature is wrong. One for each trip.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, int]] = {}

    def hear(self, t_ms: int, mount: Mount, message: Message) -> Sequence[bytes]:
        """An ack, a gen, or nothing yet."""
        if mount.body.wrong_mac or mount.body.key is not None:
            return ()
        channel = message.topic.rsplit("/", 1)[-1]
        if channel == "state":
            return self._born(mount, message)
        if not message.records:
            return ()
        count, since_ms = self._waiting.get(id(mount), (0, t_ms))
        if channel == "evt" or count + message.records >= ACK_RECORDS:
            return self._ack(mount)
        self._waiting[id(mount)] = (count + message.records, since_ms)
        return ()

    def waits(self, t_ms: int, mount: Mount) -> bool:
        """Whether records have waited for their ack long enough."""
        waiting = self._waiting.get(id(mount))
        return waiting is not None and t_ms - waiting[1] >= ACK_AFTER_MS

    def idle(self, t_ms: int, mount: Mount) -> Sequence[bytes]:
        """Their ack."""
        return self._ack(mount) if self.waits(t_ms, mount) else ()

    def _born(self, mount: Mount, message: Message) -> Sequence[bytes]:
        body = json.loads(message.payload.partition(b"\n")[0])
        if not body["on"]:
            return ()
        if body["gen"] is None:
            return (encode({"op": "gen", "gen": body["conn"]}),)
        return self._ack(mount)

    def _ack(self, mount: Mount) -> Sequence[bytes]:
        self._waiting.pop(id(mount), None)
        device = mount.device
        made = device.store.made
        ack: dict[str, object] = {
            "op": "ack",
            "gen": device.gen,
            "upto": made,
            "high": made,
            "missing": [],
        }
        return (encode(ack),)


def flat(vehicle: Driven, *, server: Server | None = None) -> Iterator[tuple[int, Message]]:
    """(true time in ms, message) for the whole trip, with the devices' goodbyes at its end."""
    answering = server or AssumedAcks()
    cables = {id(mount): _Cable(mount, answering) for mount in vehicle.mounts}
    while not vehicle.ended:
        for mount, messages in vehicle.tick():
            if not messages and cables[id(mount)].calm(vehicle.now_ms):
                continue
            for message in cables[id(mount)].carry(vehicle.now_ms, messages):
                yield vehicle.now_ms, message
    for cable in cables.values():
        for message in cable.leave(vehicle.now_ms):
            yield vehicle.now_ms, message


class _Cable:
    """A device's link to a network without delay."""

    def __init__(self, mount: Mount, server: Server) -> None:
        self._mount, self._server = mount, server
        self._will: Message | None = None
        self._broken_ms: int | None = None

    @property
    def _up(self) -> bool:
        return self._will is not None and self._broken_ms is None

    def calm(self, now_ms: int) -> bool:
        """Whether nothing is to be done but to carry what the device says."""
        if self._mount.wants_link is not self._up:
            return False
        return self._broken_ms is None and not self._server.waits(now_ms, self._mount)

    def carry(self, now_ms: int, messages: Sequence[Message]) -> Iterator[Message]:
        """What is on the wire at this instant."""
        yield from self._say(now_ms, messages)
        if self._mount.wants_link:
            if not self._up:
                yield from self._connect(now_ms)
            for command in self._server.idle(now_ms, self._mount):
                yield from self._obey(now_ms, command)
        elif self._up and self._mount.leaves_cleanly:
            yield from self.leave(now_ms)
        elif self._up:
            self._mount.device.lost()
            self._broken_ms = now_ms
        if self._broken_ms is not None and now_ms - self._broken_ms >= WILL_AFTER_MS:
            yield from self._last_will()

    def leave(self, now_ms: int) -> Iterator[Message]:
        """A clean goodbye, if there is a link."""
        if self._up:
            yield from self._mount.device.leave(now_ms)
            self._will = None

    def _connect(self, now_ms: int) -> Iterator[Message]:
        # A device that comes back takes its session over: the broker ends the old one first.
        yield from self._last_will()
        self._will = self._mount.device.connect()
        yield from self._say(now_ms, self._mount.device.connected(now_ms))

    def _last_will(self) -> Iterator[Message]:
        if self._will is not None:
            yield self._will
        self._will = self._broken_ms = None

    def _say(self, now_ms: int, messages: Sequence[Message]) -> Iterator[Message]:
        for message in messages:
            yield message
            for command in self._server.hear(now_ms, self._mount, message):
                yield from self._obey(now_ms, command)

    def _obey(self, now_ms: int, command: bytes) -> Iterator[Message]:
        yield from self._say(now_ms, self._mount.device.receive(now_ms, command))
