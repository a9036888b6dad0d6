# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The track, the newest positions, and the tiles."""

from __future__ import annotations

import csv
import io
from uuid import uuid4

import gpxpy
import pytest
from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World, at


@pytest.fixture
def tracked(world: World):
    """A delivery with a track of five good fixes that arrived out of order, and bad ones."""
    delivery = world.delivery()
    gps = world.device(delivery, "GPS-1")
    for seq in (3, 1, 5, 2, 4):
        world.record(gps, seq, at(seq * 10), 77 + seq / 100, 43 + seq / 100, spd=10.0 * seq)
    world.record(gps, 6, at(60), 0, 0)
    world.record(gps, 7, at(70), 77.9, 43.9, ok=False)
    world.record(gps, 8, at(80), 77.9, 43.9, src="lbs")
    world.record(gps, 9, at(90), 77.9, 43.9, t=int(at(50).timestamp() * 1000))
    world.record(gps, 10, at(-500), 70, 40)
    return delivery


def test_a_track_is_in_the_order_of_time(app: FastAPI, world: World, tracked) -> None:
    answer = world.client(app, "monitor").get(f"/api/v1/deliveries/{tracked}/track")
    assert answer.status_code == 200
    collection = answer.json()
    assert collection["type"] == "FeatureCollection"
    (feature,) = collection["features"]
    assert feature["geometry"]["type"] == "LineString"
    assert feature["geometry"]["coordinates"] == [
        pytest.approx([77 + n / 100, 43 + n / 100]) for n in range(1, 6)
    ]
    properties = feature["properties"]
    assert (properties["device_id"], properties["kind"]) == ("GPS-1", "gps")
    assert properties["speeds_kmh"] == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert len(properties["times"]) == 5
    assert properties["times"] == sorted(properties["times"])
    assert properties["simplified"] is False


def test_a_part_of_the_track_and_a_thinned_one(app: FastAPI, world: World, tracked) -> None:
    client = world.client(app, "monitor")
    path = f"/api/v1/deliveries/{tracked}/track"
    part = client.get(path, params={"from": at(20).isoformat(), "to": at(40).isoformat()}).json()
    assert len(part["features"][0]["geometry"]["coordinates"]) == 3
    thin = client.get(path, params={"limit": 3, "to": at(50).isoformat()}).json()
    assert thin["simplified"] is True
    assert len(thin["features"][0]["geometry"]["coordinates"]) == 3
    assert thin["features"][0]["properties"]["points_total"] == 5


def test_csv_and_gpx(app: FastAPI, world: World, tracked) -> None:
    client = world.client(app, "auditor")
    path = f"/api/v1/deliveries/{tracked}/track"
    text = client.get(path, params={"format": "csv"})
    assert text.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert [float(r["speed_kmh"]) for r in rows] == [10, 20, 30, 40, 50]
    gpx = gpxpy.parse(client.get(path, params={"format": "gpx"}).text)
    assert [p.time for p in gpx.tracks[0].segments[0].points] == [at(n * 10) for n in range(1, 6)]


def test_a_delivery_with_no_track_has_an_empty_one(app: FastAPI, world: World) -> None:
    client = world.client(app, "monitor")
    empty = client.get(f"/api/v1/deliveries/{world.delivery()}/track")
    assert (empty.status_code, empty.json()["features"]) == (200, [])


def test_track_refusals(app: FastAPI, world: World, tracked) -> None:
    client = world.client(app, "monitor")
    path = f"/api/v1/deliveries/{tracked}/track"
    for params in (
        {"format": "kml"},
        {"from": "x"},
        {"limit": 1},
        {"from": at(9).isoformat(), "to": at(1).isoformat()},
    ):
        assert client.get(path, params=params).status_code == 422, params
    assert client.get(f"/api/v1/deliveries/{uuid4()}/track").status_code == 404
    assert world.client(app, "stranger").get(path).status_code == 404
    assert world.client(app, "carrier").get(path).status_code == 200


def test_positions_in_a_box_and_in_sight(app: FastAPI, world: World) -> None:
    own, other = world.delivery(), world.delivery(carrier=world.other_carrier)
    over = world.delivery(status="completed")
    world.state(own, 5, "high")
    world.alert(own, "silence")
    for n, (delivery, lon) in enumerate(((own, 77.0), (other, 179.5), (over, 77.0))):
        world.position(world.device(delivery, f"GPS-{n}"), delivery, lon, 43)
    client = world.client(app, "monitor")

    def devices(**params: str) -> list[str]:
        answer = client.get("/api/v1/positions", params=params)
        assert answer.status_code == 200, answer.text
        return sorted(i["device_id"] for i in answer.json()["items"])

    assert devices() == ["GPS-0", "GPS-1"]
    assert devices(bbox="76,42,78,44") == ["GPS-0"]
    assert devices(bbox="179,42,-179,44") == ["GPS-1"]
    items = client.get("/api/v1/positions").json()["items"]
    first = next(i for i in items if i["device_id"] == "GPS-0")
    assert (first["level"], first["open_alerts"], first["kind"]) == ("high", 1, "gps")
    assert (first["lon"], first["lat"], first["speed_kmh"]) == (77.0, 43.0, 60.0)
    mine = world.client(app, "carrier").get("/api/v1/positions").json()["items"]
    assert [(i["device_id"], i["level"]) for i in mine] == [("GPS-0", None)]


@pytest.mark.parametrize("bbox", ["1,2,3", "a,b,c,d", "0,50,1,40", "-181,0,1,1", "nan,0,1,1", ""])
def test_a_bad_box_is_refused(app: FastAPI, world: World, bbox: str) -> None:
    answer = world.client(app, "monitor").get("/api/v1/positions", params={"bbox": bbox})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "bbox"]


def test_tiles(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.position(world.device(delivery, "GPS-1"), delivery, 76.9, 43.25)
    client = world.client(app, "monitor")
    for layer, place in (
        ("routes", "0/0/0"),
        ("zones", "12/2922/1501"),
        ("posts", "0/0/0"),
        ("positions", "0/0/0"),
    ):
        tile = client.get(f"/api/v1/tiles/{layer}/{place}.mvt")
        assert tile.status_code == 200, tile.text
        assert tile.headers["content-type"] == "application/vnd.mapbox-vector-tile"
        assert layer.encode() in tile.content
    assert client.get("/api/v1/tiles/posts/5/0/0.mvt").status_code == 204
    assert client.get("/api/v1/tiles/posts/2/4/0.mvt").status_code == 404
    assert client.get("/api/v1/tiles/secrets/0/0/0.mvt").status_code == 404
    foreign = world.client(app, "stranger").get("/api/v1/tiles/positions/0/0/0.mvt")
    assert foreign.status_code == 204


def test_the_map_report_in_three_languages_and_without_network(
    app: FastAPI, world: World, tracked
) -> None:
    world.anomaly(tracked, "seal_cut")
    path = f"/api/v1/deliveries/{tracked}/map"
    client = world.client(app, "monitor")
    pages = {lang: client.get(path, params={"lang": lang}) for lang in ("ru", "kk", "en")}
    for page in pages.values():
        assert page.status_code == 200, page.text
        assert page.headers["content-type"].startswith("text/html")
        assert "/static/vendor" in page.text
        assert 'src="http' not in page.text
        assert 'href="http' not in page.text
    assert len({page.text for page in pages.values()}) == 3
    assert world.client(app, "stranger").get(path).status_code == 404
    assert world.client(app, "carrier").get(path).status_code == 200
    assert client.get(path, params={"lang": "de"}).status_code == 422
