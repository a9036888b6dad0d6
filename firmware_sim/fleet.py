"""Runs vehicles against a broker: the clock, the links, the end. The only place with real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from firmware_sim.build import build_fleet
from firmware_sim.device import Device
from firmware_sim.edge import Broker, Link, Wires
from firmware_sim.plan import Plan
from firmware_sim.report import DeviceReport, FleetReport
from firmware_sim.wire import Message

# With the server's 32 records an ack, this keeps a device busy and the broker's queues short.
_WINDOW_RECORDS = 256
_TICKS_A_TURN = 200
_PUMP_S = 0.05
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
    """

    speed: float = 1.0
    flat_out: bool = False
    exit_when_done: bool = False
    wait: bool = True
    ack_timeout_s: float = 300.0


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
        self.caught_up = False
        self._options = options
        self._wires = Wires()
        known = logins or {}
        self._began_s = time.monotonic()
        self.parties = [
            _Party(actor, broker, self._wires, known, self._clock_ms) for actor in actors
        ]
        self._quiet_since_s = self._began_s
        self._progress = 0
        self._timed_out = False

    def play(
        self, stop: threading.Event, observe: Callable[[Run], None] | None = None
    ) -> FleetReport:
        """Until all is done, or `stop` is set, or acks fail to come."""
        misc_s = 0.0
        try:
            while not stop.is_set() and not self._finished():
                busy = self._advance()
                self._wires.pump(0.0 if busy else _PUMP_S)
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

    def report(self) -> FleetReport:
        """The state of things now."""
        devices = tuple(r for party in self.parties for r in party.reports())
        return FleetReport(
            devices=devices,
            wall_s=self.elapsed_s,
            caught_up=self.caught_up,
            timed_out=self._timed_out,
        )

    def _advance(self) -> bool:
        """Let every actor go as far as it may; True if someone could go on at once."""
        busy = False
        for party in self.parties:
            party.mend_links()
            if party.over and self._options.exit_when_done:
                continue
            busy = self._advance_one(party) or busy
        return busy

    def _advance_one(self, party: _Party) -> bool:
        actor = party.actor
        if not party.ready(self.elapsed_s, flat_out=self._options.flat_out):
            return False
        for _ in range(_TICKS_A_TURN):
            if not self._options.flat_out and actor.next_ms > self._target_ms(actor):
                return False
            if actor.next_ms > _real_ms():
                # A record of the future would be refused as a fault of the clock.
                self.caught_up = self.caught_up or self._accelerated
                return False
            party.tick()
            if party.over and self._options.exit_when_done:
                return False
            if self._options.flat_out and not party.ready(self.elapsed_s, flat_out=True):
                return False
        return True

    @property
    def _accelerated(self) -> bool:
        return self._options.flat_out or self._options.speed > 1

    def _target_ms(self, actor: Actor) -> float:
        return actor.start_ms + self.elapsed_s * self._options.speed * 1000

    def _clock_ms(self, actor: Actor) -> int:
        """True time for what a device does between two ticks."""
        if self._options.flat_out:
            return actor.now_ms
        return max(actor.now_ms, min(int(self._target_ms(actor)), actor.next_ms, _real_ms()))

    def _finished(self) -> bool:
        # Without an end to come to, devices wait for the server as long as real ones do.
        if not self._options.exit_when_done:
            return False
        if all(party.over and self._done(party) for party in self.parties):
            return True
        quiet_s = time.monotonic() - self._quiet_since_s
        self._timed_out = quiet_s > self._options.ack_timeout_s and all(
            self._waits_for_acks(party) for party in self.parties
        )
        return self._timed_out

    def _done(self, party: _Party) -> bool:
        return party.acked if self._options.wait else party.sent

    def _housekeep(self, observe: Callable[[Run], None] | None) -> None:
        devices = [link.device for link in self.links]
        progress = sum(device.acked + device.store.made for device in devices)
        if progress != self._progress:
            self._progress, self._quiet_since_s = progress, time.monotonic()
        for party in self.parties:
            for _, link in party.members:
                link.misc()
            if self._options.wait and self._waits_for_acks(party):
                party.nudge()
        if observe is not None:
            observe(self)

    def _waits_for_acks(self, party: _Party) -> bool:
        if party.over:
            return self._options.exit_when_done
        return self._options.flat_out and not party.ready(self.elapsed_s, flat_out=True)

    def _goodbye(self) -> None:
        for link in self.links:
            link.leave()
        until_s = time.monotonic() + _GOODBYE_S
        while any(link.state != "down" for link in self.links) and time.monotonic() < until_s:
            self._wires.pump(_PUMP_S)


class _Party:
    """An actor with the links of its devices."""

    def __init__(
        self,
        actor: Actor,
        broker: Broker,
        wires: Wires,
        logins: Mapping[str, tuple[str | None, str | None]],
        clock_ms: Callable[[Actor], int],
    ) -> None:
        self.actor = actor
        self.members: list[tuple[Mounted, Link]] = []
        for mount in actor.mounts:
            username, password = logins.get(mount.device.config.id, (None, None))
            link = Link(
                mount.device,
                broker=broker,
                wires=wires,
                now_ms=lambda: clock_ms(actor),
                username=username,
                password=password,
            )
            self.members.append((mount, link))
        self._links = {id(mount): link for mount, link in self.members}
        self._nudges = {id(link): _Nudge() for _, link in self.members}
        self._met = False

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

    def tick(self) -> None:
        """One instant further; what devices want sent goes to their links."""
        for mount, messages in self.actor.tick():
            if messages:
                self._links[id(mount)].publish(messages)

    def mend_links(self) -> None:
        """Open and drop connections as the radios want."""
        for mount, link in self.members:
            if mount.wants_link and link.state == "down":
                link.open()
            elif not mount.wants_link and link.state != "down":
                link.drop()

    def ready(self, elapsed_s: float, *, flat_out: bool) -> bool:
        """Whether the actor may go on: linked at first, and flat out within the window."""
        if not self._met:
            linked = all(link.state == "up" or not m.wants_link for m, link in self.members)
            self._met = linked or elapsed_s > _FIRST_LINK_S
            if not self._met:
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
