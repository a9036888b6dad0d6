"""Maps: vector tiles straight from PostGIS, and the report on one delivery (`map_report`)."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Response

from tracker.api import map_report
from tracker.api.reader import Reader, reads
from tracker.db.reading_tiles import tile
from tracker.errors import NotFound

router = APIRouter(prefix="/api/v1", tags=["tiles"])
router.include_router(map_report.router)

MVT = "application/vnd.mapbox-vector-tile"


@router.get(
    "/tiles/{layer}/{z}/{x}/{y}.mvt",
    response_class=Response,
    responses={200: {"content": {MVT: {}}, "description": "A vector tile; empty: 204."}},
    summary="Read a vector tile",
)
def get_tile(
    reader: Annotated[Reader, Depends(reads("positions.read"), scope="function")],
    layer: Literal["routes", "zones", "posts", "positions"],
    z: Annotated[int, Path(ge=0, le=22)],
    x: Annotated[int, Path(ge=0)],
    y: Annotated[int, Path(ge=0)],
) -> Response:
    """A tile of one layer, which has the layer's name inside. Positions are never cached."""
    if x >= 2**z or y >= 2**z:
        raise NotFound(f"zoom {z} has tiles 0-{2**z - 1}")
    body = tile(reader.conn, reader.scope, layer, z, x, y)
    age = "no-store" if layer == "positions" else "private, max-age=60"
    return Response(body, 200 if body else 204, media_type=MVT, headers={"Cache-Control": age})
