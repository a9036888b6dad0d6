"""The map report on one delivery: a folium page that works with no network.

A pure function of its values and of the files built at set-up. With ``static_base`` the page
loads its scripts from there; without, it carries them, and one file is the whole report.
"""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import folium
from branca.element import Figure
from shapely import STRtree, box
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from maps.basemap import BORDERS, DATA
from maps.offline import OfflineMap, add_scripts, raw
from maps.report_page import PAGE_STYLE, body, local_time
from maps.report_values import (
    DeliveryReport,
    Geometry,
    ReportAnomaly,
    ReportPoint,
    ReportTrack,
)
from maps.report_words import word

MARGIN_DEG: Final = 6.0
"""Backdrop around what is shown: enough to recognise the country, small enough to send."""

DOTS_A_TRACK: Final = 200
"""Positions of a track that can be pointed at; the line itself has all."""

ROUTE, TRACK, SEAL, ZONE, RESTRICTED = "#267aa8", "#c2570c", "#6b4aa0", "#2e7d50", "#b3173f"
SEVERITY: Final = {
    "critical": "#a3123b",
    "high": "#b0480c",
    "medium": "#9a7400",
    "low": "#2a6078",
    "info": "#566270",
}


def delivery_report(report: DeliveryReport, *, locale: str, static_base: str | None) -> str:
    """The report as HTML.

    Args:
        report: what is shown; its texts are in ``locale`` already.
        locale: ru, kk or en, for the fixed words and the names of cities.
        static_base: address of the console's vendor files ("/static/vendor"), or None for a page
            that carries everything it needs.

    Raises:
        RuntimeError: scripts are to be carried but have not been built.
    """
    page = Figure(title=html.escape(report.title))
    add_scripts(page, static_base)
    page.header.add_child(raw("<link rel='icon' href='data:,'>"), name="icon")
    page.header.add_child(raw(f"<style>{PAGE_STYLE}</style>"), name="page-style")
    chart = _chart(report, locale)
    page.add_child(chart)
    page.html.add_child(raw(body(report, locale)), name="report")
    return str(page.render())


def safe(text: str) -> str:
    """Text for folium's popups and tooltips, which are HTML inside a JavaScript template."""
    escaped = html.escape(text)
    return escaped.replace("`", "&#96;").replace("$", "&#36;").replace("\\", "&#92;")


# ---------------------------------------------------------------- the map


def _chart(report: DeliveryReport, locale: str) -> folium.Map:
    chart = OfflineMap(tiles=None, zoom_start=6, location=[48, 67], control_scale=True)
    chart.options["maxZoom"] = 17
    chart.options["attributionControl"] = False
    bounds = _bounds(report)
    _add_backdrop(chart, bounds, locale)
    _add_plan(chart, report, locale)
    for track in report.tracks:
        _add_track(chart, track, locale)
    _add_anomalies(chart, report.anomalies, locale)
    folium.LayerControl(collapsed=True).add_to(chart)
    west, south, east, north = bounds
    chart.fit_bounds([[south, west], [north, east]], padding=(24, 24))
    return chart


def _bounds(report: DeliveryReport) -> tuple[float, float, float, float]:
    """West, south, east, north of what is shown; Kazakhstan where there is nothing."""
    shown = [g for g in (report.route, *(a.geometry for a in report.anomalies)) if g]
    boxes = [shape(g).bounds for g in shown]
    boxes += [(p.lon, p.lat, p.lon, p.lat) for track in report.tracks for p in track.points]
    if not boxes:
        boxes = [(p.lon, p.lat, p.lon, p.lat) for p in report.posts] or [(46, 40, 88, 56)]
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)


def _add_backdrop(
    chart: folium.Map, bounds: tuple[float, float, float, float], locale: str
) -> None:
    west, south, east, north = bounds
    view = box(west - MARGIN_DEG, south - MARGIN_DEG, east + MARGIN_DEG, north + MARGIN_DEG)
    land = {"fillColor": "#f5f3ee", "color": "#9a8fa5", "weight": 1, "fillOpacity": 1}
    for country in _countries_in(view):
        _geojson(country, land, control=False).add_to(chart)
    for name, lon, lat in _cities_in(view, locale):
        dot = folium.CircleMarker([lat, lon], radius=2, color="#4a4f57", weight=1, fill=True)
        folium.Tooltip(safe(name), permanent=True, direction="right", class_name="city").add_to(dot)
        dot.add_to(chart)


@cache
def _borders() -> tuple[STRtree, tuple[BaseGeometry, ...]]:
    if not BORDERS.is_file():
        return STRtree([]), ()
    features = json.loads(BORDERS.read_text(encoding="utf-8"))["features"]
    shapes = tuple(shape(feature["geometry"]).buffer(0) for feature in features)
    return STRtree(shapes), shapes


def _countries_in(view: BaseGeometry) -> Iterator[Geometry]:
    tree, shapes = _borders()
    for index in tree.query(view, predicate="intersects"):
        cut = shapes[index].intersection(view)
        if cut.area > 0:
            yield mapping(cut)


@cache
def _cities() -> tuple[dict[str, str], ...]:
    with (DATA / "cities.csv").open(encoding="utf-8", newline="") as rows:
        return tuple(csv.DictReader(rows))


def _cities_in(view: BaseGeometry, locale: str) -> Iterator[tuple[str, float, float]]:
    """Names of cities in view; only the larger ones where the view is wide."""
    west, south, east, north = view.bounds
    least = 4 if east - west < 4 * MARGIN_DEG else 2
    key = f"name_{locale}" if locale in ("ru", "kk", "en") else "name_ru"
    for city in _cities():
        lon, lat = float(city["lon"]), float(city["lat"])
        if int(city["rank"]) <= least and west < lon < east and south < lat < north:
            yield city[key], lon, lat


def _geojson(geometry: Geometry, style: dict[str, Any], *, control: bool = True) -> folium.GeoJson:
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    return folium.GeoJson(feature, style_function=lambda _: style, control=control)


def _add_plan(chart: folium.Map, report: DeliveryReport, locale: str) -> None:
    plan = folium.FeatureGroup(name=word("route", locale)).add_to(chart)
    if report.corridor:
        style = {"color": ROUTE, "weight": 1, "fillColor": ROUTE, "fillOpacity": 0.15}
        _geojson(report.corridor, style).add_to(plan)
    if report.route:
        _geojson(report.route, {"color": ROUTE, "weight": 3, "opacity": 0.8}).add_to(plan)
    zones = folium.FeatureGroup(name=word("zones", locale)).add_to(chart)
    for zone in report.zones:
        colour = RESTRICTED if zone.kind == "restricted" else ZONE
        style = {"color": colour, "weight": 1, "dashArray": "4 3", "fillOpacity": 0.15}
        shown = _geojson(zone.geometry, style)
        folium.Tooltip(safe(zone.name)).add_to(shown)
        shown.add_to(zones)
    posts = folium.FeatureGroup(name=word("posts", locale)).add_to(chart)
    for post in report.posts:
        role = "" if post.role == "other" else f" — {word(post.role, locale)}"
        mark = _dot(post.lat, post.lon, "#344454", radius=6, fill="#ffffff", weight=3)
        folium.Tooltip(safe(post.name + role), permanent=post.role != "other").add_to(mark)
        mark.add_to(posts)


def _dot(
    lat: float, lon: float, colour: str, *, radius: float, fill: str | None = None, weight: int = 2
) -> folium.CircleMarker:
    return folium.CircleMarker(
        [lat, lon],
        radius=radius,
        color=colour,
        weight=weight,
        fill=True,
        fill_color=fill or colour,
        fill_opacity=1,
    )


def _add_track(chart: folium.Map, track: ReportTrack, locale: str) -> None:
    if not track.points:
        return
    seal = track.kind == "seal"
    name = f"{word(f'track_{track.kind}', locale)} {track.device_id}"
    layer = folium.FeatureGroup(name=safe(name)).add_to(chart)
    colour = SEAL if seal else TRACK
    line = [(p.lat, p.lon) for p in track.points]
    if len(line) > 1:
        path = folium.PolyLine(line, color=colour, weight=2 if seal else 3)  # type: ignore[no-untyped-call]
        path.add_to(layer)
    for point in _thinned(track.points, DOTS_A_TRACK):
        dot = _dot(point.lat, point.lon, colour, radius=2.5, weight=1)
        folium.Tooltip(safe(_at(point, locale))).add_to(dot)
        dot.add_to(layer)


def _thinned(points: Sequence[ReportPoint], most: int) -> list[ReportPoint]:
    step = -(-len(points) // most)
    kept = list(points[::step])
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


def _at(point: ReportPoint, locale: str) -> str:
    speed = "" if point.speed_kmh is None else f" · {point.speed_kmh:.0f} {word('kmh', locale)}"
    return f"{local_time(point.t)}{speed}"


def _add_anomalies(chart: folium.Map, anomalies: Sequence[ReportAnomaly], locale: str) -> None:
    layer = folium.FeatureGroup(name=word("anomalies", locale)).add_to(chart)
    for number, anomaly in enumerate(anomalies, start=1):
        if anomaly.geometry is None or anomaly.retracted:
            continue
        colour = SEVERITY[anomaly.severity]
        if anomaly.geometry["type"] != "Point":
            _geojson(anomaly.geometry, {"color": colour, "weight": 5}).add_to(layer)
        middle = shape(anomaly.geometry).representative_point()
        mark = _dot(middle.y, middle.x, "#ffffff", radius=9, fill=colour)
        title = f"{number}. {anomaly.title} ({anomaly.severity_name})"
        folium.Tooltip(safe(title)).add_to(mark)
        text = f"<b>{safe(title)}</b><br>{safe(local_time(anomaly.start))}<br>{safe(anomaly.text)}"
        folium.Popup(text, max_width=320).add_to(mark)
        mark.add_to(layer)
