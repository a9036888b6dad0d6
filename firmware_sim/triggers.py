"""When a device makes a record: by time, distance, angle, motion, ignition and event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from firmware_sim.wire import Kind
from firmware_sim.world import Condition, Truth, World

Why = Literal["time", "dist", "angle", "speed", "ign", "mot", "evt", "boot", "poll"]

# A lorry at a light stands shorter than this; reporting it would only cost traffic.
_STANDING_MS = 20_000
# Course is noise below a walking pace, and one bend should not give five records.
_ANGLE_MIN_KMH = 5.0
_ANGLE_PAUSE_MS = 3_000
_BAT_LOW_PCT = 15
_BAT_CRIT_PCT = 5
# A 24 V lorry network: under 7 V the cable is cut, over 10 V it is back.
_EXT_CUT_MV = 7_000
_EXT_OK_MV = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """Reporting limits: seconds when moving and parked; the others if used at all.

    `speed_kmh`: a change of speed since the last record. `sleep_s`: after a parked record that
    it could send, the device sleeps for so long, disconnected.
    """

    moving_s: float
    parked_s: float
    distance_m: float | None = None
    angle_deg: float | None = None
    speed_kmh: float | None = None
    sleep_s: float | None = None


DEFAULT_PERIODS: Mapping[Kind, Periods] = {
    "seal": Periods(moving_s=300, parked_s=1800),
    "gps": Periods(moving_s=60, parked_s=600, distance_m=500, angle_deg=15),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A reason to make a record now; `code` is the event's, if it is one.

    `extra` goes into `evt`, `seal` over the seal's state, `fields` over the whole record.
    """

    why: Why
    code: str | None = None
    extra: tuple[tuple[str, Any], ...] = ()
    seal: tuple[tuple[str, Any], ...] = ()
    fields: tuple[tuple[str, Any], ...] = ()


class Triggers:
    """Compares the world with what was last reported. Mutable, owned by one device."""

    def __init__(self, periods: Periods, *, phase_s: float = 0.0) -> None:
        """`phase_s`: how long before the first step the last record is taken to have been."""
        self.periods = periods
        self.mov = False
        self._phase_ms = phase_s * 1000
        self._body = Condition()
        self._ext_ok = True
        self._pace = 1.0
        self._ignition: bool | None = None
        self._moved_ms = 0
        self._record_ms: float | None = None
        self._odo_m = 0.0
        self._heading_deg = 0.0
        self._speed_kmh = 0.0

    def due(self, now_ms: int, world: World) -> list[Trigger]:
        """What is to be recorded now, the most telling first."""
        truth = world.truth
        if self._record_ms is None:
            return self._boot(now_ms, world)
        found: list[Trigger] = []
        if world.condition is not self._body or self._fed_otherwise(truth.ext_mv):
            found += self._events(world)
        if truth.moving:
            self._moved_ms = now_ms
        if truth.moving != self.mov or truth.ignition != self._ignition:
            found += self._motion(now_ms, truth)
        if not found and (why := self._routine(now_ms, truth)):
            found.append(Trigger(why=why))
        return found

    def alarm(self, body: Condition) -> bool:
        """Whether the mechanics have something to report: what wakes a sleeping seal."""
        before = self._body
        return (body.rope, body.case) != (before.rope, before.case) and (
            body.rope == "cut" or body.case == "open"
        )

    def recorded(self, now_ms: int, truth: Truth) -> None:
        """A record was made: it restarts time, distance and angle."""
        first = self._record_ms is None
        self._record_ms = now_ms - (self._phase_ms if first else 0)
        self._odo_m, self._heading_deg = truth.odo_m, truth.heading_deg
        self._speed_kmh = truth.speed_kmh

    def _boot(self, now_ms: int, world: World) -> list[Trigger]:
        truth = world.truth
        self.mov, self._ignition, self._moved_ms = truth.moving, truth.ignition, now_ms
        return [Trigger(why="boot"), *self._events(world)]

    def _events(self, world: World) -> Iterator[Trigger]:
        before, body = self._body, world.condition
        if body is not before:
            yield from _changes(before, body)
            yield from _battery(int(before.bat_pct), int(body.bat_pct))
            self._body, self._pace = body, body.pace
        yield from self._power(world.truth.ext_mv)

    def _fed_otherwise(self, ext_mv: int | None) -> bool:
        if ext_mv is None:
            return False
        return ext_mv < _EXT_CUT_MV if self._ext_ok else ext_mv >= _EXT_OK_MV

    def _power(self, ext_mv: int | None) -> Iterator[Trigger]:
        if self._fed_otherwise(ext_mv):
            self._ext_ok = not self._ext_ok
            yield Trigger(why="evt", code="ext_ok" if self._ext_ok else "ext_cut")

    def _motion(self, now_ms: int, truth: Truth) -> Iterator[Trigger]:
        mov = truth.moving or (self.mov and now_ms - self._moved_ms < _STANDING_MS)
        if mov != self.mov:
            self.mov = mov
            yield Trigger(why="mot")
        if truth.ignition != self._ignition:
            self._ignition = truth.ignition
            yield Trigger(why="ign")

    def _routine(self, now_ms: int, truth: Truth) -> Why | None:
        since_ms = now_ms - (self._record_ms or 0)
        period_s = self.periods.moving_s if self.mov else self.periods.parked_s
        if since_ms >= period_s * 1000 * self._pace:
            return "time"
        if not truth.moving:
            return None
        limit_m, limit_deg = self.periods.distance_m, self.periods.angle_deg
        if limit_m is not None and truth.odo_m - self._odo_m >= limit_m * self._pace:
            return "dist"
        if since_ms < _ANGLE_PAUSE_MS:
            return None
        calm = truth.speed_kmh < _ANGLE_MIN_KMH
        if limit_deg is not None and not calm and self._turned(truth) >= limit_deg * self._pace:
            return "angle"
        change_kmh = self.periods.speed_kmh
        if change_kmh is not None and abs(truth.speed_kmh - self._speed_kmh) >= change_kmh:
            return "speed"
        return None

    def _turned(self, truth: Truth) -> float:
        return abs((truth.heading_deg - self._heading_deg + 180.0) % 360.0 - 180.0)


def _changes(before: Condition, body: Condition) -> Iterator[Trigger]:
    """Events of mechanics and reception, told from the condition of before."""
    if body.rope == "cut" and before.rope != "cut":
        yield Trigger(why="evt", code="rope_cut")
    if body.case == "open" and before.case != "open":
        yield Trigger(why="evt", code="case_open")
    if body.lock == "stuck" and before.lock != "stuck":
        yield Trigger(why="evt", code="motor_fault")
    if body.jam == 2 and before.jam != 2:
        yield Trigger(why="evt", code="jam_on")
    if body.jam == 0 and before.jam != 0:
        yield Trigger(why="evt", code="jam_off")
    if body.spoof and not before.spoof:
        yield Trigger(why="evt", code="spoof_on")


def _battery(before_pct: int, pct: int) -> Iterator[Trigger]:
    for limit_pct, code in ((_BAT_LOW_PCT, "bat_low"), (_BAT_CRIT_PCT, "bat_crit")):
        if pct < limit_pct <= before_pct:
            yield Trigger(why="evt", code=code)
