"""A device as a state machine: world and commands in, messages out.

No socket, no clock and no randomness but the generator passed in: the same seed and the same
calls give the same bytes. Sockets are in `edge`, time comes as an argument.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from firmware_sim import wire
from firmware_sim.commands import Answer, Commands
from firmware_sim.store import Ack, Kept, Store
from firmware_sim.triggers import DEFAULT_PERIODS, Periods, Trigger, Triggers
from firmware_sim.wire import Channel, Key, Kind, Message
from firmware_sim.world import Fix, World

Order = Literal["oldest", "newest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """What a device is. `gen` None: it was lost too, and the server is asked for one.

    `conn_before`, `boot`: counters of earlier lives; a will of an older conn is ignored.
    """

    id: str
    kind: Kind
    periods: Periods | None = None
    key: Key | None = None
    gen: int | None = 0
    boot: int = 1
    conn_before: int = 0
    clock_offset_ms: int = 0
    backlog: Order = "oldest"
    phase_s: float = 0.0
    fw: str = "1.0.0"
    hw: str = "sim"
    model: str = "firmware_sim"


class Device:
    """One seal or vehicle unit. Its owner reports the link: `connect` → `connected` → `lost`."""

    def __init__(self, config: DeviceConfig, rng: random.Random) -> None:
        self.config = config
        self.store = Store()
        self.acked = 0
        self.alive = True
        self.events: list[tuple[str, int]] = []
        self.gen = config.gen
        self.conn = config.conn_before
        self.online = False
        self.clock_offset_ms = config.clock_offset_ms
        self._rng = rng
        self.triggers = Triggers(
            config.periods or DEFAULT_PERIODS[config.kind], phase_s=config.phase_s
        )
        self._commands = Commands(config, self.topic("cmd"))
        self._lock = "locked"
        self._armed = True
        self._never_sent: set[int] = set()
        self._world: World | None = None

    # -- the world ---------------------------------------------------------------------------

    def step(self, now_ms: int, world: World) -> list[Message]:
        """Look at the world at `now_ms` (true time) and make the records that are due."""
        if not world.condition.alive:
            self.alive = self.online = False
            return []
        self._world = world
        due = self.triggers.due(now_ms, world)
        return [message for trigger in due for message in self.record(now_ms, world, trigger)]

    def record(self, now_ms: int, world: World, trigger: Trigger) -> list[Message]:
        """Make one record now; the message is empty as long as the device is not online."""
        self._world = world
        rest = wire.tail(self._fields(now_ms, world, trigger))
        kept = self.store.add(rest, event=trigger.code is not None)
        self._never_sent.add(kept.seq)
        if trigger.code is not None:
            self.events.append((trigger.code, now_ms))
        self.triggers.recorded(now_ms, world.truth)
        if not self.online or self.gen is None:
            return []
        return [self._live(kept)]

    # -- the link ----------------------------------------------------------------------------

    def connect(self) -> Message:
        """A new connection begins: returns its will."""
        self.conn += 1
        self.online = False
        return self._message("state", {"on": False, "conn": self.conn}, retain=True)

    def connected(self, now_ms: int) -> list[Message]:
        """The link is up and `cmd` subscribed: birth, then events, then the backlog."""
        self.online = True
        return [self._birth(now_ms), *self._backlog()]

    def lost(self) -> None:
        """The link is gone without a goodbye."""
        self.online = False

    def leave(self, now_ms: int) -> list[Message]:
        """A clean leave: the last words before DISCONNECT."""
        self.online = False
        body = {"on": False, "ts": self._clock(now_ms), "conn": self.conn}
        return [self._message("state", body, retain=True)]

    def receive(self, now_ms: int, payload: bytes) -> list[Message]:
        """React to a message on `cmd`. What is malformed is ignored: there is nobody to tell."""
        answer = self._commands.read(self._clock(now_ms), payload)
        if answer is None:
            return []
        if isinstance(answer, Ack):
            return self._free(answer)
        return self._obey(now_ms, answer)

    # -- what others may read ----------------------------------------------------------------

    def topic(self, channel: Channel) -> str:
        """Topic of one of the device's channels."""
        return wire.topic(self.config.kind, self.config.id, channel)

    @property
    def outstanding(self) -> int:
        """Records sent at least once and not acknowledged."""
        return len(self.store) - len(self._never_sent)

    # -- records -----------------------------------------------------------------------------

    def _clock(self, now_ms: int) -> int:
        return now_ms + self.clock_offset_ms

    def _fields(self, now_ms: int, world: World, trigger: Trigger) -> dict[str, Any]:
        truth, body = world.truth, world.condition
        ts = self._clock(now_ms)
        fields: dict[str, Any] = {"ts": ts, "tq": "gnss", "why": trigger.why}
        fields["fix"] = _fix_fields(world.locate(truth))
        fields["mot"] = _present(ign=truth.ignition, mov=self.triggers.mov, odo=round(truth.odo_m))
        fields["pwr"] = _present(ext=truth.ext_mv, bat=int(body.bat_pct))
        if body.radio:
            fields["net"] = {"rssi": self._rng.randint(-95, -61), "mcc": 401, "mnc": 1}
        if self.config.kind == "seal":
            fields["seal"] = self._seal(world)
        if trigger.code is not None:
            fields["evt"] = {"code": trigger.code, "at": ts, **dict(trigger.extra)}
        return fields

    def _seal(self, world: World) -> dict[str, Any]:
        body = world.condition
        return {
            "armed": self._armed,
            "lock": self._lock,
            "rope": body.rope,
            "case": body.case,
            "temp": round(body.temp_c, 1),
        }

    # -- messages ----------------------------------------------------------------------------

    def _message(
        self, channel: Channel, body: dict[str, Any] | bytes, *, retain: bool = False, n: int = 0
    ) -> Message:
        topic = self.topic(channel)
        raw = body if isinstance(body, bytes) else wire.encode(body)
        payload = wire.sign(self.config.key, topic, raw)
        return Message(topic=topic, payload=payload, retain=retain, records=n)

    def _birth(self, now_ms: int) -> Message:
        cfg = self.config
        body = {
            "on": True,
            "ts": self._clock(now_ms),
            "conn": self.conn,
            "boot": cfg.boot,
            "gen": self.gen,
            "lo": self.store.lo,
            "fw": cfg.fw,
            "hw": cfg.hw,
            "model": cfg.model,
        }
        return self._message("state", body, retain=True)

    def _live(self, kept: Kept) -> Message:
        self._never_sent.discard(kept.seq)
        channel: Channel = "evt" if kept.event else "tlm"
        return self._message(channel, self._bytes(kept, hist=False), n=1)

    def _bytes(self, kept: Kept, *, hist: bool) -> bytes:
        if self.gen is None:
            raise RuntimeError("a record has no identity before the device has its gen")
        return wire.envelope(gen=self.gen, seq=kept.seq, hist=hist, rest=kept.rest)

    def _backlog(self) -> list[Message]:
        """All that is unacknowledged, sent or not: events first, the rest in the set order."""
        if self.gen is None:
            return []
        kept = list(self.store)
        if self.config.backlog == "newest":
            kept.reverse()
        self._never_sent.clear()
        events = self._packed("evt", (k for k in kept if k.event))
        return [*events, *self._packed("tlm", (k for k in kept if not k.event))]

    def _packed(self, channel: Channel, kept: Iterable[Kept]) -> list[Message]:
        packed = wire.arrays(self._bytes(k, hist=True) for k in kept)
        return [self._message(channel, body, n=n) for body, n in packed]

    # -- commands ----------------------------------------------------------------------------

    def _free(self, ack: Ack) -> list[Message]:
        # An ack can't mean what was never sent: it then speaks of an earlier life of this gen.
        if ack.gen == self.gen:
            self.acked += len(self.store.free(ack, but=self._never_sent))
        return []

    def _obey(self, now_ms: int, answer: Answer) -> list[Message]:
        if answer.gen is not None:
            return self._take_gen(now_ms, answer.gen)
        messages: list[Message] = []
        if answer.periods is not None:
            self.triggers.periods = answer.periods(self.triggers.periods)
        if answer.set_clock_ms is not None:
            self.clock_offset_ms = answer.set_clock_ms - now_ms
        if answer.lock is not None:
            self._lock, self._armed = answer.lock, answer.lock == "locked"
        if answer.record is not None and self._world is not None:
            messages = self.record(now_ms, self._world, answer.record)
        if answer.rsp is not None:
            messages.append(self._message("rsp", dict(answer.rsp)))
        return messages

    def _take_gen(self, now_ms: int, gen: int) -> list[Message]:
        if self.gen is not None:
            return []
        self.gen = gen
        return self.connected(now_ms) if self.online else []


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _fix_fields(fix: Fix | None) -> dict[str, Any]:
    if fix is None:
        return {"ok": False}
    fields = _present(
        alt=fix.alt_m,
        spd=fix.speed_kmh,
        hdg=fix.heading_deg,
        hdop=fix.hdop,
        sat=fix.sat,
        acc=fix.acc_m,
    )
    where = {"t": fix.t_ms, "ok": True, "lat": round(fix.lat, 7), "lon": round(fix.lon, 7)}
    return {**where, **fields, "src": "gnss", "jam": 0, "spoof": 0}
