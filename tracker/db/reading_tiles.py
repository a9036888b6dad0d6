"""Vector tiles straight from PostGIS, one set-based query a layer."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from tracker.db.reading import Scope
from tracker.db.reading_positions import FINISHED

_TILE: LiteralString = """
WITH box AS (
    SELECT ST_TileEnvelope(%(z)s, %(x)s, %(y)s) AS plane,
           ST_Transform(ST_TileEnvelope(%(z)s, %(x)s, %(y)s, margin => 0.0625), 4326) AS globe
), found AS (
"""
# Beyond 85.05° Mercator has no place: such shapes are cut first, or ST_Transform would fail.
_MERCATOR: LiteralString = "ST_MakeEnvelope(-180, -85.05, 180, 85.05, 4326)"

_ROUTES: LiteralString = """
    SELECT ST_AsMVTGeom(ST_Transform(ST_Intersection(r.geom, m.area), 3857), box.plane) AS geom,
           r.id, r.code, r.name, r.corridor_m
    FROM routes r, box, mercator m
    WHERE r.geom && box.globe
      AND (%(scope_carrier)s::uuid IS NULL OR r.code IS NOT NULL OR EXISTS (
           SELECT 1 FROM deliveries d
           LEFT JOIN delivery_routes w ON w.delivery_id = d.id AND w.route_id = r.id
           WHERE (d.route_id = r.id OR w.route_id = r.id) AND d.carrier_id = %(scope_carrier)s))
"""
_ZONES: LiteralString = """
    SELECT ST_AsMVTGeom(ST_Transform(ST_Intersection(n.geom, m.area), 3857), box.plane) AS geom,
           n.id, n.code, n.kind, n.name->>'ru' AS name_ru, n.name->>'kk' AS name_kk,
           n.name->>'en' AS name_en
    FROM zones n, box, mercator m
    WHERE n.geom && box.globe
      AND coalesce(n.valid_from, '-infinity') <= now() AND coalesce(n.valid_to, 'infinity') > now()
"""
_POSTS: LiteralString = """
    SELECT ST_AsMVTGeom(ST_Transform(ST_Intersection(p.geom, m.area), 3857), box.plane) AS geom,
           p.id, p.code, p.kind, p.country, p.name->>'ru' AS name_ru, p.name->>'kk' AS name_kk,
           p.name->>'en' AS name_en
    FROM posts p, box, mercator m
    WHERE p.geom && box.globe
"""
_POSITIONS: LiteralString = """
    SELECT ST_AsMVTGeom(ST_Transform(ST_Intersection(p.geom, m.area), 3857), box.plane) AS geom,
           v.id AS device_id, v.kind, p.delivery_id::text AS delivery_id, p.moving,
           p.heading_deg, p.speed_kmh
    FROM device_positions p
    JOIN devices v USING (device_no)
    JOIN deliveries d ON d.id = p.delivery_id, box, mercator m
    WHERE p.geom && box.globe AND d.status <> ALL(%(finished)s)
      AND (%(scope_carrier)s::uuid IS NULL OR d.carrier_id = %(scope_carrier)s)
"""
_END: LiteralString = """
)
SELECT ST_AsMVT(found, %(layer)s, 4096, 'geom') FROM found WHERE geom IS NOT NULL
"""


def _query(layer: LiteralString) -> LiteralString:
    mercator: LiteralString = "WITH mercator AS (SELECT " + _MERCATOR + " AS area), "
    return mercator + _TILE.strip().removeprefix("WITH ") + layer + _END


LAYERS: dict[str, LiteralString] = {
    "routes": _query(_ROUTES),
    "zones": _query(_ZONES),
    "posts": _query(_POSTS),
    "positions": _query(_POSITIONS),
}


def tile(conn: psycopg.Connection[Any], scope: Scope, layer: str, z: int, x: int, y: int) -> bytes:
    """A tile of one of `LAYERS` in the Mapbox vector tile format; empty where nothing lies."""
    params = scope.params() | {"z": z, "x": x, "y": y, "layer": layer, "finished": FINISHED}
    row = conn.execute(LAYERS[layer], params).fetchone()
    return bytes(row[0]) if row and row[0] is not None else b""
