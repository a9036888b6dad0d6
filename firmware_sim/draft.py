"""A trip before it begins: path, stops, and all that is to befall it, by places along the path."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from firmware_sim.actions import Pulse
from firmware_sim.effects import Devices, Effect, befalls
from firmware_sim.errors import PlanError
from firmware_sim.geo import LonLat, Path
from firmware_sim.trip import Rests, Slow, Stop, Weather
from firmware_sim.truth import ActKind, Expect
from firmware_sim.wire import Kind

AT_ARRIVAL = math.inf
"""A place that is passed when the vehicle arrives."""

# A driver does not leave his road for a parking farther away than this; a plan that asks for it
# has most likely swapped lon and lat.
_STOP_MAX_OFF_M = 5_000.0
_STOP_ON_ROAD_M = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A happening to come: begins `after_s` after `at_m` is passed, ends as an `Effect` does."""

    name: str
    at_m: float
    params: Mapping[str, Any] = field(default_factory=dict)
    after_s: float = 0.0
    duration_s: float = math.inf
    to_m: float = math.inf
    devices: Devices = "all"
    expects: tuple[Expect, ...] = ()
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAct:
    """Something a person is to do. `fields` holds the body but `at` and the position.

    `position`: "here" is the vehicle's true place then, None tells none. `after_s` may be negative:
    the act bears a time before the place was passed.
    """

    kind: ActKind
    at_m: float
    after_s: float = 0.0
    position: LonLat | str | None = "here"
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a plot does to the delivery; several are joined by `also`."""

    nondelivery: bool = False
    goods_gone: bool = False
    honest: bool = True
    rank_high: bool = False

    def also(self, other: Outcome) -> Outcome:
        """Both together."""
        return Outcome(
            nondelivery=self.nondelivery or other.nondelivery,
            goods_gone=self.goods_gone or other.goods_gone,
            honest=self.honest and other.honest,
            rank_high=self.rank_high or other.rank_high,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A second device with the identity of one on board; effects reach it as "clone"."""

    of: str


class Cued(Protocol):
    """What begins at a place of the path."""

    @property
    def at_m(self) -> float:
        """Metres along the driven path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A trip that has not begun. All metres are along `path`, which plots may reroute.

    `devices`: ids and kinds on board. `settings`: changes of device configurations, by devices.
    `seed` feeds what plots draw by lot; `start_ms` is the departure. The rest is the driver's.
    """

    path: Path
    start_m: float = 0.0
    stops: tuple[Stop, ...] = ()
    slow: tuple[Slow, ...] = ()
    effects: tuple[Effect, ...] = ()
    pulses: tuple[Pulse, ...] = ()
    happenings: tuple[Planned, ...] = ()
    acts: tuple[PlannedAct, ...] = ()
    settings: tuple[tuple[Devices, Mapping[str, Any]], ...] = ()
    clones: tuple[Clone, ...] = ()
    outcome: Outcome = field(default_factory=Outcome)
    devices: tuple[tuple[str, Kind], ...] = ()
    seed: str = "0"
    start_ms: int = 0
    rests: Rests | None = None
    night_factor: float = 1.0
    weather: tuple[Weather, ...] = ()

    def at_m(self, part: float) -> float:
        """The place after this part (0–1) of the way still to be driven."""
        return self.start_m + part * (self.path.length_m - self.start_m)

    def part(self, at_m: float) -> float:
        """The inverse of `at_m`."""
        return (at_m - self.start_m) / (self.path.length_m - self.start_m)

    def rng(self, part: str) -> random.Random:
        """A generator for one plot's lots."""
        return random.Random(f"{self.seed}/{part}")

    def ids(self, devices: Devices) -> tuple[str, ...]:
        """Ids of the devices on board that `devices` names; a clone bears its original's."""
        if devices == "clone":
            return tuple(dict.fromkeys(clone.of for clone in self.clones))
        return tuple(id_ for id_, kind in self.devices if befalls(devices, kind, id_))

    def first(self, kind: Kind, who: str) -> str:
        """Id of the first device of a kind; PlanError names `who` needs it."""
        ids = self.ids(kind)
        if not ids:
            raise PlanError(f"{who} needs a {kind} on board; add one to the vehicle's devices")
        return ids[0]

    # -- what is added -----------------------------------------------------------------------

    def with_stop(
        self, at_m: float, minutes: float, *, until_ms: int | None = None, planned: bool = False
    ) -> Draft:
        """The same with one more stop."""
        stop = Stop(at_m=at_m, duration_s=minutes * 60, until_ms=until_ms, planned=planned)
        return replace(self, stops=(*self.stops, stop))

    def with_slow(self, from_m: float, to_m: float, limit_kmh: float) -> Draft:
        """The same with a limit on a part of the way."""
        zone = Slow(from_m=from_m, to_m=to_m, limit_kmh=limit_kmh)
        return replace(self, slow=(*self.slow, zone))

    def with_effect(self, *effects: Effect) -> Draft:
        """The same with more effects."""
        return replace(self, effects=(*self.effects, *effects))

    def with_pulse(self, *pulses: Pulse) -> Draft:
        """The same with more deeds of devices."""
        return replace(self, pulses=(*self.pulses, *pulses))

    def with_happening(self, *happenings: Planned) -> Draft:
        """The same with more ground truth."""
        return replace(self, happenings=(*self.happenings, *happenings))

    def with_act(self, *acts: PlannedAct) -> Draft:
        """The same with more acts of people."""
        return replace(self, acts=(*self.acts, *acts))

    def with_setting(self, devices: Devices, **changes: Any) -> Draft:
        """The same with devices configured otherwise (fields of `DeviceConfig`)."""
        return replace(self, settings=(*self.settings, (devices, changes)))

    def with_clone(self, device_id: str) -> Draft:
        """The same with a second device of this identity."""
        return replace(self, clones=(*self.clones, Clone(of=device_id)))

    def with_outcome(self, outcome: Outcome) -> Draft:
        """The same with a worse, or no worse, outcome."""
        return replace(self, outcome=self.outcome.also(outcome))

    # -- where it goes -----------------------------------------------------------------------

    def with_excursion(self, from_m: float, points: Sequence[LonLat], to_m: float | None) -> Draft:
        """Leave the path at `from_m`, visit the points, rejoin at `to_m`, or never if None."""
        if any(from_m < cue.at_m < math.inf for cue in self._cues()):
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

    def with_end(self, at_m: float) -> Draft:
        """The trip ends here, short of the destination."""
        if any(at_m < cue.at_m < math.inf for cue in self._cues()):
            raise PlanError("give plots in the order of their places: what ends a trip comes last")
        stops = tuple(stop for stop in self.stops if stop.at_m < at_m)
        return replace(self, path=Path(self.path.cut(0.0, at_m)), stops=stops)

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
            return self.with_stop(along_m, minutes, planned=True)
        there_m = Path([*self.path.cut(0.0, along_m), point]).length_m
        aside = self.with_excursion(along_m, [point], along_m)
        return aside.with_stop(there_m, minutes, planned=True)

    def _cues(self) -> Iterator[Cued]:
        yield from self.effects
        yield from self.pulses
        yield from self.happenings
        yield from self.acts


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
