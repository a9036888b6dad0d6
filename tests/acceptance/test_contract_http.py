"""The HTTP contract, line by line: what is made, what is refused, and how it is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.asking import LINE, RING, delivery_body, raw, refused, route_body
from tests.support.customs import Customs, names, rfc3339
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def customs(stack: Stack) -> Customs:
    return Customs(stack, "http")


@pytest.fixture(scope="module")
def world(customs: Customs) -> dict[str, str]:
    return {
        "who": customs.participant(),
        "from": customs.place("from", LINE[0]),
        "to": customs.place("to", LINE[1]),
    }


# ------------------------------------------------------------------ making things


def test_a_post_with_a_zone_of_500_m_by_default(customs: Customs) -> None:
    code = customs.code("plain")
    body = {
        "code": code,
        "name": names("x"),
        "geometry": {"type": "Point", "coordinates": [70.0, 50.0]},
        "country": "KZ",
    }
    a = raw(customs, "POST", "/posts", json=body)
    assert a.status_code == 201, a.text
    got = a.json()
    assert got["id"]
    assert got["code"] == code
    assert got["kind"] == "inland"
    assert got["name"] == names("x")
    assert got["geometry"] == body["geometry"]
    listed = customs.get("/posts", limit=1000)["items"]
    assert any(p["code"] == code for p in listed)
    refused(raw(customs, "POST", "/posts", json=body), 409)


@pytest.mark.parametrize("kind", ["border", "inland", "airport", "rail", "sea"])
def test_kinds_of_posts(customs: Customs, kind: str) -> None:
    body = {
        "code": customs.code("k" + kind),
        "name": names("x"),
        "geometry": {"type": "Point", "coordinates": [70.0, 50.0]},
        "country": "KZ",
        "kind": kind,
    }
    assert customs.post("/posts", body, status=201)["kind"] == kind


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "castle"}, "kind"),
        ({"geometry": {"type": "Point", "coordinates": [200, 50]}}, "geometry"),
        ({"geometry": {"type": "Point", "coordinates": [70]}}, "geometry"),
        ({"geometry": {"type": "LineString", "coordinates": [[1, 2], [2, 3]]}}, "geometry"),
        ({"name": "x"}, "name"),
        ({"name": {"ru": "x"}}, "name"),
        ({"code": ""}, "code"),
        ({"country": "Kazakhstan"}, "country"),
        ({"zone_code": "no-such-zone"}, "zone_code"),
    ],
)
def test_a_bad_post(customs: Customs, change: dict[str, Any], field: str) -> None:
    body = {
        "code": customs.code("bad"),
        "name": names("x"),
        "geometry": {"type": "Point", "coordinates": [70.0, 50.0]},
        "country": "KZ",
    } | change
    refused(raw(customs, "POST", "/posts", json=body), 422, field)


@pytest.mark.parametrize(
    "kind",
    ["post", "border", "parking", "rest", "fuel", "terminal", "restricted", "territory"],
)
def test_kinds_of_zones(customs: Customs, kind: str) -> None:
    geometry = (
        {"type": "Polygon", "coordinates": [RING]}
        if kind != "rest"
        else {"type": "MultiPolygon", "coordinates": [[RING], [[[x + 1, y] for x, y in RING]]]}
    )
    body = {
        "code": customs.code("z" + kind),
        "name": names("z"),
        "kind": kind,
        "geometry": geometry,
    }
    got = customs.post("/zones", body, status=201)
    assert got["id"]
    assert got["kind"] == kind
    assert got["geometry"] == geometry
    assert got.get("max_dwell_s") is None
    assert got.get("valid_from") is None


def test_a_zone_keeps_all_its_fields(customs: Customs) -> None:
    body = {
        "code": customs.code("zfull"),
        "name": names("z"),
        "kind": "rest",
        "geometry": {"type": "Polygon", "coordinates": [RING]},
        "max_dwell_s": 3600,
        "valid_from": "2020-01-01T00:00:00.000Z",
        "valid_to": "2030-01-01T00:00:00.000Z",
    }
    got = customs.post("/zones", body, status=201)
    for key in body:
        assert got[key] == body[key], key
    listed = [z for z in customs.get("/zones", limit=1000)["items"] if z["code"] == body["code"]]
    assert listed[0]["max_dwell_s"] == 3600


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "castle"}, "kind"),
        ({"geometry": {"type": "Point", "coordinates": [70, 50]}}, "geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [RING[:2]]}}, "geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [RING[:-1]]}}, "geometry"),
        ({"max_dwell_s": -1}, "max_dwell_s"),
        ({"valid_from": "2030-01-01T00:00:00Z", "valid_to": "2020-01-01T00:00:00Z"}, "valid_"),
        ({"valid_from": "yesterday"}, "valid_from"),
    ],
)
def test_a_bad_zone(customs: Customs, change: dict[str, Any], field: str) -> None:
    body = {
        "code": customs.code("zbad"),
        "name": names("z"),
        "kind": "rest",
        "geometry": {"type": "Polygon", "coordinates": [RING]},
    } | change
    refused(raw(customs, "POST", "/zones", json=body), 422, field)


def test_a_route_in_full(customs: Customs) -> None:
    zone = customs.zone("check", [(lon, lat) for lon, lat in RING], "post")
    body = route_body(
        code=customs.code("route"),
        name="Хоргос — Алматы",
        legs=[{"from_m": 0, "to_m": 10000, "corridor_m": 300}],
        checkpoints=[{"zone_code": zone, "mandatory": True}],
    )
    got = customs.post("/routes", body, status=201)
    assert got["id"]
    assert got["name"] == "Хоргос — Алматы"
    assert got["legs"] == body["legs"]
    assert got["checkpoints"] == body["checkpoints"]
    assert got["geometry"]["type"] == "LineString"
    assert got["geometry"]["coordinates"] == [list(p) for p in LINE]
    assert got["corridor_m"] == 1000
    listed = [r for r in customs.get("/routes", limit=1000)["items"] if r["code"] == body["code"]]
    assert listed
    assert listed[0]["name"] == body["name"]
    named = customs.post(
        "/routes", body | {"code": customs.code("route3"), "name": names("three")}, status=201
    )
    assert named["name"] == names("three")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"geometry": {"type": "LineString", "coordinates": [[77, 43]]}}, "geometry"),
        ({"geometry": {"type": "LineString", "coordinates": [[77, 43], [77, 43]]}}, "geometry"),
        ({"geometry": {"type": "LineString", "coordinates": []}}, "geometry"),
        ({"geometry": {"type": "Point", "coordinates": [77, 43]}}, "geometry"),
        ({"corridor_m": 0}, "corridor_m"),
        ({"corridor_m": -5}, "corridor_m"),
        ({"corridor_m": 50001}, "corridor_m"),
        ({"legs": [{"from_m": 10, "to_m": 5, "corridor_m": 100}]}, "legs"),
        ({"legs": [{"from_m": 0, "to_m": 5, "corridor_m": -100}]}, "legs"),
        ({"checkpoints": [{"zone_code": "nowhere", "mandatory": True}]}, "checkpoints"),
    ],
)
def test_a_bad_route(customs: Customs, change: dict[str, Any], field: str) -> None:
    body = route_body(code=customs.code("badroute")) | change
    refused(raw(customs, "POST", "/routes", json=body), 422, field)


def test_devices(customs: Customs) -> None:
    seal = customs.post("/devices", {"id": customs.code("s"), "kind": "seal"}, status=201)
    assert seal["hmac_required"] is True
    assert seal["periods"] == {"moving_s": 300, "parked_s": 1800}
    assert "secret_b64" in str(seal)
    gps = customs.post(
        "/devices", {"id": customs.code("g"), "kind": "gps", "model": "FMB920"}, status=201
    )
    assert gps["periods"] == {"moving_s": 60, "parked_s": 600}
    assert gps["hmac_required"] is False
    shown = customs.get(f"/devices/{seal['id']}")
    assert "secret_b64" not in str(shown)
    assert {"last_record", "gen", "acked_upto", "missing", "health", "trust"} <= set(shown)
    assert shown["acked_upto"] == 0
    assert shown["missing"] == []
    assert shown["last_record"] is None
    assert any(d["id"] == gps["id"] for d in customs.get("/devices", limit=1000)["items"])
    refused(raw(customs, "GET", "/devices/none-such"), 404)
    refused(raw(customs, "POST", "/devices", json={"id": seal["id"], "kind": "seal"}), 409)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "a b", "kind": "seal"}, "id"),
        ({"id": "a" * 65, "kind": "seal"}, "id"),
        ({"id": "", "kind": "seal"}, "id"),
        ({"id": "ok-1", "kind": "fridge"}, "kind"),
        ({"kind": "gps"}, "id"),
        ({"id": "ok-2", "kind": "gps", "periods": {"moving_s": 0, "parked_s": 5}}, "periods"),
    ],
)
def test_a_bad_device(customs: Customs, body: dict[str, Any], field: str) -> None:
    refused(raw(customs, "POST", "/devices", json=body), 422, field)


def test_participants(customs: Customs) -> None:
    body = {
        "name": "ТОО Тест",
        "kind": "carrier",
        "tax_id": "123456789012",
        "country": "KZ",
    }
    got = customs.post("/participants", body, status=201)
    assert got["id"]
    assert got["category"]["level"] in ("low", "medium", "high")
    assert isinstance(got["warnings"], list)
    assert any("tax_id" in str(w["loc"]) and w["msg"] for w in got["warnings"])
    again = customs.get(f"/participants/{got['id']}")
    assert again["name"] == "ТОО Тест"
    refused(raw(customs, "POST", "/participants", json=body | {"kind": "king"}), 422, "kind")
    refused(raw(customs, "GET", "/participants/00000000-0000-0000-0000-000000000000"), 404)
    refused(raw(customs, "GET", "/participants/none"), 404)


def test_a_delivery_in_full(customs: Customs, world: dict[str, str]) -> None:
    device = customs.device("full", "gps")
    body = delivery_body(
        customs,
        world,
        devices=[device],
        vehicle={"plate": "1", "country": "KZ", "trailer": "T1", "container": "MSCU1234565"},
    )
    got = customs.post("/deliveries", body, status=201)
    assert got["id"]
    assert got["status"] == "declared"
    for key in (
        "registration_number",
        "direction",
        "carrier_id",
        "declarant_id",
        "goods",
        "departure_post",
        "destination_post",
        "vehicle",
        "devices",
    ):
        assert got[key] == body[key], key
    one = customs.get(f"/deliveries/{got['id']}")
    assert {"status", "bindings", "last_position", "settled"} <= set(one)
    assert one["last_position"] is None
    assert one["settled"] is True
    assert datetime.fromisoformat(one["deadline"]) == datetime.fromisoformat(body["deadline"])
    assert one["deadline"].endswith("Z")
    assert len(one["deadline"]) == 24
    refused(raw(customs, "POST", "/deliveries", json=body | {"devices": []}), 409)


def test_a_delivery_by_route_code(customs: Customs, world: dict[str, str]) -> None:
    code = customs.code("bycode")
    customs.post("/routes", route_body(code=code), status=201)
    body = delivery_body(customs, world, route_code=code)
    del body["route"]
    assert customs.post("/deliveries", body, status=201)["route_code"] == code
    refused(
        raw(
            customs,
            "POST",
            "/deliveries",
            json=delivery_body(customs, world, route_code="none") | {"route": None},
        ),
        422,
        "route_code",
    )
    both = delivery_body(customs, world, route_code=code)
    refused(raw(customs, "POST", "/deliveries", json=both), 422, "route")
    neither = delivery_body(customs, world)
    del neither["route"]
    refused(raw(customs, "POST", "/deliveries", json=neither), 422, "route")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"departure_post": "nowhere"}, "departure_post"),
        ({"destination_post": "nowhere"}, "destination_post"),
        ({"carrier_id": "00000000-0000-0000-0000-000000000000"}, "carrier_id"),
        ({"declarant_id": "nobody"}, "declarant_id"),
        ({"devices": ["no-such-device"]}, "devices"),
        ({"direction": "up"}, "direction"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "deadline"),
        ({"deadline": "tomorrow"}, "deadline"),
        (
            {"route": route_body(geometry={"type": "LineString", "coordinates": [[77, 43]]})},
            "route",
        ),
        ({"goods": []}, "goods"),
        ({"goods": [{"hs_code": "2208"}]}, "goods"),
        ({"vehicle": {}}, "vehicle"),
        ({"registration_number": ""}, "registration_number"),
    ],
)
def test_a_bad_delivery(
    customs: Customs, world: dict[str, str], change: dict[str, Any], field: str
) -> None:
    problem = refused(
        raw(customs, "POST", "/deliveries", json=delivery_body(customs, world, **change)),
        422,
        field,
    )
    assert len(problem["errors"][0]["msg"]) > 10  # says what to do, not only that it is bad


def test_a_device_already_bound(customs: Customs, world: dict[str, str]) -> None:
    device = customs.device("bound", "gps")
    first = customs.post("/deliveries", delivery_body(customs, world, devices=[device]))
    problem = refused(
        raw(customs, "POST", "/deliveries", json=delivery_body(customs, world, devices=[device])),
        409,
    )
    assert device in str(problem)
    assert "devices" in str(problem)
    customs.post(f"/deliveries/{first['id']}/release", {})
    problem = refused(
        raw(customs, "POST", "/deliveries", json=delivery_body(customs, world, devices=[device])),
        409,
    )


def test_the_past_departure_is_taken(customs: Customs, world: dict[str, str]) -> None:
    past = rfc3339(datetime.now(UTC) - timedelta(days=10))
    got = customs.post(
        "/deliveries", delivery_body(customs, world, scheduled_departure=past), status=201
    )
    assert got["scheduled_departure"] == past


def test_a_far_post_is_a_warning(customs: Customs, world: dict[str, str]) -> None:
    far = customs.place("far", (60.0, 50.0))
    got = customs.post(
        "/deliveries", delivery_body(customs, world, destination_post=far), status=201
    )
    assert any("destination_post" in str(w["loc"]) and w["msg"] for w in got["warnings"])
    devices = [customs.device("near-s", "seal"), customs.device("near-g", "gps")]
    near = customs.post("/deliveries", delivery_body(customs, world, devices=devices), status=201)
    assert near["warnings"] == []
