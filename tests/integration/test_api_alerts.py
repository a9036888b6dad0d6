# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""Alerts: the ranked list, and what people do with one."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import pytest
from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World, at


def test_alerts_come_by_expected_loss_then_severity_then_age(app: FastAPI, world: World) -> None:
    cheap, dear, unknown = world.delivery(), world.delivery(), world.delivery()
    world.state(cheap, 1_000)
    world.state(dear, 9_000_000)
    third = world.alert(cheap, "seal_cut", "critical")
    second = world.alert(dear, "silence", "medium")
    first = world.alert(dear, "route_deviation", "high")
    fifth = world.alert(unknown, "silence", "medium", raised=at(500))
    fourth = world.alert(unknown, "overdue", "medium", raised=at(400))
    done = world.alert(dear, "battery_low", "low", status="resolved")
    answer = world.client(app, "monitor").get("/api/v1/alerts")
    found = [(i["id"], i["rank"]) for i in answer.json()["items"]]
    ranked = [first, second, third, fourth, fifth]
    assert found == [(str(a), n) for n, a in enumerate(ranked, 1)] + [(str(done), None)]


def test_the_shape_is_the_contracts(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    alert = world.alert(delivery, "seal_cut", "critical")
    anomaly = world.anomaly(delivery, "seal_cut", alert=alert)
    client = world.client(app, "auditor")
    item = client.get("/api/v1/alerts", params={"delivery_id": str(delivery)}).json()["items"][0]
    assert item == client.get(f"/api/v1/alerts/{alert}").json()
    assert set(item) == {
        "id", "delivery_id", "code", "status", "severity", "rank", "raised_at", "due_at", "count",
        "assignee", "anomaly_ids", "finding", "history", "escalation", "escalated_at",
        "escalated_to",
    }  # fmt: skip
    assert item["anomaly_ids"] == [str(anomaly)]
    assert item["history"][0].keys() == {"at", "who", "what", "text"}
    assert datetime.fromisoformat(item["raised_at"]) == at(60)


def test_pages_go_on_where_they_stopped(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.state(delivery, 77)
    made = [str(world.alert(delivery, f"code_{n}", raised=at(n / 7))) for n in range(5)]
    made += [str(world.alert(delivery, "done", status="resolved", raised=at(n))) for n in (9, 8)]
    client = world.client(app, "monitor")
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/alerts", params=params).json()
        seen += [i["id"] for i in page["items"]]
        cursor = page["next"]
    assert seen == made
    assert cursor is None


def test_filters(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    world.alert(delivery, "seal_cut", "critical")
    world.alert(delivery, "silence", "low", status="acknowledged", raised=at(1000))
    client = world.client(app, "officer")

    def codes(**params: object) -> list[str]:
        answer = client.get("/api/v1/alerts", params=params)
        assert answer.status_code == 200, answer.text
        return sorted(i["code"] for i in answer.json()["items"])

    assert codes(status="acknowledged") == ["silence"]
    assert codes(status="open,acknowledged") == ["seal_cut", "silence"]
    assert codes(severity="critical") == ["seal_cut"]
    assert codes(code="silence") == ["silence"]
    assert codes(post="P1") == ["seal_cut", "silence"]
    assert codes(post="P9") == []
    assert codes(since=at(900).isoformat()) == ["silence"]


def test_acknowledge_then_resolve(app: FastAPI, world: World) -> None:
    delivery = world.delivery()
    alert = world.alert(delivery, "unauthorised_stop", "medium")
    client = world.client(app, "monitor")
    acked = client.post(f"/api/v1/alerts/{alert}/ack", json={"text": "looking"})
    assert acked.status_code == 200, acked.text
    assert acked.json()["status"] == "acknowledged"
    assert acked.json()["history"][-1] | {"at": ""} == {
        "at": "", "who": "monitor", "what": "acknowledged", "text": "looking"
    }  # fmt: skip
    again = client.post(f"/api/v1/alerts/{alert}/ack")
    assert len(again.json()["history"]) == len(acked.json()["history"])
    body = {"finding": "explained", "text": "flat tyre"}
    resolved = client.post(f"/api/v1/alerts/{alert}/resolve", json=body)
    assert (resolved.json()["status"], resolved.json()["finding"]) == ("resolved", "explained")
    assert resolved.json()["rank"] is None
    late = client.post(f"/api/v1/alerts/{alert}/resolve", json=body)
    assert late.status_code == 409
    assert "resolved already" in late.json()["detail"]


def test_resolving_has_the_risk_assessed_again_and_tells_the_stream(
    app: FastAPI, world: World
) -> None:
    delivery = world.delivery()
    alert = world.alert(delivery, "silence")
    client = world.client(app, "officer")
    client.post(f"/api/v1/alerts/{alert}/ack")
    marks = "SELECT count(*) FROM dirty WHERE delivery_id = %s"
    assert world.conn.execute(marks, (delivery,)).fetchone() == (0,)
    client.post(f"/api/v1/alerts/{alert}/resolve", json={"finding": "false"})
    assert world.conn.execute(marks, (delivery,)).fetchone() == (1,)
    events = world.conn.execute("SELECT kind, payload FROM outbox ORDER BY id").fetchall()
    assert [(kind, p["status"]) for kind, p in events] == [
        ("alert", "acknowledged"),
        ("alert", "resolved"),
    ]
    assert "rank" not in events[0][1]


def test_comment_and_assign(app: FastAPI, world: World) -> None:
    alert = world.alert(world.delivery(), "silence", status="resolved")
    client = world.client(app, "monitor")
    said = client.post(f"/api/v1/alerts/{alert}/comment", json={"text": "a photo came"})
    assert said.json()["history"][-1]["text"] == "a photo came"
    opened = world.alert(world.delivery(), "silence")
    given = client.post(f"/api/v1/alerts/{opened}/assign", json={"assignee": "officer"})
    assert given.json()["assignee"] == "officer"
    nobody = client.post(f"/api/v1/alerts/{opened}/assign", json={"assignee": "nobody"})
    assert nobody.status_code == 422
    assert nobody.json()["errors"][0]["loc"] == ["body", "assignee"]
    analyst = client.post(f"/api/v1/alerts/{opened}/assign", json={"assignee": "analyst"})
    assert "analyst" in analyst.json()["errors"][0]["msg"]
    listed = {i["username"]: i for i in client.get("/api/v1/alerts/assignees").json()["items"]}
    assert listed["officer"]["unresolved"] == 1
    assert "analyst" not in listed
    assert world.client(app, "carrier").get("/api/v1/alerts/assignees").status_code == 403


@pytest.mark.parametrize("call", ["ack", "resolve", "comment"])
def test_who_may_not_handle_alerts(app: FastAPI, world: World, call: str) -> None:
    alert = world.alert(world.delivery(), "silence")
    body = {"resolve": {"finding": "false", "text": ""}, "comment": {"text": "x"}}.get(call)
    for name, status in (("auditor", 403), ("analyst", 403), ("carrier", 403), ("stranger", 404)):
        answer = world.client(app, name).post(f"/api/v1/alerts/{alert}/{call}", json=body)
        assert answer.status_code == status, name


def test_bad_input(app: FastAPI, world: World) -> None:
    alert = world.alert(world.delivery(), "silence")
    client = world.client(app, "monitor")
    path = f"/api/v1/alerts/{alert}/resolve"
    for body in ({}, {"finding": "maybe"}, {"finding": "false", "x": 1}, {"finding": None}):
        assert client.post(path, json=body).status_code == 422
    assert client.post(path, json={"finding": "false", "text": "a\0b"}).status_code == 422
    assert client.post(f"/api/v1/alerts/{uuid4()}/ack").status_code == 404
    assert client.post("/api/v1/alerts/x/ack").status_code == 404
    assert client.get("/api/v1/alerts", params={"status": "closed"}).status_code == 422
    assert (
        client.get("/api/v1/alerts", params={"cursor": "WzEsMiwzLCJOYU4iLCJ4Il0"}).status_code
        == 422
    )


def test_a_carrier_sees_its_alerts_without_rank_or_officers_comments(
    app: FastAPI, world: World
) -> None:
    alert = world.alert(world.delivery(), "silence")
    world.client(app, "monitor").post(
        f"/api/v1/alerts/{alert}/comment", json={"text": "suspect number one"}
    )
    own = world.client(app, "carrier").get("/api/v1/alerts").json()["items"]
    assert [(i["id"], i["rank"]) for i in own] == [(str(alert), None)]
    assert "suspect" not in str(own)
    assert world.client(app, "stranger").get("/api/v1/alerts").json()["items"] == []
