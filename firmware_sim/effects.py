"""What befalls devices for a while: an effect changes a device's condition as long as it lasts."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from firmware_sim.geo import LonLat, Path
from firmware_sim.trip import Drive, Itinerary, Slow, Stop
from firmware_sim.wire import Kind
from firmware_sim.world import Condition, Truth, shift

Devices = str
"""Which devices: "all", "seal", "gps" (a kind), "clone", or "id:" and a device's id."""

ClockFault = Literal["1970", "1980", "rollover", "future", "drift", "local"]

_DAY_MS = 86_400_000
_GPS_EPOCH_MS = 315_964_800_000
_ROLLOVER_MS = 1024 * 7 * _DAY_MS
LOCAL_MS = 5 * 3_600_000
"""Kazakhstan's time is UTC+5."""


def befalls(devices: Devices, kind: Kind, device_id: str = "", *, clone: bool = False) -> bool:
    """Whether an effect on these devices concerns this device. A clone is only met as such."""
    if clone or devices == "clone":
        return clone and devices == "clone"
    return devices in ("all", kind, f"id:{device_id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Begins `after_s` after the vehicle has passed `at_m` of its path (inf: at its arrival).

    It lasts `duration_s`, but no longer than until `to_m` is passed. `steady`: its age changes
    nothing.
    """

    steady: ClassVar[bool] = False
    at_m: float
    after_s: float = 0.0
    duration_s: float = math.inf
    to_m: float = math.inf
    devices: Devices = "all"

    def begun(self, truth: Truth, rng: random.Random) -> Effect:
        """The effect as it begins here and now; one with a state of its own returns a new one."""
        return self

    @property
    def under_way(self) -> bool:
        """Whether the trip is not over before this has come to its end."""
        return False

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The device's condition `age_s` seconds after it began."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Effect):
    """Sets fields of the condition while it lasts."""

    steady: ClassVar[bool] = True
    changes: tuple[tuple[str, Any], ...]

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The fields set."""
        return replace(body, **dict(self.changes))


def change(at_m: float, *, devices: Devices = "all", **given: Any) -> Change:
    """A `Change` from keywords: those of `Effect` as such, all others as fields to set."""
    names = ("after_s", "duration_s", "to_m")
    when = {name: given.pop(name) for name in names if name in given}
    return Change(at_m=at_m, devices=devices, changes=tuple(given.items()), **when)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Effect):
    """The rope is cut or the case opened, and stays so."""

    steady: ClassVar[bool] = True
    part: Literal["rope", "case"]
    devices: Devices = "seal"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Broken."""
        return replace(body, rope="cut") if self.part == "rope" else replace(body, case="open")


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioOff(Effect):
    """No coverage; the device goes on recording."""

    steady: ClassVar[bool] = True

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Radio off during the gap."""
        return replace(body, radio=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping(Effect):
    """The link breaks every `every_s` for `off_s`."""

    every_s: float
    off_s: float

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Radio off at the end of each turn."""
        return replace(body, radio=body.radio and age_s % self.every_s < self.every_s - self.off_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatterySag(Effect):
    """The battery falls in a line from its level to nothing in `sag_s`; then the device is dead."""

    sag_s: float
    devices: Devices = "seal"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The level after so long; `alive` false at the end."""
        left = 1.0 - age_s / self.sag_s
        if left <= 0:
            return replace(body, bat_pct=0.0, alive=False, radio=False)
        return replace(body, bat_pct=body.bat_pct * left)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdBattery(Effect):
    """Frost takes the level down to `to_pct` and gives it back; `duration_s` must be finite."""

    to_pct: float
    temp_c: float
    devices: Devices = "seal"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Lowest in the middle."""
        depth = math.sin(math.pi * min(1.0, age_s / self.duration_s))
        level = body.bat_pct + (min(self.to_pct, body.bat_pct) - body.bat_pct) * depth
        temp_c = body.temp_c + (self.temp_c - body.temp_c) * depth
        return replace(body, bat_pct=level, temp_c=temp_c)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jamming(Effect):
    """Jamming grows from a warning (1) to no fix at all (2) and fades; `duration_s` is finite."""

    warning_s: float = 60.0

    def apply(self, body: Condition, age_s: float) -> Condition:
        """1 at both ends, 2 between them."""
        edge_s = min(self.warning_s, self.duration_s / 3)
        inner = edge_s <= age_s < self.duration_s - edge_s
        return replace(body, jam=max(body.jam, 2 if inner else 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drag(Effect):
    """A spoofer draws the fix away from the truth, up to `max_m`, and lets go at the end."""

    bearing_deg: float
    speed_ms: float
    max_m: float
    flagged: bool = False

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The offset after so long."""
        far_m = min(age_s * self.speed_ms, self.max_m)
        angle = math.radians(self.bearing_deg)
        offset = (far_m * math.sin(angle), far_m * math.cos(angle))
        return replace(body, shift_m=offset, spoof=body.spoof or self.flagged)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOff(Effect):
    """The device's clock is wrong: `fault` says how. `fix_too`: the receiver's time as well.

    1970 and 1980 run from their epoch since the fault began, `future` is `days` ahead, `drift`
    gains `drift_s_day`, `local` takes Kazakhstan's time for UTC, `rollover` is 1,024 weeks late.
    """

    fault: ClockFault
    days: float = 400.0
    drift_s_day: float = 5.0
    fix_too: bool = False
    began_ms: int = 0

    def begun(self, truth: Truth, rng: random.Random) -> Effect:
        """Remembers when it began."""
        return replace(self, began_ms=truth.t_ms)

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The error in ms, and how far the device trusts its clock."""
        error_ms = {
            "1970": -self.began_ms,
            "1980": _GPS_EPOCH_MS - self.began_ms,
            "rollover": -_ROLLOVER_MS,
            "future": round(self.days * _DAY_MS),
            "drift": round(age_s / 86_400 * self.drift_s_day * 1000),
            "local": LOCAL_MS,
        }[self.fault]
        tq: Any = {"1970": "none", "1980": "none", "drift": "rtc", "future": "rtc"}.get(self.fault)
        fix_ms = error_ms if self.fix_too else body.fix_clock_ms
        return replace(body, clock_ms=error_ms, fix_clock_ms=fix_ms, tq=tq or body.tq)


@dataclass(frozen=True, slots=True, kw_only=True)
class OdometerReset(Effect):
    """The odometer starts again from nought."""

    steady: ClassVar[bool] = True
    from_m: float = 0.0

    def begun(self, truth: Truth, rng: random.Random) -> Effect:
        """Remembers what it showed."""
        return replace(self, from_m=truth.odo_m)

    def apply(self, body: Condition, age_s: float) -> Condition:
        """What is to be taken off."""
        return replace(body, odo_from_m=self.from_m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ride(Effect):
    """The devices ride something else: from here through `points`, where they then stand.

    `feigned`: only their receivers believe it, for a spoofer plays the ride to them. `from_here`
    False: the ride begins at the first point (a clone far away). `stops`: (metres, seconds) of it.
    `limit_kmh`: its top speed.
    """

    points: tuple[LonLat, ...]
    feigned: bool = False
    from_here: bool = True
    stops: tuple[tuple[float, float], ...] = ()
    limit_kmh: float | None = None

    def begun(self, truth: Truth, rng: random.Random) -> Effect:
        """The ride sets off."""
        here = ((truth.lon, truth.lat),) if self.from_here else ()
        points = [*here, *self.points]
        if len(set(points)) < 2:
            # Standing where it is: a path still needs two places, a metre apart will do.
            lat, lon = shift(points[0][1], points[0][0], 0.0, 1.0)
            points = [points[0], (lon, lat)]
        path = Path(points)
        limit = () if self.limit_kmh is None else (_limit(path, self.limit_kmh),)
        stops = tuple(Stop(at_m=a, duration_s=s) for a, s in self.stops if a < path.length_m)
        itinerary = Itinerary(path=path, start_ms=truth.t_ms, stops=stops, slow=limit)
        return _Riding(
            at_m=self.at_m,
            duration_s=self.duration_s,
            to_m=self.to_m,
            devices=self.devices,
            began_ms=truth.t_ms,
            feigned=self.feigned,
            motion=_Motion(Drive(itinerary, rng, odo_m=truth.odo_m)),
        )


def _limit(path: Path, limit_kmh: float) -> Slow:
    return Slow(from_m=0.0, to_m=path.length_m, limit_kmh=limit_kmh)


class _Motion:
    """A drive asked by time; several devices on one ride ask in step."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._truth = drive.truth()

    @property
    def arrived(self) -> bool:
        """Whether it has come to its end."""
        return self._drive.arrived

    def at(self, now_ms: int) -> Truth:
        """The truth at an instant not before the last one asked."""
        while self._drive.next_ms <= now_ms and not (
            self._drive.arrived and self._drive.now_ms >= now_ms
        ):
            self._truth = self._drive.advance()
        return replace(self._truth, t_ms=now_ms, arrived=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Riding(Effect):
    began_ms: int
    feigned: bool
    motion: _Motion

    @property
    def under_way(self) -> bool:
        """A device that was carried off is followed to where it comes to rest."""
        return not (self.feigned or self.motion.arrived or math.isfinite(self.duration_s))

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The ride's motion in place of the vehicle's, or shown in place of the truth."""
        truth = self.motion.at(self.began_ms + round(age_s * 1000))
        return replace(body, shown=truth) if self.feigned else replace(body, rides=truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(Effect):
    """The devices stay where they are while the vehicle drives on (a trailer unhitched)."""

    at: Truth | None = None

    def begun(self, truth: Truth, rng: random.Random) -> Effect:
        """Remembers the place."""
        still = replace(truth, speed_kmh=0.0, moving=False, ignition=None, arrived=False)
        return replace(self, at=still)

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Standing there."""
        if self.at is None:
            raise RuntimeError("an effect is begun before it is applied")
        return replace(body, rides=replace(self.at, t_ms=self.at.t_ms + round(age_s * 1000)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryFall(Effect):
    """The battery falls in a line to `to_pct` within `fall_s` and stays there."""

    to_pct: float
    fall_s: float
    devices: Devices = "seal"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """The level after so long."""
        part = min(1.0, age_s / self.fall_s)
        return replace(body, bat_pct=body.bat_pct + (self.to_pct - body.bat_pct) * part)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBounce(Effect):
    """The ignition line flickers, off and on every `every_s`."""

    every_s: float = 2.0
    devices: Devices = "gps"

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Off in every second turn."""
        return replace(body, engine_on=False) if age_s % (2 * self.every_s) < self.every_s else body


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried(Effect):
    """A ferry or a train carries the vehicle: engine off, the wheels and odometer stand still."""

    odo_m: float = 0.0

    def begun(self, truth: Truth, rng: random.Random) -> Effect:
        """Remembers what the odometer showed."""
        return replace(self, odo_m=truth.odo_m)

    def apply(self, body: Condition, age_s: float) -> Condition:
        """Carried."""
        return replace(body, engine_on=False, feed_mv=25_000, odo_fixed_m=self.odo_m)
