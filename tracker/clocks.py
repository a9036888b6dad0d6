"""When a record was made: its time t* (contract detection.md), and what ails the clocks. Pure.

Device clocks lie: 1970 after a dead battery, 1980 and minus 1024 weeks from GPS receivers, the
future after a bad set, local time sent as UTC, some seconds more each day. The rule takes the best
clock that is plausible and says which it was; `faults_of` says of every record what is wrong with
the device's own clock, whether or not it was needed; `clock_health` reads a device's newest records
together, since a drift shows only over many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from statistics import median
from typing import Final

from msgspec import Struct

from tracker.model import Record, TimeFlag, WireFix

EARLIEST_MS = 1_420_070_400_000
"""2015-01-01: no device of this kind is older, so an earlier time is a clock at fault."""

FUTURE_MS = 5 * 60 * 1000
"""A record cannot be made after it was received; 5 min allow for clocks that run ahead."""

ROLLOVER_MS = 1024 * 7 * 86400 * 1000
"""GPS counts weeks modulo 1024: an old receiver is late by exactly this."""

DAY_MS: Final = 86_400_000
YEAR_MS: Final = 366 * DAY_MS

GPS_START_MS: Final = 315_532_800_000
"""1980-01-01: where clocks of DOS start; those of GPS start five days later."""

COLD_STARTS_MS: Final = (935_280_000_000, 1_554_595_200_000)
"""1999-08-22 and 2019-04-07: week 0 after the first and the second rollover, in which a receiver
begins that has seen no satellite yet."""

_SURELY_SET_MS: Final = COLD_STARTS_MS[-1] + DAY_MS

PAST_MS: Final = 60 * DAY_MS
"""A backlog lasts at most 30 days (mqtt.md); a record that claims twice that is not that old."""

OFF_MS: Final = 60_000
"""A fault worth a flag: a vehicle on a road is then a kilometre from where it says it is."""

MOST_OFF_MS: Final = 10**15
"""Some 30,000 years: a clock can be sent as any number, however long."""

ZONE_STEP_MS: Final = 30 * 60_000
ZONE_MOST_MS: Final = 14 * 60 * 60_000
"""Time zones are whole or half hours, 14 hours at most."""


_NOTHING: Final = TimeFlag(0)


def time_of(record: Record, first_received_ms: int) -> tuple[int | None, TimeFlag]:
    """t* of a record in ms, and how it was found.

    ``fix.t`` if it is from GNSS and plausible, else ``ts`` if plausible and ``tq`` is not none,
    else None. ``IMPLAUSIBLE`` is set when a clock that should have served could not be believed.
    """
    flags = _NOTHING
    fix_ms = record.fix.t if record.fix is not None and from_gnss(record.fix) else None
    if fix_ms is not None:
        t_ms, flag = plausible(fix_ms, first_received_ms)
        if t_ms is not None:
            return t_ms, TimeFlag.FROM_FIX if flag is _NOTHING else flag | TimeFlag.FROM_FIX
        flags |= TimeFlag.IMPLAUSIBLE
    if record.tq != "none":
        t_ms, flag = plausible(record.ts, first_received_ms)
        if t_ms is not None:
            return t_ms, flags | flag | TimeFlag.FROM_TS
    return None, flags | TimeFlag.IMPLAUSIBLE


def from_gnss(fix: WireFix) -> bool:
    """Whether the position and time come from satellites. Devices that never say are believed."""
    return fix.ok is not False and fix.src in (None, "gnss")


def plausible(t_ms: int, first_received_ms: int) -> tuple[int | None, TimeFlag]:
    """The time if it is plausible, after undoing one week rollover, else None.

    One rollover only: 1980 plus two of them would be a plausible year, but 1980 is where a
    receiver starts that knows no time at all.
    """
    latest_ms = first_received_ms + FUTURE_MS
    if EARLIEST_MS <= t_ms <= latest_ms:
        return t_ms, _NOTHING
    if t_ms < EARLIEST_MS <= t_ms + ROLLOVER_MS <= latest_ms:
        return t_ms + ROLLOVER_MS, TimeFlag.ROLLOVER_CORRECTED
    return None, _NOTHING


# ---------------------------------------------------------------- what ails a clock


class ClockFault(StrEnum):
    """What is wrong with a device's clock, as people are told."""

    RESET = "reset"
    ROLLOVER = "rollover"
    FUTURE = "future"
    PAST = "past"
    LOCAL_TIME = "local_time"
    OFFSET = "offset"
    DRIFT = "drift"


_FAULTS: Final = {
    TimeFlag.CLOCK_RESET: ClockFault.RESET,
    TimeFlag.CLOCK_ROLLOVER: ClockFault.ROLLOVER,
    TimeFlag.CLOCK_LOCAL_TIME: ClockFault.LOCAL_TIME,
    TimeFlag.CLOCK_FUTURE: ClockFault.FUTURE,
    TimeFlag.CLOCK_PAST: ClockFault.PAST,
    TimeFlag.CLOCK_OFF: ClockFault.OFFSET,
}
"""A record has at most one of these flags."""


class ClockReading(Struct, frozen=True, kw_only=True):
    """What one record says of the device's clock.

    ``offset_ms``: how far ``ts`` is ahead of the time it was compared with; None if that says
    nothing (no satellites' time, and the record waited in the device). ``exact``: it was compared
    with the satellites' time; else with that of reception, which is late by the road.
    """

    t_ms: int
    offset_ms: int | None
    exact: bool
    fault: TimeFlag


def faults_of(record: Record, first_received_ms: int) -> TimeFlag:
    """The ``CLOCK_…`` flag of what is wrong with a record's ``ts``; none if nothing shows."""
    return _fault(record, _gnss_time(record, first_received_ms), first_received_ms)


def _fault(record: Record, gnss_ms: int | None, received_ms: int) -> TimeFlag:
    fault = _absolute_fault(record.ts, received_ms)
    if fault is not _NOTHING:
        return fault
    return _relative_fault(record.ts, gnss_ms, received_ms, live=record.hist is not True)


def read_clock(record: Record, first_received_ms: int) -> ClockReading:
    """Compare a record's ``ts`` with the satellites' time, else with that of reception.

    A fix may be older than its record (a device in a shed repeats the last one), so ``ts`` after
    ``fix.t`` is no fault by itself; before it, it is.
    """
    gnss_ms = _gnss_time(record, first_received_ms)
    live = record.hist is not True
    reference_ms = first_received_ms if gnss_ms is None else gnss_ms
    ahead_ms = record.ts - reference_ms
    comparable = gnss_ms is not None or live or ahead_ms > 0
    return ClockReading(
        t_ms=reference_ms,
        offset_ms=max(-MOST_OFF_MS, min(ahead_ms, MOST_OFF_MS)) if comparable else None,
        exact=gnss_ms is not None,
        fault=_fault(record, gnss_ms, first_received_ms),
    )


def _gnss_time(record: Record, first_received_ms: int) -> int | None:
    fix = record.fix
    if fix is None or fix.t is None or not from_gnss(fix):
        return None
    return plausible(fix.t, first_received_ms)[0]


def _absolute_fault(ts_ms: int, received_ms: int) -> TimeFlag:
    """Faults that the reading itself shows: no record was made at such a time."""
    if ts_ms >= _SURELY_SET_MS and received_ms - PAST_MS <= ts_ms <= received_ms + FUTURE_MS:
        return _NOTHING  # as nearly all are
    if ts_ms < YEAR_MS or GPS_START_MS <= ts_ms < GPS_START_MS + YEAR_MS:
        return TimeFlag.CLOCK_RESET  # the year counts from where the clock started
    if any(start <= ts_ms < start + DAY_MS < received_ms for start in COLD_STARTS_MS):
        return TimeFlag.CLOCK_RESET
    if plausible(ts_ms, received_ms)[1]:
        return TimeFlag.CLOCK_ROLLOVER
    return TimeFlag.CLOCK_PAST if ts_ms < received_ms - PAST_MS else _NOTHING


def _relative_fault(ts_ms: int, gnss_ms: int | None, received_ms: int, *, live: bool) -> TimeFlag:
    """Faults that show against another clock."""
    early_ms = ts_ms - received_ms
    if gnss_ms is not None and _is_zone(ts_ms - gnss_ms):
        return TimeFlag.CLOCK_LOCAL_TIME
    if gnss_ms is None and (live or early_ms > 0) and _is_zone(early_ms):
        return TimeFlag.CLOCK_LOCAL_TIME
    if early_ms > FUTURE_MS:
        return TimeFlag.CLOCK_FUTURE
    if early_ms > OFF_MS or (gnss_ms is not None and gnss_ms - ts_ms > OFF_MS):
        return TimeFlag.CLOCK_OFF
    return _NOTHING


def _is_zone(offset_ms: int) -> bool:
    """Whether an offset is that of a time zone, within a minute for the road and a small drift."""
    steps = (offset_ms + ZONE_STEP_MS // 2) // ZONE_STEP_MS  # whole numbers: any size will do
    near = abs(offset_ms - steps * ZONE_STEP_MS) <= OFF_MS
    return steps != 0 and near and abs(steps * ZONE_STEP_MS) <= ZONE_MOST_MS


# ---------------------------------------------------------------- a device's clock over time

DRIFT_SAMPLES: Final = 8
DRIFT_SPAN_MS: Final = 60 * 60_000
"""Fewer or closer readings than these say more of the road than of the quartz."""

DRIFT_FAULT_S_PER_DAY: Final = 10.0
"""A quartz of 100 ppm loses 8.6 s a day; more is a clock at fault."""

_NO_TIME: Final = TimeFlag.CLOCK_RESET | TimeFlag.CLOCK_ROLLOVER | TimeFlag.CLOCK_PAST
"""Readings of a clock that was not set: their offset is no part of a drift."""

RECENT: Final = 5
"""Readings that a present fault is told from: one odd record is no verdict."""

MOST_SAMPLES: Final = 100
"""The slopes of all pairs are taken: 100 readings make 5,000, which is some milliseconds."""


class ClockHealth(Struct, frozen=True, kw_only=True):
    """A device's clock: how far ahead, in seconds; how fast it gains; its fault, if it has one."""

    offset_s: float | None
    drift_s_per_day: float | None
    fault: ClockFault | None


def clock_health(readings: Sequence[ClockReading]) -> ClockHealth:
    """A device's clock by its newest readings, in any order; the satellites' time comes first."""
    newest = sorted(readings, key=lambda r: r.t_ms)[-MOST_SAMPLES:]
    recent = newest[-RECENT:]
    compared = [r for r in recent if r.exact] or recent
    offsets = [r.offset_ms for r in compared if r.offset_ms is not None]
    drift = _drift_s_per_day([r for r in newest if r.exact and not r.fault & _NO_TIME])
    return ClockHealth(
        offset_s=round(median(offsets) / 1000, 3) if offsets else None,
        drift_s_per_day=drift,
        fault=_present_fault(recent, drift),
    )


def _present_fault(recent: Sequence[ClockReading], drift: float | None) -> ClockFault | None:
    counts = Counter(_FAULTS[r.fault] for r in recent if r.fault)
    if counts:
        fault, n = counts.most_common(1)[0]
        if 2 * n > len(recent):
            return fault
    return ClockFault.DRIFT if abs(drift or 0) > DRIFT_FAULT_S_PER_DAY else None


def _drift_s_per_day(readings: Sequence[ClockReading]) -> float | None:
    """The slope of the offset (Theil and Sen's median of all pairs); None if it cannot be told.

    A median, because some fixes are older than their records and would pull a mean. It cannot be
    told where the offsets scatter more than the drift has moved them.
    """
    points = [(r.t_ms, r.offset_ms) for r in readings if r.offset_ms is not None]
    if len(points) < DRIFT_SAMPLES or points[-1][0] - points[0][0] < DRIFT_SPAN_MS:
        return None
    slopes = [
        (b[1] - a[1]) / (b[0] - a[0])
        for i, a in enumerate(points)
        for b in points[i + 1 :]
        if b[0] > a[0]
    ]
    slope = median(slopes)
    base_ms = median(offset - slope * t_ms for t_ms, offset in points)
    scatter_ms = median(abs(offset - slope * t_ms - base_ms) for t_ms, offset in points)
    moved_ms = abs(slope) * (points[-1][0] - points[0][0])
    if 0 < moved_ms < 3 * scatter_ms:
        return None
    return round(slope * 86_400, 3)
