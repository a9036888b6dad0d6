"""Alerts, risk, the stream and the track, as people and other systems see them."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.asking import refused
from tests.acceptance.people_world import act, ago, delivery, populate, rec
from tests.support.customs import Customs
from tests.support.listening import Listener
from tests.support.mqtt_device import MqttDevice
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def customs(stack: Stack) -> Customs:
    """A client of these tests."""
    return Customs(stack, "found")


@pytest.fixture(scope="module")
def world(customs: Customs) -> dict[str, Any]:
    """Everybody."""
    return populate(customs)


@pytest.fixture(scope="module")
def crooked(customs: Customs, world: dict[str, Any]) -> dict[str, str]:
    """A delivery with two deviations, a cut rope and a low battery; and one honest."""
    out = {}
    for name in ("crooked", "honest"):
        device = customs.device(name, "seal")
        out[name] = delivery(customs, world, [device])
        customs.post(f"/deliveries/{out[name]}/release", {"at": ago(hours=2)})
        bad = name == "crooked"
        with MqttDevice(customs.stack, device, "seal") as d:
            d.send(
                [
                    rec(1, 860, 0),
                    rec(2, 760, 1000),
                    rec(3, 660, 2000, 2000 * bad),
                    rec(4, 620, 2500, 2000 * bad),
                    rec(5, 560, 3000),
                    rec(6, 500, 4000),
                    rec(7, 360, 5000, 2000 * bad),
                    rec(8, 300, 6000, 2000 * bad),
                    rec(9, 200, 7000),
                    rec(10, 100, 8000),
                ]
            )
            more: dict[str, Any] = {"evt": {"code": "rope_cut"}, "pwr": {"bat": 10}} if bad else {}
            d.send(rec(11, 60, 9000, **more))
            d.born()
            d.ack(upto=11)
        customs.settle(out[name])
    return out


def test_alerts(customs: Customs, world: dict[str, Any], crooked: dict[str, str]) -> None:
    id_ = crooked["crooked"]
    anomalies = {a["id"]: a for a in customs.anomalies(id_)}
    alerts = customs.get("/alerts", delivery_id=id_)["items"]
    by_code = {a["code"]: a for a in alerts}
    assert set(by_code) == {"route_deviation", "seal_cut", "battery_low"}, by_code
    assert len(alerts) == 3
    assert by_code["route_deviation"]["count"] == 2
    assert len(by_code["route_deviation"]["anomaly_ids"]) == 2
    minutes = {"seal_cut": 5, "route_deviation": 15, "battery_low": 24 * 60}
    for code, alert in by_code.items():
        assert {
            "id",
            "delivery_id",
            "code",
            "status",
            "severity",
            "rank",
            "raised_at",
            "due_at",
            "count",
            "assignee",
            "anomaly_ids",
            "finding",
            "history",
        } <= set(alert)
        span = datetime.fromisoformat(alert["due_at"]) - datetime.fromisoformat(alert["raised_at"])
        assert span == timedelta(minutes=minutes[code]), (code, span)
        assert alert["status"] == "open"
        assert alert["finding"] is None
        assert alert["assignee"] is None
        assert all(x in anomalies for x in alert["anomaly_ids"])
        assert all({"at", "who", "what", "text"} <= set(h) for h in alert["history"])
    assert (
        by_code["seal_cut"]["rank"]
        < by_code["route_deviation"]["rank"]
        < by_code["battery_low"]["rank"]
    )
    every = customs.get("/alerts", status="open", limit=1000)["items"]
    assert [a["rank"] for a in every] == sorted(a["rank"] for a in every)
    one = by_code["seal_cut"]["id"]
    mon = world["c_monitor"]
    acked = act(mon, f"/alerts/{one}/ack")
    assert acked.status_code == 200, acked.text
    assert acked.json()["status"] == "acknowledged"
    refused(act(mon, f"/alerts/{one}/resolve", {"finding": "perhaps", "text": "x"}), 422, "finding")
    refused(act(mon, f"/alerts/{one}/resolve", {"text": "x"}), 422, "finding")
    assert act(
        world["c_carrier"], f"/alerts/{one}/resolve", {"finding": "false", "text": "x"}
    ).status_code in (403, 404)
    refused(act(world["c_rival"], f"/alerts/{one}/ack"), 404)
    done = act(mon, f"/alerts/{one}/resolve", {"finding": "technical", "text": "sensor fault"})
    assert done.status_code == 200, done.text
    assert (done.json()["status"], done.json()["finding"]) == ("resolved", "technical")
    history = done.json()["history"]
    assert [h["what"] for h in history][-2:] == ["acknowledged", "resolved"], history
    assert "sensor fault" in history[-1]["text"]
    refused(act(mon, f"/alerts/{one}/resolve", {"finding": "false", "text": "y"}), 409)
    refused(act(mon, f"/alerts/{one}/ack"), 409)
    # filters
    for params, n in [
        ({"code": "battery_low"}, 1),
        ({"status": "resolved"}, 1),
        ({"status": "open"}, 2),
        ({"severity": "low"}, 1),
        ({"post": world["to"]}, 3),
        ({"post": world["else"]}, 0),
        ({"since": ago(hours=-1)}, 0),
        ({"since": ago(hours=1)}, 3),
    ]:
        got = customs.get("/alerts", delivery_id=id_, **params)["items"]
        assert len(got) == n, (params, [(g["code"], g["status"]) for g in got])
        if "status" not in params:
            assert (
                customs.http.get(
                    "/api/v1/anomalies", params={"delivery_id": id_, **params}
                ).status_code
                == 200
            )
    refused(customs.http.get("/api/v1/alerts", params={"since": "x"}), 422, "since")
    refused(customs.http.get("/api/v1/alerts", params={"status": "weird"}), 422, "status")
    # a carrier sees its own in plain words, never rank
    mine = world["c_carrier"].get("/api/v1/alerts", params={"delivery_id": id_}).json()["items"]
    assert mine
    assert all(a["rank"] is None for a in mine)
    assert world["c_rival"].get("/api/v1/alerts", params={"delivery_id": id_}).json()["items"] == []


def test_risk_is_a_sum_of_reasons(
    customs: Customs, world: dict[str, Any], crooked: dict[str, str]
) -> None:
    risk = customs.get(f"/deliveries/{crooked['crooked']}/risk")
    assert {
        "delivery_id",
        "at",
        "probability",
        "expected_loss_kzt",
        "level",
        "rank",
        "corridor",
        "profiles",
        "reasons",
    } <= set(risk)
    logit = math.log(risk["probability"] / (1 - risk["probability"]))
    total = sum(r["contribution"] for r in risk["reasons"])
    assert total == pytest.approx(logit, abs=0.02)
    for r in risk["reasons"]:
        assert {"indicator", "family", "weight", "contribution", "text"} <= set(r)
    honest = customs.get(f"/deliveries/{crooked['honest']}/risk")
    assert risk["probability"] > honest["probability"]
    assert risk["rank"] < honest["rank"]
    carrier = world["c_carrier"].get(f"/api/v1/deliveries/{crooked['crooked']}/risk")
    text = carrier.text
    assert carrier.status_code == 200
    assert not [word for word in ("probability", "weight", "expected", "level") if word in text]


def test_findings_change_the_risk(customs: Customs, world: dict[str, Any]) -> None:
    device = customs.device("findings", "seal")
    id_ = delivery(customs, world, [device])
    customs.post(f"/deliveries/{id_}/release", {"at": ago(hours=2)})
    with MqttDevice(customs.stack, device, "seal") as d:
        d.send([rec(1, 300, 0), rec(2, 200, 1000, evt={"code": "rope_cut"}), rec(3, 100, 2000)])
        d.born()
        d.ack(upto=3)
    customs.settle(id_)
    before = customs.get(f"/deliveries/{id_}/risk")["probability"]
    (alert,) = customs.get("/alerts", delivery_id=id_)["items"]
    customs.post(f"/alerts/{alert['id']}/resolve", {"finding": "explained", "text": "by the book"})
    wait_until(
        lambda: customs.get(f"/deliveries/{id_}/risk")["probability"] < before, 60, "less risk"
    )
    # the anomaly stays what the data shows
    assert [a["code"] for a in customs.anomalies(id_)] == ["seal_cut"]
    # what comes after a resolved alert is a new one
    with MqttDevice(customs.stack, device, "seal") as d:
        d.send(rec(4, 50, 3000, seal={"case": "open"}))
        d.born()
        d.ack(upto=4)
    customs.settle(id_)
    assert {a["code"] for a in customs.get("/alerts", delivery_id=id_, status="open")["items"]} == {
        "seal_body_open"
    }


def test_contradictions_at_arrival(
    customs: Customs, world: dict[str, Any], crooked: dict[str, str]
) -> None:
    id_ = crooked["crooked"]
    device = customs.get(f"/deliveries/{id_}")["devices"][0]
    answer = customs.post(
        f"/deliveries/{id_}/arrival", {"seals": [{"device_id": device, "state": "intact"}]}
    )
    said = " ".join(c["msg"] for c in answer["contradictions"])
    assert "km" in said, said
    assert device in said, said
    assert answer["corridor"] == "red"
    assert answer["measures"]


# ------------------------------------------------------------------ the stream


def test_the_stream(customs: Customs, world: dict[str, Any]) -> None:
    device = customs.device("stream", "seal")
    listener = Listener(customs.http)
    own = Listener(world["c_carrier"])
    rival = Listener(world["c_rival"])
    near = Listener(world["c_monitor"], bbox="70,49,72,51")
    far = Listener(world["c_auditor"], bbox="10,10,11,11")
    assert listener.type.startswith("text/event-stream")
    id_ = delivery(customs, world, [device])
    listener.wait("delivery", id_)
    customs.post(f"/deliveries/{id_}/release", {"at": ago(hours=1)})
    with MqttDevice(customs.stack, device, "seal") as d:
        d.send(rec(1, 300, 100))
        listener.wait("position", id_)
        d.send(rec(2, 200, 1000, evt={"code": "rope_cut"}))
        anomaly = listener.wait("anomaly", id_)
        alert = listener.wait("alert", id_)
        risk = listener.wait("risk", id_)
    for e in (anomaly, alert, risk):
        assert e["id"]
        json.loads(e["data"])
    assert json.loads(anomaly["data"])["code"] == "seal_cut"
    own.wait("alert", id_)
    near.wait("position", id_)
    near.wait("alert", id_)
    assert not any(e.get("event") == "risk" for e in own.events)
    assert "rank" not in json.dumps(
        [json.loads(e["data"]) for e in own.events if "data" in e]
    ).replace('"rank": null', "")
    assert not any(id_ in e.get("data", "") for e in rival.events), rival.events
    assert not any(e.get("event") == "position" and id_ in e.get("data", "") for e in far.events)
    # resume: all that came after the delivery's first event comes again
    first = listener.wait("delivery", id_)
    again = Listener(customs.http, headers={"Last-Event-ID": first["id"]})
    got = again.wait("alert", id_)
    assert got["id"] == alert["id"]
    again.wait("anomaly", id_)
    # nothing before it
    assert first["id"] not in [e.get("id") for e in again.events]
    for bad in ("1,2,3", "a,b,c,d", "10,10,5,5"):
        a = customs.http.get("/api/v1/stream", params={"bbox": bad})
        refused(a, 422, "bbox")


def test_a_track_in_every_form(customs: Customs, crooked: dict[str, str]) -> None:
    id_ = crooked["honest"]
    geo = customs.get(f"/deliveries/{id_}/track")
    assert geo["type"] == "FeatureCollection"
    for form in ("csv", "gpx"):
        for a in (
            customs.http.get(f"/api/v1/deliveries/{id_}/track", params={"format": form}),
            customs.http.get(
                f"/api/v1/deliveries/{id_}/track",
                headers={"Accept": {"csv": "text/csv", "gpx": "application/gpx+xml"}[form]},
            ),
        ):
            assert a.status_code == 200
            assert form in a.headers["content-type"], (form, a.headers["content-type"])
    last = customs.get(f"/deliveries/{id_}")["last_position"]
    assert last["lat"] == pytest.approx(50 + 9000 / 111250, abs=1e-5)
    assert customs.get(f"/deliveries/{id_}")["status"] == "in_transit"
    page = customs.http.get(f"/api/v1/deliveries/{id_}/map")
    assert page.status_code == 200
    assert "<html" in page.text.lower()
