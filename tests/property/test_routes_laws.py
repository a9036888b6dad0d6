"""Laws of declared routes: the pieces are the line, whole, nearly straight and of one width."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Geod

from tracker.geodesy import heading_deg
from tracker.model import ProgressCandidate
from tracker.routes import (
    PIECE_STEPS,
    PIECE_TURN_DEG,
    STEP_M,
    Leg,
    RoutePlan,
    choose_place,
    declare_route,
    half_width_at,
    merge_candidates,
)

GEOD = Geod(ellps="WGS84")
WIDTH_M = 1000.0

lons = st.floats(74, 78).map(lambda x: round(x, 6))
lats = st.sampled_from([-60.0, 0.0, 40.0, 56.0, 80.0])


@st.composite
def lines(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Zigzags, loops and detailed stretches somewhere between the poles."""
    lat = draw(lats)
    near = st.tuples(lons, st.floats(lat - 1, lat + 1).map(lambda y: round(y, 6)))
    line = draw(st.lists(near, min_size=2, max_size=6))
    for _ in range(draw(st.integers(0, 12))):
        lon, last_lat = line[-1]
        d = draw(st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)))
        line.append((round(lon + d[0], 6), round(last_lat + d[1], 6)))
    assume(any(a != b for a, b in pairwise(line)))
    return line


@st.composite
def plans(draw: st.DrawFn) -> RoutePlan:
    line = draw(lines())
    length_m = declare_route(line, WIDTH_M).length_m
    shares = sorted(draw(st.lists(st.floats(0, 1), max_size=6, unique=True)))
    bounds = [length_m * share for share in shares]
    legs = [
        Leg(from_m=a, to_m=b, corridor_m=100.0 + n)
        for n, (a, b) in enumerate(zip(bounds[::2], bounds[1::2], strict=False))
        if b > a
    ]
    return declare_route(line, WIDTH_M, legs)


@given(plans())
@settings(max_examples=60, deadline=None)
def test_pieces_cover_the_line_without_gaps(plan: RoutePlan) -> None:
    assert plan.pieces[0].points[0] == plan.points[0]
    assert plan.pieces[-1].points[-1] == plan.points[-1]
    for a, b in pairwise(plan.pieces):
        assert a.points[-1] == b.points[0]
        assert a.start_m + a.length_m == pytest.approx(b.start_m)
    passed = iter([point for piece in plan.pieces for point in piece.points])
    assert all(any(point == p for p in passed) for point in plan.points), "in their order"


@given(plans())
@settings(max_examples=60, deadline=None)
def test_lengths_are_geodesic(plan: RoutePlan) -> None:
    truth_m = sum(GEOD.inv(*a, *b)[2] for a, b in pairwise(plan.points))
    assert plan.length_m == pytest.approx(truth_m)
    assert sum(piece.length_m for piece in plan.pieces) == pytest.approx(truth_m)
    for piece in plan.pieces:
        walked_m = sum(GEOD.inv(*a, *b)[2] for a, b in pairwise(piece.points))
        assert piece.length_m == pytest.approx(walked_m, abs=0.01)
        assert piece.length_m > 0


@given(plans())
@settings(max_examples=60, deadline=None)
def test_pieces_are_short_and_nearly_straight(plan: RoutePlan) -> None:
    for piece in plan.pieces:
        steps = list(pairwise(piece.points))
        assert 1 <= len(steps) <= PIECE_STEPS
        first = heading_deg(*steps[0])
        for a, b in steps:
            assert GEOD.inv(*a, *b)[2] <= STEP_M + 0.01
            if GEOD.inv(*a, *b)[2] > 1:  # a cut leaves crumbs whose own heading is rounding
                turn = abs((heading_deg(a, b) - first + 180) % 360 - 180)
                assert turn <= PIECE_TURN_DEG + 0.5


@given(plans(), st.data())
@settings(max_examples=60, deadline=None)
def test_each_place_has_the_width_of_its_leg(plan: RoutePlan, data: st.DataObject) -> None:
    at_m = data.draw(st.floats(0, plan.length_m))
    edges = [m for leg in plan.legs for m in (leg.from_m, leg.to_m)]
    assume(all(abs(at_m - edge) > 0.05 for edge in edges))
    pieces = [p for p in plan.pieces if p.start_m <= at_m <= p.start_m + p.length_m]
    expected = half_width_at(at_m, plan.corridor_m, plan.legs)
    inside = [p for p in pieces if p.start_m + 0.05 < at_m < p.start_m + p.length_m - 0.05]
    assert {p.half_width_m for p in inside} <= {expected}
    assert any(p.half_width_m == expected for p in pieces) or not pieces


# ---------------------------------------------------------------- choosing a place

candidates = st.lists(
    st.builds(
        ProgressCandidate,
        st.floats(0, 1e6),
        st.floats(0, 1e4),
        st.sampled_from([300.0, 1000.0]),
    ),
    min_size=1,
    max_size=6,
)


@given(candidates)
def test_merging_keeps_the_nearest_and_invents_nothing(places: list[ProgressCandidate]) -> None:
    merged = merge_candidates(places)
    assert set(merged) <= set(places)
    assert min(c.distance_m for c in merged) == min(c.distance_m for c in places)
    assert [c.progress_m for c in merged] == sorted(c.progress_m for c in merged)
    assert merge_candidates(reversed(places)) == merged


@given(candidates, st.none() | st.floats(0, 1e6))
def test_a_place_is_one_of_the_candidates(
    places: list[ProgressCandidate], last_m: float | None
) -> None:
    place = choose_place(places, 7.0, last_m)
    assert place.distance_m == 7
    assert (place.progress_m, place.half_width_m) in {
        (c.progress_m, c.half_width_m) for c in places
    }
