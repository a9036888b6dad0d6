"""Distances and lines against PROJ's geodesics."""

from __future__ import annotations

from itertools import pairwise

import pytest
from pyproj import Geod

from tracker.geodesy import Point, along, densify, distance_m, heading_deg, is_farther

GEOD = Geod(ellps="WGS84")


@pytest.mark.parametrize("lat", [-79.9, -45, 0, 40, 43.5, 56, 70, 79.9])
@pytest.mark.parametrize("azimuth", [0, 37, 90, 133, 180, 270])
@pytest.mark.parametrize("length_m", [0.1, 10, 150, 1000, 4000])
def test_near_distances_are_within_a_centimetre(
    lat: float, azimuth: float, length_m: float
) -> None:
    lon2, lat2, _ = GEOD.fwd(76, lat, azimuth, length_m)
    assert distance_m((76, lat), (lon2, lat2)) == pytest.approx(length_m, abs=0.02)


@pytest.mark.parametrize("lat", [-89.9, -80, -79.9, 0, 43.5, 70, 79.9, 89.9])
@pytest.mark.parametrize("azimuth", [0, 37, 85, 90, 133, 270])
@pytest.mark.parametrize("share", [0, 0.5, 0.999, 1.001, 1.09, 1.2, 3, 1000])
@pytest.mark.parametrize("limit_m", [1, 150, 50_000])
def test_farther_is_what_the_distance_says(
    lat: float, azimuth: float, share: float, limit_m: float
) -> None:
    for lon in (76, 179.9999):
        lon2, lat2, _ = GEOD.fwd(lon, lat, azimuth, share * limit_m)
        a, b = (lon, lat), (lon2, lat2)
        assert is_farther(a, b, limit_m) is (distance_m(a, b) > limit_m)


@pytest.mark.parametrize(
    ("a", "b"),
    [((76, 43), (76.0501, 43)), ((76, 43), (77, 44)), ((76, 43), (-100, 40)), ((0, 89), (180, 89))],
)
def test_far_distances_are_the_geodesic(a: Point, b: Point) -> None:
    assert distance_m(a, b) == pytest.approx(GEOD.inv(*a, *b)[2])


def test_across_the_antimeridian_the_way_is_the_short_one() -> None:
    assert distance_m((179.99, 50), (-179.99, 50)) == pytest.approx(1430, abs=5)


def test_the_near_and_the_far_formula_meet() -> None:
    a, b = (76.0, 55.0), (76.0499999, 55.0499999)
    assert distance_m(a, b) == pytest.approx(GEOD.inv(*a, *b)[2], abs=0.02)


def test_heading_is_clockwise_from_north() -> None:
    assert heading_deg((76, 43), (76, 44)) == pytest.approx(0)
    assert heading_deg((76, 0), (77, 0)) == pytest.approx(90)
    assert heading_deg((76, 0), (75, 0)) == pytest.approx(-90)


def test_along_divides_the_geodesic() -> None:
    a, b = (76.0, 43.0), (79.0, 45.0)
    whole = distance_m(a, b)
    third = along(a, b, 1 / 3)
    assert distance_m(a, third) == pytest.approx(whole / 3)
    assert distance_m(third, b) == pytest.approx(whole * 2 / 3)


def test_densify_keeps_every_point_and_no_step_is_too_long() -> None:
    line = [(76.0, 43.0), (76.5, 43.2), (76.5001, 43.2), (78.0, 44.0)]
    walk = list(densify(line, 1000))
    points = [point for point, _ in walk]
    assert walk[0] == (line[0], 0.0)
    assert [p for p in points if p in line] == line
    assert max(step_m for _, step_m in walk) <= 1000
    total = sum(distance_m(a, b) for a, b in pairwise(line))
    assert sum(step_m for _, step_m in walk) == pytest.approx(total)
