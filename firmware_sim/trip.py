"""A lorry's true motion along a path: legal speed, bends, towns, stops, rests, night, weather."""

from __future__ import annotations

import math
import random
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firmware_sim.geo import Path, Spot
from firmware_sim.world import Truth, Wander

# Kazakhstan's limits for a heavy lorry: 80 km/h outside towns, 60 inside.
OPEN_ROAD_KMH = 80.0
TOWN_KMH = 60.0
# Trips begin and end in yards and streets.
YARD_M = 300.0
YARD_KMH = 20.0
# A laden lorry: it gathers way slowly and brakes gently.
ACCELERATION_MS2 = 0.5
BRAKING_MS2 = 0.8
# A driver keeps a little under the limit and drifts around it over minutes.
_CRUISE = 0.95
_CRUISE_SIGMA = 0.03
_CRUISE_TAU_S = 120.0
_TICK_MS = 1_000
_PARKED_TICK_MS = 10_000
_LOOK_AHEAD_M = 450.0
# The engine of a lorry that stands longer than this is switched off.
_ENGINE_OFF_S = 300.0
_EXT_RUNNING_MV, _EXT_RESTING_MV = 27_600, 25_200
_MOVING_KMH = 1.0
# Kazakhstan's night, hours of UTC+5.
_NIGHT_FROM_H, _NIGHT_TO_H = 22, 6
_LOCAL_MS = 5 * 3_600_000
_HOUR_MS = 3_600_000
# A driver looks out for a parking in his last quarter of an hour; a rest begins so far ahead.
_LOOK_OUT_S = 15 * 60.0
_REST_AHEAD_M = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The vehicle stands at `at_m` of its path for so long, and at least until `until_ms`.

    `planned`: it was to stop there from the beginning.
    """

    at_m: float
    duration_s: float
    until_ms: int | None = None
    planned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A part of the path with its own limit: a town, a pass, roadworks."""

    from_m: float
    to_m: float
    limit_kmh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rests:
    """Tachograph rules: 45 min after 4.5 h of driving, a night's rest after 9 h in a day.

    `places`: parkings, metres along the path; without one in reach the driver stops on the road.
    """

    driving_s: float = 4.5 * 3600
    break_s: float = 45 * 60
    day_s: float = 9 * 3600
    night_s: float = 11 * 3600
    places: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A rest that was taken: ms UTC; `night` for the long one. `parked`: at a known parking."""

    from_ms: int
    to_ms: int
    lon: float
    lat: float
    night: bool
    parked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Snow, fog or dust: speed times `factor` from one instant to another, s since the start."""

    from_s: float
    to_s: float
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Itinerary:
    """What the driver is going to do. Metres are along `path`; `start_m` is where he begins.

    `rests` None: he never rests on his own. `night_factor`: of the speed at night.
    """

    path: Path
    start_ms: int
    start_m: float = 0.0
    stops: tuple[Stop, ...] = ()
    slow: tuple[Slow, ...] = ()
    rests: Rests | None = None
    night_factor: float = 1.0
    weather: tuple[Weather, ...] = ()


class Drive:
    """Walks an itinerary second by second (10 s when parked). Call `advance` in order."""

    def __init__(self, itinerary: Itinerary, rng: random.Random, *, odo_m: float = 0.0) -> None:
        self._it = itinerary
        self._wobble = Wander(rng, sigma=_CRUISE_SIGMA, tau_s=_CRUISE_TAU_S)
        self._odo_start_m = odo_m - itinerary.start_m
        end = Stop(at_m=itinerary.path.length_m, duration_s=math.inf)
        self._stops = [
            *(s for s in sorted(itinerary.stops, key=_at_m) if s.at_m >= itinerary.start_m),
            end,
        ]
        self._gates = sorted(_gates(itinerary.path, itinerary.slow, self._stops))
        self._zones = [*itinerary.slow, *_yards(itinerary.path)]
        self._now_ms = itinerary.start_ms
        self._at_m = min(itinerary.start_m, itinerary.path.length_m)
        self._speed_ms = 0.0
        self._standing_until_ms: float = 0.0
        self._engine = True
        self._tachograph = None if itinerary.rests is None else _Tachograph(itinerary.rests)

    @property
    def arrived(self) -> bool:
        """Whether the end of the path has been reached."""
        return not self._stops

    @property
    def rests(self) -> Sequence[Rest]:
        """The rests taken by the tachograph's rules, planned stops not among them."""
        return self._tachograph.taken if self._tachograph else ()

    @property
    def now_ms(self) -> int:
        """The instant that has been reached, ms UTC."""
        return self._now_ms

    @property
    def next_ms(self) -> int:
        """The instant of the next tick, ms UTC."""
        if not self._standing:
            return self._now_ms + _TICK_MS
        return int(min(self._now_ms + _PARKED_TICK_MS, self._standing_until_ms))

    def advance(self) -> Truth:
        """One tick further: the truth at the new instant."""
        standing, next_ms = self._standing, self.next_ms
        dt_s = (next_ms - self._now_ms) / 1000
        self._now_ms = next_ms
        if not standing:
            self._engine = True
            self._move(dt_s)
        return self.truth()

    @property
    def _standing(self) -> bool:
        return self._now_ms < self._standing_until_ms

    def truth(self) -> Truth:
        """Where the vehicle is now."""
        spot = self._it.path.at(self._at_m)
        speed_kmh = self._speed_ms * 3.6
        return Truth(
            t_ms=self._now_ms,
            driven_m=self._at_m,
            lat=spot.lat,
            lon=spot.lon,
            speed_kmh=speed_kmh,
            heading_deg=spot.heading_deg,
            moving=speed_kmh > _MOVING_KMH,
            ignition=self._engine,
            odo_m=self._odo_start_m + self._at_m,
            ext_mv=_EXT_RUNNING_MV if self._engine else _EXT_RESTING_MV,
            arrived=self.arrived,
        )

    def _move(self, dt_s: float) -> None:
        wanted = self._wanted_ms(self._wobble.step(dt_s))
        change = wanted - self._speed_ms
        self._speed_ms += min(max(change, -2 * BRAKING_MS2 * dt_s), ACCELERATION_MS2 * dt_s)
        step_m = self._speed_ms * dt_s
        if self._tachograph is not None:
            self._watch_hours(self._tachograph, dt_s)
        stop = self._stops[0]
        if stop.at_m - self._at_m <= max(step_m, 1.0):
            self._halt(stop)
        else:
            self._at_m += step_m

    def _halt(self, stop: Stop) -> None:
        self._at_m, self._speed_ms = stop.at_m, 0.0
        self._stops.pop(0)
        self._engine = stop.duration_s < _ENGINE_OFF_S
        # Whole seconds: a fraction of a millisecond would never be reached.
        stands_s = stop.duration_s if math.isinf(stop.duration_s) else math.ceil(stop.duration_s)
        self._standing_until_ms = self._now_ms + stands_s * 1000
        if stop.until_ms is not None:
            self._standing_until_ms = max(self._standing_until_ms, stop.until_ms)
        if self._tachograph is not None:
            spot = self._it.path.at(stop.at_m)
            self._tachograph.stood(self._now_ms, self._standing_until_ms, stop, spot)

    def _watch_hours(self, tachograph: _Tachograph, dt_s: float) -> None:
        """Put in the rest that is due before the next stop."""
        rest = tachograph.due(dt_s, self._at_m, self._speed_ms, self._stops[0].at_m)
        if rest is not None:
            self._stops.insert(0, rest)
            insort(self._gates, (rest.at_m, 0.0))

    def _wanted_ms(self, wobble: float) -> float:
        limit_kmh = min(
            (zone.limit_kmh for zone in self._zones if zone.from_m <= self._at_m < zone.to_m),
            default=OPEN_ROAD_KMH,
        )
        wanted = min(limit_kmh, OPEN_ROAD_KMH) / 3.6 * min(1.0, _CRUISE + wobble) * self._pace()
        while self._gates and self._gates[0][0] < self._at_m:
            self._gates.pop(0)
        for at_m, gate_ms in self._gates:
            ahead_m = at_m - self._at_m
            if ahead_m > _LOOK_AHEAD_M:
                break
            wanted = min(wanted, math.sqrt(gate_ms**2 + 2 * BRAKING_MS2 * ahead_m))
        # Crawl to the very spot instead of halving the distance for ever.
        return max(wanted, 0.5)

    def _pace(self) -> float:
        """The part of his speed that night and weather leave the driver."""
        it = self._it
        if it.night_factor == 1.0 and not it.weather:
            return 1.0
        factor = it.night_factor if is_night(self._now_ms) else 1.0
        since_s = (self._now_ms - it.start_ms) / 1000
        for spell in it.weather:
            if spell.from_s <= since_s < spell.to_s:
                factor *= spell.factor
        return factor


class _Tachograph:
    """Counts the hours at the wheel and says when a rest is due."""

    def __init__(self, rules: Rests) -> None:
        self._rules = rules
        self._places = sorted(rules.places)
        self._since_break_s = 0.0
        self._today_s = 0.0
        self._planned: tuple[Stop, bool, bool] | None = None
        self.taken: list[Rest] = []

    def due(self, dt_s: float, at_m: float, speed_ms: float, next_stop_m: float) -> Stop | None:
        """The rest to put in before the next stop, once; None as long as there is time left."""
        self._since_break_s += dt_s
        self._today_s += dt_s
        if self._planned is not None:
            return None
        rules = self._rules
        left_s = min(rules.driving_s - self._since_break_s, rules.day_s - self._today_s)
        if left_s > _LOOK_OUT_S:
            return None
        place_m = self._place(at_m + _REST_AHEAD_M, at_m + max(left_s, 0.0) * speed_ms)
        if place_m is None and left_s > _REST_AHEAD_M / max(speed_ms, 1.0):
            return None
        rest_m = at_m + _REST_AHEAD_M if place_m is None else place_m
        if rest_m >= next_stop_m:
            return None
        night = self._today_s + _LOOK_OUT_S >= rules.day_s
        rest = Stop(at_m=rest_m, duration_s=rules.night_s if night else rules.break_s)
        self._planned = (rest, night, place_m is not None)
        return rest

    def stood(self, from_ms: int, to_ms: float, stop: Stop, spot: Spot) -> None:
        """The vehicle stands: what is long enough counts as a rest."""
        if math.isinf(to_ms):
            return
        if (to_ms - from_ms) / 1000 >= self._rules.break_s:
            self._since_break_s = 0.0
        if (to_ms - from_ms) / 1000 >= self._rules.day_s:
            self._today_s = 0.0
        if self._planned is not None and stop is self._planned[0]:
            _, night, parked = self._planned
            self._planned = None
            rest = Rest(
                from_ms=from_ms,
                to_ms=int(to_ms),
                lon=spot.lon,
                lat=spot.lat,
                night=night,
                parked=parked,
            )
            self.taken.append(rest)

    def _place(self, from_m: float, to_m: float) -> float | None:
        i = bisect_right(self._places, from_m)
        return self._places[i] if i < len(self._places) and self._places[i] <= to_m else None


def is_night(t_ms: int) -> bool:
    """Whether it is night in Kazakhstan, UTC+5."""
    hour = (t_ms + _LOCAL_MS) // _HOUR_MS % 24
    return hour >= _NIGHT_FROM_H or hour < _NIGHT_TO_H


def bend_kmh(turned_deg: float) -> float:
    """Speed a lorry takes a bend with: full under 10°, a walk's few times at a right angle."""
    if turned_deg < 10.0:
        return OPEN_ROAD_KMH
    return max(12.0, OPEN_ROAD_KMH * (1.0 - turned_deg / 100.0))


def _gates(path: Path, slow: Iterable[Slow], stops: Sequence[Stop]) -> list[tuple[float, float]]:
    """(metres along the path, highest speed there in m/s): what the driver must brake for."""
    bends = [(at_m, bend_kmh(turned) / 3.6) for at_m, turned in path.turns()]
    zones = [*slow, *_yards(path)]
    return [
        *(gate for gate in bends if gate[1] < OPEN_ROAD_KMH / 3.6),
        *((zone.from_m, zone.limit_kmh / 3.6) for zone in zones),
        *((stop.at_m, 0.0) for stop in stops),
    ]


def _yards(path: Path) -> list[Slow]:
    first = Slow(from_m=0.0, to_m=YARD_M, limit_kmh=YARD_KMH)
    last_m = path.length_m - YARD_M
    return [first, Slow(from_m=last_m, to_m=path.length_m, limit_kmh=YARD_KMH)]


def _at_m(stop: Stop) -> float:
    return stop.at_m
