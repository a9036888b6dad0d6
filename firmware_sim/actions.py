"""What a device, or somebody in its name, does at one instant; it may put messages on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from firmware_sim import wire
from firmware_sim.device import Device
from firmware_sim.triggers import Trigger
from firmware_sim.wire import Key, Message
from firmware_sim.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where and on what an action acts. `heard`: the last messages with records, oldest first."""

    now_ms: int
    device: Device
    world: World
    heard: Sequence[Message]


class Action(Protocol):
    """A deed at one instant."""

    def do(self, scene: Scene) -> list[Message]:
        """Do it; the messages go out if the device is online, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """Does something `after_s` after `at_m` was passed, `times` times, `every_s` apart."""

    at_m: float
    action: Action
    after_s: float = 0.0
    devices: str = "all"
    times: int = 1
    every_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """A record with an event, or of another reason; a `lock` moves the seal's motor first."""

    code: str | None = None
    why: Literal["evt", "poll", "ign"] = "evt"
    extra: tuple[tuple[str, Any], ...] = ()
    seal: tuple[tuple[str, Any], ...] = ()
    lock: str | None = None
    late_ms: int = 0

    def do(self, scene: Scene) -> list[Message]:
        """The record, if the device runs."""
        device = scene.device
        if device.resting or not device.alive:
            return []
        if self.lock is not None:
            device.move_lock(self.lock)
        extra = self.extra
        if self.late_ms:
            # Contacts bounce within a tick: the events differ in their milliseconds.
            extra = (*extra, ("at", device.clock_ms(scene.now_ms) + self.late_ms))
        trigger = Trigger(why=self.why, code=self.code, extra=extra, seal=self.seal)
        return device.record(scene.now_ms, scene.world, trigger)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot:
    """The device goes down for `off_s` without a word; `wipe`: a factory reset, gen grows."""

    off_s: float = 8.0
    wipe: bool = False
    cold: bool = True

    def do(self, scene: Scene) -> list[Message]:
        """Down."""
        if self.wipe:
            scene.device.factory_reset(scene.now_ms, off_s=self.off_s)
        else:
            scene.device.reboot(scene.now_ms, off_s=self.off_s, cold=self.cold)
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashLoss:
    """All records but the newest are lost, and the device reboots."""

    keep_newest: int = 0
    off_s: float = 8.0

    def do(self, scene: Scene) -> list[Message]:
        """Lost."""
        scene.device.lose_records(self.keep_newest)
        scene.device.reboot(scene.now_ms, off_s=self.off_s)
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFirmware:
    """Another firmware: its version, fields it no longer sends, fields of its own."""

    fw: str
    without: tuple[str, ...] = ()
    more: Mapping[str, Any]
    off_s: float = 45.0

    def do(self, scene: Scene) -> list[Message]:
        """Down, and up as another."""
        config = scene.device.config
        changed = replace(config, fw=self.fw, without=self.without, more=self.more)
        scene.device.update_firmware(scene.now_ms, changed, off_s=self.off_s)
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """The device says that it sleeps now, and for how long, and does."""

    for_s: float

    def do(self, scene: Scene) -> list[Message]:
        """The last record before."""
        return scene.device.sleep(scene.now_ms, scene.world, self.for_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateWill:
    """The will of the connection before arrives after the birth of the next: half-open TCP."""

    def do(self, scene: Scene) -> list[Message]:
        """The old connection's will."""
        device = scene.device
        return [device.will_of(device.conn - 1)] if device.conn > 1 else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Somebody sends heard messages once more, byte for byte."""

    count: int = 3

    def do(self, scene: Scene) -> list[Message]:
        """The last messages again."""
        return list(scene.heard)[-self.count :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A message that is no proper record. `signed`: with the device's own valid MAC.

    malformed: JSON that breaks off; oversized: a record over 4 KiB; version: of contract 99;
    forged: a record in the device's name, `seq` far ahead, with a MAC by nobody's key.
    """

    what: Literal["malformed", "oversized", "version", "forged"]
    size: int = 6_000
    signed: bool = True

    def do(self, scene: Scene) -> list[Message]:
        """The message."""
        device = scene.device
        topic = device.topic("tlm")
        body = self._body(scene)
        if self.what == "forged":
            payload = wire.sign(Key(kid=_kid(device), secret=b"nobody's"), topic, body)
        else:
            payload = wire.sign(device.config.key if self.signed else None, topic, body)
        return [Message(topic=topic, payload=payload)]

    def _body(self, scene: Scene) -> bytes:
        ts = scene.device.clock_ms(scene.now_ms)
        gen, seq = scene.device.gen or 0, scene.device.store.made + 1_000_000
        record = {"v": 1, "gen": gen, "seq": seq, "ts": ts, "why": "time"}
        if self.what == "malformed":
            return wire.encode(record)[:-7]
        if self.what == "version":
            return wire.encode({**record, "v": 99})
        if self.what == "oversized":
            return wire.encode({**record, "pad": "x" * self.size})
        return wire.encode({**record, "fix": {"t": ts, "ok": True, "lat": 43.0, "lon": 77.0}})


def _kid(device: Device) -> str:
    return device.config.key.kid if device.config.key else "k0"
