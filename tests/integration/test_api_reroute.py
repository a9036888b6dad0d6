"""Another route declared on the way, over HTTP."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, after, bad_fields, problem_of

DETOUR = [[76.9, 43.25], [77.4, 43.6], [77.9, 43.25]]


def _line(*, code: str | None = None, **more: Any) -> dict[str, Any]:
    shape = {"geometry": {"type": "LineString", "coordinates": DETOUR}, "corridor_m": 2000}
    return shape | ({"code": code, "name": "Detour"} if code else {}) | more


def _released(api: ApiWorld, **span: float) -> str:
    made = api.delivery()
    at = after(**(span or {"hours": -3}))
    assert api.post(f"/deliveries/{made['id']}/release", {"at": at}).status_code == 200
    return str(made["id"])


def _reroute(api: ApiWorld, id_: str, *, who: str = "admin", **body: Any) -> Any:
    given = {"reason": "the A2 is closed by snow"} | body
    return api.post(f"/deliveries/{id_}/reroute", given, who=who)


def test_a_named_route_is_in_force_from_a_time_in_the_past(world: ApiWorld) -> None:  # noqa: F811
    world.made("/routes", _line(code="R2"))
    id_ = _released(world)
    answer = _reroute(world, id_, route_code="R2", **{"from": after(hours=-1)})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["route_code"] == "R2"
    assert told["route"]["corridor_m"] == 2000
    (act,) = [act for act in told["acts"] if act["kind"] == "reroute"]
    assert act["at"] == after(hours=-1)
    assert act["recorded_by"] == "admin"
    assert act["data"]["route_code"] == "R2"
    assert act["data"]["reason"] == "the A2 is closed by snow"
    shown = world.get(f"/deliveries/{id_}/route", corridor=True)
    assert (shown["code"], shown["from"]) == ("R2", after(hours=-1))
    assert [(r["code"], r["from"]) for r in shown["routes"]] == [
        ("R1", None),
        ("R2", after(hours=-1)),
    ]
    assert all(route["corridor"] for route in shown["routes"])


def test_a_route_may_be_declared_within_it_and_begin_now(world: ApiWorld) -> None:  # noqa: F811
    id_ = _released(world)
    told = _reroute(world, id_, route=_line()).json()
    assert told["route_code"] is None
    shown = world.get(f"/deliveries/{id_}/route")
    assert shown["geometry"]["coordinates"] == DETOUR
    assert shown["from"] >= after()
    assert told["warnings"] == []


def test_one_ahead_is_listed_and_not_yet_in_force(world: ApiWorld) -> None:  # noqa: F811
    id_ = _released(world)
    told = _reroute(world, id_, route=_line(), **{"from": after(days=1)}).json()
    assert told["route_code"] == "R1"
    shown = world.get(f"/deliveries/{id_}/route")
    assert (shown["code"], len(shown["routes"])) == ("R1", 2)


def test_a_delivery_may_be_rerouted_again_but_not_twice_from_one_time(world: ApiWorld) -> None:  # noqa: F811
    id_ = _released(world)
    _reroute(world, id_, route=_line(), **{"from": after(hours=-1)})
    again = _reroute(world, id_, route_code="R1", **{"from": after(hours=-1)})
    assert "another time" in bad_fields(again, 409)["body.from"]
    assert _reroute(world, id_, route_code="R1", **{"from": after(hours=-2)}).status_code == 200
    routes = world.get(f"/deliveries/{id_}/route")["routes"]
    assert [r["from"] for r in routes] == [None, after(hours=-2), after(hours=-1)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.route"),
        ({"route_code": "R1", "route": _line()}, "body.route"),
        ({"route_code": "R9"}, "body.route_code"),
        ({"route_code": "R1", "reason": ""}, "body.reason"),
        ({"route_code": "R1", "reason": None}, "body.reason"),
        ({"route_code": "R1", "from": after(hours=-4)}, "body.from"),
        ({"route_code": "R1", "from": after(days=-31)}, "body.from"),
        ({"route_code": "R1", "from": after(days=31)}, "body.from"),
        ({"route": _line(corridor_m=0)}, "body.route.corridor_m"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(
    world: ApiWorld,  # noqa: F811
    body: dict[str, Any],
    field: str,
) -> None:
    id_ = _released(world)
    errors = bad_fields(_reroute(world, id_, **body))
    assert field in errors
    assert len(world.get(f"/deliveries/{id_}/route")["routes"]) == 1


def test_a_route_that_ends_elsewhere_is_a_warning(world: ApiWorld) -> None:  # noqa: F811
    id_ = _released(world)
    elsewhere = {"type": "LineString", "coordinates": [[76.9, 43.25], [76.5, 44.0]]}
    told = _reroute(world, id_, route=_line(geometry=elsewhere)).json()
    assert "destination_post" in told["warnings"][0]["msg"]


def test_only_a_delivery_on_its_way_can_be_rerouted(world: ApiWorld) -> None:  # noqa: F811
    declared = world.delivery()["id"]
    assert "status" in bad_fields(_reroute(world, declared, route_code="R1"), 409)
    arrived = _released(world)
    world.post(f"/deliveries/{arrived}/arrival", {})
    assert "status" in bad_fields(_reroute(world, arrived, route_code="R1"), 409)


def test_monitors_and_officers_may_and_a_lost_update_is_refused(world: ApiWorld) -> None:  # noqa: F811
    id_ = _released(world)
    world.user("m", "monitor")
    world.user("o", "officer", posts=["P3"])
    world.user("c", "carrier", participant_id=world.carrier)
    for n, who in enumerate(("m", "o")):
        when = {"from": after(hours=-1 - n)}
        assert _reroute(world, id_, who=who, route_code="R1", **when).status_code == 200
    problem_of(_reroute(world, id_, who="c", route_code="R1"), 403)
    body = {"route_code": "R1", "reason": "r"}
    lost = world.post(f"/deliveries/{id_}/reroute", body, headers={"If-Match": '"1"'})
    problem_of(lost, 412)


def test_it_is_judged_again_and_its_map_shows_both_routes(world: ApiWorld, database: str) -> None:  # noqa: F811
    id_ = _released(world)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DELETE FROM dirty")
        _reroute(world, id_, route=_line())
        marked = conn.execute("SELECT delivery_id::text, from_t FROM dirty").fetchall()
    assert marked == [(id_, None)]
    page = world.call("GET", f"/deliveries/{id_}/map").text
    assert "MultiLineString" in page
    assert "77.4, 43.3" in page
    assert "77.4, 43.6" in page
