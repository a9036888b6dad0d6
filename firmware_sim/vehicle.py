"""A vehicle with its devices: one true motion, one condition a device, ticked in step. Pure."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from firmware_sim.actions import Pulse, Scene
from firmware_sim.device import Device
from firmware_sim.draft import Draft, Planned, PlannedAct
from firmware_sim.effects import Devices, Effect, befalls
from firmware_sim.places import describe
from firmware_sim.trip import Drive, Rest
from firmware_sim.truth import Act, DeliveryTruth, Expect, Happening
from firmware_sim.wire import Message
from firmware_sim.world import Condition, Fix, Receiver, Truth, World, shift

# A seal lives some weeks on a charge; a vehicle unit is fed by the vehicle.
_SEAL_DRAIN_PCT_H = 0.15
_DAY_S = 86_400
# Level and temperature change slowly: it is enough to look at them once a minute.
_BASE_EVERY_MS = 60_000
# What somebody listening in may send again.
_HEARD = 16
# A trip does not wait longer than this for a network that does not come back.
_GAP_MAX_MS = 48 * 3_600_000

Cue = Effect | Pulse | Planned | PlannedAct


class Mount:
    """A device as it sits on a vehicle: its receiver, battery and what has befallen it."""

    def __init__(
        self, device: Device, rng: random.Random, *, bat_pct: float, clone: bool = False
    ) -> None:
        """`clone`: it only bears the identity of a device on board, and is off at first."""
        self.device = device
        self.clone = clone
        self.body = Condition(bat_pct=bat_pct, powered=not clone)
        self.heard: deque[Message] = deque(maxlen=_HEARD)
        self.world: World | None = None
        self._receiver = Receiver(rng)
        self._bat_pct = bat_pct
        self._drain_pct_h = _SEAL_DRAIN_PCT_H if device.config.kind == "seal" else 0.0
        self._base, self._base_due_ms = self.body, 0
        self._worn: tuple[Condition, tuple[int, ...]] | None = None

    @property
    def wants_link(self) -> bool:
        """Whether the device is running and has radio coverage."""
        body = self.body
        return body.alive and body.radio and body.powered and not self.device.resting

    @property
    def leaves_cleanly(self) -> bool:
        """Whether it says goodbye as its link goes: it has gone to sleep as planned."""
        return self.device.asleep

    def befallen(self, devices: Devices) -> bool:
        """Whether what befalls these devices befalls this one."""
        config = self.device.config
        return befalls(devices, config.kind, config.id, clone=self.clone)

    def step(self, truth: Truth, since_ms: int, happening: Sequence[_Begun]) -> list[Message]:
        """Look at the world at this instant; `since_ms`: when the trip began."""
        self._wear(truth.t_ms, since_ms, happening)
        sensed = truth if self.body is self._base else self._sensed(truth)
        if self.world is None:
            self.world = World(truth=sensed, condition=self.body, locate=self._locate)
        else:
            self.world.truth, self.world.condition = sensed, self.body
        device = self.device
        messages = device.step(truth.t_ms, self.world)
        if device.online and not self.wants_link and not self.leaves_cleanly:
            device.lost()
        if messages:
            self.heard.extend(m for m in messages if m.records)
        return messages

    def act(self, pulse: Pulse, now_ms: int) -> list[Message]:
        """Let a deed be done; what it sends is lost unless the device is online."""
        if self.world is None or not self.body.alive:
            return []
        online = self.device.online
        scene = Scene(now_ms=now_ms, device=self.device, world=self.world, heard=self.heard)
        messages = pulse.action.do(scene)
        self.heard.extend(m for m in messages if m.records)
        return messages if online else []

    def _wear(self, now_ms: int, since_ms: int, happening: Sequence[_Begun]) -> None:
        """Work out the body: the same object as long as nothing about it changes."""
        if not self.body.alive:
            return  # the dead stay dead
        if now_ms >= self._base_due_ms:
            self._base_due_ms = now_ms + _BASE_EVERY_MS
            self._base = self._unharmed(now_ms, since_ms)
            self._worn = None
        mine = [b for b in happening if self.befallen(b.effect.devices)] if happening else []
        if not mine:
            self.body, self._worn = self._base, None
        elif all(begun.effect.steady for begun in mine):
            names = tuple(begun.number for begun in mine)
            if self._worn is not None and self._worn[1] == names:
                self.body = self._worn[0]
                return
            self._worn = (_folded(mine, self._base, now_ms), names)
            self.body = self._worn[0]
        else:
            self._worn = None
            self.body = _folded(mine, self._base, now_ms)

    def _unharmed(self, now_ms: int, since_ms: int) -> Condition:
        hours = (now_ms - since_ms) / 3_600_000
        return Condition(
            bat_pct=max(0.0, self._bat_pct - self._drain_pct_h * hours),
            temp_c=_temperature_c(now_ms),
            powered=not self.clone,
        )

    def _sensed(self, truth: Truth) -> Truth:
        body = self.body
        if body.rides is not None:
            truth = body.rides
        if body.odo_fixed_m is not None:
            truth = replace(truth, odo_m=body.odo_fixed_m)
        if body.feed_mv is not None or body.engine_on is not None or body.odo_from_m:
            truth = replace(
                truth,
                ext_mv=truth.ext_mv if body.feed_mv is None else body.feed_mv,
                ignition=truth.ignition if body.engine_on is None else body.engine_on,
                odo_m=truth.odo_m - body.odo_from_m,
            )
        return truth

    def _locate(self, truth: Truth) -> Fix:
        body = self.body
        if body.reception == "lbs":
            return self._receiver.cell(truth)
        if body.reception == "frozen" and self._receiver.last is not None:
            return self._receiver.last
        shown = truth if body.shown is None else body.shown
        fix = self._receiver(shown, body.sky)
        if body.shift_m != (0.0, 0.0):
            lat, lon = shift(fix.lat, fix.lon, *body.shift_m)
            fix = replace(fix, lat=lat, lon=lon)
        return replace(fix, t_ms=fix.t_ms + body.fix_clock_ms) if body.fix_clock_ms else fix


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    effect: Effect
    at_ms: int
    number: int

    def over(self, truth: Truth) -> bool:
        return (
            truth.t_ms - self.at_ms >= self.effect.duration_s * 1000
            or truth.driven_m >= self.effect.to_m
        )


@dataclass(slots=True, kw_only=True)
class _Told:
    """A happening under way, or over once it has an end."""

    planned: Planned
    begun: Truth
    end_ms: int | None = None

    def over(self, truth: Truth) -> bool:
        lasted_ms = truth.t_ms - self.begun.t_ms
        return lasted_ms >= self.planned.duration_s * 1000 or truth.driven_m >= self.planned.to_m


class Vehicle:
    """Advances the motion, steps every device at each instant, and keeps the ground truth."""

    def __init__(
        self,
        label: str,
        *,
        drive: Drive,
        mounts: Sequence[Mount],
        draft: Draft,
        plots: Sequence[str] = (),
        tail_s: float = 600.0,
    ) -> None:
        """`tail_s`: how long it still reports after its arrival before the trip counts as over."""
        self.label = label
        self.mounts = tuple(mounts)
        self.start_ms = drive.now_ms
        self.truth = drive.truth()
        self._drive, self._draft, self._plots = drive, draft, tuple(plots)
        # The next one last; those of one place in the order in which they were given.
        self._waiting: list[Cue] = sorted(_cues(draft), key=lambda cue: cue.at_m)[::-1]
        self._due: list[tuple[int, int, Cue, int]] = []
        self._numbers = 0
        self._happening: list[_Begun] = []
        self._told: list[_Told] = []
        self._acts: list[Act] = []
        self._tail_ms = tail_s * 1000
        self._arrived_ms: int | None = None
        self._started = False

    @property
    def now_ms(self) -> int:
        """True time the vehicle has reached, ms UTC."""
        return self._drive.now_ms

    @property
    def next_ms(self) -> int:
        """True time of the next tick, ms UTC."""
        return self._drive.next_ms if self._started else self.start_ms

    @property
    def ended(self) -> bool:
        """Arrived, its tail over, nothing to come, and no device still cut off from the network."""
        if self._arrived_ms is None or self.now_ms < self._arrived_ms + self._tail_ms:
            return False
        if self.now_ms > self._arrived_ms + self._tail_ms + _GAP_MAX_MS:
            return True
        if self._due or any(begun.effect.under_way for begun in self._happening):
            return False
        return not any(_unheard(mount) for mount in self.mounts)

    # -- ground truth ------------------------------------------------------------------------

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """What has happened so far; what is under way ends now."""
        told = [self._resolved(t) for t in self._told]
        rests = [self._rested(rest) for rest in self._drive.rests if rest.from_ms <= self.now_ms]
        return tuple(sorted([*told, *rests], key=lambda h: (h.start_ms, h.name)))

    @property
    def acts(self) -> tuple[Act, ...]:
        """What people have done so far, or are known to do, in order of time."""
        return tuple(sorted(self._acts, key=lambda act: act.at_ms))

    @property
    def outcome(self) -> DeliveryTruth:
        """How the delivery goes."""
        outcome = self._draft.outcome
        return DeliveryTruth(
            vehicle=self.label,
            plots=self._plots,
            nondelivery=outcome.nondelivery,
            goods_gone=outcome.goods_gone,
            honest=outcome.honest,
            rank_high=outcome.rank_high,
            start_ms=self.start_ms,
            end_ms=self.now_ms,
        )

    # -- time --------------------------------------------------------------------------------

    def tick(self) -> list[tuple[Mount, list[Message]]]:
        """One instant further; the first tick is the beginning itself."""
        if self._started:
            self.truth = self._drive.advance()
        self._started = True
        truth = self.truth
        if truth.arrived and self._arrived_ms is None:
            self._arrived_ms = truth.t_ms
        self._expire(truth)
        pulses = self._begin(truth)
        sent = [(m, m.step(truth, self.start_ms, self._happening)) for m in self.mounts]
        for pulse in pulses:
            for mount, messages in sent:
                if mount.befallen(pulse.devices):
                    messages += mount.act(pulse, truth.t_ms)
        return sent

    def _expire(self, truth: Truth) -> None:
        if self._happening:
            self._happening = [begun for begun in self._happening if not begun.over(truth)]
        for told in self._told:
            if told.end_ms is None and told.over(truth):
                told.end_ms = truth.t_ms

    def _begin(self, truth: Truth) -> list[Pulse]:
        """Begin what is due; the deeds are handed back, to be done after the devices' step."""
        waiting = self._waiting
        while waiting and (truth.driven_m >= waiting[-1].at_m or truth.arrived):
            self._pass(waiting.pop(), truth)
        pulses: list[Pulse] = []
        while self._due and self._due[0][0] <= truth.t_ms:
            due_ms, number, cue, done = heapq.heappop(self._due)
            if isinstance(cue, Effect):
                rng = random.Random(f"{self._draft.seed}/effect/{number}")
                begun = cue.begun(truth, rng)
                self._happening.append(_Begun(effect=begun, at_ms=truth.t_ms, number=number))
            elif isinstance(cue, Planned):
                self._told.append(_Told(planned=cue, begun=truth))
            elif isinstance(cue, Pulse):
                pulses.append(cue)
                if done + 1 < cue.times:
                    again = (due_ms + round(cue.every_s * 1000), number, cue, done + 1)
                    heapq.heappush(self._due, again)
        return pulses

    def _pass(self, cue: Cue, truth: Truth) -> None:
        """Its place is passed: it is due so many seconds later."""
        due_ms = truth.t_ms + round(cue.after_s * 1000)
        if isinstance(cue, PlannedAct):
            self._acts.append(_acted(cue, due_ms, truth))
            return
        self._numbers += 1
        heapq.heappush(self._due, (due_ms, self._numbers, cue, 0))

    def _resolved(self, told: _Told) -> Happening:
        planned, begun = told.planned, told.begun
        end_ms = self.now_ms if told.end_ms is None else told.end_ms
        point = (begun.lon, begun.lat)
        return Happening(
            name=planned.name,
            params=planned.params,
            vehicle=self.label,
            device_ids=self._draft.ids(planned.devices),
            start_ms=begun.t_ms,
            end_ms=end_ms,
            lon=round(begun.lon, 6),
            lat=round(begun.lat, 6),
            place=planned.place or describe(point),
            expects=tuple(e.resolved(begun.t_ms, end_ms) for e in planned.expects),
        )

    def _rested(self, rest: Rest) -> Happening:
        may = tuple(Expect(code=code, kind="may") for code in ("unauthorised_stop", "overstay"))
        return Happening(
            name="night_rest" if rest.night else "tachograph_rest",
            params={"parked": rest.parked},
            vehicle=self.label,
            device_ids=self._draft.ids("all"),
            start_ms=rest.from_ms,
            end_ms=min(rest.to_ms, self.now_ms),
            lon=round(rest.lon, 6),
            lat=round(rest.lat, 6),
            place=describe((rest.lon, rest.lat)),
            expects=tuple(e.resolved(rest.from_ms, rest.to_ms) for e in may),
        )


def _cues(draft: Draft) -> Iterator[Cue]:
    yield from draft.effects
    yield from draft.pulses
    yield from draft.happenings
    yield from draft.acts


def _acted(cue: PlannedAct, at_ms: int, truth: Truth) -> Act:
    position = (truth.lon, truth.lat) if cue.position == "here" else cue.position
    if isinstance(position, str):
        raise ValueError(f"position {position!r} is neither here, a place, nor none")
    return Act(kind=cue.kind, at_ms=at_ms, position=position, fields=cue.fields)


def _folded(happening: Sequence[_Begun], body: Condition, now_ms: int) -> Condition:
    for begun in happening:
        body = begun.effect.apply(body, (now_ms - begun.at_ms) / 1000)
    return body


def _unheard(mount: Mount) -> bool:
    """Whether the device has something to say and will be able to, later."""
    body = mount.body
    return body.alive and body.powered and (not body.radio or mount.device.resting)


def _temperature_c(t_ms: int) -> float:
    # Coldest before dawn, warmest after noon of a mild continental day, in UTC+5.
    phase = ((t_ms / 1000 + 5 * 3600) % _DAY_S) / _DAY_S
    return 12.0 - 9.0 * math.cos(2 * math.pi * (phase - 0.15))
