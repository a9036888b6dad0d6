"""Dead zones: where devices are known to fall silent and come back, as a layer of the map."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import h3
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from tracker.api.reader import Reader, reads
from tracker.db.dead_zones import ShownCell, newest_layer

router = APIRouter(prefix="/api/v1", tags=["places"])


class DeadZoneCell(BaseModel):
    """What is known of a cell: how many devices and silences, and when they began."""

    cell: Annotated[str, Field(description="H3 index of resolution 7.")]
    devices: int
    gaps: int
    first_at: datetime
    last_at: datetime


class DeadZoneFeature(BaseModel):
    """A cell as a GeoJSON feature."""

    type: Literal["Feature"] = "Feature"
    geometry: dict[str, Any]
    properties: DeadZoneCell


class DeadZones(BaseModel):
    """A layer as a GeoJSON feature collection. ``layer_date``: its day; none: none was made yet."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    layer_date: date | None
    features: list[DeadZoneFeature]


@router.get("/dead-zones", summary="Read the layer of dead zones")
def get_dead_zones(
    # Whoever would hide knows it best where silence is nothing unusual: not for carriers.
    reader: Annotated[Reader, Depends(reads("risk.read"), scope="function")],
    day: Annotated[
        date | None, Query(description="The newest layer of this day or before; default: today.")
    ] = None,
) -> DeadZones:
    """Cells in which many devices fall silent and come back, as known on a day (UTC)."""
    layer = newest_layer(reader.conn, day or datetime.now(UTC).date())
    if layer is None:
        return DeadZones(layer_date=None, features=[])
    return DeadZones(layer_date=layer[0], features=[_feature(cell) for cell in layer[1]])


def _feature(cell: ShownCell) -> DeadZoneFeature:
    ring = [[round(lon, 6), round(lat, 6)] for lat, lon in h3.cell_to_boundary(cell.cell)]
    return DeadZoneFeature(
        geometry={"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        properties=DeadZoneCell(
            cell=cell.cell,
            devices=cell.devices,
            gaps=cell.gaps,
            first_at=cell.first_at,
            last_at=cell.last_at,
        ),
    )
