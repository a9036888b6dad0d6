"""What should not be on the wire: wrong and old signatures, replays, broken messages."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from firmware_sim.actions import Action, Pulse, Raw, Replay
from firmware_sim.behaviours.base import MINUTE_S, Placed, may, never
from firmware_sim.draft import Draft, Outcome
from firmware_sim.effects import Devices, RadioOff, change
from firmware_sim.wire import Key

# What is refused must leave no trace in the findings.
_NO_TRACE = never("identity_conflict", "route_deviation", "sequence_gap", "spoofing_suspected")
_RECONNECT_S = 30.0


class BadMac(Placed):
    """Somebody between device and broker changes bytes: the MACs do not fit; later it is resent."""

    name = "bad_mac"
    minutes: float = Field(10.0, gt=0, description="how long, minutes")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Spoils the MACs, then reconnects."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        spoilt = change(at_m, devices=self.devices, duration_s=long_s, wrong_mac=True, hears=False)
        again = RadioOff(at_m=at_m, after_s=long_s, duration_s=_RECONNECT_S, devices=self.devices)
        told = self.told(at_m, *_NO_TRACE, duration_s=long_s + _RECONNECT_S, devices=self.devices)
        return draft.with_effect(spoilt, again).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody is at the line."""
        return Outcome(honest=False)


class OldKid(Placed):
    """The device signs with its key of before for a while, as after a rotation it missed."""

    name = "old_kid"
    kid: str = Field("k0", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="name of the old key")
    secret: str = Field("00", pattern=r"^([0-9a-fA-F]{2})+$", description="the old key itself, hex")
    minutes: float = Field(20.0, gt=0, description="how long, minutes")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Changes the key."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        key = Key(kid=self.kid, secret=bytes.fromhex(self.secret))
        old = change(at_m, devices=self.devices, duration_s=long_s, key=key)
        again = RadioOff(at_m=at_m, after_s=long_s, duration_s=_RECONNECT_S, devices=self.devices)
        told = self.told(
            at_m,
            *_NO_TRACE,
            *may("silence"),
            duration_s=long_s + _RECONNECT_S,
            devices=self.devices,
        )
        return draft.with_effect(old, again).with_happening(told)


class _Sent(Placed):
    times: int = Field(3, ge=1, le=1000, description="how often")
    every_s: float = Field(20.0, gt=0, description="seconds between")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the messages."""
        at_m = draft.at_m(self.at)
        pulse = Pulse(
            at_m=at_m,
            action=self._action(),
            devices=self.devices,
            times=self.times,
            every_s=self.every_s,
        )
        told = self.told(
            at_m, *_NO_TRACE, duration_s=self.times * self.every_s, devices=self.devices
        )
        return draft.with_pulse(pulse).with_happening(told)

    def _action(self) -> Action:
        raise NotImplementedError


class ReplayedMessages(_Sent):
    """Somebody sends recorded messages again, byte for byte, valid MAC and all."""

    name = "replayed"
    count: int = Field(3, ge=1, le=16, description="how many messages each time")

    def _action(self) -> Action:
        return Replay(count=self.count)

    def outcome(self) -> Outcome:
        """Somebody is at the line."""
        return Outcome(honest=False)


class _Raw(_Sent):
    what: ClassVar[Literal["malformed", "oversized", "version", "forged"]]

    def _action(self) -> Action:
        return Raw(what=self.what)


class Malformed(_Raw):
    """JSON that breaks off in the middle."""

    name = "malformed"
    what = "malformed"


class Oversized(_Raw):
    """A record of more than 4 KiB."""

    name = "oversized"
    what = "oversized"


class UnknownVersion(_Raw):
    """A record of contract version 99."""

    name = "unknown_version"
    what = "version"


class Forged(_Raw):
    """Records in the device's name, signed by nobody's key, far away in place and seq."""

    name = "forged"
    what = "forged"
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def outcome(self) -> Outcome:
        """Somebody is at the line."""
        return Outcome(honest=False)
