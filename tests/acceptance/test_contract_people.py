"""People: roles, acts, alerts, risk, the stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.asking import refused
from tests.acceptance.people_world import LINE, PASSWORD, act, ago, delivery, populate, rec
from tests.support.customs import Customs
from tests.support.mqtt_device import MqttDevice
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def customs(stack: Stack) -> Customs:
    """A client of these tests."""
    return Customs(stack, "people")


@pytest.fixture(scope="module")
def world(customs: Customs) -> dict[str, Any]:
    """Everybody."""
    return populate(customs)


# ------------------------------------------------------------------ users and roles


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"role": "king"}, "role"),
        ({"username": ""}, "username"),
        ({"password": ""}, "password"),
        ({"role": "officer", "posts": ["nowhere"]}, "posts"),
        (
            {"role": "carrier", "participant_id": "00000000-0000-0000-0000-000000000000"},
            "participant_id",
        ),
        ({"role": "carrier"}, "participant_id"),
    ],
)
def test_a_bad_user(customs: Customs, change: dict[str, Any], field: str) -> None:
    body = {"username": customs.code("bad"), "password": PASSWORD, "role": "monitor"} | change
    refused(customs.http.post("/api/v1/users", json=body), 422, field)


def test_who_may_what(customs: Customs, world: dict[str, Any]) -> None:
    id_ = delivery(customs, world)
    for role in ("carrier", "monitor", "analyst", "auditor"):
        c = world[f"c_{role}"]
        assert (
            act(c, "/users", {"username": "x", "password": PASSWORD, "role": "monitor"}).status_code
            == 403
        ), role
        assert act(c, f"/deliveries/{id_}/release", {}).status_code == 403, role
        assert act(c, f"/deliveries/{id_}/arrival", {"seals": []}).status_code == 403, role
        assert c.get(f"/api/v1/deliveries/{id_}").status_code == 200
    for role in ("monitor", "officer", "analyst", "auditor", "admin"):
        assert world[f"c_{role}"].get(f"/api/v1/deliveries/{id_}/risk").status_code in (200, 404), (
            role
        )
    # nobody but its own carrier knows of it
    rival = world["c_rival"]
    for path in ("", "/track", "/anomalies", "/risk", "/map", "/route"):
        assert rival.get(f"/api/v1/deliveries/{id_}{path}").status_code == 404, path
    refused(
        act(
            rival,
            f"/deliveries/{id_}/border-crossing",
            {"post": world["from"], "at": ago(minutes=5)},
        ),
        404,
    )
    assert all(
        d["carrier_id"] == world["b"] for d in rival.get("/api/v1/deliveries").json()["items"]
    )
    assert id_ not in [d["id"] for d in rival.get("/api/v1/deliveries").json()["items"]]
    assert id_ in [d["id"] for d in world["c_carrier"].get("/api/v1/deliveries").json()["items"]]
    away = world["c_away"]
    assert act(away, f"/deliveries/{id_}/release", {}).status_code in (403, 404)
    assert act(
        world["c_officer"],
        f"/deliveries/{id_}/border-crossing",
        {"post": world["from"], "at": ago(minutes=5)},
    ).status_code in (200, 403)


def test_the_life_of_a_delivery(customs: Customs, world: dict[str, Any]) -> None:
    seal = customs.device("life", "seal")
    id_ = delivery(customs, world, [seal])
    path = f"/deliveries/{id_}"
    c, o = world["c_carrier"], world["c_officer"]
    refused(act(o, f"{path}/arrival", {"seals": []}), 409)
    crossed = act(
        c,
        f"{path}/border-crossing",
        {
            "post": world["from"],
            "at": ago(hours=5),
            "plate": "123ABC02",
            "position": {"type": "Point", "coordinates": LINE[0]},
            "documents": ["CMR 1"],
        },
    )
    assert crossed.status_code in (200, 201), crossed.text
    refused(act(c, f"{path}/border-crossing", {"post": "nowhere", "at": ago(hours=5)}), 422, "post")
    refused(act(c, f"{path}/border-crossing", {"post": world["from"]}), 422, "at")
    refused(
        act(c, f"{path}/border-crossing", {"post": world["from"], "at": ago(days=40)}), 422, "at"
    )
    refused(
        act(c, f"{path}/border-crossing", {"post": world["from"], "at": ago(hours=-2)}), 422, "at"
    )
    refused(act(o, f"{path}/release", {"at": ago(days=31)}), 422, "at")
    refused(act(o, f"{path}/release", {"at": ago(hours=-1)}), 422, "at")
    refused(act(o, f"{path}/release", {"at": "noon"}), 422, "at")
    when = ago(days=29)
    done = act(
        o, f"{path}/release", {"at": when, "position": {"type": "Point", "coordinates": LINE[0]}}
    )
    assert done.status_code in (200, 201), done.text
    body = done.json()
    assert body["status"] == "released"
    assert body["warnings"] == []
    assert body["bindings"][0]["device_id"] == seal
    assert body["bindings"][0]["from"] == when
    assert body["bindings"][0]["to"] is None
    refused(act(o, f"{path}/release", {}), 409)
    refused(
        act(o, f"{path}/arrival", {"seals": [{"device_id": seal, "state": "odd"}]}), 422, "state"
    )
    refused(act(o, f"{path}/arrival", {"seals": [], "at": ago(days=29, hours=1)}), 422, "at")
    assert act(world["c_away"], f"{path}/arrival", {"seals": []}).status_code in (403, 404)
    arrived = act(
        o,
        f"{path}/arrival",
        {
            "seals": [{"device_id": seal, "state": "intact"}],
            "remarks": "ok",
            "position": {"type": "Point", "coordinates": LINE[1]},
        },
    )
    assert arrived.status_code in (200, 201), arrived.text
    answer = arrived.json()
    assert answer["status"] == "arrived"
    assert answer["corridor"] in ("green", "blue", "yellow", "red")
    assert isinstance(answer["measures"], list)
    assert answer["officer"]
    assert isinstance(answer["contradictions"], list)
    assert customs.get(path)["bindings"][0]["to"] is not None
    refused(act(o, f"{path}/arrival", {"seals": []}), 409)
    mine = c.get(f"/api/v1{path}").json()
    text = json.dumps(mine)
    for word in ('"corridor":', '"measures"', '"profiles"', '"officer"', "expected_loss"):
        assert word not in text.replace('"corridor_m":', ""), word
    assert mine["risk"] is None
    # the device is free again
    delivery(customs, world, [seal])


def test_release_without_notice_is_a_warning(customs: Customs, world: dict[str, Any]) -> None:
    id_ = delivery(customs, world)
    body = act(customs.http, f"/deliveries/{id_}/release", {}).json()
    assert any("border" in str(w["loc"]) for w in body["warnings"])
    id_ = delivery(customs, world)
    assert customs.http.post(f"/api/v1/deliveries/{id_}/release").status_code == 200


def test_acts_once_for_a_key(customs: Customs, world: dict[str, Any]) -> None:
    id_ = delivery(customs, world)
    path = f"/deliveries/{id_}"
    for name, body in (
        ("border-crossing", {"post": world["from"], "at": ago(hours=1)}),
        ("release", {"at": ago(minutes=30)}),
        ("arrival", {"seals": []}),
    ):
        key = {"Idempotency-Key": customs.code("k" + name)}
        first = act(customs.http, f"{path}/{name}", body, headers=key)
        again = act(customs.http, f"{path}/{name}", body, headers=key)
        assert first.is_success
        assert again.status_code == first.status_code
        assert first.json() == again.json()
        other = act(
            customs.http,
            f"{path}/{name}",
            body | {"position": {"type": "Point", "coordinates": LINE[0]}},
            headers=key,
        )
        assert other.status_code in (409, 422)
    assert len(customs.get(path)["acts"]) == 3


def test_the_etag_does_not_flap_with_judging(customs: Customs, world: dict[str, Any]) -> None:
    device = customs.device("etag", "gps")
    id_ = delivery(customs, world, [device])
    customs.post(f"/deliveries/{id_}/release", {"at": ago(hours=1)})
    customs.settle(id_)
    tag = customs.http.get(f"/api/v1/deliveries/{id_}").headers["etag"]
    with MqttDevice(customs.stack, device, "gps") as d:
        for n in range(1, 6):
            d.send(rec(n, 3000 - n * 60, 1000 * n))
            d.send(rec(100 + n, 2000 - n * 60, 9000 + 1000 * n, 2000))
        d.born()
        d.ack(high=105)
    customs.settle(id_)
    ok = act(customs.http, f"/deliveries/{id_}/arrival", {"seals": []}, headers={"If-Match": tag})
    assert ok.is_success, ok.text
