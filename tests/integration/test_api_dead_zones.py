# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The layer of dead zones, made by the watch, read as GeoJSON."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import h3
from fastapi import FastAPI

from tests.integration.reading_app import app, world
from tests.support.world import World
from tracker.settings import Settings
from tracker.watch import Watch

URL = "/api/v1/dead-zones"
CELL = h3.latlng_to_cell(46.85, 74.98, 7)


def known(world: World, day: str) -> None:
    for cell, devices, gaps in (("", 0, 0), (CELL, 4, 9)):
        world.conn.execute(
            "INSERT INTO dead_zones VALUES (%s, %s, %s, %s, '2026-03-01Z', '2026-03-20Z')",
            (day, cell, devices, gaps),
        )


def test_a_layer_is_the_newest_of_a_day_or_before(app: FastAPI, world: World) -> None:
    client = world.client(app, "monitor")
    assert client.get(URL).json() == {
        "type": "FeatureCollection", "layer_date": None, "features": []
    }  # fmt: skip
    known(world, "2026-03-21")
    assert client.get(URL, params={"day": "2026-03-20"}).json()["layer_date"] is None
    layer = client.get(URL, params={"day": "2026-04-01"}).json()
    assert layer["layer_date"] == "2026-03-21"
    (cell,) = layer["features"]
    assert (cell["properties"]["devices"], cell["properties"]["gaps"]) == (4, 9)
    ring = cell["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert all(abs(lon - 74.98) < 0.1 and abs(lat - 46.85) < 0.1 for lon, lat in ring)


def test_carriers_do_not_see_where_silence_is_usual(app: FastAPI, world: World) -> None:
    assert world.client(app, "carrier").get(URL).status_code == 403


def test_the_watch_makes_one_layer_a_day(world: World, database: str) -> None:
    watch = Watch(Settings(database_url=database), threading.Event())
    now = datetime(2026, 3, 21, 0, 0, 1, tzinfo=UTC)
    for hours in (0, 1, 2, 24):
        watch.tick(world.conn, now + timedelta(hours=hours))
    days = world.conn.execute("SELECT layer_date::text FROM dead_zones ORDER BY 1").fetchall()
    assert [day for (day,) in days] == ["2026-03-21", "2026-03-22"]
