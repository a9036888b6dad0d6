"""What surrounds a device: the vehicle's true motion, the device's condition, GNSS reception."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# One standard deviation per axis in the open, and how long an error lingers (issue's figures).
NOISE_SIGMA_M = 2.0
NOISE_TAU_S = 60.0
# Median of a two-dimensional normal error's length at 68 %: sqrt(-2 ln 0.32) = 1.51 sigma.
_ACC_68 = 1.51
_HDOP_OPEN = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The vehicle as it really is at `t_ms` (true time, ms UTC). `driven_m`: along its path."""

    t_ms: int
    driven_m: float
    lat: float
    lon: float
    speed_kmh: float
    heading_deg: float
    moving: bool
    ignition: bool | None
    odo_m: float
    ext_mv: int | None
    arrived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One device's body: battery, mechanics, radio. `alive` false: nothing runs any more."""

    bat_pct: float = 100.0
    rope: Literal["in", "out", "cut"] = "in"
    case: Literal["closed", "open"] = "closed"
    temp_c: float = 20.0
    radio: bool = True
    alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What the receiver says: degrees WGS 84, km/h, degrees, m (68 %); None is left out."""

    t_ms: int
    lat: float
    lon: float
    alt_m: float | None = None
    speed_kmh: float | None = None
    heading_deg: float | None = None
    hdop: float | None = None
    sat: int | None = None
    acc_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All a device can sense at one instant. `locate` is asked only when a record is made."""

    truth: Truth
    condition: Condition
    locate: Callable[[Truth], Fix | None]


class Wander:
    """Ornstein–Uhlenbeck process with zero mean: an error that drifts instead of jumping.

    `step` uses the exact discretisation, so its statistics don't depend on the step length.
    """

    def __init__(self, rng: random.Random, *, sigma: float, tau_s: float) -> None:
        self._rng, self._sigma, self._tau_s = rng, sigma, tau_s
        self.value = rng.gauss(0.0, sigma)

    def step(self, dt_s: float) -> float:
        """Advance by `dt_s` seconds and return the new value."""
        keep = math.exp(-dt_s / self._tau_s)
        self.value = self.value * keep + self._rng.gauss(
            0.0, self._sigma * math.sqrt(1.0 - keep * keep)
        )
        return self.value


class Receiver:
    """A GNSS receiver with its own correlated error per axis; call it in order of time."""

    def __init__(self, rng: random.Random, *, sigma_m: float = NOISE_SIGMA_M) -> None:
        self._rng, self._sigma_m = rng, sigma_m
        self._east = Wander(rng, sigma=sigma_m, tau_s=NOISE_TAU_S)
        self._north = Wander(rng, sigma=sigma_m, tau_s=NOISE_TAU_S)
        self._sky = Wander(rng, sigma=0.12, tau_s=600.0)
        self._last: Fix | None = None

    def __call__(self, truth: Truth) -> Fix:
        """The fix at this instant; the same instant gives the same fix."""
        if self._last is not None and self._last.t_ms == truth.t_ms:
            return self._last
        dt_s = (truth.t_ms - self._last.t_ms) / 1000 if self._last else 0.0
        self._last = self._fix(truth, max(dt_s, 0.0))
        return self._last

    def _fix(self, truth: Truth, dt_s: float) -> Fix:
        lat, lon = shift(truth.lat, truth.lon, self._east.step(dt_s), self._north.step(dt_s))
        hdop = round(max(0.6, _HDOP_OPEN + self._sky.step(dt_s)), 1)
        spread_m = self._sigma_m * _ACC_68 * hdop / _HDOP_OPEN
        return Fix(
            t_ms=truth.t_ms,
            lat=lat,
            lon=lon,
            speed_kmh=round(abs(truth.speed_kmh + self._rng.gauss(0.0, 0.3)), 1),
            heading_deg=self._heading(truth),
            hdop=hdop,
            sat=max(5, min(20, round(13 - 8 * (hdop - _HDOP_OPEN) + self._rng.gauss(0, 1)))),
            acc_m=round(max(1.5, spread_m), 1),
        )

    def _heading(self, truth: Truth) -> float:
        # A standing receiver cannot tell its course and repeats the last one.
        if not truth.moving and self._last is not None and self._last.heading_deg is not None:
            return self._last.heading_deg
        return round(truth.heading_deg + self._rng.gauss(0.0, 1.0), 1) % 360.0


def shift(lat: float, lon: float, east_m: float, north_m: float) -> tuple[float, float]:
    """A point a few metres away; metres per degree of WGS 84, good to 0.1 % at this scale."""
    phi = math.radians(lat)
    per_lat = 111132.954 - 559.822 * math.cos(2 * phi) + 1.175 * math.cos(4 * phi)
    per_lon = 111412.84 * math.cos(phi) - 93.5 * math.cos(3 * phi)
    return lat + north_m / per_lat, lon + east_m / per_lon
