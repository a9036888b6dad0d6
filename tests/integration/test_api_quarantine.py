# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""Quarantine as people see it."""

from __future__ import annotations

import base64

from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World, at


def refuse(world: World, device: str | None, reason: str, payload: bytes, seconds: float) -> None:
    world.conn.execute(
        "INSERT INTO quarantine (received_at, topic, device_id, reason, detail, size_bytes,"
        " payload)"
        " VALUES (%s, 'cts/v1/07/gps/x/tlm', %s, %s, 'why', %s, %s)",
        (at(seconds), device, reason, len(payload), payload),
    )


def test_refused_records_are_shown_raw_newest_first(app: FastAPI, world: World) -> None:
    refuse(world, "GPS-1", "malformed", b'{"v":1', 1)
    refuse(world, None, "unknown_device", b"\xff\x00", 2)
    client = world.client(app, "monitor")
    page = client.get("/api/v1/quarantine", params={"limit": 1}).json()
    (binary,) = page["items"]
    assert base64.b64decode(binary["payload_base64"]) == b"\xff\x00"
    assert binary["text"] is None
    rest = client.get("/api/v1/quarantine", params={"cursor": page["next"]}).json()
    (text,) = rest["items"]
    assert (text["text"], text["reason"], text["device_id"]) == ('{"v":1', "malformed", "GPS-1")
    assert rest["next"] is None


def test_filters_and_rights(app: FastAPI, world: World) -> None:
    refuse(world, "GPS-1", "malformed", b"a", 1)
    refuse(world, "GPS-2", "too_large", b"b", 50)
    client = world.client(app, "admin")

    def texts(**params: object) -> list[str]:
        answer = client.get("/api/v1/quarantine", params=params)
        assert answer.status_code == 200, answer.text
        return [i["text"] for i in answer.json()["items"]]

    assert texts(device="GPS-1") == ["a"]
    assert texts(device_id="GPS-2") == ["b"]
    assert texts(reason="too_large") == ["b"]
    assert texts(since=at(20).isoformat()) == ["b"]
    assert client.get("/api/v1/quarantine", params={"since": "soon"}).status_code == 422
    assert client.get("/api/v1/quarantine", params={"cursor": "x"}).status_code == 422
    assert world.client(app, "carrier").get("/api/v1/quarantine").status_code == 403
