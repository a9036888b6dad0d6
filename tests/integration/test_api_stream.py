# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The live stream over a real server: order, resuming, rights, boxes, slow clients."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.waiting import wait_until
from tests.support.world import Listener, World, serving
from tracker.api.hub import BATCH, CLIENT_EVENTS, REPLAYS, Client, Hub, StreamEvent
from tracker.db.outbox import Event, append
from tracker.db.reading import Scope

T = TypeVar("T")


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as base:
        yield f"{base}/api/v1/stream"


def test_events_arrive_live_with_their_ids(app: FastAPI, world: World, url: str) -> None:
    delivery = world.delivery()
    with Listener(url, world.token(app, "monitor")) as listener:
        ids = [
            world.event("anomaly", delivery, {"id": "a", "code": "silence"}),
            world.event("risk", delivery, {"delivery_id": str(delivery), "probability": 0.5}),
            world.event("delivery", delivery, {"id": str(delivery)}),
        ]
        wait_until(lambda: len(listener.events) >= 3, 10, "three events")
    assert [(kind, event_id) for kind, event_id, _ in listener.events] == [
        ("anomaly", str(ids[0])),
        ("risk", str(ids[1])),
        ("delivery", str(ids[2])),
    ]


def test_an_alert_carries_its_present_rank(app: FastAPI, world: World, url: str) -> None:
    delivery = world.delivery()
    alert = world.alert(delivery, "seal_cut", "critical")
    with Listener(url, world.token(app, "officer")) as listener:
        world.event("alert", delivery, {"id": str(alert), "code": "seal_cut"})
        (found,) = wait_until(lambda: listener.of("alert"), 10, "the alert")
    assert found["rank"] == 1


def test_risk_comes_in_the_listeners_language(app: FastAPI, world: World, url: str) -> None:
    delivery = world.delivery()
    reason = {"indicator": "seal_cut", "family": "seal", "weight": 3.7, "contribution": 3.7,
              "anomaly_id": None, "params": {}}  # fmt: skip
    with Listener(url, world.token(app, "analyst"), lang="ru") as listener:
        world.event("risk", delivery, {"probability": 0.5, "reasons": [reason]})
        (found,) = wait_until(lambda: listener.of("risk"), 10, "the risk")
    assert found["reasons"][0].pop("text") == "трос пломбы перерезан"
    assert found["reasons"][0].keys() == {"indicator", "family", "weight", "contribution"}


def test_last_event_id_gives_what_was_missed_once_and_goes_on(
    app: FastAPI, world: World, url: str
) -> None:
    delivery = world.delivery()
    first, *rest = [world.event("delivery", delivery, {"n": n}) for n in range(700)]
    headers = world.token(app, "monitor") | {"Last-Event-ID": str(first)}
    with Listener(url, headers) as listener:
        live = world.event("delivery", delivery, {"n": "live"})
        wait_until(lambda: len(listener.events) >= 700, 20, "all events")
        assert [int(i or 0) for _, i, _ in listener.events] == [*rest, live]
    with Listener(url, world.token(app, "monitor"), last_event_id=str(rest[-2])) as listener:
        wait_until(lambda: len(listener.events) >= 2, 10, "two events")
        assert [i for _, i, _ in listener.events] == [str(rest[-1]), str(live)]


def test_an_id_of_another_life_does_not_silence_the_stream(
    app: FastAPI, world: World, url: str
) -> None:
    delivery = world.delivery()
    with Listener(url, world.token(app, "monitor"), last_event_id="999999") as listener:
        world.event("delivery", delivery, {"n": 1})
        wait_until(lambda: listener.of("delivery"), 10, "the event")


def test_positions_are_the_newest_of_each_device_without_id(
    app: FastAPI, world: World, url: str
) -> None:
    delivery = world.delivery()
    device = world.device(delivery, "GPS-1")
    with Listener(url, world.token(app, "monitor")) as listener:
        for n in range(50):
            world.position(device, delivery, 77 + n / 1000, 43)
        wait_until(
            lambda: listener.of("position") and listener.of("position")[-1]["lon"] == 77.049,
            10,
            "the newest position",
        )
    assert len(listener.of("position")) < 50
    assert all(event_id is None for _, event_id, _ in listener.events)


def test_a_carrier_hears_of_its_own_and_no_score(app: FastAPI, world: World, url: str) -> None:
    own, foreign = world.delivery(), world.delivery(carrier=world.other_carrier)
    for n, delivery in enumerate((own, foreign)):
        world.device(delivery, f"GPS-{n}")
    with Listener(url, world.token(app, "carrier")) as listener:
        world.event("alert", foreign, {"id": str(uuid4()), "n": "foreign"})
        world.event("risk", own, {"probability": 0.5})
        world.event("alert", own, {"id": str(uuid4()), "n": "own", "level": "high"})
        wait_until(lambda: listener.of("alert"), 10, "the alert")
    assert [(k, d["n"]) for k, _, d in listener.events] == [("alert", "own")]
    assert not {"rank", "level"} & listener.events[0][2].keys()


def test_a_box_filters_positions_and_events(app: FastAPI, world: World, url: str) -> None:
    near, far = world.delivery(), world.delivery()
    near_device, far_device = world.device(near, "GPS-1"), world.device(far, "GPS-2")
    world.position(near_device, near, 77, 43)
    world.position(far_device, far, 50, 43)
    with Listener(url, world.token(app, "monitor"), bbox="76,42,78,44") as listener:
        world.event("alert", far, {"id": str(uuid4()), "n": "far"})
        point = {"type": "Point", "coordinates": [50, 43]}
        world.event("anomaly", near, {"n": "elsewhere", "geometry": point})
        world.event("alert", near, {"id": str(uuid4()), "n": "near"})
        wait_until(lambda: listener.of("alert"), 10, "the alert")
        world.position(far_device, far, 50.1, 43)
        world.position(near_device, near, 77.1, 43)
        wait_until(
            lambda: any(p["lon"] == 77.1 for p in listener.of("position")), 10, "the position"
        )
    assert [d["n"] for k, _, d in listener.events if k != "position"] == ["near"]
    assert {p["device_id"] for p in listener.of("position")} == {"GPS-1"}


def test_the_stream_survives_the_loss_of_its_database_connection(
    app: FastAPI, world: World, url: str
) -> None:
    delivery = world.delivery()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    with Listener(url, world.token(app, "monitor")) as listener:
        world.conn.execute(kill, ("tracker-stream",))
        world.event("delivery", delivery, {"n": "while away"})
        wait_until(lambda: listener.of("delivery"), 20, "the event from while it was away")


def test_refusals_come_before_the_stream(app: FastAPI, world: World, url: str) -> None:
    headers = world.token(app, "monitor")
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers=headers, params={"bbox": "1,2"}).status_code == 422
    assert httpx.get(url, headers=headers | {"Last-Event-ID": "x"}).status_code == 422
    assert httpx.get(url, headers=headers, params={"last_event_id": "-1"}).status_code == 422


def test_a_listener_that_leaves_frees_its_connection(app: FastAPI, world: World, url: str) -> None:
    def listening() -> int:
        with psycopg.connect(world.dsn) as conn:
            row = conn.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'tracker-stream' AND datname = current_database()"
            ).fetchone()
        return int(row[0])

    with httpx.stream("GET", url, headers=world.token(app, "monitor")) as response:
        lines = response.iter_lines()
        assert next(lines) == ": ready"
        # The session that first asked whether the database is there may still be ending.
        wait_until(lambda: listening() == 1, 60, "one connection")
    wait_until(lambda: listening() == 0, 60, "the connection to be closed")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: a browser that other tests keep open runs a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def events(world: World, delivery: UUID, many: int) -> None:
    with world.conn.transaction():
        told = [Event(kind="delivery", delivery_id=delivery, payload={"n": n}) for n in range(many)]
        append(world.conn, told)


SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND"


def count(world: World, condition: str, *params: Any) -> int:
    row = world.conn.execute(f"{SESSIONS} {condition}", params).fetchone()
    return int(row[0]) if row else 0


def test_a_client_that_reads_slowly_what_it_missed_holds_no_connection(world: World) -> None:
    many = 2 * BATCH + 1
    events(world, world.delivery(), many)

    async def read_slowly() -> list[bytes]:
        chunks = []
        async for chunk in Hub(world.dsn).replay(Client(scope=Scope())):
            chunks.append(chunk)
            # Blocks the loop: whatever the replay still holds, it holds.
            wait_until(
                lambda: not count(world, "application_name = 'tracker-stream'"),
                10,
                "no connection while the client reads",
            )
        return chunks

    chunks = run_apart(read_slowly())
    assert [chunk.count(b"event: ") for chunk in chunks] == [BATCH, BATCH, 1]
    told = [line for line in b"".join(chunks).splitlines() if line.startswith(b"id: ")]
    assert told == [b"id: %d" % n for n in range(1, many + 1)]


@contextmanager
def few_connections(world: World, limit: int) -> Iterator[str]:
    """The URL of a user of the database who gets only so many connections."""
    role, url = f"few_{uuid4().hex}", urlsplit(world.dsn)
    world.conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT {limit}")
    world.conn.execute(f"GRANT pg_read_all_data TO {role}")
    try:
        yield url._replace(netloc=f"{role}:few@{url.hostname}:{url.port}").geturl()
    finally:
        left = f"usename = '{role}'"
        world.conn.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {left}")
        wait_until(lambda: not count(world, left), 10, "its connections to be closed")
        world.conn.execute(f"DROP ROLE {role}")


def test_hundreds_that_come_back_at_once_take_turns(world: World) -> None:
    many = 200
    last = world.event("delivery", world.delivery(), {"n": 1})

    async def come_back(hub: Hub) -> bytes:
        client = Client(scope=Scope())
        await hub.check()
        return b"".join([chunk async for chunk in hub.replay(client)])

    async def all_come_back(dsn: str) -> list[bytes]:
        hub = Hub(dsn)
        coming = [asyncio.create_task(come_back(hub)) for _ in range(many)]
        reads = "usename LIKE 'few%%' AND wait_event_type = 'Lock'"
        with psycopg.connect(world.dsn) as holding:
            # Nobody gets further than this: all who would hold a connection do.
            holding.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
            while not any(task.done() for task in coming) and count(world, reads) < REPLAYS:
                await asyncio.sleep(0.05)
        return await asyncio.gather(*coming)

    # Twice as many as read at once: the server counts those that are just being closed.
    with few_connections(world, 2 * REPLAYS) as dsn:
        told = run_apart(all_come_back(dsn))
    assert len(told) == many
    assert all(f"id: {last}\n".encode() in chunk for chunk in told)


def test_after_a_fault_all_come_back_and_miss_nothing(app: FastAPI, world: World, url: str) -> None:
    whole, broken = world.delivery(), world.delivery()
    headers = world.token(app, "monitor")
    before = world.event("delivery", whole, {"n": "before"})
    # A place that is none, and a client with a box that asks where it is.
    world.position(world.device(broken, "GPS-1"), broken, 77, 43)
    world.conn.execute(
        "UPDATE device_positions SET geom = 'SRID=4326;POINT EMPTY',"
        " updated_at = now() - interval '1 h'"
    )
    with (
        httpx.stream("GET", url, headers=headers, timeout=60) as boxless,
        httpx.stream("GET", url, headers=headers, params={"bbox": "76,42,78,44"}) as boxed,
    ):
        lines = boxless.iter_lines(), boxed.iter_lines()
        assert [next(one) for one in lines] == [": ready", ": ready"]
        with world.conn.transaction():
            told = [
                Event(kind="delivery", delivery_id=delivery, payload={"n": n})
                for delivery, n in ((whole, "whole"), (broken, "broken"))
            ]
            append(world.conn, told)
        for line in itertools.chain(*lines):
            # Unless it is let go, it hears of nothing but that the process lives.
            assert not line.startswith(": heartbeat")
    with Listener(url, headers, last_event_id=str(before)) as listener:
        world.event("delivery", whole, {"n": "after"})
        wait_until(lambda: len(listener.of("delivery")) >= 3, 10, "what was missed, and what comes")
    assert [data["n"] for data in listener.of("delivery")] == ["whole", "broken", "after"]


def test_a_client_that_falls_behind_is_let_go() -> None:
    def event(n: int) -> StreamEvent:
        return StreamEvent(id=n, kind="delivery", carrier_id=None, places=(), payload={"n": n})

    async def fall_behind() -> Client:
        client = Client(scope=Scope())
        client.push_events(event(n) for n in range(1, CLIENT_EVENTS + 1))
        assert not client.lost
        client.push_events([event(CLIENT_EVENTS + 1)])
        return client

    assert run_apart(fall_behind()).lost
