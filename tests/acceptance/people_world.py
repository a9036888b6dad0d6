"""A world with a person of every role, for the tests of what people may and see."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.customs import Customs, hours, rfc3339

LINE = [(71.0, 50.0), (71.0, 50.5)]
PASSWORD = "correct horse battery 1"


def populate(customs: Customs) -> dict[str, Any]:
    """Two carriers, three posts, and a client logged in as each role."""
    w: dict[str, Any] = {
        "a": customs.participant(),
        "b": customs.participant(),
        "from": customs.place("from", LINE[0]),
        "to": customs.place("to", LINE[1]),
        "else": customs.place("else", (60.0, 50.0)),
    }
    users: dict[str, dict[str, Any]] = {
        "monitor": {},
        "officer": {"posts": [w["from"], w["to"]]},
        "away": {"role": "officer", "posts": [w["else"]]},
        "carrier": {"participant_id": w["a"]},
        "rival": {"role": "carrier", "participant_id": w["b"]},
        "analyst": {},
        "auditor": {},
        "integration": {},
        "admin": {},
    }
    for name, more in users.items():
        body = {"username": customs.code(name), "password": PASSWORD, "role": name} | more
        made = customs.post("/users", body, status=201)
        assert made["id"]
        assert "password" not in str(made).replace("password_", "")
        w["c_" + name] = customs.stack.http_client(body["username"], PASSWORD)
    return w


def delivery(
    customs: Customs, w: dict[str, Any], devices: list[str] | None = None, **more: Any
) -> str:
    return str(
        customs.post(
            "/deliveries",
            {
                "registration_number": customs.code(f"r{time.monotonic_ns()}"),
                "direction": "transit",
                "carrier_id": w["a"],
                "declarant_id": w["a"],
                "departure_post": w["from"],
                "destination_post": w["to"],
                "route": {
                    "name": "x",
                    "geometry": {"type": "LineString", "coordinates": LINE},
                    "corridor_m": 1000,
                },
                "deadline": rfc3339(datetime.now(UTC) + hours(20)),
                "goods": [
                    {
                        "hs_code": "2208",
                        "description": "spirits",
                        "gross_kg": 1,
                        "value_kzt": 40000000,
                        "payments_at_stake_kzt": 5000000,
                    }
                ],
                "vehicle": {"plate": "123ABC02", "country": "KZ"},
                "devices": devices or [],
            }
            | more,
            status=201,
        )["id"]
    )


def act(client: httpx.Client, path: str, body: Any = None, **kw: Any) -> httpx.Response:
    """POST as somebody; any answer."""
    return client.post(f"/api/v1{path}", json=body, **kw)


def ago(**kw: float) -> str:
    """RFC 3339 of so long ago."""
    return rfc3339(datetime.now(UTC) - timedelta(**kw))


def rec(seq: int, ago_s: float, along: float, off: float = 0, **more: Any) -> dict[str, Any]:
    """A record of so long ago, seen from now: a seal is silent eleven minutes after its last one,
    and the tests before these may have taken longer than that."""
    t = int((time.time() - ago_s) * 1000)
    lat = 50.0 + along / 111_250
    return {
        "v": 1,
        "gen": 0,
        "seq": seq,
        "ts": t,
        "tq": "gnss",
        "mot": {"mov": True},
        "fix": {
            "t": t,
            "ok": True,
            "lat": lat,
            "lon": 71.0 + off / 71_700,
            "acc": 5,
            "src": "gnss",
        },
    } | more
