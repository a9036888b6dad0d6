# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The lists of anomalies, in the shape of the contract."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World, at

FIELDS = {
    "id", "delivery_id", "device_id", "code", "eaeu_code", "severity", "basis", "status",
    "provisional", "start", "end", "geometry", "evidence", "found_at", "found_by",
    "settings_version",
    "rules_version",
}  # fmt: skip


def test_a_delivery_lists_its_anomalies_in_order(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.anomaly(delivery, "seal_cut", 120)
    world.anomaly(delivery, "route_deviation", 60)
    world.anomaly(world.delivery(), "silence")
    answer = world.client(app, "monitor").get(f"/api/v1/deliveries/{delivery}/anomalies")
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [i["code"] for i in items] == ["route_deviation", "seal_cut"]
    assert set(items[0]) == FIELDS
    assert items[0]["start"] == at(60).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert items[0]["geometry"] == {"type": "Point", "coordinates": [77, 43.3]}
    assert items[0]["found_by"] == {"device": "GPS-1", "gen": 0, "seq": 5}
    assert answer.json()["next"] is None


def test_pages_cover_the_whole_list_once(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    made = {str(world.anomaly(delivery, "silence", n)) for n in (1, 1, 2, 3, 3)}
    client = world.client(app, "monitor")
    for path in ("/api/v1/anomalies", f"/api/v1/deliveries/{delivery}/anomalies"):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = client.get(path, params=params).json()
            seen += [i["id"] for i in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(made)


def test_filters(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.anomaly(delivery, "seal_cut", 10, severity="critical")
    world.anomaly(delivery, "silence", 20, severity="low", status="closed")
    client = world.client(app, "auditor")

    def codes(**params: object) -> list[str]:
        answer = client.get("/api/v1/anomalies", params=params)
        assert answer.status_code == 200, answer.text
        return sorted(i["code"] for i in answer.json()["items"])

    assert codes(code="silence") == ["silence"]
    assert codes(code="silence,seal_cut") == ["seal_cut", "silence"]
    assert codes(status="closed") == ["silence"]
    assert codes(severity=["critical", "high"]) == ["seal_cut"]
    assert codes(post="P2") == ["seal_cut", "silence"]
    assert codes(post="elsewhere") == []
    assert codes(since=at(15).isoformat()) == ["silence"]
    assert codes(delivery_id=str(uuid4())) == []


def test_a_carrier_sees_its_own_alone(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.anomaly(delivery, "silence")
    own, stranger = world.client(app, "carrier"), world.client(app, "stranger")
    assert len(own.get("/api/v1/anomalies").json()["items"]) == 1
    assert stranger.get("/api/v1/anomalies").json()["items"] == []
    assert own.get(f"/api/v1/deliveries/{delivery}/anomalies").status_code == 200
    refused = stranger.get(f"/api/v1/deliveries/{delivery}/anomalies")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "params",
    [
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"status": "acknowledged"},
        {"severity": "grave"},
        {"limit": 0},
        {"limit": 1001},
        {"cursor": "nonsense"},
        {"cursor": "WzEsMl0"},
        {"delivery_id": "7"},
        {"code": "a\x00b"},
    ],
)
def test_bad_parameters_are_refused_by_name(app: FastAPI, world: World, params) -> None:
    answer = world.client(app, "monitor").get("/api/v1/anomalies", params=params)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_no_such_delivery_and_no_log_in(app: FastAPI, world: World) -> None:
    client = world.client(app, "monitor")
    assert client.get(f"/api/v1/deliveries/{uuid4()}/anomalies").status_code == 404
    assert client.get("/api/v1/deliveries/x/anomalies").status_code == 404
    assert client.get("/api/v1/anomalies", headers={"Authorization": ""}).status_code == 401
