"""Laws of clocks, for any device and any time: recognised, corrected, never silently trusted."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tracker.clocks import (
    EARLIEST_MS,
    FUTURE_MS,
    OFF_MS,
    ROLLOVER_MS,
    ZONE_STEP_MS,
    ClockFault,
    clock_health,
    faults_of,
    read_clock,
    time_of,
)
from tracker.model import Record, TimeFlag, WireFix, to_ms

NOW_MS = to_ms(datetime(2026, 3, 1, 12, tzinfo=UTC))
DAY_MS = 86_400_000

anything = st.integers(-(2**70), 2**70) | st.sampled_from([10**400, -(10**400)])
delays_ms = st.integers(0, 29 * DAY_MS)
zones = st.integers(-28, 28).filter(bool)
jitter_ms = st.integers(-OFF_MS, OFF_MS)
small_ms = st.integers(-OFF_MS + 1, OFF_MS - 1)
CLOCK = sum(flag for flag in TimeFlag if flag.name and flag.name.startswith("CLOCK_"))


def record(ts: int, *, fix_ms: int | None = None, hist: bool = False, tq: str = "rtc") -> Record:
    fix = None if fix_ms is None else WireFix(t=fix_ms, ok=True, lat=43.0, lon=76.0, src="gnss")
    return Record(v=1, gen=0, seq=1, ts=ts, tq=tq, hist=hist, fix=fix)


@given(anything, st.none() | anything, st.booleans(), st.sampled_from(["gnss", "rtc", "none"]))
def test_any_time_gets_a_plausible_t_star_or_none_and_at_most_one_fault(
    ts: int, fix_ms: int | None, hist: bool, tq: str
) -> None:
    made = record(ts, fix_ms=fix_ms, hist=hist, tq=tq)
    t_ms, flags = time_of(made, NOW_MS)
    assert t_ms is None or EARLIEST_MS <= t_ms <= NOW_MS + FUTURE_MS
    assert t_ms is not None or flags & TimeFlag.IMPLAUSIBLE
    fault = faults_of(made, NOW_MS)
    assert fault & ~CLOCK == 0
    assert bin(fault).count("1") <= 1


@given(anything, st.integers(-(2**70), 0), st.booleans())
def test_a_clock_that_could_not_serve_is_never_without_a_flag(
    ts: int, fix_ms: int, hist: bool
) -> None:
    made = record(ts, fix_ms=fix_ms, hist=hist)
    t_ms, flags = time_of(made, NOW_MS)
    if t_ms != ts:
        assert flags & (TimeFlag.IMPLAUSIBLE | TimeFlag.ROLLOVER_CORRECTED)
        assert faults_of(made, NOW_MS)


@given(delays_ms, small_ms, st.booleans())
def test_a_good_clock_has_no_fault(delay_ms: int, off_ms: int, hist: bool) -> None:
    true_ms = NOW_MS - delay_ms
    made = record(true_ms + min(off_ms, delay_ms), fix_ms=true_ms, hist=hist)
    assert faults_of(made, NOW_MS) == 0


@given(delays_ms, zones, small_ms)
def test_local_time_is_recognised_and_the_satellites_time_serves(
    delay_ms: int, zone: int, off_ms: int
) -> None:
    true_ms = NOW_MS - delay_ms
    made = record(true_ms + zone * ZONE_STEP_MS + off_ms, fix_ms=true_ms, hist=True)
    assert faults_of(made, NOW_MS) == TimeFlag.CLOCK_LOCAL_TIME
    assert time_of(made, NOW_MS) == (true_ms, TimeFlag.FROM_FIX)


@given(zones, st.integers(0, OFF_MS))
def test_local_time_of_a_live_record_is_recognised_without_satellites(
    zone: int, delay_ms: int
) -> None:
    made = record(NOW_MS - delay_ms + zone * ZONE_STEP_MS)
    assert faults_of(made, NOW_MS) == TimeFlag.CLOCK_LOCAL_TIME


@given(delays_ms.filter(lambda d: d % ZONE_STEP_MS > OFF_MS < ZONE_STEP_MS - d % ZONE_STEP_MS))
def test_a_record_from_the_backlog_is_not_suspected_for_being_late(delay_ms: int) -> None:
    assert faults_of(record(NOW_MS - delay_ms, hist=True), NOW_MS) == 0


@given(delays_ms, st.integers(0, 365 * DAY_MS))
def test_a_clock_that_started_at_zero_is_known(delay_ms: int, uptime_ms: int) -> None:
    for start in (0, to_ms(datetime(1980, 1, 6, tzinfo=UTC))):
        made = record(start + uptime_ms % (360 * DAY_MS), fix_ms=NOW_MS - delay_ms, hist=True)
        assert faults_of(made, NOW_MS) == TimeFlag.CLOCK_RESET
        assert time_of(made, NOW_MS)[0] == NOW_MS - delay_ms


@given(delays_ms)
def test_a_rollover_of_either_clock_is_undone_and_flagged(delay_ms: int) -> None:
    true_ms = NOW_MS - delay_ms
    both = record(true_ms - ROLLOVER_MS, fix_ms=true_ms - ROLLOVER_MS, hist=True)
    assert time_of(both, NOW_MS) == (true_ms, TimeFlag.FROM_FIX | TimeFlag.ROLLOVER_CORRECTED)
    assert faults_of(both, NOW_MS) == TimeFlag.CLOCK_ROLLOVER


@given(st.floats(-80, 80), st.integers(-30_000, 30_000), st.integers(8, 60))
def test_drift_is_measured(drift_s_per_day: float, start_ms: int, n: int) -> None:
    readings = []
    for i in range(n):
        true_ms = NOW_MS - DAY_MS + i * 600_000
        off_ms = start_ms + drift_s_per_day * 1000 * (i * 600_000) / DAY_MS
        made = record(true_ms + round(off_ms), fix_ms=true_ms, hist=True)
        readings.append(read_clock(made, true_ms + 120_000))
    health = clock_health(readings)
    if health.drift_s_per_day is None:  # it moved the clock by less than the rounding
        assert abs(drift_s_per_day) < 0.2
    else:
        assert abs(health.drift_s_per_day - drift_s_per_day) < 0.2
    assert health.offset_s is not None
    if abs(drift_s_per_day) > 11 and abs(off_ms) < OFF_MS:
        assert health.fault is ClockFault.DRIFT


@given(st.lists(st.tuples(anything, st.none() | anything), max_size=20), st.randoms())
def test_health_is_of_a_set_of_readings(pairs: list[tuple[int, int | None]], rng: object) -> None:
    readings = [read_clock(record(ts, fix_ms=fix), NOW_MS) for ts, fix in pairs]
    readings = list({r.t_ms: r for r in readings}.values())
    shuffled = list(readings)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert clock_health(shuffled) == clock_health(readings)
