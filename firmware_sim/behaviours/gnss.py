"""Reception of satellites: zeros, frozen and coarse fixes, canyons, jamming, spoofing."""

from __future__ import annotations

import math

from pydantic import Field

from firmware_sim.actions import Pulse, Reboot
from firmware_sim.behaviours.base import MINUTE_S, Placed, may, must, never
from firmware_sim.draft import Draft, Outcome
from firmware_sim.effects import Devices, Drag, Jamming, change
from firmware_sim.errors import PlanError

_LIES = ("route_deviation", "wrong_direction", "border_exit", "restricted_zone")
# 300 m and both accuracies; and time for three reports of a seal.
_APART_M, _COMPARED_S = 400.0, 900.0
_SIDE_EFFECTS = (*_LIES, "checkpoint_missed", "separation", "unauthorised_stop")


class ZeroFix(Placed):
    """After a reboot the receiver tells 0,0 as a place until it has a fix."""

    name = "zero_fix"
    seconds: float = Field(90.0, gt=0, le=3600, description="how long, seconds")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the reboot and the zeros."""
        at_m = draft.at_m(self.at)
        pulse = Pulse(at_m=at_m, action=Reboot(off_s=8.0), devices=self.devices)
        zero = change(at_m, devices=self.devices, duration_s=self.seconds, reception="zero")
        told = self.told(
            at_m,
            *never(*_LIES, "spoofing_suspected", "separation"),
            duration_s=self.seconds,
            devices=self.devices,
        )
        return draft.with_pulse(pulse).with_effect(zero).with_happening(told)


class FrozenFix(Placed):
    """The receiver hangs and repeats its last fix, time and all, while the vehicle drives on."""

    name = "frozen_fix"
    minutes: float = Field(15.0, gt=0, description="how long, minutes")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the hang."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        frozen = change(at_m, devices=self.devices, duration_s=long_s, reception="frozen")
        told = self.told(
            at_m,
            # By its fixes' time, which is what counts, the device tells nothing new meanwhile.
            *may("spoofing_suspected", "clock_fault", "silence"),
            *never("route_deviation", "unauthorised_stop"),
            duration_s=long_s,
            devices=self.devices,
        )
        return draft.with_effect(frozen).with_happening(told)


class Canyon(Placed):
    """Walls on both sides: errors of 12 m and single fixes thrown far away."""

    name = "canyon"
    km: float = Field(10.0, gt=0, le=500, description="how long the walls are, km")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the walls."""
        at_m = draft.at_m(self.at)
        to_m = min(at_m + self.km * 1000, draft.path.length_m)
        walls = change(at_m, devices=self.devices, to_m=to_m, sky="canyon")
        told = self.told(
            at_m,
            *never(*_LIES, "spoofing_suspected", "separation"),
            to_m=to_m,
            devices=self.devices,
        )
        return draft.with_effect(walls).with_happening(told)


class OwnJammer(Placed):
    """A jammer in the cab: warnings first, then no fix at all, then warnings again."""

    name = "jamming"
    minutes: float = Field(15.0, ge=1, description="how long, minutes")
    warning_s: float = Field(60.0, ge=0, description="warnings at both ends, seconds")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the jammer."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        jammer = Jamming(
            at_m=at_m, duration_s=long_s, warning_s=self.warning_s, devices=self.devices
        )
        told = self.told(
            at_m, must("jamming"), *never("silence"), duration_s=long_s, devices=self.devices
        )
        return draft.with_effect(jammer).with_happening(told)

    def outcome(self) -> Outcome:
        """The jammer is the driver's."""
        return Outcome(honest=False, rank_high=True)


class AreaJamming(Placed):
    """Somebody jams a place: every vehicle near it has no fix as long as it is there."""

    name = "area_jamming"
    place: tuple[float, float] | None = Field(
        None, description="lon, lat of its middle; none: on the route at `at`"
    )
    radius_km: float = Field(3.0, gt=0, le=100, description="how far it reaches, km")

    def apply(self, draft: Draft) -> Draft:
        """Adds the area where the way crosses it."""
        middle_m, off_m = draft.at_m(self.at), 0.0
        if self.place is not None:
            middle_m, off_m = draft.path.nearest_m(self.place)
        reach_m = self.radius_km * 1000
        if off_m >= reach_m:
            raise PlanError(
                f"area_jamming: the place lies {off_m / 1000:.0f} km off the way; give one within "
                f"radius_km of it"
            )
        half_m = math.sqrt(reach_m**2 - off_m**2)
        from_m = max(middle_m - half_m, draft.start_m)
        to_m = min(middle_m + half_m, draft.path.length_m)
        inner_m = (to_m - from_m) / 6
        told = self.told(from_m, must("jamming"), *never("silence"), to_m=to_m)
        return draft.with_effect(
            change(from_m, to_m=to_m, jam=1),
            change(from_m + inner_m, to_m=to_m - inner_m, jam=2),
        ).with_happening(told)


class SpoofedJump(Placed):
    """A spoofer throws the fixes to another place, and they stay there for a while."""

    name = "spoofed_jump"
    km: float = Field(60.0, ge=5, le=3000, description="how far, km")
    bearing_deg: float = Field(90.0, ge=0, lt=360, description="where to, degrees from north")
    minutes: float = Field(20.0, ge=1, description="how long, minutes")
    flagged: bool = Field(False, description="the receiver notices and says so")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the jump."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        angle, far_m = math.radians(self.bearing_deg), self.km * 1000
        jump = change(
            at_m,
            devices=self.devices,
            duration_s=long_s,
            shift_m=(far_m * math.sin(angle), far_m * math.cos(angle)),
            spoof=self.flagged,
        )
        # A seal alone may make too few records of a short lie to show that it lasts.
        seen = self.devices != "seal" or self.minutes >= 15
        told = self.told(
            at_m,
            *((must("spoofing_suspected"),) if seen else may("spoofing_suspected")),
            *may(*_SIDE_EFFECTS),
            duration_s=long_s,
            devices=self.devices,
        )
        return draft.with_effect(jump).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody has gone to great lengths."""
        return Outcome(honest=False, rank_high=True)


class SpoofedDrag(Placed):
    """A spoofer draws the fixes off the truth so slowly that no jump is seen."""

    name = "spoofed_drag"
    at: float = Field(0.3, ge=0, le=1, description="where it begins, part of the way")
    speed_ms: float = Field(3.0, gt=0, le=20, description="how fast the error grows, m/s")
    km: float = Field(4.0, gt=0, le=300, description="how far it grows, km")
    minutes: float = Field(40.0, ge=1, description="how long, minutes")
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the drag, to the right of the road."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        drag = Drag(
            at_m=at_m,
            duration_s=long_s,
            devices=self.devices,
            bearing_deg=draft.path.at(at_m).heading_deg + 90.0,
            speed_ms=self.speed_ms,
            max_m=self.km * 1000,
        )
        # The other device tells the truth: some comparisons have to be farther apart than 300 m.
        apart_s = long_s - _APART_M / self.speed_ms
        one_only = self.devices in ("seal", "gps") and self.km * 1000 >= _APART_M
        found = (must("separation"),) if one_only and apart_s >= _COMPARED_S else ()
        told = self.told(
            at_m,
            *found,
            *may("spoofing_suspected", *_SIDE_EFFECTS),
            duration_s=long_s,
            devices=self.devices,
        )
        return draft.with_effect(drag).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody has gone to great lengths."""
        return Outcome(honest=False, rank_high=True)


class CellFixes(Placed):
    """No satellites: places by the mobile network only, hundreds of metres off."""

    name = "lbs_only"
    minutes: float = Field(30.0, gt=0, description="how long, minutes")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the spell."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        cells = change(at_m, devices=self.devices, duration_s=long_s, reception="lbs")
        told = self.told(
            at_m,
            *never(*_LIES, "spoofing_suspected", "separation", "silence"),
            duration_s=long_s,
            devices=self.devices,
        )
        return draft.with_effect(cells).with_happening(told)
