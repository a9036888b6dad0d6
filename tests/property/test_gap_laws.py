"""Laws of the reasoning over gaps: slack, how far it led, and the region that could be reached."""

from __future__ import annotations

from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from shapely import Point, Polygon

from tracker.detectors.gaps import (
    MOST_REACH_M,
    REACH_CORNERS,
    GapFix,
    farthest_off_m,
    gap_evidence,
    legal_speed_ms,
    reach,
    shortest_s,
    slack_s,
)
from tracker.detectors.limits import Limits
from tracker.geodesy import distance_m, towards

LIMITS = Limits()
START = (71.0, 46.0)
MANY = settings(max_examples=200, deadline=None)

progresses = st.one_of(st.none(), st.floats(0, 500_000))


@st.composite
def gaps(draw: st.DrawFn) -> tuple[GapFix, GapFix]:
    """Two fixes in order, up to some hours and some hundred kilometres apart."""
    place = towards(START, draw(st.floats(0, 360)), draw(st.sampled_from([0.0, 40.0, 9e3, 3e5])))
    between_ms = draw(st.integers(1, 8 * 3_600_000))
    first = GapFix(t_ms=0, lon=START[0], lat=START[1], progress_m=draw(progresses))
    return first, GapFix(t_ms=between_ms, lon=place[0], lat=place[1], progress_m=draw(progresses))


@st.composite
def roomy_gaps(draw: st.DrawFn) -> tuple[GapFix, GapFix]:
    """As above, with time for some kilometres more than the straight way takes."""
    first, last = draw(gaps())
    apart_m = distance_m((first.lon, first.lat), (last.lon, last.lat))
    way_m = draw(st.floats(apart_m + 2001, MOST_REACH_M - 1000))
    return first, replace(last, t_ms=ceil(way_m / legal_speed_ms(LIMITS) * 1000))


@given(gaps(), st.floats(0, 30_000))
@MANY
def test_slack_is_a_part_of_the_gap(ends: tuple[GapFix, GapFix], gap_s: float) -> None:
    a, b = ends
    slack = slack_s(gap_s, a, b, LIMITS)
    assert 0 <= slack <= gap_s
    assert slack <= max(0.0, b.t_ms / 1000 - shortest_s(a, b, LIMITS)) + 1e-9
    assert slack_s(gap_s, None, b, LIMITS) == slack_s(gap_s, a, None, LIMITS) == gap_s
    # Out and back takes just the slack.
    assert abs(2 * farthest_off_m(slack, LIMITS) / legal_speed_ms(LIMITS) - slack) < 1e-6


@given(gaps())
@MANY
def test_the_rim_of_the_region_is_where_the_time_is_just_used_up(
    ends: tuple[GapFix, GapFix],
) -> None:
    a, b = ends
    here, there = (a.lon, a.lat), (b.lon, b.lat)
    way_m = b.t_ms / 1000 * legal_speed_ms(LIMITS)
    region = reach(a, b, LIMITS)
    if not distance_m(here, there) < way_m <= MOST_REACH_M:
        assert region is None
        return
    assert region is not None
    (ring,) = region["coordinates"]
    assert len(ring) == REACH_CORNERS + 1
    assert ring[0] == ring[-1]
    for lon, lat in ring:
        over_m = distance_m(here, (lon, lat)) + distance_m((lon, lat), there) - way_m
        assert abs(over_m) < 30 + way_m / 1000, over_m  # corners are rounded to some 10 m


@given(roomy_gaps())
@MANY
def test_a_region_is_a_plain_ring_around_both_fixes(ends: tuple[GapFix, GapFix]) -> None:
    a, b = ends
    region = reach(a, b, LIMITS)
    assert region is not None
    polygon = Polygon(region["coordinates"][0])
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    assert polygon.buffer(1e-3).contains(Point(a.lon, a.lat))
    assert polygon.buffer(1e-3).contains(Point(b.lon, b.lat))


@given(gaps(), st.floats(1, 30_000))
@MANY
def test_evidence_is_plain_and_never_negative(ends: tuple[GapFix, GapFix], gap_s: float) -> None:
    evidence = gap_evidence(gap_s, *ends, LIMITS)
    for name in ("route_distance_m", "shortest_min", "slack_min", "farthest_off_m"):
        assert evidence[name] >= 0
    assert ("reach" in evidence) == (reach(*ends, LIMITS) is not None)
