"""What surrounds a device: the vehicle's true motion, the device's condition, GNSS reception."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from firmware_sim.wire import Key

Sky = Literal["open", "canyon"]
Source = Literal["gnss", "lbs", "wifi", "last"]
Reception = Literal["gnss", "lbs", "frozen", "zero", "none"]

# One standard deviation per axis in the open, and how long an error lingers (issue's figures):
# most of it changes within a minute, the rest (ionosphere, orbits) over half an hour.
NOISE_SIGMA_M = 2.0
NOISE_TAU_S = 60.0
SLOW_SIGMA_M, SLOW_TAU_S = 0.9, 1_800.0
_FAST_SIGMA_M = math.sqrt(NOISE_SIGMA_M**2 - SLOW_SIGMA_M**2)
# Between high walls the direct signal is missing and reflections take its place.
CANYON_SIGMA_M = 12.0
CANYON_OUTLIER_P = 0.03
_OUTLIER_M = (60.0, 300.0)
# A parked receiver wanders slowly about: the reflections around it hardly change.
PARKED_SIGMA_M, PARKED_TAU_S = 1.5, 900.0
# Radius that holds 68 % of a two-dimensional normal error: sqrt(-2 ln 0.32) = 1.51 sigma.
_ACC_68 = 1.51
_HDOP_OPEN = 0.9
# A cell's place is its tower's, hundreds of metres to kilometres from the device.
_CELL_SIGMA_M, _CELL_ACC_M = 700.0, 1_100.0


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
    """One device's body and what befalls it. `alive` false: nothing runs any more.

    `powered` false: switched off. `hears` false: nothing comes down to it. `lock` None: as the
    device last moved it. `jam` 0–2 and `spoof` are what its receiver notices. `rides`: another
    motion than its vehicle's; `shown`: the motion a spoofer feigns; `shift_m`: his offset (east,
    north). `clock_ms` and `fix_clock_ms`: errors of its clock and of its receiver's time.
    `feed_mv`, `engine_on`, None: as the vehicle. `odo_fixed_m` holds the odometer of wheels that
    do not turn; `odo_from_m` is taken off it. `pace` stretches its periods. `wrong_mac`: what it
    signs is spoilt on the way.
    """

    bat_pct: float = 100.0
    rope: Literal["in", "out", "cut"] = "in"
    case: Literal["closed", "open"] = "closed"
    temp_c: float = 20.0
    radio: bool = True
    alive: bool = True
    powered: bool = True
    hears: bool = True
    lock: Literal["stuck"] | None = None
    jam: int = 0
    spoof: bool = False
    sky: Sky = "open"
    reception: Reception = "gnss"
    shift_m: tuple[float, float] = (0.0, 0.0)
    rides: Truth | None = None
    shown: Truth | None = None
    clock_ms: int = 0
    fix_clock_ms: int = 0
    tq: Literal["gnss", "net", "rtc", "none"] | None = None
    feed_mv: int | None = None
    engine_on: bool | None = None
    odo_from_m: float = 0.0
    odo_fixed_m: float | None = None
    mcc: int = 401
    pace: float = 1.0
    key: Key | None = None
    wrong_mac: bool = False


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
    src: Source = "gnss"


@dataclass(slots=True, kw_only=True)
class World:
    """All a device can sense now: its owner keeps it up to date, instant by instant.

    `locate` is asked only when a record is made.
    """

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


class _Axis:
    """The error along one axis, in metres: a fast and a slow part, and a third when parked."""

    def __init__(self, rng: random.Random, sigma_m: float) -> None:
        part = sigma_m / NOISE_SIGMA_M
        self._fast = Wander(rng, sigma=_FAST_SIGMA_M * part, tau_s=NOISE_TAU_S)
        self._slow = Wander(rng, sigma=SLOW_SIGMA_M * part, tau_s=SLOW_TAU_S)
        self._parked = Wander(rng, sigma=PARKED_SIGMA_M * part, tau_s=PARKED_TAU_S)

    def step(self, dt_s: float, *, parked: bool, sky: Sky) -> float:
        fast, slow = self._fast.step(dt_s), self._slow.step(dt_s)
        drift = self._parked.step(dt_s)
        worse = CANYON_SIGMA_M / NOISE_SIGMA_M if sky == "canyon" else 1.0
        return (fast + slow) * worse + (drift if parked else 0.0)


class Receiver:
    """A GNSS receiver with its own correlated error per axis; call it in order of time."""

    def __init__(self, rng: random.Random, *, sigma_m: float = NOISE_SIGMA_M) -> None:
        self._rng, self._sigma_m = rng, sigma_m
        self._east, self._north = _Axis(rng, sigma_m), _Axis(rng, sigma_m)
        self._sky = Wander(rng, sigma=0.12, tau_s=600.0)
        self._last: Fix | None = None

    @property
    def last(self) -> Fix | None:
        """The last fix given, if any."""
        return self._last

    def __call__(self, truth: Truth, sky: Sky = "open") -> Fix:
        """The fix at this instant; the same instant gives the same fix."""
        if self._last is not None and self._last.t_ms == truth.t_ms:
            return self._last
        dt_s = (truth.t_ms - self._last.t_ms) / 1000 if self._last else 0.0
        self._last = self._fix(truth, max(dt_s, 0.0), sky)
        return self._last

    def cell(self, truth: Truth) -> Fix:
        """A place by the mobile network: coarse, with neither speed nor course."""
        east_m, north_m = self._rng.gauss(0, _CELL_SIGMA_M), self._rng.gauss(0, _CELL_SIGMA_M)
        lat, lon = shift(truth.lat, truth.lon, east_m, north_m)
        return Fix(t_ms=truth.t_ms, lat=lat, lon=lon, acc_m=_CELL_ACC_M, src="lbs")

    def _fix(self, truth: Truth, dt_s: float, sky: Sky) -> Fix:
        parked = not truth.moving
        east_m = self._east.step(dt_s, parked=parked, sky=sky)
        north_m = self._north.step(dt_s, parked=parked, sky=sky)
        hdop = round(max(0.6, _HDOP_OPEN + self._sky.step(dt_s)), 1)
        sigma_m = self._sigma_m
        if sky == "canyon":
            sigma_m *= CANYON_SIGMA_M / NOISE_SIGMA_M
            hdop = round(hdop + abs(self._rng.gauss(1.6, 0.6)), 1)
            astray_m = self._outlier()
            east_m, north_m = east_m + astray_m[0], north_m + astray_m[1]
            spread_m = sigma_m * _ACC_68
        else:
            spread_m = sigma_m * _ACC_68 * hdop / _HDOP_OPEN
        lat, lon = shift(truth.lat, truth.lon, east_m, north_m)
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

    def _outlier(self) -> tuple[float, float]:
        """Where a reflection throws a single fix, m east and north; mostly nowhere."""
        if self._rng.random() >= CANYON_OUTLIER_P:
            return 0.0, 0.0
        far_m, angle = self._rng.uniform(*_OUTLIER_M), self._rng.uniform(0, 2 * math.pi)
        return far_m * math.sin(angle), far_m * math.cos(angle)

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
