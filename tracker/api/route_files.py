"""Route files: the line in a GPX, KML or GeoJSON file, whichever it turns out to be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final
from xml.etree import ElementTree

import gpxpy
import gpxpy.gpx

from tracker.errors import Invalid

Points = list[tuple[float, float]]
MAX_DEPTH: Final = 50


def read_line(content: bytes) -> Points:
    """The longest line of a file as (lon, lat) points.

    Raises:
        Invalid: it is none of the formats, is damaged, or holds no line.
    """
    text = _text(content)
    head = text.lstrip()[:1]
    if head == "{":
        lines = _geojson(text)
    elif head == "<":
        lines = _xml(text)
    else:
        raise _fault("is no GPX, KML or GeoJSON; export the route in one of these")
    longest = max(lines, key=len, default=[])
    if not longest:
        raise _fault("holds no line; export the route or track itself, not only its waypoints")
    return longest


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _fault("is not UTF-8 text; save it as UTF-8") from exc


def _xml(text: str) -> list[Points]:
    # Entities have no use in a route file and are a way to make a small file huge.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _fault("holds a DOCTYPE; export it without one")
    try:
        if "<gpx" in text:
            return _gpx(gpxpy.parse(text))
        return _kml(ElementTree.fromstring(text))
    except (ElementTree.ParseError, gpxpy.gpx.GPXException, ValueError, TypeError) as exc:
        raise _fault("cannot be read as XML; export it again") from exc


def _gpx(gpx: gpxpy.gpx.GPX) -> list[Points]:
    parts: list[Sequence[Any]] = [route.points for route in gpx.routes]
    parts += [segment.points for track in gpx.tracks for segment in track.segments]
    return [[(p.longitude, p.latitude) for p in part] for part in parts]


def _kml(root: ElementTree.Element) -> list[Points]:
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    found = root.iter(f"{space}LineString")
    return [_kml_points(line.findtext(f"{space}coordinates") or "") for line in found]


def _kml_points(text: str) -> Points:
    pairs = (part.split(",") for part in text.split())
    return [(float(pair[0]), float(pair[1])) for pair in pairs if len(pair) >= 2]


def _geojson(text: str) -> list[Points]:
    try:
        return [_pairs(line) for line in _lines(json.loads(text), 0)]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as exc:
        raise _fault("is no valid GeoJSON; export it again") from exc


def _lines(value: Any, depth: int) -> Iterable[Any]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    match value.get("type"):
        case "FeatureCollection":
            for feature in value["features"]:
                yield from _lines(feature, depth + 1)
        case "Feature":
            yield from _lines(value["geometry"] or {}, depth + 1)
        case "GeometryCollection":
            for geometry in value["geometries"]:
                yield from _lines(geometry, depth + 1)
        case "LineString":
            yield value["coordinates"]
        case "MultiLineString":
            yield from value["coordinates"]


def _pairs(coordinates: Any) -> Points:
    return [(float(p[0]), float(p[1])) for p in coordinates]


def _fault(text: str) -> Invalid:
    return Invalid.field("body", "file", msg=text)
