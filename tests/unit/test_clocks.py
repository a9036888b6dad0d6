"""When a record was made: t* (contract detection.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tracker.clocks import EARLIEST_MS, FUTURE_MS, ROLLOVER_MS, from_gnss, time_of
from tracker.model import Record, TimeFlag, WireFix, to_ms

RECEIVED_MS = 1_772_000_000_000
TS_MS = RECEIVED_MS - 10_000
FIX_MS = RECEIVED_MS - 20_000
GPS_EPOCH_MS = 315_964_800_000


def record(*, ts: int = TS_MS, tq: str | None = "gnss", fix: WireFix | None = None) -> Record:
    return Record(v=1, gen=0, seq=1, ts=ts, tq=tq, fix=fix)


def gnss(**fields: Any) -> WireFix:
    good: dict[str, Any] = {"t": FIX_MS, "ok": True, "src": "gnss"}
    return WireFix(**(good | fields))


def test_the_time_of_a_satellite_fix_comes_first() -> None:
    assert time_of(record(fix=gnss()), RECEIVED_MS) == (FIX_MS, TimeFlag.FROM_FIX)


@pytest.mark.parametrize(
    "fix",
    [
        None,
        gnss(t=None),
        gnss(ok=False),
        gnss(src="lbs"),
        gnss(src="wifi"),
        gnss(src="last"),
    ],
)
def test_else_the_device_clock(fix: WireFix | None) -> None:
    assert time_of(record(fix=fix), RECEIVED_MS) == (TS_MS, TimeFlag.FROM_TS)


@pytest.mark.parametrize("fix", [WireFix(t=1), WireFix(t=1, ok=True), WireFix(t=1, src="gnss")])
def test_a_device_that_never_says_where_its_fix_comes_from_is_believed(fix: WireFix) -> None:
    assert from_gnss(fix)


def test_an_implausible_fix_time_is_flagged_and_the_clock_serves() -> None:
    found = time_of(record(fix=gnss(t=0)), RECEIVED_MS)
    assert found == (TS_MS, TimeFlag.FROM_TS | TimeFlag.IMPLAUSIBLE)


@pytest.mark.parametrize(("tq", "serves"), [("none", False), ("rtc", True), (None, True)])
def test_a_clock_without_quality_does_not_serve(tq: str | None, serves: bool) -> None:
    t_ms, flags = time_of(record(tq=tq), RECEIVED_MS)
    assert (t_ms is not None) is serves
    assert bool(flags & TimeFlag.IMPLAUSIBLE) is not serves


@pytest.mark.parametrize(
    ("ts", "plausible"),
    [
        (EARLIEST_MS, True),
        (EARLIEST_MS - ROLLOVER_MS - 1, False),
        (RECEIVED_MS + FUTURE_MS, True),
        (RECEIVED_MS + FUTURE_MS + 1, False),
        (0, False),
        (GPS_EPOCH_MS, False),
        (-1, False),
        (2**62, False),
    ],
)
def test_plausible_is_from_2015_to_five_minutes_after_it_was_received(
    ts: int, plausible: bool
) -> None:
    t_ms, flags = time_of(record(ts=ts), RECEIVED_MS)
    assert t_ms == (ts if plausible else None)
    assert flags == (TimeFlag.FROM_TS if plausible else TimeFlag.IMPLAUSIBLE)


def test_the_bounds_are_what_they_are_said_to_be() -> None:
    from datetime import UTC, datetime, timedelta

    assert to_ms(datetime(2015, 1, 1, tzinfo=UTC)) == EARLIEST_MS
    assert timedelta(minutes=5) == timedelta(milliseconds=FUTURE_MS)
    assert timedelta(weeks=1024) == timedelta(milliseconds=ROLLOVER_MS)


def test_a_week_rollover_is_undone_and_flagged() -> None:
    rolled = time_of(record(fix=gnss(t=FIX_MS - ROLLOVER_MS)), RECEIVED_MS)
    assert rolled == (FIX_MS, TimeFlag.FROM_FIX | TimeFlag.ROLLOVER_CORRECTED)
    clock = time_of(record(ts=TS_MS - ROLLOVER_MS), RECEIVED_MS)
    assert clock == (TS_MS, TimeFlag.FROM_TS | TimeFlag.ROLLOVER_CORRECTED)


def test_a_rollover_is_undone_only_into_the_plausible() -> None:
    too_new = RECEIVED_MS + FUTURE_MS + 1 - ROLLOVER_MS
    assert time_of(record(ts=too_new), RECEIVED_MS) == (None, TimeFlag.IMPLAUSIBLE)
    assert time_of(record(ts=too_new - 1), RECEIVED_MS)[0] == RECEIVED_MS + FUTURE_MS
