"""Posts and zones over HTTP."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import NAME, SQUARE, ApiWorld, after, bad_fields, problem_of


def _zone(**more: Any) -> dict[str, Any]:
    square = {"type": "Polygon", "coordinates": [SQUARE]}
    return {"code": "Z1", "name": NAME, "kind": "parking", "geometry": square} | more


def _post(**more: Any) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [76.05, 43.05]}
    return {"code": "P1", "name": NAME, "geometry": point, "country": "KZ"} | more


def test_a_post_without_a_zone_gets_a_circle_of_500_m(bare: ApiWorld, database: str) -> None:  # noqa: F811
    made = bare.made("/posts", _post(kind="border"))
    assert made["zone_code"] == "post:P1"
    assert bare.get("/zones/post:P1")["kind"] == "border"
    with psycopg.connect(database) as conn:
        row = conn.execute(
            "SELECT min(d), max(d) FROM (SELECT ST_Distance((p).geom::geography,"
            " ST_MakePoint(76.05, 43.05)::geography) d FROM (SELECT ST_DumpPoints(geom) p"
            " FROM zones) x) y"
        ).fetchone()
    assert row is not None
    assert row[0] == pytest.approx(500, abs=1)
    assert row[1] == pytest.approx(500, abs=1)


def test_a_post_may_name_its_zone(bare: ApiWorld) -> None:  # noqa: F811
    errors = bad_fields(bare.post("/posts", _post(zone_code="Z1")))
    assert "Z1" in errors["body.zone_code"]
    bare.made("/zones", _zone())
    assert bare.made("/posts", _post(zone_code="Z1"))["zone_code"] == "Z1"
    assert bare.get("/posts/P1")["kind"] == "inland"
    assert "body.code" in bad_fields(bare.post("/posts", _post(zone_code="Z1")), 409)


def test_a_zone_is_shown_as_it_was_drawn(bare: ApiWorld) -> None:  # noqa: F811
    made = bare.made("/zones", _zone(max_dwell_s=3600, valid_from=after(), valid_to=after(days=1)))
    assert made["geometry"] == {"type": "Polygon", "coordinates": [SQUARE]}
    assert made["max_dwell_s"] == 3600
    assert made["valid_from"] == after()
    assert bare.get("/zones", kind="rest")["items"] == []
    assert [z["code"] for z in bare.get("/zones", kind="parking")["items"]] == ["Z1"]


BOW_TIE = [[76.0, 43.0], [76.1, 43.1], [76.1, 43.0], [76.0, 43.1], [76.0, 43.0]]


@pytest.mark.parametrize(
    ("ring", "words"),
    [
        (BOW_TIE, "Self-intersection"),
        ([*SQUARE[:-1], [76.5, 43.5]], "open"),
        (SQUARE[:3], "at least 4"),
        ([[76.0, 43.0]] * 4, "Too few points"),
        ([[76.0, 43.0], [76.1, 43.0], [76.2, 43.0], [76.0, 43.0]], "area"),
        ([[181.0, 43.0], *SQUARE[1:-1], [181.0, 43.0]], "±180"),
    ],
    ids=["bow tie", "open", "two points", "a point", "a line", "off the earth"],
)
def test_an_outline_that_is_none_is_refused_with_words(
    bare: ApiWorld,  # noqa: F811
    ring: list[list[float]],
    words: str,
) -> None:
    body = _zone(geometry={"type": "Polygon", "coordinates": [ring]})
    errors = bad_fields(bare.post("/zones", body))
    assert all("geometry" in loc for loc in errors)
    assert any(words in message for message in errors.values()), errors


@pytest.mark.parametrize(
    "change",
    [
        {"max_dwell_s": 0},
        {"kind": "garden"},
        {"valid_from": after(days=1), "valid_to": after()},
        {"name": {"ru": "одно"}},
        {"code": "with space"},
        {"code": "a/b"},
        {"geometry": {"type": "Point", "coordinates": [76, 43]}},
    ],
)
def test_a_zone_with_a_bad_field_is_refused(bare: ApiWorld, change: dict[str, Any]) -> None:  # noqa: F811
    assert bad_fields(bare.post("/zones", _zone(**change)))


def test_a_new_zone_has_deliveries_under_way_judged_again(world: ApiWorld, database: str) -> None:  # noqa: F811
    on_the_way, declared = world.delivery(), world.delivery()
    world.post(f"/deliveries/{on_the_way['id']}/release", {})
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DELETE FROM dirty")
        world.made("/zones", _zone())
        marked = conn.execute("SELECT delivery_id::text, from_t FROM dirty").fetchall()
    assert marked == [(on_the_way["id"], None)]
    assert declared["id"] != on_the_way["id"]


def test_lists_page_to_the_end_and_refuse_a_foreign_cursor(bare: ApiWorld) -> None:  # noqa: F811
    codes = [f"Z{n}" for n in range(5)]
    for code in codes:
        bare.made("/zones", _zone(code=code))
    seen, cursor = [], None
    while True:
        page = bare.get("/zones", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [zone["code"] for zone in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == codes
    assert "query.cursor" in bad_fields(bare.call("GET", "/zones?cursor=bm9uc2Vuc2U"))
    assert "query.limit" in bad_fields(bare.call("GET", "/zones?limit=1001"))
    problem_of(bare.call("GET", "/zones/NONE"), 404)


# ---------------------------------------------------------------- versions of a zone


def _moved(by_deg: float) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[[lon + by_deg, lat] for lon, lat in SQUARE]]}


def _version(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in _zone(**more).items() if name != "code"}


def _put(api: ApiWorld, body: dict[str, Any], **more: Any) -> Any:
    return api.call("PUT", "/zones/Z1", json=body, **more)


def test_a_new_version_closes_the_present_one_and_is_kept_beside_it(bare: ApiWorld) -> None:  # noqa: F811
    first = bare.made("/zones", _zone())
    changed = _put(bare, _version(geometry=_moved(1), valid_from=after(hours=-1))).json()
    assert (first["version"], changed["version"]) == (1, 2)
    assert (changed["valid_from"], changed["valid_to"]) == (after(hours=-1), None)
    assert bare.get("/zones/Z1") == changed
    assert bare.get("/zones/Z1", at=after(hours=-1)) == changed
    before = bare.get("/zones/Z1", at=after(hours=-2))
    assert before == first | {"valid_to": after(hours=-1)}
    assert bare.get("/zones/Z1/versions")["items"] == [before, changed]
    assert bare.get("/zones")["items"] == [changed]
    assert bare.get("/zones", at=after(hours=-2))["items"] == [before]


def test_a_version_yet_to_come_is_not_the_present_one(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/zones", _zone())
    _put(bare, _version(kind="restricted", valid_from=after(days=1)))
    assert bare.get("/zones/Z1")["kind"] == "parking"
    assert bare.get("/zones/Z1", at=after(days=1))["kind"] == "restricted"
    assert [z["kind"] for z in bare.get("/zones")["items"]] == ["parking"]
    tag = bare.call("GET", "/zones/Z1").headers["ETag"]
    assert _put(bare, _version(valid_from=after(days=2)), headers={"If-Match": tag}).is_success


def test_without_a_time_a_version_is_in_force_from_now_on(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/zones", _zone())
    changed = _put(bare, _version(max_dwell_s=60)).json()
    assert changed["valid_from"] >= after()
    assert bare.get("/zones/Z1")["max_dwell_s"] == 60


def test_a_version_cannot_begin_before_the_one_that_it_follows(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/zones", _zone(valid_from=after(days=-1)))
    for when in (after(days=-1), after(days=-2)):
        errors = bad_fields(_put(bare, _version(valid_from=when)), 409)
        assert "later time" in errors["body.valid_from"]
    assert len(bare.get("/zones/Z1/versions")["items"]) == 1


def test_a_change_of_a_version_not_seen_is_refused(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/zones", _zone())
    tag = bare.call("GET", "/zones/Z1").headers["ETag"]
    assert _put(bare, _version(max_dwell_s=1), headers={"If-Match": tag}).status_code == 200
    problem_of(_put(bare, _version(max_dwell_s=2), headers={"If-Match": tag}), 412)
    problem_of(bare.call("DELETE", "/zones/Z1", headers={"If-Match": tag}), 412)
    assert bare.get("/zones/Z1")["max_dwell_s"] == 1


def test_who_may_change_zones_and_which(world: ApiWorld) -> None:  # noqa: F811
    world.made("/zones", _zone())
    more: dict[str, Any] = {"officer": {"posts": ["P1"]}}
    more["carrier"] = {"participant_id": world.carrier}
    for role in ("monitor", "officer", "carrier", "integration"):
        who = world.user(role, role, **more.get(role, {}))
        problem_of(_put(world, _version(), who=who), 403)
        problem_of(world.call("DELETE", "/zones/Z1", who=who), 403)
    problem_of(world.call("PUT", "/zones/NONE", json=_version()), 404)
    problem_of(world.call("DELETE", "/zones/NONE"), 404)
    problem_of(world.call("GET", "/zones/NONE/versions"), 404)
    assert "body.code" in bad_fields(_put(world, _zone(code="Z2")))
    assert "body.valid_to" in bad_fields(
        _put(world, _version(valid_from=after(days=1), valid_to=after(days=1)))
    )
    assert "body.valid_to" in bad_fields(_put(world, _version(valid_to=after(days=-1))))


def test_the_same_key_changes_a_zone_once(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/zones", _zone())
    key = {"Idempotency-Key": "k1"}
    first, again = (_put(bare, _version(max_dwell_s=9), headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert len(bare.get("/zones/Z1/versions")["items"]) == 2


def test_a_zone_that_is_ended_stays_in_the_history(bare: ApiWorld) -> None:  # noqa: F811
    bare.made("/zones", _zone())
    ended = bare.call("DELETE", "/zones/Z1", params={"at": after(hours=-1)}).json()
    assert (ended["valid_to"], ended["version"]) == (after(hours=-1), 2)
    assert bare.get("/zones/Z1") == ended
    assert bare.get("/zones/Z1", at=after(hours=-2)) == ended
    problem_of(bare.call("GET", "/zones/Z1", params={"at": after()}), 404)
    assert bare.get("/zones", at=after())["items"] == []
    assert "query.at" in bad_fields(bare.call("DELETE", "/zones/Z1"), 409)
    assert "body.code" in bad_fields(bare.post("/zones", _zone()), 409)
    again = _put(bare, _version(valid_from=after(days=1))).json()
    assert again["version"] == 3
    assert "query.at" in bad_fields(bare.call("DELETE", "/zones/Z1"), 409), "it has not begun"


def test_a_posts_zone_can_change_but_not_end(world: ApiWorld) -> None:  # noqa: F811
    assert "P1" in bad_fields(world.call("DELETE", "/zones/post:P1"), 409)["path.code"]
    body = _version(kind="post")
    limited = world.call("PUT", "/zones/post:P1", json=body | {"valid_to": after(days=9)})
    assert "body.valid_to" in bad_fields(limited, 409)
    assert world.call("PUT", "/zones/post:P1", json=body).status_code == 200
    assert world.get("/posts/P1")["zone_code"] == "post:P1"


def test_ending_a_checkpoints_zone_is_said(world: ApiWorld) -> None:  # noqa: F811
    world.made("/zones", _zone())
    line = {"type": "LineString", "coordinates": [[76.0, 43.0], [77.0, 43.0]]}
    checkpoints = [{"zone_code": "Z1", "mandatory": True}]
    route = {"code": "RC", "name": "r", "geometry": line, "checkpoints": checkpoints}
    world.made("/routes", route)
    (warning,) = world.call("DELETE", "/zones/Z1").json()["warnings"]
    assert "RC" in warning["msg"]


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
def test_a_change_has_deliveries_under_way_judged_again(
    world: ApiWorld,  # noqa: F811
    database: str,
    change: str,
) -> None:
    on_the_way = world.delivery()
    world.made("/zones", _zone())
    world.post(f"/deliveries/{on_the_way['id']}/release", {})
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DELETE FROM dirty")
        world.call(change, "/zones/Z1", json=_version() if change == "PUT" else None)
        marked = conn.execute("SELECT delivery_id::text, from_t FROM dirty").fetchall()
    assert marked == [(on_the_way["id"], None)]


def test_a_version_says_who_entered_and_who_ended_it_but_not_to_a_carrier(
    world: ApiWorld,  # noqa: F811
) -> None:
    drawn_by = world.user("nurlan", "monitor")
    made = world.post("/zones", _zone(), who=drawn_by).json()
    assert (made["created_by"], made["ended_by"]) == ("nurlan", None)
    _put(world, _version(valid_from=after(hours=-2)))
    ended = world.call("DELETE", "/zones/Z1", params={"at": after(hours=-1)}).json()
    assert (ended["created_by"], ended["ended_by"]) == ("admin", "admin")
    first, last = world.get("/zones/Z1/versions")["items"]
    assert (first["created_by"], first["ended_at"]) == ("nurlan", None)
    assert last["ended_at"] >= after()
    carrier = world.user("carrier", "carrier", participant_id=world.carrier)
    told = world.get("/zones/Z1/versions", who=carrier)["items"]
    told += [world.get("/zones/Z1", who=carrier), *world.get("/zones", who=carrier)["items"]]
    assert {(zone["created_by"], zone["ended_by"]) for zone in told} == {(None, None)}
    assert world.get("/zones/post:P1")["created_by"] == "admin"


def test_who_may_change_a_zone_is_told_what_refers_to_it(world: ApiWorld) -> None:  # noqa: F811
    world.made("/zones", _zone())
    line = {"type": "LineString", "coordinates": [[76.0, 43.0], [77.0, 43.0]]}
    checkpoints = [{"zone_code": "Z1", "mandatory": True}]
    world.made("/routes", {"code": "RC", "name": "r", "geometry": line, "checkpoints": checkpoints})
    assert world.get("/zones/Z1/uses") == {"posts": [], "routes": ["RC"]}
    assert world.get("/zones/post:P1/uses") == {"posts": ["P1"], "routes": []}
    problem_of(world.call("GET", "/zones/NONE/uses"), 404)
    problem_of(world.call("GET", "/zones/Z1/uses", who=world.user("m", "monitor")), 403)


def test_ending_a_zone_is_undone_without_a_gap_by_a_version_from_that_moment_on(
    bare: ApiWorld,  # noqa: F811
) -> None:
    bare.made("/zones", _zone())
    ended = bare.call("DELETE", "/zones/Z1").json()
    tag = {"If-Match": f'"{ended["version"]}"'}
    again = _put(bare, _version(valid_from=ended["valid_to"]), headers=tag)
    assert again.is_success, again.text
    assert bare.get("/zones", at=ended["valid_to"])["items"] == [again.json()]
