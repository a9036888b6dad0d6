"""A device as a state machine: world and commands in, messages out.

No socket, no clock and no randomness but the generator passed in: the same seed and the same
calls give the same bytes. Sockets are in `edge`, time comes as an argument.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from firmware_sim import wire
from firmware_sim.commands import Answer, Commands
from firmware_sim.store import CAPACITY, Ack, Kept, Store
from firmware_sim.triggers import DEFAULT_PERIODS, Periods, Trigger, Triggers
from firmware_sim.wire import Channel, Key, Kind, Message
from firmware_sim.world import Condition, Fix, Truth, World

Order = Literal["oldest", "newest", "interleaved"]
"""Which end of the backlog goes first; interleaved: oldest first, live records in between."""

# Interleaved, an array goes out so often; the live records of this time pass between.
_ARRAY_EVERY_MS = 30_000
_COLD_START_S = (30.0, 40.0)
# The store is full once, not at each record: it must have room again before it says so anew.
_ROOM_AGAIN = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """What a device is. `gen` None: it was lost too, and the server is asked for one.

    `conn_before`, `boot`: counters of earlier lives; a will of an older conn is ignored.
    `client_id`: its name at the broker, if not its id (a clone that does not oust the original).
    `without`: names of a record's parts and fields (``fix.sat``) this firmware does not send;
    `more`: fields of its own that it adds to each record.
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
    capacity: int = CAPACITY
    client_id: str | None = None
    cold_start: bool = False
    without: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


class Device:
    """One seal or vehicle unit. Its owner reports the link: `connect` → `connected` → `lost`."""

    def __init__(self, config: DeviceConfig, rng: random.Random) -> None:
        self.config = config
        self.store = Store(config.capacity)
        self.acked = 0
        self.alive = True
        self.resting = False
        self.asleep = False
        self.boot = config.boot
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
        self._backlog_left: deque[tuple[Channel, list[Kept]]] = deque()
        self._array_ms = 0
        self._rest_until_ms = 0
        self._no_fix_until_ms: float = 0
        self._cold = config.cold_start
        self._overfull = False
        self._world: World | None = None
        self._felt: Condition | None = None
        self._clock_shift_ms = 0
        self._key = config.key
        self._wrong_mac = False

    # -- the world ---------------------------------------------------------------------------

    def step(self, now_ms: int, world: World) -> list[Message]:
        """Look at the world at `now_ms` (true time) and make the records that are due."""
        body = world.condition
        if not body.alive:
            self.alive = self.online = False
            return []
        if body is not self._felt or world is not self._world:
            self._feel(world)
        if not body.powered or self._rests(now_ms, world):
            self.resting, self.online = True, False
            return []
        if self.resting:
            self._wake()
        if self._cold:
            self._cold = False
            self._no_fix_until_ms = now_ms + self._rng.uniform(*_COLD_START_S) * 1000
        due = self.triggers.due(now_ms, world)
        if not due and not self._backlog_left:
            return []
        made = [message for trigger in due for message in self.record(now_ms, world, trigger)]
        return [*made, *self._next_array(now_ms)]

    def record(self, now_ms: int, world: World, trigger: Trigger) -> list[Message]:
        """Make one record now; the message is empty as long as the device is not online."""
        if world is not self._world or world.condition is not self._felt:
            self._feel(world)
        messages = self._keep(now_ms, world, trigger)
        if self.store.full and not self._overfull:
            self._overfull = True
            messages += self._keep(now_ms, world, Trigger(why="evt", code="store_full"))
        elif len(self.store) < self.store.capacity * _ROOM_AGAIN:
            self._overfull = False
        self.triggers.recorded(now_ms, world.truth)
        self._nap(now_ms, trigger)
        return messages

    def _keep(self, now_ms: int, world: World, trigger: Trigger) -> list[Message]:
        rest = wire.tail(self._fields(now_ms, world, trigger))
        kept = self.store.add(rest, event=trigger.code is not None)
        if trigger.code is not None:
            self.events.append((trigger.code, now_ms))
        if not self.online or self.gen is None:
            self._never_sent.add(kept.seq)
            return []
        return [self._live(kept)]

    def _feel(self, world: World) -> None:
        """Take over what the device's condition says of the device itself."""
        self._world, body = world, world.condition
        self._felt = body
        self._clock_shift_ms = body.clock_ms
        self._key = body.key or self.config.key
        self._wrong_mac = body.wrong_mac

    # -- faults and rest ---------------------------------------------------------------------

    def reboot(self, now_ms: int, *, off_s: float, cold: bool = True) -> None:
        """Go down without a word and come up after `off_s`: volatile state is lost, seq is not."""
        self._rest_until_ms = now_ms + round(off_s * 1000)
        self.asleep, self._cold = False, cold
        self.boot += 1
        self.triggers = Triggers(self.triggers.periods)
        self.lost()
        self.resting = True

    def factory_reset(self, now_ms: int, *, off_s: float) -> None:
        """Reboot with an empty store: seq restarts at 1 in the next generation."""
        self.store = Store(self.config.capacity)
        self._never_sent.clear()
        if self.gen is not None:
            self.gen += 1
        self.triggers.periods = self.config.periods or DEFAULT_PERIODS[self.config.kind]
        self.reboot(now_ms, off_s=off_s)

    def lose_records(self, keep_newest: int = 0) -> list[int]:
        """A fault of the flash: the seqs of the records that are gone."""
        lost = self.store.lose(keep_newest)
        self._never_sent.difference_update(lost)
        return lost

    def update_firmware(self, now_ms: int, changed: DeviceConfig, *, off_s: float) -> None:
        """Come up as another firmware: name and fields change, identity and records do not."""
        self.config = changed
        self.reboot(now_ms, off_s=off_s)

    def sleep(self, now_ms: int, world: World, for_s: float) -> list[Message]:
        """Say for how long and go to sleep; the owner of the link lets it leave cleanly."""
        told = Trigger(why="time", fields=(("sleep_s", round(for_s)),))
        messages = self.record(now_ms, world, told)
        self._fall_asleep(now_ms, for_s)
        return messages

    def _nap(self, now_ms: int, trigger: Trigger) -> None:
        """After a parked record a device with `sleep_s` sleeps (the record has said so)."""
        if self._naps(trigger):
            self._fall_asleep(now_ms, self.triggers.periods.sleep_s or 0)

    def _fall_asleep(self, now_ms: int, for_s: float) -> None:
        self._rest_until_ms = now_ms + round(for_s * 1000)
        self.asleep = self.resting = True

    def _naps(self, trigger: Trigger) -> bool:
        # Not before it has told so: a device that wakes first connects and sends what it has.
        routine = self.online and trigger.why in ("time", "mot") and not trigger.fields
        return routine and self.triggers.periods.sleep_s is not None and not self.triggers.mov

    def _rests(self, now_ms: int, world: World) -> bool:
        """Whether it is off or asleep; an alarm of the mechanics ends a sleep."""
        if now_ms >= self._rest_until_ms:
            return False
        if self.asleep and self.triggers.alarm(world.condition):
            self._rest_until_ms = now_ms
            return False
        return True

    def _wake(self) -> None:
        self.resting = self.asleep = False

    # -- the link ----------------------------------------------------------------------------

    def connect(self) -> Message:
        """A new connection begins: returns its will."""
        self.conn += 1
        self.online = False
        return self.will_of(self.conn)

    def will_of(self, conn: int) -> Message:
        """What the broker is to say when this connection breaks."""
        return self._message("state", {"on": False, "conn": conn}, retain=True)

    def connected(self, now_ms: int) -> list[Message]:
        """The link is up and `cmd` subscribed: birth, then events, then the backlog."""
        self.online = True
        return [self._birth(now_ms), *self._backlog(now_ms)]

    def lost(self) -> None:
        """The link is gone without a goodbye."""
        self.online = False
        self._backlog_left.clear()

    def leave(self, now_ms: int) -> list[Message]:
        """A clean leave: the last words before DISCONNECT."""
        self.online = False
        body = {"on": False, "ts": self.clock_ms(now_ms), "conn": self.conn}
        return [self._message("state", body, retain=True)]

    def receive(self, now_ms: int, payload: bytes) -> list[Message]:
        """React to a message on `cmd`. What is malformed is ignored: there is nobody to tell."""
        if self._world is not None and not self._world.condition.hears:
            return []
        answer = self._commands.read(self.clock_ms(now_ms), payload)
        if answer is None:
            return []
        if isinstance(answer, Ack):
            return self._free(answer)
        return self._obey(now_ms, answer)

    # -- what others may read ----------------------------------------------------------------

    def topic(self, channel: Channel) -> str:
        """Topic of one of the device's channels."""
        return wire.topic(self.config.kind, self.config.id, channel)

    def clock_ms(self, now_ms: int) -> int:
        """What its clock shows at a true time."""
        return now_ms + self.clock_offset_ms + self._clock_shift_ms

    @property
    def outstanding(self) -> int:
        """Records sent at least once and not acknowledged."""
        return len(self.store) - len(self._never_sent)

    # -- records -----------------------------------------------------------------------------

    def _fields(self, now_ms: int, world: World, trigger: Trigger) -> dict[str, Any]:
        truth, body = world.truth, world.condition
        ts = self.clock_ms(now_ms)
        fields: dict[str, Any] = {"ts": ts, "tq": body.tq or "gnss", "why": trigger.why}
        fields["fix"] = self._fix(now_ms, world)
        fields["mot"] = _present(ign=truth.ignition, mov=self.triggers.mov, odo=round(truth.odo_m))
        fields["pwr"] = _present(ext=self._ext_mv(truth), bat=int(body.bat_pct))
        if body.radio:
            fields["net"] = {"rssi": self._rng.randint(-95, -61), "mcc": body.mcc, "mnc": 1}
        if self.config.kind == "seal":
            fields["seal"] = {**self._seal(world), **dict(trigger.seal)}
        if trigger.code is not None:
            fields["evt"] = {"code": trigger.code, "at": ts, **dict(trigger.extra)}
        if self._naps(trigger):
            fields["sleep_s"] = round(self.triggers.periods.sleep_s or 0)
        fields.update(trigger.fields)
        fields.update(self.config.more)
        for name in self.config.without:
            _drop(fields, name)
        return fields

    def _ext_mv(self, truth: Truth) -> int | None:
        # A seal hangs on a door: no cable feeds it.
        return truth.ext_mv if self.config.kind == "gps" else None

    def _fix(self, now_ms: int, world: World) -> dict[str, Any]:
        body = world.condition
        marks = {"jam": body.jam, "spoof": int(body.spoof)}
        if body.reception == "zero":
            # After a reboot some receivers tell the zero of their memory as a place.
            return {"t": now_ms, "ok": True, "lat": 0, "lon": 0, "src": "gnss", **marks}
        if now_ms < self._no_fix_until_ms or body.reception == "none" or body.jam == 2:
            return {"ok": False, **marks}
        fix = world.locate(world.truth)
        return {"ok": False, **marks} if fix is None else {**_fix_fields(fix), **marks}

    def _seal(self, world: World) -> dict[str, Any]:
        body = world.condition
        return {
            "armed": self._armed,
            "lock": body.lock or self._lock,
            "rope": body.rope,
            "case": body.case,
            "temp": round(body.temp_c, 1),
        }

    def move_lock(self, lock: str) -> None:
        """The motor locks or opens the seal; open, it is not armed."""
        self._lock, self._armed = lock, lock == "locked"

    # -- messages ----------------------------------------------------------------------------

    def _message(
        self, channel: Channel, body: dict[str, Any] | bytes, *, retain: bool = False, n: int = 0
    ) -> Message:
        topic = self.topic(channel)
        raw = body if isinstance(body, bytes) else wire.encode(body)
        payload = wire.sign(self._key, topic, raw)
        if self._wrong_mac:
            payload = wire.spoilt(payload)
        return Message(topic=topic, payload=payload, retain=retain, records=n)

    def _birth(self, now_ms: int) -> Message:
        cfg = self.config
        body = {
            "on": True,
            "ts": self.clock_ms(now_ms),
            "conn": self.conn,
            "boot": self.boot,
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

    def _backlog(self, now_ms: int) -> list[Message]:
        """All that is unacknowledged, sent or not: events first, the rest in the set order."""
        if self.gen is None:
            return []
        kept = list(self.store)
        if self.config.backlog == "newest":
            kept.reverse()
        events = self._packed("evt", [k for k in kept if k.event])
        routine = [k for k in kept if not k.event]
        if self.config.backlog != "interleaved":
            return [*events, *self._packed("tlm", routine)]
        size = wire.MAX_ARRAY_RECORDS
        self._backlog_left.extend(
            ("tlm", routine[i : i + size]) for i in range(0, len(routine), size)
        )
        self._array_ms = 0
        return [*events, *self._next_array(now_ms)]

    def _next_array(self, now_ms: int) -> list[Message]:
        """The next part of an interleaved backlog, if its time has come."""
        if not (self.online and self._backlog_left) or now_ms < self._array_ms:
            return []
        self._array_ms = now_ms + _ARRAY_EVERY_MS
        channel, kept = self._backlog_left.popleft()
        return self._packed(channel, [k for k in kept if k.seq in self.store])

    def _packed(self, channel: Channel, kept: Iterable[Kept]) -> list[Message]:
        kept = list(kept)
        self._never_sent.difference_update(k.seq for k in kept)
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
            self.clock_offset_ms = answer.set_clock_ms - now_ms - self._clock_shift_ms
        if answer.lock is not None:
            self.move_lock(answer.lock)
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


def _fix_fields(fix: Fix) -> dict[str, Any]:
    fields = _present(
        alt=fix.alt_m,
        spd=fix.speed_kmh,
        hdg=fix.heading_deg,
        hdop=fix.hdop,
        sat=fix.sat,
        acc=fix.acc_m,
    )
    where = {"t": fix.t_ms, "ok": True, "lat": round(fix.lat, 7), "lon": round(fix.lon, 7)}
    return {**where, **fields, "src": fix.src}


def _drop(fields: dict[str, Any], name: str) -> None:
    part, dot, inner = name.partition(".")
    if not dot:
        fields.pop(part, None)
    elif isinstance(fields.get(part), dict):
        fields[part] = {k: v for k, v in fields[part].items() if k != inner}
