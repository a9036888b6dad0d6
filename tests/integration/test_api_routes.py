"""Declared routes over HTTP: JSON and files."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from shapely.geometry import Point, shape

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, bad_fields

LINE = [[76.9, 43.25], [77.4, 43.3], [77.9, 43.25]]


def _route(**more: Any) -> dict[str, Any]:
    line = {"type": "LineString", "coordinates": LINE}
    return {"code": "R9", "name": "A2", "geometry": line, "corridor_m": 2000} | more


def test_a_route_is_stored_with_its_pieces(world: ApiWorld, database: str) -> None:  # noqa: F811
    legs = [{"from_m": 0, "to_m": 10_000, "corridor_m": 500}]
    checkpoints = [{"zone_code": "post:P1", "mandatory": False}]
    made = world.made("/routes", _route(legs=legs, checkpoints=checkpoints))
    assert made["length_m"] == pytest.approx(81_700, rel=0.01)
    assert made["legs"] == legs
    assert made["checkpoints"] == checkpoints
    with psycopg.connect(database) as conn:
        row = conn.execute(
            "SELECT min(start_m), sum(length_m), min(half_width_m), max(half_width_m),"
            " bool_and(ST_SRID(geom_plane) = 3857) FROM route_pieces WHERE route_id = %s",
            (made["id"],),
        ).fetchone()
    assert row is not None
    assert row[0] == 0
    assert row[1] == pytest.approx(made["length_m"])
    assert row[2:] == (500, 2000, True)
    assert "body.code" in bad_fields(world.post("/routes", _route()), 409)


def test_the_corridor_is_as_wide_as_declared(world: ApiWorld) -> None:  # noqa: F811
    world.made("/routes", _route())
    corridor = shape(world.get("/routes/R9", corridor=True)["corridor"])
    on_earth_m = 1 / 111_100  # degrees of latitude
    assert corridor.contains(Point(77.4, 43.3 + 1850 * on_earth_m))
    assert not corridor.contains(Point(77.4, 43.3 + 2150 * on_earth_m))
    listed = {r["code"]: r for r in world.get("/routes", corridor=True)["items"]}
    assert listed["R9"]["corridor"] is not None
    assert world.get("/routes")["items"][0]["corridor"] is None


def test_a_name_is_one_text_or_one_for_each_language(world: ApiWorld) -> None:  # noqa: F811
    names = {"ru": "Трасса", "kk": "Жол", "en": "Road"}
    assert world.made("/routes", _route(name=names))["name"] == names
    assert world.get("/routes/R9")["name"] == names
    assert world.made("/routes", _route(code="R8", name="{odd}"))["name"] == "{odd}"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"corridor_m": 0}, "body.corridor_m", "more than 0"),
        ({"corridor_m": 50_001}, "body.corridor_m", "50000"),
        ({"corridor_m": "NaN"}, "body.corridor_m", "finite"),
        (
            {"legs": [{"from_m": 0, "to_m": 1e6, "corridor_m": 10}]},
            "body.legs.0",
            "lie within",
        ),
        (
            {
                "legs": [
                    {"from_m": 0, "to_m": 20, "corridor_m": 10},
                    {"from_m": 10, "to_m": 30, "corridor_m": 10},
                ]
            },
            "body.legs.1",
            "overlaps",
        ),
        (
            {"checkpoints": [{"zone_code": "Z9", "mandatory": True}]},
            "body.checkpoints.0.zone_code",
            "Z9",
        ),
        (
            {"geometry": {"type": "LineString", "coordinates": [[76, 43]]}},
            "body.geometry.coordinates",
            "2 different points",
        ),
        (
            {"geometry": {"type": "LineString", "coordinates": [[76, 43], [76, 91]]}},
            "body.geometry.coordinates.1",
            "±90",
        ),
        (
            {"geometry": {"type": "LineString", "coordinates": [[76, 43], [76, 89]]}},
            "body.geometry.coordinates.1",
            "±85",
        ),
    ],
)
def test_a_route_that_cannot_be_used_is_refused(
    world: ApiWorld,  # noqa: F811
    change: dict[str, Any],
    field: str,
    words: str,
) -> None:
    errors = bad_fields(world.post("/routes", _route(**change)))
    assert words in errors[field]


GPX = (
    '<?xml version="1.0"?><gpx version="1.1" creator="t"'
    ' xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    + "".join(f'<trkpt lat="{lat}" lon="{lon}"/>' for lon, lat in LINE)
    + "</trkseg></trk></gpx>"
)
KML = (
    '<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><LineString><coordinates>'
    + " ".join(f"{lon},{lat},0" for lon, lat in LINE)
    + "</coordinates></LineString></Placemark></kml>"
)
GEOJSON = (
    '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},'
    f'"geometry":{{"type":"LineString","coordinates":{LINE}}}}}]}}'
)


def _upload(world: ApiWorld, content: bytes, code: str = "UP") -> Any:  # noqa: F811
    form = {"code": code, "name": "From a file", "corridor_m": "1500"}
    return world.call("POST", "/routes/upload", data=form, files={"file": ("f", content)})


@pytest.mark.parametrize("text", [GPX, KML, GEOJSON], ids=["gpx", "kml", "geojson"])
def test_a_route_comes_from_a_file(world: ApiWorld, text: str) -> None:  # noqa: F811
    answer = _upload(world, text.encode())
    assert answer.status_code == 201, answer.text
    assert answer.json()["geometry"]["coordinates"] == LINE
    assert answer.json()["corridor_m"] == 1500


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"nonsense",
        b"<gpx></gpx>",
        b"<kml><broken",
        b'{"type":"LineString"}',
        b'{"type":"Point","coordinates":[1,2]}',
        b'<!DOCTYPE a [<!ENTITY b "c">]><gpx>&b;</gpx>',
        b'{"type":"LineString","coordinates":[[1,2],["x",3]]}',
        b'{"type":"LineString","coordinates":[[76,43],[NaN,43]]}',
        b'{"a":' * 3000,
    ],
)
def test_a_file_without_a_route_is_refused_with_words(world: ApiWorld, content: bytes) -> None:  # noqa: F811
    errors = bad_fields(_upload(world, content))
    assert any(loc.startswith(("body.file", "body.geometry")) for loc in errors)
