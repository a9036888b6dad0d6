"""Declared routes."""

from __future__ import annotations

from typing import Annotated, Any

from geoalchemy2.shape import to_shape
from pydantic import ConfigDict, Field
from shapely.geometry import mapping

from tracker.api.schemas.common import (
    Answer,
    Body,
    Code,
    GeoJson,
    LineString,
    LocalName,
    Moment,
    Name,
    Warning,
)
from tracker.db.route_store import route_name
from tracker.db.tables import Route

DEFAULT_CORRIDOR_M = 1000.0
"""Half-width where none is declared (detection contract)."""

_LINE: dict[str, Any] = {
    "type": "LineString",
    "coordinates": [[80.402, 44.212], [80.0074, 44.1662], [76.9115, 43.2525]],
}
_ROUTE: dict[str, Any] = {
    "code": "R-NURZHOLY-ALMATY",
    "name": "Nur Zholy – Almaty",
    "geometry": _LINE,
    "corridor_m": 5000,
    "legs": [{"from_m": 0, "to_m": 15000, "corridor_m": 2000}],
    "checkpoints": [{"zone_code": "Z-SHELEK-PARKING", "mandatory": True}],
}

# Only that they are numbers: what they must be is checked with the route as a whole.
Metres = Annotated[float, Field(ge=-1e9, le=1e9)]


class LegIn(Body):
    """A stretch of the route with its own half-width, metres from the start."""

    from_m: Metres
    to_m: Metres
    corridor_m: Metres


class Checkpoint(Body):
    """A zone that the vehicle passes on its way."""

    zone_code: Code
    mandatory: bool = True


class RouteShape(Body):
    """The course of a route: line, corridor, legs, checkpoints."""

    geometry: LineString
    corridor_m: Metres = Field(
        DEFAULT_CORRIDOR_M, description="Half-width of the corridor, m; at most 50 km."
    )
    legs: Annotated[list[LegIn], Field(max_length=1000)] = Field(default_factory=list)
    checkpoints: Annotated[list[Checkpoint], Field(max_length=1000)] = Field(default_factory=list)


class RouteIn(RouteShape):
    """A declared route with a code by which deliveries can name it."""

    code: Code
    name: Name | LocalName

    model_config = ConfigDict(json_schema_extra={"examples": [_ROUTE]})


class InlineRouteIn(RouteShape):
    """A route declared within a delivery; with a code others may name it too."""

    code: Code | None = None
    name: Name | LocalName | None = None


class RouteOut(Answer):
    """A declared route. ``corridor`` only where it was asked for."""

    id: int
    code: str | None
    name: str | dict[str, str]
    geometry: GeoJson
    length_m: float
    corridor_m: float
    legs: list[dict[str, float]]
    checkpoints: list[dict[str, str | bool]]
    created_at: Moment
    corridor: GeoJson | None = None
    warnings: list[Warning] = Field(default_factory=list)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 3,
                    **_ROUTE,
                    "length_m": 310245.1,
                    "created_at": "2026-03-01T08:00:00.000Z",
                    "corridor": None,
                    "warnings": [],
                }
            ]
        }
    )


def route_out(route: Route, corridor: GeoJson | None = None) -> RouteOut:
    """A stored route as the API shows it."""
    return RouteOut(
        id=route.id,
        code=route.code,
        name=route_name(route.name),
        geometry=mapping(to_shape(route.geom)),
        length_m=route.length_m,
        corridor_m=route.corridor_m,
        legs=route.legs,
        checkpoints=route.checkpoints,
        created_at=route.created_at,
        corridor=corridor,
    )
