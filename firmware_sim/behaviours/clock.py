"""Wrong device clocks. Positions keep the receiver's time unless it is the receiver that is late.

What the contract can use for t* stays good, so none of these hides or moves the track.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from firmware_sim.behaviours.base import MINUTE_S, Placed, may, must, never
from firmware_sim.draft import Draft
from firmware_sim.effects import ClockFault, ClockOff, Devices
from firmware_sim.truth import Expect

_QUIET = never("route_deviation", "silence", "spoofing_suspected", "sequence_gap")


class _WrongClock(Placed):
    fault: ClassVar[ClockFault]
    fix_too: ClassVar[bool] = False
    at: float = Field(0.3, ge=0, le=1, description="where it begins, part of the way")
    minutes: float | None = Field(
        None, gt=0, description="until the clock is set right, minutes; none: to the trip's end"
    )
    devices: Devices = Field("gps", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the fault."""
        at_m = draft.at_m(self.at)
        long_s = math.inf if self.minutes is None else self.minutes * MINUTE_S
        off = ClockOff(
            at_m=at_m,
            duration_s=long_s,
            devices=self.devices,
            fault=self.fault,
            fix_too=self.fix_too,
        )
        off = replace(off, **self._amount())
        expects = (*self._found(), *_QUIET)
        told = self.told(at_m, *expects, duration_s=long_s, devices=self.devices)
        return draft.with_effect(off).with_happening(told)

    def _amount(self) -> dict[str, Any]:
        return {}

    def _found(self) -> tuple[Expect, ...]:
        return (must("clock_fault"),)


class Clock1970(_WrongClock):
    """The clock starts from 1970 after its battery was empty."""

    name = "clock_1970"
    fault = "1970"


class Clock1980(_WrongClock):
    """The clock shows January 1980: the receiver has not seen a satellite yet."""

    name = "clock_1980"
    fault = "1980"


class ClockRollover(_WrongClock):
    """An old receiver is 1,024 weeks late, its positions' times too."""

    name = "clock_rollover"
    fault = "rollover"
    fix_too = True

    def _found(self) -> tuple[Expect, ...]:
        # Corrected first: the record is as good as any, the flag is for the workshop.
        return may("clock_fault")


class ClockFuture(_WrongClock):
    """The clock was set to a date in the future."""

    name = "clock_future"
    fault = "future"
    days: float = Field(400.0, gt=0, le=20_000, description="how far ahead, days")

    def _amount(self) -> dict[str, Any]:
        return {"days": self.days}


class ClockDrift(_WrongClock):
    """The clock gains some seconds a day."""

    name = "clock_drift"
    fault = "drift"
    s_day: float = Field(5.0, ge=-3600, le=3600, description="seconds gained in a day")

    def _amount(self) -> dict[str, Any]:
        return {"drift_s_day": self.s_day}

    def _found(self) -> tuple[Expect, ...]:
        return may("clock_fault")


class ClockLocal(_WrongClock):
    """The clock shows Kazakhstan's time (UTC+5) and sends it as UTC."""

    name = "clock_local"
    fault = "local"

    def _found(self) -> tuple[Expect, ...]:
        # A record sent later than five hours after it was made looks sound.
        return may("clock_fault")
