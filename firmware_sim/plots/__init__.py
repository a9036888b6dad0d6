"""What can be named as a vehicle's plot: whole stories, and the behaviours they are made of."""

from __future__ import annotations

from collections.abc import Mapping

from firmware_sim.behaviours import BEHAVIOURS, Behaviour
from firmware_sim.plots import innocent, plain, theft
from firmware_sim.plots.base import Plot

_STORIES: tuple[type[Plot], ...] = (
    plain.Honest,
    plain.Diversion,
    plain.UnauthorisedStop,
    theft.WarehouseDiversion,
    theft.DeadZoneUnloading,
    theft.SealMoved,
    theft.Transloading,
    theft.Vanishes,
    theft.GoodsGoneAtArrival,
    theft.NightReseal,
    theft.SpoofedTrack,
    theft.BatteryRuse,
    theft.FaradayBag,
    theft.ConvoySwap,
    theft.WrongPost,
    theft.SoldAcrossBorder,
    innocent.HonestDetour,
    innocent.HonestBreakdown,
    innocent.BorderQueue,
    innocent.JammedPark,
    innocent.LateHonest,
    innocent.HonestJam,
    innocent.Shuttle,
    innocent.DeviceSwap,
    innocent.SleepySeal,
    innocent.HomeStop,
)
STORIES: Mapping[str, type[Plot]] = {plot.name: plot for plot in _STORIES}
PLOTS: Mapping[str, type[Behaviour]] = {**STORIES, **BEHAVIOURS}

__all__ = ["BEHAVIOURS", "PLOTS", "STORIES", "Behaviour", "Plot"]
