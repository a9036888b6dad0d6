"""When a record was made: its time t* (contract detection.md). Pure.

Device clocks lie: 1970 after a dead battery, 1980 and minus 1024 weeks from GPS receivers, the
future after a bad set. The rule takes the best clock that is plausible and says which it was.
"""

from __future__ import annotations

from tracker.model import Record, TimeFlag, WireFix

EARLIEST_MS = 1_420_070_400_000
"""2015-01-01: no device of this kind is older, so an earlier time is a clock at fault."""

FUTURE_MS = 5 * 60 * 1000
"""A record cannot be made after it was received; 5 min allow for clocks that run ahead."""

ROLLOVER_MS = 1024 * 7 * 86400 * 1000
"""GPS counts weeks modulo 1024: an old receiver is late by exactly this."""


def time_of(record: Record, first_received_ms: int) -> tuple[int | None, TimeFlag]:
    """t* of a record in ms, and how it was found.

    ``fix.t`` if it is from GNSS and plausible, else ``ts`` if plausible and ``tq`` is not none,
    else None. ``IMPLAUSIBLE`` is set when a clock that should have served could not be believed.
    """
    flags = TimeFlag(0)
    fix_ms = record.fix.t if record.fix is not None and from_gnss(record.fix) else None
    if fix_ms is not None:
        t_ms, flag = plausible(fix_ms, first_received_ms)
        if t_ms is not None:
            return t_ms, flag | TimeFlag.FROM_FIX
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
        return t_ms, TimeFlag(0)
    if t_ms < EARLIEST_MS <= t_ms + ROLLOVER_MS <= latest_ms:
        return t_ms + ROLLOVER_MS, TimeFlag.ROLLOVER_CORRECTED
    return None, TimeFlag(0)
