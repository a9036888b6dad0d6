# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""Liveness, readiness with each dependency, metrics."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.reading_app import READING, app, world
from tests.support.world import World, settings_for
from tracker.api.app import create_app

PLACES = ("", "/api/v1")


@pytest.mark.parametrize("place", PLACES)
def test_alive_without_logging_in(app: FastAPI, place: str) -> None:
    answer = TestClient(app).get(f"{place}/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_names_each_dependency(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.api.app.MODULES", READING)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        settings = settings_for(world.dsn, mqtt_port=broker.getsockname()[1])
        answer = TestClient(create_app(settings)).get("/readyz")
    assert answer.status_code == 200, answer.text
    checks = answer.json()["checks"]
    assert checks.keys() == {"database", "migrations", "broker", "evaluator"}
    assert all(check["ok"] for check in checks.values())


def test_what_the_broker_dropped_is_told_and_does_not_refuse(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.api.app.MODULES", READING)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        settings = settings_for(world.dsn, mqtt_port=broker.getsockname()[1])
        client = TestClient(create_app(settings))
        assert client.get("/readyz").json()["checks"]["broker"] == {"ok": True, "dropped": 0}
        world.conn.execute(
            "INSERT INTO ingest_workers (id, wanted, expires_at, backend_pid, backend_start,"
            " sessions_up, broker_dropped) SELECT 'w', '{}', now() + interval '1 h', pid,"
            " backend_start, 65, 7 FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        answer = client.get("/readyz")
    assert answer.status_code == 200
    told = answer.json()["checks"]["broker"]
    assert (told["ok"], told["dropped"]) == (True, 7)
    assert "dropped messages" in told["warning"]


def test_not_ready_without_the_broker(app: FastAPI) -> None:
    answer = TestClient(app).get("/api/v1/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["broker"]["ok"] is False
    assert answer.json()["checks"]["database"]["ok"] is True


def test_a_late_evaluator_is_told_and_an_old_schema_refused(app: FastAPI, world: World) -> None:
    world.conn.execute(
        "INSERT INTO dirty (delivery_id, marked_at)"
        " VALUES (gen_random_uuid(), now() - interval '5 min')"
    )
    world.conn.execute("UPDATE alembic_version SET version_num = 'old'")
    checks = TestClient(app).get("/readyz").json()["checks"]
    assert checks["evaluator"]["ok"] is False
    assert 299 < checks["evaluator"]["lag_s"] < 400
    assert checks["migrations"] == {
        "ok": False, "revision": "old", "head": checks["migrations"]["head"]
    }  # fmt: skip


def test_no_database_is_503_and_metrics_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.api.app.MODULES", READING)
    client = TestClient(create_app(settings_for("postgresql://x@127.0.0.1:1/x")))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"]["ok"] is False
    assert "127.0.0.1" not in answer.text
    assert "tracker_database_up 0.0" in client.get("/metrics").text


@pytest.mark.parametrize("place", PLACES)
def test_metrics_count_calls_and_read_the_database(app: FastAPI, world: World, place: str) -> None:
    delivery = world.delivery()
    world.alert(delivery, "silence", "medium")
    world.conn.execute("INSERT INTO dirty (delivery_id) VALUES (%s)", (delivery,))
    world.client(app, "monitor").get("/api/v1/alerts")
    text = TestClient(app).get(f"{place}/metrics").text
    for line in (
        'tracker_http_requests_total{method="GET",route="/api/v1/alerts",status="200"} 1.0',
        "tracker_dirty_deliveries 1.0",
        'tracker_alerts_unresolved{severity="medium"} 1.0',
        'tracker_deliveries{status="in_transit"} 1.0',
        "tracker_database_up 1.0",
    ):
        assert line in text
