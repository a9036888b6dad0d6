"""The reference data is valid, whole, and consistent with itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel
from pyproj import Geod
from shapely.geometry import LineString, Point, shape

from tracker.api.schemas.participants import ParticipantIn
from tracker.api.schemas.places import PostIn, ZoneIn
from tracker.api.schemas.routes import RouteIn
from tracker.participants import category, tax_id_warning
from tracker.reference import read_bodies, read_goods

GEOD = Geod(ellps="WGS84")
POSTS, ZONES, ROUTES, PARTICIPANTS = (
    read_bodies(resource) for resource in ("posts", "zones", "routes", "participants")
)
ZONE_BY_CODE = {zone["code"]: zone for zone in ZONES}
ZONE_KINDS = {"post", "border", "parking", "rest", "fuel", "terminal", "restricted"}


def metres(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(GEOD.inv(a[0], a[1], b[0], b[1])[2])


def ids(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["code"] for body in bodies]


def test_enough_of_each() -> None:
    assert len(POSTS) >= 14
    assert len(ROUTES) >= 8
    assert {post["kind"] for post in POSTS} == {"border", "inland", "airport", "rail", "sea"}
    carriers = [p for p in PARTICIPANTS if p["kind"] in {"carrier", "both"}]
    declarants = [p for p in PARTICIPANTS if p["kind"] in {"declarant", "both"}]
    assert len(carriers) >= 6
    assert len(declarants) >= 6


@pytest.mark.parametrize("bodies", [POSTS, ZONES, ROUTES], ids=["posts", "zones", "routes"])
def test_codes_are_unique_and_names_whole(bodies: list[dict[str, Any]]) -> None:
    assert len(set(ids(bodies))) == len(bodies)
    for body in bodies:
        assert set(body["name"]) == {"ru", "kk", "en"}, body["code"]
        assert all(text.strip() for text in body["name"].values()), body["code"]
    for language in ("ru", "kk", "en"):
        names = [body["name"][language] for body in bodies]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("schema", "bodies"),
    [(PostIn, POSTS), (ZoneIn, ZONES), (RouteIn, ROUTES), (ParticipantIn, PARTICIPANTS)],
    ids=["posts", "zones", "routes", "participants"],
)
def test_entries_are_bodies_of_the_api(
    schema: type[BaseModel], bodies: list[dict[str, Any]]
) -> None:
    for body in bodies:
        schema.model_validate(body)


@pytest.mark.parametrize("post", POSTS, ids=ids(POSTS))
def test_a_post_lies_in_kazakhstan_and_in_its_zone(post: dict[str, Any]) -> None:
    assert set(post) == {"code", "name", "geometry", "country", "kind", "zone_code"}
    point = shape(post["geometry"])
    assert 46.4 < point.x < 87.4
    assert 40.5 < point.y < 55.5
    zone = ZONE_BY_CODE[post["zone_code"]]
    assert zone["kind"] == "post"
    assert shape(zone["geometry"]).contains(point)


@pytest.mark.parametrize("zone", ZONES, ids=ids(ZONES))
def test_a_zone_is_a_valid_yard(zone: dict[str, Any]) -> None:
    assert set(zone) <= {"code", "name", "kind", "geometry", "max_dwell_s"}
    assert zone["kind"] in ZONE_KINDS
    polygon = shape(zone["geometry"])
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    area_m2, _ = GEOD.geometry_area_perimeter(polygon)
    assert 0.1e6 < abs(area_m2) < 10e6


@pytest.mark.parametrize("route", ROUTES, ids=ids(ROUTES))
def test_a_lane_joins_two_posts(route: dict[str, Any]) -> None:
    line = shape(route["geometry"])
    assert isinstance(line, LineString)
    assert line.is_simple
    for end in (line.coords[0], line.coords[-1]):
        nearest = min(metres(end, tuple(p["geometry"]["coordinates"])) for p in POSTS)
        assert nearest < 500
    hops = [metres(a, b) for a, b in pairwise(line.coords)]
    assert all(1000 < hop < 320_000 for hop in hops)


@pytest.mark.parametrize("route", ROUTES, ids=ids(ROUTES))
def test_a_lane_says_that_it_is_schematic(route: dict[str, Any]) -> None:
    assert "схематично" in route["name"]["ru"]
    assert "сызбалық" in route["name"]["kk"]
    assert "schematic" in route["name"]["en"]


@pytest.mark.parametrize("route", ROUTES, ids=ids(ROUTES))
def test_corridors_are_narrower_at_the_ends_and_inside_the_line(route: dict[str, Any]) -> None:
    length = GEOD.geometry_length(shape(route["geometry"]))
    assert 8_000 <= route["corridor_m"] <= 25_000
    assert len(route["legs"]) == 2
    for leg in route["legs"]:
        assert 0 <= leg["from_m"] < leg["to_m"] <= length
        assert 1_000 <= leg["corridor_m"] < route["corridor_m"]


@pytest.mark.parametrize("route", ROUTES, ids=ids(ROUTES))
def test_a_lane_touches_its_checkpoints_in_order(route: dict[str, Any]) -> None:
    line = shape(route["geometry"])
    zones = [shape(ZONE_BY_CODE[c["zone_code"]]["geometry"]) for c in route["checkpoints"]]
    assert zones
    assert all(zone.intersects(line) for zone in zones)
    places = [line.project(Point(zone.centroid)) for zone in zones]
    assert places == sorted(places)


def test_no_lane_crosses_the_restricted_zone() -> None:
    (restricted,) = (shape(z["geometry"]) for z in ZONES if z["kind"] == "restricted")
    assert not any(restricted.intersects(shape(r["geometry"])) for r in ROUTES)


def test_participants_cover_every_category_without_a_warning() -> None:
    levels = {"carrier": set[str](), "declarant": set[str](), "both": set[str]()}
    for body in PARTICIPANTS:
        assert set(body) == {"name", "kind", "tax_id", "country", "facts"}
        assert tax_id_warning(body["tax_id"], body["country"]) is None, body["name"]
        judged = category(body["facts"])
        assert judged.warnings == ()
        levels[body["kind"]].add(judged.level)
    assert levels["carrier"] == levels["declarant"] == {"low", "medium", "high"}
    assert len({body["tax_id"] for body in PARTICIPANTS}) == len(PARTICIPANTS)


def test_goods_cover_every_class() -> None:
    goods = read_goods()
    assert {item.risk_class for item in goods} == {"ordinary", "excisable", "licensed", "dual_use"}
    assert len({item.hs_code for item in goods}) == len(goods)
    for item in goods:
        assert len(item.hs_code) == 10
        assert item.hs_code.isdigit()
        assert set(item.description) == {"ru", "kk", "en"}
        assert item.value_kzt_per_kg > 0
        assert item.payments_kzt_per_kg > 0
