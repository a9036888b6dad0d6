"""Bodies to ask with, and what a refusal must look like."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.support.customs import Customs, hours, rfc3339

_NUMBERS = itertools.count(1)
LINE = [(77.0, 43.0), (77.0, 43.5)]
RING: list[list[float]] = [[70, 50], [70.1, 50], [70.1, 50.1], [70, 50.1], [70, 50]]


def route_body(**over: Any) -> dict[str, Any]:
    """A route as a delivery declares it."""
    return {
        "name": "inline",
        "geometry": {"type": "LineString", "coordinates": LINE},
        "corridor_m": 1000,
    } | over


def delivery_body(customs: Customs, world: dict[str, str], **over: Any) -> dict[str, Any]:
    """A delivery of the world's carrier, without devices."""
    return {
        "registration_number": customs.code(f"reg{next(_NUMBERS)}"),
        "direction": "transit",
        "carrier_id": world["who"],
        "declarant_id": world["who"],
        "departure_post": world["from"],
        "destination_post": world["to"],
        "route": route_body(),
        "deadline": rfc3339(datetime.now(UTC) + hours(20)),
        "goods": [
            {
                "hs_code": "2208",
                "description": "spirits",
                "gross_kg": 18000,
                "value_kzt": 40000000,
                "payments_at_stake_kzt": 5000000,
            }
        ],
        "vehicle": {"plate": "123ABC02", "country": "KZ"},
        "devices": [],
    } | over


def refused(answer: httpx.Response, status: int, field: str | None = None) -> dict[str, Any]:
    """An answer in problem+json; with the field named."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.headers
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "status", "detail"} <= set(body)
    if field is not None:
        assert body.get("errors"), body
        for error in body["errors"]:
            assert {"loc", "msg"} <= set(error)
            assert error["msg"]
        assert any(field in str(error["loc"]) for error in body["errors"]), body
    return body


def raw(customs: Customs, method: str, path: str, **kw: Any) -> httpx.Response:
    """Any call below /api/v1."""
    return customs.http.request(method, f"/api/v1{path}", **kw)
