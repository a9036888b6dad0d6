"""Setting the stage on a server in memory: first start, second start, crash, arrivals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tracker.demo.customs import Arrivals, Departures
from tracker.demo.fleet import Trip, fleet_plan
from tracker.demo.people import PEOPLE, make_people
from tracker.demo.scenario import Slot, fleet
from tracker.demo.stage import Stage, find_subjects
from tracker.errors import SetupError
from tracker.reference import read_bodies
from tracker.reference.client import Api

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLOTS = fleet()


class Server:
    """Users, participants, devices and deliveries with as much of their rules as matters here."""

    def __init__(self) -> None:
        self.lists: dict[str, dict[str, dict[str, Any]]] = {
            "participants": {
                str(n): {"id": f"p{n}", **body} for n, body in enumerate(PARTICIPANTS)
            },
            "users": {},
            "devices": {},
            "deliveries": {},
        }
        self.acts: list[tuple[str, str, dict[str, Any]]] = []
        self.fail_on: str | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        resource, *rest = request.url.path.removeprefix("/api/v1/").split("/")
        if request.method == "GET" and rest:
            return httpx.Response(200, json=self.lists[resource][rest[0]])
        if request.method == "GET":
            items = list(self.lists[resource].values())
            return httpx.Response(200, json={"items": items, "next": None})
        body = json.loads(request.content)
        if rest[1:] == [self.fail_on]:
            return httpx.Response(500, json={"detail": "broken"})
        return self._act(*rest, body) if rest else self._create(resource, body)

    def _create(self, resource: str, body: dict[str, Any]) -> httpx.Response:
        key = body.get("registration_number") or body.get("username") or body["id"]
        if key in self.lists[resource] or self._bound(body.get("devices", ())):
            return httpx.Response(409, json={"detail": "taken"})
        assert all(device in self.lists["devices"] for device in body.get("devices", ()))
        made = {"id": key, **body}
        if resource == "deliveries":
            made |= {"status": "declared", "acts": []}
        if resource == "devices":
            made["last_record"] = None
        self.lists[resource][key] = made
        return httpx.Response(201, json=made)

    def _bound(self, devices: Any) -> bool:
        under_way = ("declared", "in_transit", "overdue")
        busy = (d for d in self.lists["deliveries"].values() if d["status"] in under_way)
        return any(set(d["devices"]) & set(devices) for d in busy)

    def _act(self, delivery: str, kind: str, body: dict[str, Any]) -> httpx.Response:
        self.acts.append((delivery, kind, body))
        item = self.lists["deliveries"][delivery]
        if kind == "release" and item["status"] != "declared":
            return httpx.Response(409, json={"detail": "released already"})
        item["acts"].append({"kind": kind.replace("-", "_")})
        if kind == "release":
            item["status"] = "in_transit"
        if kind == "arrival":
            item.update(status="arrived", arrived_at=body["at"])
        return httpx.Response(200, json=item)


PARTICIPANTS = read_bodies("participants")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with Api("http://server", "t", transport=httpx.MockTransport(server)) as client:
        yield client


def prepare(api: Api, now: datetime = NOW, slots: tuple[Slot, ...] = SLOTS) -> list[Trip]:
    stage = Stage(api, find_subjects(api), now)
    return [trip for slot in slots for trip in stage.prepare(slot)]


def release(server: Server, api: Api, trips: list[Trip], now: datetime = NOW) -> None:
    """Let every lorry report from the present, and customs record the releases."""
    departures = Departures(api, trips, now)
    for device in server.lists["devices"].values():
        device["last_record"] = {"t": (now - timedelta(seconds=60)).isoformat()}
    departures.record(now)
    assert departures.waiting == 0


def test_first_start_makes_and_releases_every_delivery(server: Server, api: Api) -> None:
    trips = prepare(api)
    assert len(trips) == len(SLOTS) == len(server.lists["deliveries"])
    assert {d["status"] for d in server.lists["deliveries"].values()} == {"declared"}
    release(server, api, trips)
    assert {d["status"] for d in server.lists["deliveries"].values()} == {"in_transit"}
    for trip in trips:
        kinds = [(k, b) for d, k, b in server.acts if d == trip.delivery_id]
        assert [k for k, _ in kinds] == ["border-crossing", "release"]
        notice, left = (datetime.fromisoformat(b["at"]) for _, b in kinds)
        assert notice < left == trip.departed < NOW


def test_a_release_waits_for_the_history_but_not_for_ever(server: Server, api: Api) -> None:
    (trip,) = prepare(api, slots=SLOTS[:1])
    departures = Departures(api, [trip], NOW)
    gps = server.lists["devices"][trip.slot.lorry(1).gps]
    departures.record(NOW)
    gps["last_record"] = {"t": (NOW - timedelta(hours=1)).isoformat()}
    departures.record(NOW)
    assert departures.waiting == 1
    departures.record(NOW + timedelta(seconds=61))
    assert departures.waiting == 0
    assert server.acts[-1][1] == "release"


def test_nobody_is_released_before_leaving(server: Server, api: Api) -> None:
    (trip,) = prepare(api, slots=SLOTS[:1])
    departures = Departures(api, [trip], trip.departed - timedelta(hours=1))
    departures.record(trip.departed - timedelta(seconds=1))
    assert departures.waiting == 1


def test_a_visitor_may_release_first(server: Server, api: Api) -> None:
    trips = prepare(api, slots=SLOTS[:1])
    server.lists["deliveries"][trips[0].delivery_id]["status"] = "in_transit"
    release(server, api, trips)
    assert [kind for _, kind, _ in server.acts] == ["border-crossing", "release"]


def test_second_start_goes_on_with_the_same_trips(server: Server, api: Api) -> None:
    first = prepare(api)
    release(server, api, first)
    acts = len(server.acts)
    again = prepare(api, NOW + timedelta(minutes=7))
    assert again == [replace(trip, released=True) for trip in first]
    assert len(server.acts) == acts


def test_the_honest_drive_on_and_the_crooked_play_again(server: Server, api: Api) -> None:
    trips = prepare(api)
    release(server, api, trips)
    for item in server.lists["deliveries"].values():
        item.update(progress_m=50_000.0, last_position={"t": NOW.isoformat(), "lon": 1, "lat": 2})
    again = prepare(api, NOW + timedelta(minutes=5))
    for trip, vehicle in zip(again, fleet_plan(again)["vehicles"], strict=True):
        driven_on = trip.slot.plot in {"honest", "late"}
        start = datetime.fromisoformat(vehicle["start"])
        assert start == (NOW + timedelta(seconds=5) if driven_on else trip.departed)
        assert vehicle["start_at_m"] == (50_000.0 if driven_on else 0.0)
        assert all((d["gen"] > 1) == driven_on for d in vehicle["devices"])


@pytest.mark.parametrize("notified", [False, True])
def test_a_crash_before_the_release_is_mended(server: Server, api: Api, notified: bool) -> None:
    server.fail_on = None if notified else "border-crossing"
    with suppress(SetupError):
        prepare(api, slots=SLOTS[:1])
    server.fail_on = None
    later = NOW + timedelta(minutes=1)
    trips = prepare(api, later, slots=SLOTS[:1])
    assert [(trip.turn, trip.departed) for trip in trips] == [(1, SLOTS[0].departure(NOW))]
    release(server, api, trips, later)
    assert [kind for _, kind, _ in server.acts] == ["border-crossing", "release"]


def test_a_trip_that_ended_while_off_is_driven_on_beside_a_new_one(
    server: Server, api: Api
) -> None:
    (old,) = prepare(api, slots=SLOTS[:1])
    release(server, api, [old])
    later = old.end + timedelta(days=2)
    again, new = prepare(api, later, slots=SLOTS[:1])
    assert again == replace(old, released=True)
    assert new.turn == 2
    assert new.departed == SLOTS[0].departure(later)
    assert new.slot.lorry(2) != old.slot.lorry(1)
    # Both lorries out and both over: the next start does not add a third.
    assert prepare(api, later + timedelta(days=9), slots=SLOTS[:1]) == [again, new]


def test_a_lorry_starts_anew_only_after_its_last_arrival(server: Server, api: Api) -> None:
    (first,) = prepare(api, slots=SLOTS[:1])
    arrive(server, first, NOW)
    (second,) = prepare(api, NOW, slots=SLOTS[:1])
    assert (second.turn, second.departed) == (2, SLOTS[0].departure(NOW))
    arrive(server, second, NOW)
    (third,) = prepare(api, NOW, slots=SLOTS[:1])
    assert third.turn == 3
    assert third.departed == NOW + timedelta(minutes=10)


def arrive(server: Server, trip: Trip, at: datetime) -> None:
    item = server.lists["deliveries"][trip.delivery_id]
    item.update(status="arrived", arrived_at=at.isoformat())


def position(trip: Trip, lon: float, lat: float) -> dict[str, Any]:
    at = (trip.departed + timedelta(hours=5)).isoformat()
    return {"lon": lon, "lat": lat, "t": at}


def test_arrival_waits_for_the_lorry(server: Server, api: Api) -> None:
    (trip,) = prepare(api, slots=SLOTS[:1])
    release(server, api, [trip])
    item = server.lists["deliveries"][trip.delivery_id]
    arrivals = Arrivals(api, [trip])
    end_lon, end_lat = trip.slot.lane.points[-1]
    item["last_position"] = position(trip, end_lon, end_lat)
    assert arrivals.confirm(trip.end - timedelta(seconds=1)) == 0
    item["last_position"] = position(trip, end_lon + 0.1, end_lat)
    assert arrivals.confirm(trip.end + timedelta(seconds=1)) == 0
    assert item["status"] == "in_transit"
    item["last_position"] = position(trip, end_lon, end_lat + 0.001)
    assert arrivals.confirm(trip.end + timedelta(seconds=1)) == 1
    assert item["status"] == "arrived"
    assert arrivals.confirm(trip.end + timedelta(hours=1)) == 0
    _, kind, body = server.acts[-1]
    assert (kind, body["at"]) == ("arrival", item["last_position"]["t"])


def test_people_are_made_once_with_their_posts(server: Server, api: Api) -> None:
    make_people(api, ["p0"])
    made = dict(server.lists["users"])
    make_people(api, ["p0"])
    assert server.lists["users"] == made
    assert {u["role"] for u in made.values()} == {
        "monitor", "officer", "carrier", "analyst", "auditor"
    }  # fmt: skip
    posts = {post["code"] for post in read_bodies("posts")}
    assert all(set(person.posts) <= posts for person in PEOPLE)
    assert made["carrier"]["participant_id"] == "p0"
    assert all(len(person.password) >= 12 for person in PEOPLE)
