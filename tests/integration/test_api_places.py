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
