"""A lorry's true motion along a path: legal speed, bends, towns, stops, ignition, odometer."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firmware_sim.geo import Path
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The vehicle stands at `at_m` of its path for so long."""

    at_m: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A part of the path with its own limit: a town, a pass, roadworks."""

    from_m: float
    to_m: float
    limit_kmh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Itinerary:
    """What the driver is going to do. Metres are along `path`; `start_m` is where he begins."""

    path: Path
    start_ms: int
    start_m: float = 0.0
    stops: tuple[Stop, ...] = ()
    slow: tuple[Slow, ...] = ()


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

    @property
    def arrived(self) -> bool:
        """Whether the end of the path has been reached."""
        return not self._stops

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

    def _wanted_ms(self, wobble: float) -> float:
        limit_kmh = min(
            (zone.limit_kmh for zone in self._zones if zone.from_m <= self._at_m < zone.to_m),
            default=OPEN_ROAD_KMH,
        )
        wanted = min(limit_kmh, OPEN_ROAD_KMH) / 3.6 * min(1.0, _CRUISE + wobble)
        while self._gates and self._gates[0][0] < self._at_m:
            self._gates.pop(0)
        for at_m, gate_ms in self._gates:
            ahead_m = at_m - self._at_m
            if ahead_m > _LOOK_AHEAD_M:
                break
            wanted = min(wanted, math.sqrt(gate_ms**2 + 2 * BRAKING_MS2 * ahead_m))
        # Crawl to the very spot instead of halving the distance for ever.
        return max(wanted, 0.5)


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
