"""Batteries, the vehicle's network, ignition and odometer."""

from __future__ import annotations

import math

from pydantic import Field

from firmware_sim.behaviours.base import MINUTE_S, Placed, may, must, never
from firmware_sim.draft import Draft, Outcome
from firmware_sim.effects import (
    BatteryFall,
    BatterySag,
    Carried,
    ColdBattery,
    Devices,
    KeyBounce,
    OdometerReset,
    change,
)


class BatteryDeath(Placed):
    """The battery sags under 15 % and then dies: silence, with no goodbye."""

    name = "battery_death"
    at: float = Field(0.3, ge=0, le=1, description="where the sag begins, part of the way")
    minutes: float = Field(60.0, gt=0, description="from the first sag to the death, minutes")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the sag."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        sag = BatterySag(at_m=at_m, sag_s=long_s, devices=self.devices)
        # A period may pass between the last record and the death.
        told = self.told(
            at_m,
            must("battery_low"),
            must("silence", after_s=math.inf),
            duration_s=long_s,
            devices=self.devices,
        )
        return draft.with_effect(sag).with_happening(told)


class BatteryLow(Placed):
    """An old battery: it falls under 15 % and goes on so."""

    name = "battery_low"
    to_pct: float = Field(12.0, ge=1, lt=15, description="the level it falls to, %")
    minutes: float = Field(20.0, gt=0, description="how long the fall takes, minutes")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the fall."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        fall = BatteryFall(at_m=at_m, to_pct=self.to_pct, fall_s=long_s, devices=self.devices)
        told = self.told(at_m, must("battery_low"), *never("silence"), devices=self.devices)
        return draft.with_effect(fall).with_happening(told)


class ColdNight(Placed):
    """Frost takes the battery under 15 % and gives it back."""

    name = "cold_battery"
    minutes: float = Field(60.0, gt=0, description="how long, minutes")
    to_pct: float = Field(10.0, ge=1, le=50, description="the lowest level, %")
    temp_c: float = Field(-30.0, ge=-60, le=0, description="the lowest temperature, °C")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the frost."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        cold = ColdBattery(
            at_m=at_m,
            duration_s=long_s,
            to_pct=self.to_pct,
            temp_c=self.temp_c,
            devices=self.devices,
        )
        found = (must("battery_low"),) if self.to_pct < 14 else may("battery_low")
        told = self.told(at_m, *found, *never("silence"), duration_s=long_s, devices=self.devices)
        return draft.with_effect(cold).with_happening(told)


class PowerCut(Placed):
    """The cable of the vehicle unit is cut; it runs on its own battery until it is mended."""

    name = "power_cut"
    minutes: float = Field(30.0, gt=0, description="how long, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the cut."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        cut = change(at_m, devices="gps", duration_s=long_s, feed_mv=0)
        told = self.told(
            at_m, must("power_cut", "gps"), *never("silence"), duration_s=long_s, devices="gps"
        )
        return draft.with_effect(cut).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody cut it."""
        return Outcome(honest=False)


class Tow(Placed):
    """The vehicle is towed: it moves along its way with the ignition off."""

    name = "tow"
    km: float = Field(20.0, gt=0, le=1000, description="how far, km")

    def apply(self, draft: Draft) -> Draft:
        """Adds the tow."""
        at_m = draft.at_m(self.at)
        to_m = min(at_m + self.km * 1000, draft.path.length_m)
        off = change(at_m, to_m=to_m, engine_on=False, feed_mv=25_000)
        told = self.told(at_m, *never("power_cut", "spoofing_suspected"), to_m=to_m)
        return draft.with_slow(at_m, to_m, 50.0).with_effect(off).with_happening(told)


class IgnitionBounce(Placed):
    """A loose contact: ignition off and on every few seconds."""

    name = "ignition_bounce"
    seconds: float = Field(40.0, gt=0, le=3600, description="how long, seconds")
    every_s: float = Field(2.0, ge=1, description="from one change to the next, seconds")

    def apply(self, draft: Draft) -> Draft:
        """Adds the bounce."""
        at_m = draft.at_m(self.at)
        bounce = KeyBounce(at_m=at_m, duration_s=self.seconds, every_s=self.every_s)
        told = self.told(
            at_m,
            *never("unauthorised_stop", "power_cut", "silence"),
            duration_s=self.seconds,
            devices="gps",
        )
        return draft.with_effect(bounce).with_happening(told)


class OdometerStartsAnew(Placed):
    """The odometer starts again from nought, as after a change of the unit."""

    name = "odometer_reset"
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the reset."""
        at_m = draft.at_m(self.at)
        told = self.told(
            at_m, *never("spoofing_suspected", after_s=3600), duration_s=0.0, devices=self.devices
        )
        reset = OdometerReset(at_m=at_m, devices=self.devices)
        return draft.with_effect(reset).with_happening(told)


class CarriedAlong(Placed):
    """A ferry or a train carries the vehicle along: places change, wheels and engine do not."""

    name = "carried"
    km: float = Field(20.0, gt=0, le=1000, description="how far, km")

    def apply(self, draft: Draft) -> Draft:
        """Adds the ferry, from the place on."""
        at_m = draft.at_m(self.at)
        to_m = min(at_m + self.km * 1000, draft.path.length_m)
        carried = Carried(at_m=at_m, to_m=to_m)
        # Wheels that have stood still are that much behind for the rest of the trip.
        behind = change(to_m, odo_from_m=to_m - at_m)
        told = self.told(at_m, *may("spoofing_suspected"), *never("power_cut"), to_m=to_m)
        return draft.with_effect(carried, behind).with_happening(told)
