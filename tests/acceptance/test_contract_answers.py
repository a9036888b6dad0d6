"""What holds for every call: keys, pages, tags, problems, tokens, open doors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.acceptance.asking import LINE, RING, delivery_body, raw, refused, route_body
from tests.support.customs import Customs, names
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


# ------------------------------------------------------------------ general rules


def test_idempotency_key(customs: Customs, world: dict[str, str]) -> None:
    for path, body in [
        (
            "/posts",
            {
                "code": customs.code("ik"),
                "name": names("x"),
                "country": "KZ",
                "geometry": {"type": "Point", "coordinates": [70.0, 50.0]},
            },
        ),
        (
            "/zones",
            {
                "code": customs.code("ikz"),
                "name": names("x"),
                "kind": "rest",
                "geometry": {"type": "Polygon", "coordinates": [RING]},
            },
        ),
        ("/routes", route_body(code=customs.code("ikr"))),
        ("/devices", {"id": customs.code("ikd"), "kind": "gps"}),
        ("/participants", {"name": "n", "kind": "both", "tax_id": "000000000001", "country": "KZ"}),
        ("/deliveries", delivery_body(customs, world)),
        (
            "/users",
            {"username": customs.code("iku"), "password": "correct horse 1", "role": "monitor"},
        ),
    ]:
        key = {"Idempotency-Key": customs.code(path.strip("/") + "key")}
        first = raw(customs, "POST", path, json=body, headers=key)
        again = raw(customs, "POST", path, json=body, headers=key)
        assert first.status_code == 201, (path, first.text)
        assert again.status_code == 201, (path, again.text)
        assert first.json()["id"] == again.json()["id"], path
        changed = dict(body)
        first_key = next(k for k in changed if isinstance(changed[k], str))
        changed[first_key] = changed[first_key] + "x"
        answer = raw(customs, "POST", path, json=changed, headers=key)
        assert answer.status_code in (409, 422), (path, answer.text)


def test_paging(customs: Customs) -> None:
    for _n in range(5):
        customs.participant()
    for path in (
        "/participants",
        "/posts",
        "/zones",
        "/routes",
        "/devices",
        "/deliveries",
        "/users",
    ):
        everything = customs.get(path, limit=1000)
        assert everything["next"] is None, path
        ids: list[str] = []
        cursor = None
        for _ in range(500):
            params: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = customs.get(path, **params)
            assert len(page["items"]) <= 2
            ids += [str(i["id"]) for i in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert ids == [str(i["id"]) for i in everything["items"]], path
        refused(raw(customs, "GET", path, params={"limit": 1001}), 422, "limit")
        refused(raw(customs, "GET", path, params={"limit": 0}), 422, "limit")
        refused(raw(customs, "GET", path, params={"cursor": "%%%"}), 422, "cursor")


def test_etags(customs: Customs, world: dict[str, str]) -> None:
    made = raw(customs, "POST", "/deliveries", json=delivery_body(customs, world))
    url = f"/deliveries/{made.json()['id']}"
    tag = raw(customs, "GET", url).headers["etag"]
    assert raw(customs, "GET", url).headers["etag"] == tag
    refused(
        raw(customs, "POST", f"{url}/release", json={}, headers={"If-Match": '"not-this"'}), 412
    )
    ok = raw(customs, "POST", f"{url}/release", json={}, headers={"If-Match": tag})
    assert ok.is_success, ok.text
    assert raw(customs, "GET", url).headers["etag"] != tag


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing-here", 404),
        ("DELETE", "/posts", 405),
        ("GET", "/deliveries/none", 404),
        ("GET", "/deliveries/00000000-0000-0000-0000-000000000000", 404),
        ("GET", "/deliveries/none/track", 404),
        ("GET", "/deliveries/none/risk", 404),
        ("GET", "/deliveries/none/anomalies", 404),
        ("POST", "/alerts/none/ack", 404),
    ],
)
def test_no_such_thing(customs: Customs, method: str, path: str, status: int) -> None:
    refused(raw(customs, method, path), status)


def test_broken_json(customs: Customs) -> None:
    a = raw(
        customs, "POST", "/posts", content=b"{nope", headers={"content-type": "application/json"}
    )
    assert a.status_code in (400, 422)
    refused(a, a.status_code)
    a = raw(
        customs,
        "POST",
        "/posts",
        content=b"\xff\xfe\x00",
        headers={"content-type": "application/json"},
    )
    assert a.status_code in (400, 422)
    refused(a, a.status_code)
    refused(raw(customs, "POST", "/posts", json=[]), 422)
    # a NUL and a lone surrogate are text for JSON, not for a database
    a = raw(
        customs,
        "POST",
        "/participants",
        json={"name": "a\x00b", "kind": "both", "tax_id": "1", "country": "KZ"},
    )
    refused(a, 422)
    a = raw(
        customs,
        "POST",
        "/participants",
        content=b'{"name":"a\\ud800b","kind":"both","tax_id":"1","country":"KZ"}',
        headers={"content-type": "application/json"},
    )
    refused(a, 422)
    a = raw(
        customs,
        "POST",
        "/posts",
        content=b'{"code":"nan","name":{"ru":"a","kk":"a","en":"a"},"country":"KZ","geometry":{"type":"Point","coordinates":[NaN,50]}}',
        headers={"content-type": "application/json"},
    )
    assert a.status_code in (400, 422), a.text


def test_no_token(stack: Stack) -> None:
    with httpx.Client(base_url=stack.http) as nobody:
        for path in (
            "/posts",
            "/deliveries",
            "/alerts",
            "/anomalies",
            "/users",
            "/stream",
            "/quarantine",
            "/devices",
        ):
            refused(nobody.get(f"/api/v1{path}"), 401)
        bad = nobody.get("/api/v1/posts", headers={"Authorization": "Bearer x.y.z"})
        refused(bad, 401)
        wrong = nobody.post("/api/v1/auth/token", data={"username": "admin", "password": "no"})
        assert wrong.status_code in (400, 401)
        refused(wrong, wrong.status_code)
        refused(nobody.post("/api/v1/auth/token", data={"username": "admin"}), 422, "password")


def test_the_token(stack: Stack) -> None:
    admin = stack.info["admin"]
    for extra in ({}, {"grant_type": "password"}):
        a = httpx.post(f"{stack.http}/api/v1/auth/token", data=admin | extra)
        assert a.status_code == 200
        assert a.json()["token_type"] == "bearer"
        assert a.json()["expires_in"] == 12 * 3600


def test_open_doors(stack: Stack) -> None:
    assert httpx.get(f"{stack.http}/healthz").status_code == 200
    ready = httpx.get(f"{stack.http}/readyz")
    assert ready.status_code == 200
    text = str(ready.json())
    assert "database" in text or "postgres" in text
    assert "broker" in text or "mqtt" in text
    metrics = httpx.get(f"{stack.http}/metrics")
    assert metrics.status_code == 200
    assert "# TYPE" in metrics.text
    api = httpx.get(f"{stack.http}/api/openapi.json").json()
    for path in (
        "/users",
        "/posts",
        "/zones",
        "/routes",
        "/devices",
        "/participants",
        "/deliveries",
    ):
        assert {"get", "post"} <= set(api["paths"][f"/api/v1{path}"])
    for path in ("border-crossing", "release", "arrival", "track", "anomalies", "risk"):
        assert any(p.endswith("}/" + path) for p in api["paths"]), path
    for path in ("/anomalies", "/alerts", "/stream", "/quarantine", "/auth/token"):
        assert f"/api/v1{path}" in api["paths"], path


def test_upload_of_routes(customs: Customs) -> None:
    gpx = (
        '<?xml version="1.0"?><gpx version="1.1" creator="x" '
        'xmlns="http://www.topografix.com/GPX/1/1">'
        '<trk><name>t</name><trkseg><trkpt lat="43.0" lon="77.0"/>'
        '<trkpt lat="43.5" lon="77.0"/></trkseg></trk></gpx>'
    )
    kml = (
        '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Placemark><name>t</name>'
        "<LineString><coordinates>77.0,43.0,0 77.0,43.5,0</coordinates>"
        "</LineString></Placemark></kml>"
    )
    line = '{"type":"LineString","coordinates":[[77.0,43.0],[77.0,43.5]]}'
    geo = f'{{"type":"Feature","properties":{{}},"geometry":{line}}}'
    for name, text in (("a.gpx", gpx), ("a.kml", kml), ("a.geojson", geo)):
        a = raw(
            customs,
            "POST",
            "/routes/upload",
            data={"code": customs.code(name), "name": "n", "corridor_m": "500"},
            files={"file": (name, text)},
        )
        assert a.status_code == 201, (name, a.text)
        assert a.json()["geometry"]["coordinates"] == [[77.0, 43.0], [77.0, 43.5]]
