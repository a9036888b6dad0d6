"""The link and the store: gaps, lost acks, full and faulty stores, half-open and flapping links."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from firmware_sim.actions import FlashLoss, LateWill, Pulse, Tell
from firmware_sim.behaviours.base import MINUTE_S, Placed, may, must, never
from firmware_sim.device import Order
from firmware_sim.draft import Draft
from firmware_sim.effects import Devices, Flapping, RadioOff, change
from firmware_sim.places import DEAD_STRETCHES, dead_parts
from firmware_sim.truth import Expect

_STRETCHES = tuple(dict.fromkeys(stretch.name for stretch in DEAD_STRETCHES))
# Long enough for the link to be dropped and taken up again, and too short for a period to pass.
_RECONNECT_S = 30.0


class CoverageGap(Placed):
    """No network for `minutes` while records pile up; then the backlog arrives."""

    name = "coverage_gap"
    at: float = Field(0.3, ge=0, le=1, description="where the gap begins, part of the way")
    minutes: float = Field(40.0, gt=0, description="how long, minutes")
    order: Order = Field("oldest", description="which end of the backlog goes first")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the gap and sets the order of the backlog."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        gap = RadioOff(at_m=at_m, duration_s=long_s, devices=self.devices)
        told = self.told(
            at_m, *never("silence", "sequence_gap"), duration_s=long_s, devices=self.devices
        )
        draft = draft.with_setting(self.devices, backlog=self.order)
        return draft.with_effect(gap).with_happening(told)


class DeadZones(Placed):
    """No network on the road's known dead stretches (Almaty–Bishkek, M36 at Balkhash, …)."""

    name = "dead_zones"
    at: float = Field(0.0, ge=0, le=1, description="only behind this part of the way")
    stretches: tuple[str, ...] = Field(
        (), description=f"only these of {', '.join(_STRETCHES)}; none given: all"
    )
    order: Order = Field("oldest", description="which end of the backlog goes first")

    @field_validator("stretches")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in _STRETCHES]
        if unknown:
            raise ValueError(f"unknown stretch {unknown[0]}; known are {', '.join(_STRETCHES)}")
        return value

    def apply(self, draft: Draft) -> Draft:
        """Adds a gap for each stretch on the way."""
        draft = draft.with_setting("all", backlog=self.order)
        first_m = draft.at_m(self.at)
        for name, from_m, to_m in dead_parts(draft.path, self.stretches):
            if to_m <= first_m:
                continue
            begin_m = max(from_m, first_m)
            told = self.told(begin_m, *never("silence", "sequence_gap"), to_m=to_m, place=name)
            draft = draft.with_effect(RadioOff(at_m=begin_m, to_m=to_m)).with_happening(told)
        return draft


class EventsBeforeBacklog(Placed):
    """Something happens in a gap: when the network is back its event comes before the backlog."""

    name = "events_before_backlog"
    at: float = Field(0.3, ge=0, le=1, description="where the gap begins, part of the way")
    minutes: float = Field(30.0, gt=0, description="length of the gap; the event is in its middle")
    code: Literal["shock", "selftest_fail", "fence_in"] = Field("shock", description="the event")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the gap and the event."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        tell = Tell(code=self.code)
        found = (must("seal_fault", "seal"),) if self.code == "selftest_fail" else ()
        told = self.told(at_m, *found, *never("silence"), duration_s=long_s, devices=self.devices)
        draft = draft.with_effect(RadioOff(at_m=at_m, duration_s=long_s, devices=self.devices))
        pulse = Pulse(at_m=at_m, action=tell, after_s=long_s / 2, devices=self.devices)
        return draft.with_pulse(pulse).with_happening(told)


class StoreFull(Placed):
    """A gap outlasts the device's store: the oldest records go, and an event says so."""

    name = "store_full"
    at: float = Field(0.2, ge=0, le=1, description="where the gap begins, part of the way")
    minutes: float = Field(40.0, gt=0, description="length of the gap, minutes")
    capacity: int = Field(50, ge=1, le=100_000, description="records the store holds")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the gap and the small store."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        told = self.told(
            at_m, *may("sequence_gap", "silence"), duration_s=long_s, devices=self.devices
        )
        draft = draft.with_setting(self.devices, capacity=self.capacity)
        gap = RadioOff(at_m=at_m, duration_s=long_s, devices=self.devices)
        return draft.with_effect(gap).with_happening(told)


class LostAcks(Placed):
    """Acks do not reach the device; at its next connection it sends all of it once more."""

    name = "lost_acks"
    minutes: float = Field(20.0, gt=0, description="how long nothing comes down, minutes")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Makes the device deaf, then reconnects it."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        deaf = change(at_m, devices=self.devices, duration_s=long_s, hears=False)
        again = RadioOff(at_m=at_m, after_s=long_s, duration_s=_RECONNECT_S, devices=self.devices)
        quiet = never("identity_conflict", "sequence_gap", "silence")
        told = self.told(at_m, *quiet, duration_s=long_s + _RECONNECT_S, devices=self.devices)
        return draft.with_effect(deaf, again).with_happening(told)


class LostPage(Placed):
    """A page of flash goes bad at the end of a gap: its records never arrive, seq has a hole."""

    name = "flash_loss"
    minutes: float = Field(25.0, gt=0, description="length of the gap whose records are lost")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the gap and the loss."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        gap = RadioOff(at_m=at_m, duration_s=long_s, devices=self.devices)
        loss = Pulse(at_m=at_m, action=FlashLoss(), after_s=long_s - 1, devices=self.devices)
        told = self.told(
            at_m,
            must("sequence_gap", before_s=300, after_s=1800),
            *may("silence", before_s=300, after_s=1800),
            duration_s=long_s,
            devices=self.devices,
        )
        return draft.with_effect(gap).with_pulse(loss).with_happening(told)


class HalfOpen(Placed):
    """A half-open TCP connection: its will arrives after the birth of the next one."""

    name = "half_open"
    late_s: float = Field(60.0, gt=0, le=300, description="how long after the new birth, seconds")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Breaks the link and sends the old will late."""
        at_m = draft.at_m(self.at)
        broken = RadioOff(at_m=at_m, duration_s=_RECONNECT_S, devices=self.devices)
        late = Pulse(
            at_m=at_m, action=LateWill(), after_s=_RECONNECT_S + self.late_s, devices=self.devices
        )
        told = self.told(
            at_m,
            *never("silence"),
            duration_s=_RECONNECT_S + self.late_s,
            devices=self.devices,
        )
        return draft.with_effect(broken).with_pulse(late).with_happening(told)


class ReconnectStorm(Placed):
    """The link breaks and comes back again and again, each time with a birth and the backlog."""

    name = "reconnect_storm"
    minutes: float = Field(10.0, gt=0, description="how long, minutes")
    every_s: float = Field(30.0, ge=4, description="from one break to the next, seconds")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the storm."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        storm = Flapping(
            at_m=at_m,
            duration_s=long_s,
            every_s=self.every_s,
            off_s=self.every_s / 2,
            devices=self.devices,
        )
        quiet = never("silence", "sequence_gap", "identity_conflict")
        told = self.told(at_m, *quiet, duration_s=long_s, devices=self.devices)
        return draft.with_effect(storm).with_happening(told)


class Roaming(Placed):
    """In a foreign network the device reports less often, to save money."""

    name = "roaming"
    minutes: float = Field(60.0, gt=0, description="how long, minutes")
    factor: float = Field(2.0, ge=1, le=10, description="by how much the periods grow")
    mcc: int = Field(437, ge=200, le=799, description="country of the network: 437 is Kyrgyzstan")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Stretches the periods."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        slow = change(at_m, devices=self.devices, duration_s=long_s, pace=self.factor, mcc=self.mcc)
        # Two periods are allowed for by the contract; beyond that silence is what it looks like.
        expects: tuple[Expect, ...] = never("silence") if self.factor <= 2 else may("silence")
        told = self.told(at_m, *expects, duration_s=long_s, devices=self.devices)
        return draft.with_effect(slow).with_happening(told)
