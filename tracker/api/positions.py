"""Where the vehicles and seals of unfinished deliveries are now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from tracker.api.findings_schemas import Positions
from tracker.api.queries import page, parse_box
from tracker.api.reader import Reader, reads
from tracker.db.reading_positions import list_positions

router = APIRouter(prefix="/api/v1", tags=["positions"])

BBox = Annotated[
    str | None,
    Query(max_length=200, description="minlon,minlat,maxlon,maxlat in degrees (WGS 84)."),
]


@router.get("/positions", response_model=Positions, summary="List the newest positions")
def get_positions(
    reader: Annotated[Reader, Depends(reads("positions.read"), scope="function")],
    bbox: BBox = None,
    limit: Annotated[int, Query(ge=1, le=50_000)] = 50_000,
) -> Response:
    """The newest valid position of each device, for the live map: in one piece, not in pages."""
    box = parse_box(bbox)
    return page(list_positions(reader.conn, reader.scope, box, limit), None)
