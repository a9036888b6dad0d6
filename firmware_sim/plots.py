"""What goes wrong on a trip. A plot is data: it rewrites the draft of a trip before it begins.

Plots compose: each takes the draft the one before it left.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from firmware_sim.device import Order
from firmware_sim.errors import PlanError
from firmware_sim.geo import LonLat, Path, away
from firmware_sim.trip import Slow, Stop
from firmware_sim.wire import Kind
from firmware_sim.world import Condition

Devices = Literal["all", "seal", "gps"]

# A driver does not leave his road for a parking farther away than this; a plan that asks for it
# has most likely swapped lon and lat.
_STOP_MAX_OFF_M = 5_000.0
_STOP_ON_ROAD_M = 50.0


class Effect(Protocol):
    """Something that befalls devices once the vehicle has passed `at_m` of its path."""

    @property
    def at_m(self) -> float:
        """Where it begins, metres along the driven path."""

    @property
    def devices(self) -> Devices:
        """Which kinds of device it befalls."""

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The device's condition `age_s` seconds after the place was passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The rope is cut or the case opened, and stays so."""

    at_m: float
    part: Literal["rope", "case"]
    after_s: float = 0.0
    devices: Devices = "seal"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Broken after `after_s`."""
        if age_s < self.after_s:
            return body
        return replace(body, rope="cut") if self.part == "rope" else replace(body, case="open")


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioOff:
    """No coverage for so long; the device goes on recording."""

    at_m: float
    duration_s: float
    devices: Devices = "all"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Radio off during the gap."""
        return replace(body, radio=False) if age_s < self.duration_s else body


@dataclass(frozen=True, slots=True, kw_only=True)
class BatterySag:
    """The battery falls in a line from its level to nothing; then the device is dead."""

    at_m: float
    duration_s: float
    devices: Devices = "seal"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The level after so long; `alive` false at the end."""
        left = 1.0 - age_s / self.duration_s
        if left <= 0:
            return replace(body, bat_pct=0.0, alive=False, radio=False)
        return replace(body, bat_pct=body.bat_pct * left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A trip that has not begun. All metres are along `path`, which plots may reroute."""

    path: Path
    start_m: float = 0.0
    stops: tuple[Stop, ...] = ()
    slow: tuple[Slow, ...] = ()
    effects: tuple[Effect, ...] = ()
    backlog: Order = "oldest"

    def at_m(self, part: float) -> float:
        """The place after this part (0–1) of the way still to be driven."""
        return self.start_m + part * (self.path.length_m - self.start_m)

    def with_stop(self, at_m: float, minutes: float) -> Draft:
        """The same with one more stop."""
        return replace(self, stops=(*self.stops, Stop(at_m=at_m, duration_s=minutes * 60)))

    def with_effect(self, effect: Effect) -> Draft:
        """The same with one more effect."""
        return replace(self, effects=(*self.effects, effect))

    def with_excursion(self, from_m: float, points: list[LonLat], to_m: float | None) -> Draft:
        """Leave the path at `from_m`, visit the points, rejoin at `to_m`, or never if None."""
        if any(effect.at_m > from_m for effect in self.effects):
            raise PlanError("give plots in the order of their places: rerouting ones come last")
        outward = [*self.path.cut(0.0, from_m), *points]
        back = [] if to_m is None else self.path.cut(to_m, self.path.length_m)
        path = Path([*outward, *back])
        if to_m is None:
            stops = tuple(stop for stop in self.stops if stop.at_m <= from_m)
            slow = tuple(zone for zone in self.slow if zone.from_m <= from_m)
            return replace(self, path=path, stops=stops, slow=slow)
        moved = _Moved(from_m=from_m, to_m=to_m, by_m=path.length_m - self.path.length_m)
        return replace(self, path=path, stops=moved.stops(self.stops), slow=moved.slow(self.slow))

    def with_planned_stop(self, point: LonLat, minutes: float) -> Draft:
        """Stop at a place given by lon, lat; the driver turns off the road to reach it."""
        along_m, off_m = self.path.nearest_m(point)
        if off_m > _STOP_MAX_OFF_M:
            raise PlanError(
                f"stop {point[0]},{point[1]} lies {off_m / 1000:.0f} km off the route; "
                "give lon,lat of a place within 5 km of it"
            )
        if along_m <= self.start_m:
            return self
        if off_m <= _STOP_ON_ROAD_M:
            return self.with_stop(along_m, minutes)
        there_m = Path([*self.path.cut(0.0, along_m), point]).length_m
        return self.with_excursion(along_m, [point], along_m).with_stop(there_m, minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """Shifts places behind a rerouted part; those on the part that is left out are dropped."""

    from_m: float
    to_m: float
    by_m: float

    def place(self, at_m: float) -> float:
        return at_m if at_m <= self.from_m else max(at_m, self.to_m) + self.by_m

    def stops(self, stops: tuple[Stop, ...]) -> tuple[Stop, ...]:
        left = (s for s in stops if s.at_m <= self.from_m or s.at_m >= self.to_m)
        return tuple(replace(stop, at_m=self.place(stop.at_m)) for stop in left)

    def slow(self, zones: tuple[Slow, ...]) -> tuple[Slow, ...]:
        return tuple(
            replace(zone, from_m=self.place(zone.from_m), to_m=self.place(zone.to_m))
            for zone in zones
        )


class Plot(BaseModel):
    """Base of the plots: parameters are fields, the class's first doc line explains it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]

    @abstractmethod
    def apply(self, draft: Draft) -> Draft:
        """The draft with this plot worked in."""


class _Placed(Plot):
    at: float = Field(0.5, ge=0, le=1, description="where, as a part of the way to be driven")


class Honest(Plot):
    """Drives the route with the vehicle's planned stops and does nothing wrong."""

    name = "honest"

    def apply(self, draft: Draft) -> Draft:
        """Changes nothing."""
        return draft


class Diversion(_Placed):
    """Leaves the route by at least `km`, stands there if told to, and comes back or does not."""

    name = "diversion"
    km: float = Field(10.0, gt=0, le=300, description="how far off the route, km")
    returns: bool = Field(True, description="false: the trip ends at the far point")
    stop_minutes: float = Field(0.0, ge=0, description="stop at the far point, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Reroutes the trip through the far point."""
        from_m = draft.at_m(self.at)
        rest_m = draft.path.length_m - from_m
        to_m = from_m + min(2 * self.km * 1000, 0.5 * rest_m)
        far = _far_point(draft.path, (from_m + to_m) / 2, self.km * 1000)
        there_m = Path([*draft.path.cut(0.0, from_m), far]).length_m
        rerouted = draft.with_excursion(from_m, [far], to_m if self.returns else None)
        if not self.returns or not self.stop_minutes:
            return rerouted
        return rerouted.with_stop(there_m, self.stop_minutes)


class UnauthorisedStop(_Placed):
    """Stands on the route for `minutes`, away from any planned stop."""

    name = "unauthorised_stop"
    minutes: float = Field(25.0, gt=0, description="how long, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop."""
        return draft.with_stop(draft.at_m(self.at), self.minutes)


class _Breaking(_Placed):
    stop_minutes: float = Field(
        4.0, ge=0, description="short stop in whose middle it happens; 0: while driving"
    )
    part: ClassVar[Literal["rope", "case"]]

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop and the break in its middle."""
        at_m = draft.at_m(self.at)
        broken = Broken(at_m=at_m, part=self.part, after_s=self.stop_minutes * 30)
        stopping = draft.with_stop(at_m, self.stop_minutes) if self.stop_minutes else draft
        return stopping.with_effect(broken)


class RopeCut(_Breaking):
    """The seal's rope is cut, by default during a stop of a few minutes."""

    name = "rope_cut"
    part = "rope"


class CaseOpen(_Breaking):
    """The seal's case is opened, by default during a stop of a few minutes."""

    name = "case_open"
    part = "case"


class BatteryDeath(_Placed):
    """The battery sags under 15 % and then dies: silence, with no goodbye."""

    name = "battery_death"
    at: float = Field(0.3, ge=0, le=1, description="where the sag begins, part of the way")
    minutes: float = Field(60.0, gt=0, description="from the first sag to the death, minutes")
    devices: Devices = Field("seal", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the sag."""
        sag = BatterySag(
            at_m=draft.at_m(self.at), duration_s=self.minutes * 60, devices=self.devices
        )
        return draft.with_effect(sag)


class CoverageGap(_Placed):
    """No network for `minutes` while records pile up; then the backlog arrives."""

    name = "coverage_gap"
    at: float = Field(0.3, ge=0, le=1, description="where the gap begins, part of the way")
    minutes: float = Field(40.0, gt=0, description="how long, minutes")
    order: Order = Field("oldest", description="which end of the backlog goes first")
    devices: Devices = Field("all", description="which devices: seal, gps or all")

    def apply(self, draft: Draft) -> Draft:
        """Adds the gap and sets the order of the backlog."""
        gap = RadioOff(at_m=draft.at_m(self.at), duration_s=self.minutes * 60, devices=self.devices)
        return replace(draft.with_effect(gap), backlog=self.order)


_ALL: tuple[type[Plot], ...] = (
    Honest,
    Diversion,
    UnauthorisedStop,
    RopeCut,
    CaseOpen,
    BatteryDeath,
    CoverageGap,
)
PLOTS: Mapping[str, type[Plot]] = {plot.name: plot for plot in _ALL}


def befalls(devices: Devices, kind: Kind) -> bool:
    """Whether an effect on these devices concerns a device of this kind."""
    return devices in ("all", kind)


def _far_point(path: Path, middle_m: float, off_m: float) -> LonLat:
    """A point beside the path, at least `off_m` from the whole of it and as little more as can be.

    On a winding road a point straight beside one bend may lie close to the next; hence the search.
    """
    spot = path.at(middle_m)
    for stretch in range(30):
        for side in (90.0, -90.0):
            by_m = off_m * math.pow(1.03, stretch) + 5.0
            point = away((spot.lon, spot.lat), spot.heading_deg + side, by_m)
            if path.nearest_m(point)[1] >= off_m:
                return point
    raise PlanError(
        f"no place {off_m / 1000:g} km off the route was found beside it; "
        "give a smaller km or another at"
    )
