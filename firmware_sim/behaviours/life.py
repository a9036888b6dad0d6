"""A device's life: reboots, resets, sleep, firmware, and a second device with its identity."""

from __future__ import annotations

import math

from pydantic import Field

from firmware_sim.actions import Pulse, Reboot, Sleep, UpdateFirmware
from firmware_sim.behaviours.base import MINUTE_S, Placed, may, must, never
from firmware_sim.draft import Draft, Outcome
from firmware_sim.effects import Devices, Ride, change
from firmware_sim.geo import away
from firmware_sim.wire import Kind

_QUIET = ("silence", "sequence_gap", "identity_conflict")


class RebootMidTrip(Placed):
    """The device reboots on the way: boot grows, seq goes on, no fix for half a minute."""

    name = "reboot"
    off_s: float = Field(8.0, gt=0, le=600, description="seconds until it runs again")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the reboot."""
        at_m = draft.at_m(self.at)
        pulse = Pulse(at_m=at_m, action=Reboot(off_s=self.off_s), devices=self.devices)
        told = self.told(at_m, *never(*_QUIET), duration_s=self.off_s + 60, devices=self.devices)
        return draft.with_pulse(pulse).with_happening(told)


class CrashLoop(Placed):
    """A fault of the firmware: the device reboots over and over."""

    name = "crash_loop"
    times: int = Field(6, ge=2, le=100, description="how many reboots")
    every_s: float = Field(75.0, ge=15, description="from one to the next, seconds")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the reboots."""
        at_m = draft.at_m(self.at)
        pulse = Pulse(
            at_m=at_m,
            action=Reboot(off_s=8.0),
            devices=self.devices,
            times=self.times,
            every_s=self.every_s,
        )
        long_s = self.times * self.every_s
        told = self.told(at_m, *never(*_QUIET), duration_s=long_s, devices=self.devices)
        return draft.with_pulse(pulse).with_happening(told)


class FactoryReset(Placed):
    """The store is wiped: gen grows, seq restarts at 1, what was not acknowledged is lost."""

    name = "factory_reset"
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the reset."""
        at_m = draft.at_m(self.at)
        pulse = Pulse(at_m=at_m, action=Reboot(off_s=20.0, wipe=True), devices=self.devices)
        told = self.told(
            at_m,
            *never("identity_conflict"),
            *may("sequence_gap", "silence", before_s=600),
            duration_s=60.0,
            devices=self.devices,
        )
        return draft.with_pulse(pulse).with_happening(told)


class PlannedSleep(Placed):
    """The device says for how long it sleeps, leaves cleanly and comes back on time."""

    name = "planned_sleep"
    minutes: float = Field(60.0, gt=0, description="how long, minutes")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the sleep."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        pulse = Pulse(at_m=at_m, action=Sleep(for_s=long_s), devices=self.devices)
        told = self.told(at_m, *never(*_QUIET), duration_s=long_s, devices=self.devices)
        return draft.with_pulse(pulse).with_happening(told)


class FirmwareUpdate(Placed):
    """An update over the air: another version, some fields gone, unknown ones added."""

    name = "firmware_update"
    fw: str = Field("2.0.0", min_length=1, max_length=32, description="the new version")
    without: tuple[str, ...] = Field(
        ("fix.hdop", "fix.sat", "net"), description="parts and fields it does not send any more"
    )
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the update."""
        at_m = draft.at_m(self.at)
        more = {"modem": {"rat": "LTE-M", "band": 20}, "cfg": 7}
        update = UpdateFirmware(fw=self.fw, without=self.without, more=more)
        pulse = Pulse(at_m=at_m, action=update, devices=self.devices)
        told = self.told(at_m, *never(*_QUIET), duration_s=90.0, devices=self.devices)
        return draft.with_pulse(pulse).with_happening(told)


class ClonedIdentity(Placed):
    """A second device with the same identity and key reports from elsewhere."""

    name = "cloned_identity"
    kind: Kind = Field("seal", description="which of the vehicle's devices is cloned: seal or gps")
    km: float = Field(60.0, ge=5, le=1000, description="how far away the clone is")
    minutes: float = Field(60.0, gt=0, description="how long it reports, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the clone and where it drives."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        device_id = draft.first(self.kind, self.name)
        spot = draft.path.at(at_m)
        first = away((spot.lon, spot.lat), spot.heading_deg + 100, self.km * 1000)
        last = away(first, spot.heading_deg, 100_000)
        told = self.told(
            at_m,
            # What contradicts is set aside: its time may be that of its coming in.
            must("identity_conflict", after_s=math.inf),
            *may("separation", "route_deviation", "spoofing_suspected"),
            *may("sequence_gap", "silence", "unauthorised_stop"),
            duration_s=long_s,
            devices=f"id:{device_id}",
        )
        return (
            draft.with_clone(device_id)
            .with_effect(
                change(at_m, devices="clone", powered=True),
                change(at_m, devices="clone", after_s=long_s, alive=False, radio=False),
                Ride(
                    at_m=at_m,
                    duration_s=long_s,
                    devices="clone",
                    points=(first, last),
                    from_here=False,
                ),
            )
            .with_happening(told)
        )

    def outcome(self) -> Outcome:
        """Nobody clones a seal by accident."""
        return Outcome(honest=False, rank_high=True)
