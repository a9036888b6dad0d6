# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""Quarantine as people see it."""

from __future__ import annotations

import base64
import json

from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World, at
from tracker.payload import topic_of


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


def test_one_record_and_the_counts(app: FastAPI, world: World) -> None:
    refuse(world, "GPS-1", "malformed", b'{"v":1', 1)
    world.conn.execute("INSERT INTO quarantine_counts VALUES ('GPS-1', 1, 2, 6, 12)")
    client = world.client(app, "auditor")
    (listed,) = client.get("/api/v1/quarantine").json()["items"]
    one = client.get(f"/api/v1/quarantine/{listed['id']}").json()
    assert one == {**listed, "message_base64": None}
    assert client.get("/api/v1/quarantine/99999999").status_code == 404
    assert client.get(f"/api/v1/quarantine/{2**63}").status_code == 404
    assert client.get("/api/v1/quarantine/x").status_code in (404, 422)
    counts = client.get("/api/v1/quarantine/counts").json()
    assert counts["items"] == [
        {
            "device_id": "GPS-1",
            "kept": 1,
            "kept_bytes": 6,
            "over_limit": 2,
            "over_limit_bytes": 12,
        }
    ]


def test_export_gives_every_match_as_a_line(app: FastAPI, world: World) -> None:
    for n in range(450):
        refuse(world, f"GPS-{n % 2}", "malformed", b"%d" % n, n)
    client = world.client(app, "auditor")
    answer = client.get("/api/v1/quarantine/export", params={"device": "GPS-1"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["text"] for line in lines] == [str(n) for n in range(449, 0, -2)]
    for role in ("carrier", "officer"):
        assert world.client(app, role).get("/api/v1/quarantine/export").status_code == 403


def test_redrive_is_for_the_administrator_and_tells_what_it_did(app: FastAPI, world: World) -> None:
    body = {"v": 1, "gen": 0, "seq": 1, "ts": round(at(1).timestamp() * 1000)}
    world.conn.execute(
        "INSERT INTO quarantine (received_at, topic, device_id, reason, detail, size_bytes,"
        " payload) VALUES (%s, %s, 'GPS-1', 'unknown_device', '', 9, %s)",
        (at(2), topic_of("GPS-1", "gps", "tlm"), json.dumps(body)),
    )
    refuse(world, "GPS-1", "malformed", b"{", 3)
    admin = world.client(app, "admin")
    for role in ("monitor", "auditor", "carrier"):
        other = world.client(app, role)
        assert other.post("/api/v1/quarantine/redrive", json={}).status_code == 403
    assert admin.post("/api/v1/quarantine/redrive", json={"ids": [0]}).status_code == 422
    world.conn.execute(
        "INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)"
        " VALUES ('GPS-1', 'gps', false, 60, 600)"
    )
    first = admin.post("/api/v1/quarantine/redrive", json={"device": "GPS-1"})
    assert first.json() == {
        "looked_at": 2,
        "stored": 1,
        "removed": 1,
        "kept": {"wrong_shard": 1},
        "next": None,
    }
    again = admin.post("/api/v1/quarantine/redrive", json={"limit": 1}).json()
    assert (again["looked_at"], again["stored"]) == (1, 0)
    assert again["next"] is not None
    rest = admin.post("/api/v1/quarantine/redrive", json={"after": again["next"]}).json()
    assert (rest["looked_at"], rest["next"]) == (0, None)
