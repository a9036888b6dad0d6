"""Runs vehicles against a broker: the clock, the links, the end. The only place with real time."""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from firmware_sim.build import build_fleet
from firmware_sim.device import Device
from firmware_sim.edge import Broker, Link, Wires
from firmware_sim.limits import allow_files
from firmware_sim.plan import Plan
from firmware_sim.report import DeviceReport, FleetReport, note_made
from firmware_sim.wire import Message

# With the server's 32 records an ack, this keeps a device busy and the broker's queues short.
_WINDOW_RECORDS = 256
_TICKS_A_TURN = 200
_PUMP_S = 0.05
# Longest work between two looks at the sockets.
_TURN_S = 0.05
# Waiting for a link or an ack; then it is looked at again.
_BLOCKED_S = 0.02
# Waiting for the very first link; of many only some may connect at a time.
_MEETING_S = 0.1
_MISC_S = 1.0
_FIRST_LINK_S = 10.0
_GOODBYE_S = 5.0
# The server acks the last few records after 120 s, or at once after a birth: so a device that
# wants to go home connects anew when nothing has come for so long.
_NUDGE_FIRST_S, _NUDGE_MAX_S = 2.0, 30.0


class Mounted(Protocol):
    """A device with what the run must know of it."""

    @property
    def device(self) -> Device:
        """The device."""

    @property
    def wants_link(self) -> bool:
        """Whether it is alive and has radio coverage."""

    @property
    def leaves_cleanly(self) -> bool:
        """Whether it says goodbye as its link goes, as one that goes to sleep does."""


class Actor(Protocol):
    """What the run can play: a vehicle on a trip, or a recorded track."""

    label: str
    start_ms: int

    @property
    def mounts(self) -> Sequence[Mounted]:
        """Its devices."""

    @property
    def now_ms(self) -> int:
        """True time it has reached."""

    @property
    def next_ms(self) -> int:
        """True time of its next tick."""

    @property
    def ended(self) -> bool:
        """Whether its story is over."""

    def tick(self) -> Sequence[tuple[Mounted, list[Message]]]:
        """One instant further: what each device wants sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run. `speed`: device seconds in a real one; `flat_out` ignores it.

    `ack_timeout_s`: give up when acks are waited for and nothing has moved for so long.
    `wait` False: with `exit_when_done`, do not wait for acks.
    `patience_s`: so long after the beginning a refused log-in is tried again, for a broker that has
    yet to hear of new devices.
    `abreast`: flat out, so many actors at most are under way at a time; 0: all.
    """

    speed: float = 1.0
    flat_out: bool = False
    exit_when_done: bool = False
    wait: bool = True
    ack_timeout_s: float = 300.0
    patience_s: float = 0.0
    abreast: int = 0


def run_fleet(
    plan: Plan,
    broker: Broker,
    *,
    options: RunOptions | None = None,
    stop: threading.Event | None = None,
    observe: Callable[[Run], None] | None = None,
) -> FleetReport:
    """Play a plan against a broker; blocks until all is acked (the default) or `stop` is set.

    Raises PlanError if the plan's places don't fit, BrokerError if the broker refuses.
    """
    now = datetime.now(UTC)
    vehicles = build_fleet(plan, now=now, life=int(now.timestamp()))
    logins = {d.id: (d.username, d.password) for v in plan.vehicles for d in v.devices}
    chosen = options or RunOptions(exit_when_done=True)
    run = Run(vehicles, broker, chosen, logins=logins)
    return run.play(stop or threading.Event(), observe)


class Run:
    """One run: advances actors, keeps links, ends. Single-threaded."""

    def __init__(
        self,
        actors: Sequence[Actor],
        broker: Broker,
        options: RunOptions,
        *,
        logins: Mapping[str, tuple[str | None, str | None]] | None = None,
    ) -> None:
        """Raises BrokerError if the system has no room for so many connections."""
        self.caught_up = False
        self._options = options
        self._wires = Wires()
        self._began_s = time.monotonic()
        self._wires.patient_until_s = self._began_s + options.patience_s
        clocks = _Clocks(options, self._began_s)
        self._clocks = clocks
        self.parties = [Party(actor, broker, self._wires, logins or {}, clocks) for actor in actors]
        self._prepare(broker)
        # When to look at whom again: (monotonic s, a number that settles ties, party).
        self._agenda: list[tuple[float, int, Party]] = []
        self._waiting = deque(self.parties)
        self._open: dict[int, Party] = {}
        self._quiet_since_s = self._began_s
        self._progress = 0
        self._timed_out = False

    def _prepare(self, broker: Broker) -> None:
        most = self._options.abreast if self._options.flat_out else 0
        counts = sorted((len(party.members) for party in self.parties), reverse=True)
        connections = sum(counts[:most] if most else counts)
        allow_files(connections)
        self._wires.prepare(broker, connections)

    def play(
        self, stop: threading.Event, observe: Callable[[Run], None] | None = None
    ) -> FleetReport:
        """Until all is done, or `stop` is set, or acks fail to come."""
        misc_s = 0.0
        try:
            while not stop.is_set() and not self._finished():
                self._admit()
                self._wires.pump(self._advance())
                if time.monotonic() - misc_s >= _MISC_S:
                    misc_s = time.monotonic()
                    self._housekeep(observe)
            self._goodbye()
        finally:
            for link in self.links:
                link.drop()
            self._wires.close()
        if observe is not None:
            observe(self)
        return self.report()

    @property
    def links(self) -> list[Link]:
        """The links of all devices."""
        return [link for party in self.parties for _, link in party.members]

    @property
    def online(self) -> int:
        """Devices connected now."""
        return sum(link.state == "up" for link in self.links)

    @property
    def elapsed_s(self) -> float:
        """Real seconds since the run began."""
        return time.monotonic() - self._began_s

    @property
    def done(self) -> int:
        """Actors whose story is over, with all that they had to send."""
        return sum(party.done for party in self.parties)

    def now_ms(self, party: Party) -> int:
        """What a clock at an actor's place shows, which goes on after the actor's story."""
        return self._clocks.now_ms(party.actor, over=party.over)

    def report(self) -> FleetReport:
        """The state of things now."""
        devices = tuple(r for party in self.parties for r in party.reports())
        return FleetReport(
            devices=devices,
            wall_s=self.elapsed_s,
            caught_up=self.caught_up,
            timed_out=self._timed_out,
        )

    def _admit(self) -> None:
        """Let waiting actors begin where there is room."""
        room = (self._options.flat_out and self._options.abreast) or len(self.parties)
        while self._waiting and len(self._open) < room:
            party = self._waiting.popleft()
            party.begin()
            self._open[id(party)] = party
            heapq.heappush(self._agenda, (0.0, id(party), party))

    def _advance(self) -> float:
        """Look at whoever is due, for a while; how long the selector may then wait, s."""
        until_s = time.monotonic() + _TURN_S
        while self._agenda:
            now_s = time.monotonic()
            due_s, key, party = self._agenda[0]
            if due_s > now_s:
                return min(due_s - now_s, _PUMP_S)
            if now_s > until_s:
                return 0.0
            delay_s = self._look(party)
            if delay_s is None:
                heapq.heappop(self._agenda)
                del self._open[key]
                party.close()
            else:
                heapq.heapreplace(self._agenda, (now_s + delay_s, key, party))
        return _PUMP_S

    def _look(self, party: Party) -> float | None:
        """Let one actor go as far as it may; when to look again, s, or None if it is done."""
        if party.over and self._options.exit_when_done:
            if party.acked if self._options.wait else party.sent:
                return None
            party.mend_links()
            return _BLOCKED_S
        party.mend_links()
        return self._advance_one(party)

    def _advance_one(self, party: Party) -> float:
        actor, flat_out = party.actor, self._options.flat_out
        if not party.ready(flat_out=flat_out):
            return _BLOCKED_S if party.met else _MEETING_S
        for _ in range(_TICKS_A_TURN):
            if not flat_out and (early_s := self._clocks.early_s(actor)) > 0:
                return min(early_s, _MISC_S)
            if actor.next_ms > _real_ms():
                # A record of the future would be refused as a fault of the clock.
                self.caught_up = self.caught_up or self._clocks.accelerated
                return min((actor.next_ms - _real_ms()) / 1000, _MISC_S)
            spoke = party.tick()
            if self._options.exit_when_done and party.over:
                return 0.0
            # Only a word fills the window, and only a radio that comes back asks for a link.
            if flat_out and spoke and not party.ready(flat_out=True):
                return _BLOCKED_S
        return 0.0

    def _finished(self) -> bool:
        # Without an end to come to, devices wait for the server as long as real ones do.
        if not self._options.exit_when_done:
            return False
        if not self._waiting and not self._open:
            return bool(self.parties)
        quiet_s = time.monotonic() - self._quiet_since_s
        self._timed_out = quiet_s > self._options.ack_timeout_s and all(
            self._waits_for_acks(party) for party in self._open.values()
        )
        return self._timed_out

    def _housekeep(self, observe: Callable[[Run], None] | None) -> None:
        progress = sum(link.device.acked + link.device.store.made for link in self.links)
        if progress != self._progress:
            self._progress, self._quiet_since_s = progress, time.monotonic()
        for party in self._open.values():
            for _, link in party.members:
                link.misc()
            if self._options.wait and self._waits_for_acks(party):
                party.nudge()
        if observe is not None:
            observe(self)

    def _waits_for_acks(self, party: Party) -> bool:
        if party.over:
            return self._options.exit_when_done
        return self._options.flat_out and not party.ready(flat_out=True)

    def _goodbye(self) -> None:
        for link in self.links:
            if link.state != "closing":
                link.leave()
        until_s = time.monotonic() + _GOODBYE_S
        while any(link.state != "down" for link in self.links) and time.monotonic() < until_s:
            self._wires.pump(_PUMP_S)


class _Clocks:
    """What time it is for an actor, by the way of running."""

    def __init__(self, options: RunOptions, began_s: float) -> None:
        self._options, self._began_s = options, began_s

    @property
    def accelerated(self) -> bool:
        """Whether device time runs faster than real time."""
        return self._options.flat_out or self._options.speed > 1

    def target_ms(self, actor: Actor) -> float:
        """How far an actor's clock is to be by now, at the speed of the run."""
        elapsed_s = time.monotonic() - self._began_s
        return actor.start_ms + elapsed_s * self._options.speed * 1000

    def early_s(self, actor: Actor) -> float:
        """Real seconds until the actor's next tick is due."""
        return (actor.next_ms - self.target_ms(actor)) / 1000 / self._options.speed

    def now_ms(self, actor: Actor, *, over: bool) -> int:
        """True time for what happens between two ticks. Flat out, after the end: the present."""
        if self._options.flat_out:
            return _real_ms() if over else actor.now_ms
        target_ms = min(int(self.target_ms(actor)), _real_ms())
        return max(actor.now_ms, target_ms if over else min(target_ms, actor.next_ms))


class Party:
    """An actor with the links of its devices, and when each record was made."""

    def __init__(
        self,
        actor: Actor,
        broker: Broker,
        wires: Wires,
        logins: Mapping[str, tuple[str | None, str | None]],
        clocks: _Clocks,
    ) -> None:
        self.actor = actor
        self.done = False
        self.members: list[tuple[Mounted, Link]] = []
        # Device time of each record, by its number; of two bodies with one id, the first's.
        self.made_ms: dict[str, array[int]] = {}
        for mount in actor.mounts:
            username, password = logins.get(mount.device.config.id, (None, None))
            link = Link(
                mount.device,
                broker=broker,
                wires=wires,
                now_ms=lambda: clocks.now_ms(actor, over=False),
                username=username,
                password=password,
            )
            self.members.append((mount, link))
        self._links = {id(mount): link for mount, link in self.members}
        self._logs = {id(mount): array("q") for mount, _ in self.members}
        for mount, _ in self.members:
            self.made_ms.setdefault(mount.device.config.id, self._logs[id(mount)])
        self._nudges = {id(link): _Nudge() for _, link in self.members}
        self._wanted: list[bool] = []
        self._begun_s = 0.0
        self.met = False

    @property
    def over(self) -> bool:
        """The story is over: arrived, or every device dead."""
        return self.actor.ended or all(_dead(mount) for mount, _ in self.members)

    @property
    def sent(self) -> bool:
        """All that living devices hold is with the broker."""
        return all(
            _dead(mount)
            or (link.state == "up" and link.unconfirmed <= 0)
            or (link.connections > 0 and not mount.device.store)
            for mount, link in self.members
        )

    @property
    def acked(self) -> bool:
        """No living device holds a record any more."""
        return all(_dead(mount) or not mount.device.store for mount, _ in self.members)

    def begin(self) -> None:
        """Its turn has come."""
        self._begun_s = time.monotonic()

    def close(self) -> None:
        """Its story is told: devices take their leave."""
        self.done = True
        for _, link in self.members:
            link.leave()

    def tick(self) -> bool:
        """One instant further; what devices want sent goes to their links.

        False if not a word was said and no radio has come or gone.
        """
        spoke = False
        for mount, messages in self.actor.tick():
            made_ms = self._logs[id(mount)]
            note_made(made_ms, mount.device.store.made, self.actor.now_ms)
            if messages:
                self._links[id(mount)].publish(messages)
                spoke = True
        wanted = [mount.wants_link for mount, _ in self.members]
        if wanted != self._wanted:
            self._wanted = wanted
            self.mend_links()
            return True
        return spoke

    def mend_links(self) -> None:
        """Open and drop connections as the radios want."""
        for mount, link in self.members:
            if mount.wants_link and link.state == "down":
                link.open()
            elif not mount.wants_link and link.state in ("connecting", "up"):
                if mount.leaves_cleanly:
                    link.leave()
                else:
                    link.drop()

    def ready(self, *, flat_out: bool) -> bool:
        """Whether the actor may go on: linked at first, and flat out within the window."""
        if not self.met:
            linked = all(link.state == "up" or not m.wants_link for m, link in self.members)
            self.met = linked or time.monotonic() - self._begun_s > _FIRST_LINK_S
            if not self.met:
                return False
        if not flat_out:
            return True
        return all(
            not mount.wants_link
            or (link.state == "up" and mount.device.outstanding < _WINDOW_RECORDS)
            for mount, link in self.members
        )

    def nudge(self) -> None:
        """Connect anew where acks are long in coming: a birth is acknowledged at once."""
        for mount, link in self.members:
            nudge = self._nudges[id(link)]
            if link.state == "up" and nudge.due(mount.device) and link.unconfirmed <= 0:
                link.leave()

    def reports(self) -> list[DeviceReport]:
        """The devices' outcome."""
        return [
            DeviceReport(
                vehicle=self.actor.label,
                device_id=mount.device.config.id,
                kind=mount.device.config.kind,
                gen=mount.device.gen,
                made=mount.device.store.made,
                acked=mount.device.acked,
                kept=len(mount.device.store),
                dead=_dead(mount),
                connections=link.connections,
                events=tuple(mount.device.events),
                store=mount.device.store,
            )
            for mount, link in self.members
        ]


class _Nudge:
    """Decides when a device has waited long enough; waits twice as long each time."""

    def __init__(self) -> None:
        self._acked = -1
        self._since_s = 0.0
        self._patience_s = _NUDGE_FIRST_S

    def due(self, device: Device) -> bool:
        now_s = time.monotonic()
        if not device.store or device.acked != self._acked:
            self._acked, self._since_s = device.acked, now_s
            return False
        if now_s - self._since_s < self._patience_s:
            return False
        self._since_s = now_s
        self._patience_s = min(self._patience_s * 2, _NUDGE_MAX_S)
        return True


def _dead(mount: Mounted) -> bool:
    return not mount.device.alive


def _real_ms() -> int:
    return time.time_ns() // 1_000_000
