"""The loader against a server in memory that keeps codes and pages as the contract says."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import httpx
import pytest

from tracker.errors import Invalid, SetupError, Unauthenticated
from tracker.reference import load_reference, read_bodies
from tracker.reference.files import RESOURCES

TOTALS = {resource: len(read_bodies(resource)) for resource in RESOURCES}


class Server:
    """Stores bodies by their key, answers 409 on a known one, pages by two hundred."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = defaultdict(dict)
        self.calls: list[tuple[str, str]] = []
        self.hide_lists = False
        self.fail_after: int | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        resource = request.url.path.removeprefix("/api/v1/")
        self.calls.append((request.method, resource))
        if request.headers.get("Authorization") != "Bearer good":
            return problem(401, "log in first")
        if request.method == "GET":
            return self._page(resource, request)
        if self.fail_after is not None and len(self.stored["zones"]) >= self.fail_after:
            return problem(503, "no disk space")
        return self._create(resource, json.loads(request.content))

    def _page(self, resource: str, request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("cursor", 0))
        items = [] if self.hide_lists else list(self.stored[resource].values())
        after = str(start + 20) if start + 20 < len(items) else None
        return httpx.Response(200, json={"items": items[start : start + 20], "next": after})

    def _create(self, resource: str, body: dict[str, Any]) -> httpx.Response:
        key = body.get("code") or body["tax_id"]
        if key in self.stored[resource]:
            return problem(409, "exists")
        zone = body.get("zone_code")
        if zone and zone not in self.stored["zones"]:
            return problem(422, "no such zone", loc=["zone_code"])
        self.stored[resource][key] = body
        return httpx.Response(201, json={"id": key, **body})


def problem(status: int, text: str, loc: list[str] | None = None) -> httpx.Response:
    errors = [{"loc": loc, "msg": text}] if loc else []
    return httpx.Response(status, json={"status": status, "detail": text, "errors": errors})


def load(server: Server, token: str = "good", **kwargs: Any) -> Any:
    transport = httpx.MockTransport(server)
    return load_reference("http://server", token, transport=transport, **kwargs)


def test_loads_all_and_a_second_run_changes_nothing() -> None:
    server = Server()
    assert load(server).created == TOTALS
    server.calls.clear()
    again = load(server)
    assert again.created == {}
    assert again.present == TOTALS
    assert {method for method, _ in server.calls} == {"GET"}


def test_a_conflict_counts_as_present() -> None:
    server = Server()
    load(server)
    server.hide_lists = True
    assert load(server).present == TOTALS


def test_resumes_after_a_failure() -> None:
    server = Server()
    server.fail_after = 7
    with pytest.raises(SetupError, match="no disk space"):
        load(server)
    server.fail_after = None
    counts = load(server)
    assert counts.present["zones"] == 7
    assert counts.created["zones"] == TOTALS["zones"] - 7


def test_progress_counts_up_to_each_total() -> None:
    seen: list[tuple[str, int, int]] = []
    load(Server(), on_progress=lambda *step: seen.append(step))
    assert [step for step in seen if step[1] == step[2]] == [(r, n, n) for r, n in TOTALS.items()]
    assert len(seen) == sum(TOTALS.values())


def test_a_refusal_carries_the_servers_words() -> None:
    with pytest.raises(Unauthenticated, match="log in first"):
        load(Server(), token="bad")
    server = Server()
    server.stored["zones"] = {z["code"]: z for z in read_bodies("zones")}
    del server.stored["zones"]["Z-ALMATY"]
    server._create = lambda resource, body: problem(422, "no such zone", loc=["x"])  # type: ignore[method-assign]
    with pytest.raises(Invalid, match="x: no such zone"):
        load(server)


def test_an_absent_server_is_one_clear_line() -> None:
    with pytest.raises(SetupError, match="is the server up"):
        load_reference("http://127.0.0.1:9", "good")
