"""Declaring routes, and choosing where on one a fix lies."""

from __future__ import annotations

import pytest

from tracker.errors import Invalid
from tracker.model import ProgressCandidate
from tracker.routes import (
    LEGAL_LIMIT_M,
    MAX_POINTS,
    Leg,
    choose_place,
    declare_route,
    half_width_at,
    merge_candidates,
)

LINE = [(76.0, 43.5), (77.0, 43.5), (77.0, 44.0)]
WIDTH_M = 1000.0


def refusal(line: list[tuple[float, float]], corridor_m: float, *legs: Leg) -> list[str]:
    with pytest.raises(Invalid) as caught:
        declare_route(line, corridor_m, legs)
    return [".".join(map(str, error.loc)) for error in caught.value.errors]


def leg(from_m: float, to_m: float, corridor_m: float = 300.0) -> Leg:
    return Leg(from_m=from_m, to_m=to_m, corridor_m=corridor_m)


@pytest.mark.parametrize("line", [[], [(76.0, 43.5)], [(76.0, 43.5), (76.0, 43.5)]])
def test_a_route_of_one_place_is_none(line: list[tuple[float, float]]) -> None:
    assert refusal(line, WIDTH_M) == ["geometry.coordinates"]


@pytest.mark.parametrize("corridor_m", [0, -1, LEGAL_LIMIT_M + 1, float("nan"), float("inf")])
def test_a_width_is_more_than_nothing_and_within_the_law(corridor_m: float) -> None:
    assert refusal(LINE, corridor_m) == ["corridor_m"]
    assert refusal(LINE, WIDTH_M, leg(0, 1000, corridor_m)) == ["legs.0.corridor_m"]
    assert declare_route(LINE, LEGAL_LIMIT_M).corridor_m == 50_000


@pytest.mark.parametrize(
    "place", [(181, 43), (76, 85.1), (76, -86), (float("nan"), 43), (76, float("inf"))]
)
def test_a_point_that_is_nowhere_is_named(place: tuple[float, float]) -> None:
    assert refusal([(76.0, 43.5), place], WIDTH_M) == ["geometry.coordinates.1"]


def test_both_mistakes_are_told_at_once() -> None:
    assert refusal([(76.0, 43.5)], 0) == ["geometry.coordinates", "corridor_m"]


def test_a_line_over_the_antimeridian_is_refused() -> None:
    assert refusal([(179.9, 60), (-179.9, 60)], WIDTH_M) == ["geometry.coordinates"]


def test_too_many_points_and_too_long_a_line_are_refused() -> None:
    many = [(76 + n * 1e-5, 43.5) for n in range(MAX_POINTS + 1)]
    assert refusal(many, WIDTH_M) == ["geometry.coordinates"]
    long = [(-170.0, 0.0), (0.0, 0.0), (170.0, 0.0)]
    assert refusal(long, WIDTH_M) == ["geometry.coordinates"]


@pytest.mark.parametrize("bad", [leg(-1, 100), leg(100, 100), leg(200, 100), leg(0, 10**7)])
def test_a_leg_lies_within_the_route(bad: Leg) -> None:
    assert refusal(LINE, WIDTH_M, bad) == ["legs.0"]


def test_legs_may_touch_but_not_overlap() -> None:
    assert declare_route(LINE, WIDTH_M, [leg(0, 100), leg(100, 200)]).legs
    assert refusal(LINE, WIDTH_M, leg(0, 101), leg(100, 200)) == ["legs.1"]


def test_the_last_leg_may_be_rounded_past_the_end() -> None:
    plan = declare_route(LINE, WIDTH_M)
    rounded = declare_route(LINE, WIDTH_M, [leg(0, plan.length_m + 0.5)])
    assert {piece.half_width_m for piece in rounded.pieces} == {300}


def test_repeated_points_are_dropped() -> None:
    stuttering = [LINE[0], LINE[0], *LINE[1:], LINE[2]]
    assert declare_route(stuttering, WIDTH_M) == declare_route(LINE, WIDTH_M)


def test_the_width_at_a_distance_is_that_of_the_leg_that_begins_there() -> None:
    legs = [leg(100, 200, 1), leg(200, 300, 2)]
    at = [(m, half_width_at(m, 9, legs)) for m in (0, 99.9, 100, 199.9, 200, 300)]
    assert [width for _, width in at] == [9, 9, 1, 1, 2, 9]


# ---------------------------------------------------------------- candidates and places


def cand(
    progress_m: float, distance_m: float = 0.0, half_width_m: float = 1.0
) -> ProgressCandidate:
    return ProgressCandidate(progress_m, distance_m, half_width_m)


def test_the_shared_point_of_two_pieces_is_one_place() -> None:
    assert merge_candidates([cand(1000, 20), cand(1000.001, 20)]) == (cand(1000, 20),)


def test_the_end_of_a_neighbouring_piece_is_no_place_of_its_own() -> None:
    # 2 km off a straight road; the piece before ends 400 m behind the nearest place.
    behind = cand(9600, (2000**2 + 400**2) ** 0.5, half_width_m=5000)
    assert merge_candidates([behind, cand(10_000, 2000)]) == (cand(10_000, 2000),)


def test_both_passes_of_a_retraced_road_stay() -> None:
    out, back = cand(1000, 3), cand(9000, 5)
    assert merge_candidates([back, out]) == (out, back)


def test_the_first_fix_takes_the_earliest_place() -> None:
    place = choose_place([cand(9000, 1), cand(1000, 5, 300)], 1, None)
    assert (place.progress_m, place.distance_m, place.half_width_m) == (1000, 1, 300)


@pytest.mark.parametrize(
    ("last_m", "chosen_m"),
    [(900, 1000), (8000, 9000), (5100, 9000), (1010, 1000), (1200, 1000), (4000, 9000)],
)
def test_later_ones_the_place_that_is_cheapest_to_reach(last_m: float, chosen_m: float) -> None:
    assert choose_place([cand(1000), cand(9000)], 0, last_m).progress_m == chosen_m


@pytest.mark.parametrize(
    ("off_m", "last_m", "chosen_m"),
    [(0, 900, 1000), (300, 900, 1000), (450, 900, 1000), (450, 5800, 6000), (450, 700, 1000)],
)
def test_the_pass_that_goes_on_is_kept_though_the_other_is_nearer(
    off_m: float, last_m: float, chosen_m: float
) -> None:
    drawn_beside, nearest = cand(1000, off_m + 10), cand(6000, 10)
    chosen = choose_place([drawn_beside, nearest], 10, last_m)
    assert (chosen.progress_m, chosen.distance_m) == (chosen_m, 10)


def test_a_few_metres_more_to_drive_are_no_reason_to_leave_the_nearest_place() -> None:
    assert choose_place([cand(1000, 300), cand(2200, 10)], 10, 950).progress_m == 2200


def test_the_first_fix_is_not_where_the_line_is_only_near() -> None:
    assert choose_place([cand(1000, 300), cand(9000, 10)], 10, None).progress_m == 9000


def test_where_two_legs_meet_the_narrower_counts_in_any_order() -> None:
    wide, narrow = cand(1000, 20, 5000), cand(1000, 20, 300)
    assert merge_candidates([wide, narrow]) == merge_candidates([narrow, wide]) == (narrow,)
