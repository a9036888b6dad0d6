"""Outlines of zones: GeoJSON → a valid multipolygon, or words on what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from shapely.geometry import MultiPolygon, Polygon
from shapely.validation import explain_validity

from tracker.api.schemas import common
from tracker.errors import Invalid

Ring = Sequence[Sequence[float]]


def outline(geometry: common.Polygon | common.MultiPolygon) -> MultiPolygon:
    """The outline of a zone.

    Raises:
        Invalid: a ring is open, has no area, or crosses itself; the text says where.
    """
    parts: Sequence[Sequence[Ring]] = (
        [geometry.coordinates] if isinstance(geometry, common.Polygon) else geometry.coordinates
    )
    for number, part in enumerate(parts):
        for ring in part:
            _require_closed(ring, number)
    shape = MultiPolygon([Polygon(_flat(part[0]), [_flat(r) for r in part[1:]]) for part in parts])
    if not shape.is_valid:
        raise _fault(f"{explain_validity(shape)}; draw rings of some area that do not cross")
    if shape.area == 0:
        raise _fault("the outline has no area; give at least three points that are not in a line")
    return shape


def _require_closed(ring: Ring, number: int) -> None:
    if list(ring[0][:2]) != list(ring[-1][:2]):
        raise _fault(f"a ring of part {number} is open; repeat its first point as its last")


def _flat(ring: Ring) -> list[tuple[float, float]]:
    return [(p[0], p[1]) for p in ring]


def _fault(text: str) -> Invalid:
    return Invalid.field("body", "geometry", msg=text)
