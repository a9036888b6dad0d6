"""Laws of the reckoning of arrivals, and of the thresholds in force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detectors.trips import T0_MS
from tracker.detectors.eta import FRESH, Hours, earliest_arrival, journey_s, reachable_until
from tracker.detectors.limits import Limits

LIMITS = Limits()
ways = st.floats(0, 5_000_000)
moments = st.integers(T0_MS, T0_MS + 7 * 86_400_000)


@st.composite
def hours(draw: st.DrawFn) -> Hours:
    today_s = draw(st.floats(0, LIMITS.day_driving_s))
    return Hours(
        since_break_s=draw(st.floats(0, min(today_s, LIMITS.break_after_s))),
        today_s=today_s,
        resting_ms=draw(st.none() | st.integers(T0_MS - 86_400_000, T0_MS)),
    )


@given(ways, ways, moments, hours())
def test_a_longer_way_takes_no_less(a_m: float, b_m: float, t_ms: int, driven: Hours) -> None:
    near_m, far_m = sorted((a_m, b_m))
    near_ms = earliest_arrival(near_m, t_ms, driven, LIMITS)
    assert near_ms <= earliest_arrival(far_m, t_ms, driven, LIMITS)


@given(ways, moments, hours())
def test_nobody_is_there_before_the_legal_speed_allows(
    way_m: float, t_ms: int, driven: Hours
) -> None:
    soonest_ms = t_ms + way_m / (LIMITS.legal_speed_kmh / 3.6) * 1000
    assert earliest_arrival(way_m, t_ms, driven, LIMITS) >= soonest_ms - 1


@given(ways, moments, moments, hours())
def test_who_leaves_later_is_there_no_sooner(
    way_m: float, a_ms: int, b_ms: int, driven: Hours
) -> None:
    first_ms, second_ms = sorted((a_ms, b_ms))
    assert earliest_arrival(way_m, first_ms, driven, LIMITS) <= earliest_arrival(
        way_m, second_ms, driven, LIMITS
    )


@given(ways, moments, hours())
def test_hours_driven_before_never_make_it_sooner(way_m: float, t_ms: int, driven: Hours) -> None:
    assert earliest_arrival(way_m, t_ms, driven, LIMITS) >= earliest_arrival(
        way_m, t_ms, FRESH, LIMITS
    )


@given(ways, hours())
def test_no_stretch_of_driving_is_longer_than_the_law_allows(way_m: float, driven: Hours) -> None:
    """What is not driving is breaks and rests, as many as the driving needs and no more."""
    drive_s = way_m / (LIMITS.legal_speed_kmh / 3.6)
    idle_s = journey_s(way_m, driven, LIMITS) - drive_s
    days = max(0.0, drive_s - (LIMITS.day_driving_s - driven.today_s)) / LIMITS.day_driving_s
    assert idle_s >= days * LIMITS.day_rest_s - 1
    assert idle_s <= (days + 1) * (LIMITS.day_rest_s + LIMITS.break_s) + LIMITS.break_s + 1


@given(ways, moments, hours())
def test_the_last_moment_is_exact_to_the_millisecond(
    way_m: float, deadline_ms: int, driven: Hours
) -> None:
    last_ms = reachable_until(way_m, deadline_ms, driven, LIMITS)
    assert earliest_arrival(way_m, last_ms, driven, LIMITS) <= deadline_ms
    if last_ms >= (driven.resting_ms or last_ms):
        assert earliest_arrival(way_m, last_ms + 1, driven, LIMITS) > deadline_ms
