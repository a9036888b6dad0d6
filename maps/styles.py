"""MapLibre styles over the project's basemap: light and dark, labels in ru, kk or en.

A style names no glyph or sprite server: labels are drawn from the page's own web fonts. The
page fills in where the basemap lies, as it alone knows its own address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from maps.basemap import ATTRIBUTION, MAX_ZOOM

Theme = Literal["light", "dark"]
Locale = Literal["ru", "kk", "en"]
Layer = dict[str, Any]

SOURCE = "basemap"
BASEMAP_PATH = "/basemap.pmtiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours of one theme. Quiet on purpose: what moves and what is wrong must stand out."""

    sea: str
    land: str
    water: str
    border: str
    road: str
    rail: str
    text: str
    halo: str


PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        sea="#d3dfe8",
        land="#f5f3ee",
        water="#c3d6e3",
        border="#9a8fa5",
        road="#d9cfbd",
        rail="#c4c2c6",
        text="#4a4f57",
        halo="#ffffff",
    ),
    "dark": Palette(
        sea="#0e1a24",
        land="#212a32",
        water="#12303f",
        border="#6d6480",
        road="#3a4148",
        rail="#3b3a44",
        text="#b4bcc5",
        halo="#11171c",
    ),
}


def style(theme: Theme, locale: Locale) -> dict[str, Any]:
    """The style document of one theme with labels in one language."""
    palette = PALETTES[theme]
    return {
        "version": 8,
        "name": f"tracker-{theme}",
        "sources": {
            SOURCE: {
                "type": "vector",
                "url": f"pmtiles://{BASEMAP_PATH}",
                "maxzoom": MAX_ZOOM,
                "attribution": ATTRIBUTION,
            }
        },
        "layers": [
            {"id": "sea", "type": "background", "paint": {"background-color": palette.sea}},
            *_ground(palette),
            *_ways(palette),
            *_labels(palette, locale),
        ],
    }


def _layer(name: str, kind: str, source_layer: str, **parts: Any) -> Layer:
    return {"id": name, "type": kind, "source": SOURCE, "source-layer": source_layer, **parts}


def _by_zoom(*stops: float) -> list[Any]:
    return ["interpolate", ["linear"], ["zoom"], *stops]


def _ground(palette: Palette) -> list[Layer]:
    return [
        _layer("land", "fill", "land", paint={"fill-color": palette.land}),
        _layer("lakes", "fill", "lakes", paint={"fill-color": palette.water}),
        _layer(
            "rivers",
            "line",
            "rivers",
            minzoom=3,
            paint={"line-color": palette.water, "line-width": _by_zoom(3, 0.4, 9, 2)},
        ),
    ]


def _ways(palette: Palette) -> list[Layer]:
    round_ends = {"line-join": "round", "line-cap": "round"}
    return [
        _layer(
            "rail",
            "line",
            "rail",
            minzoom=5,
            paint={
                "line-color": palette.rail,
                "line-width": _by_zoom(5, 0.4, 10, 1.2),
                "line-dasharray": [4, 2],
            },
        ),
        _layer(
            "roads",
            "line",
            "roads",
            minzoom=4,
            layout=round_ends,
            paint={"line-color": palette.road, "line-width": _by_zoom(4, 0.4, 8, 1.4, 12, 4)},
        ),
        _layer(
            "borders",
            "line",
            "borders",
            layout=round_ends,
            paint={
                "line-color": palette.border,
                "line-width": _by_zoom(2, 0.6, 8, 1.8),
                "line-dasharray": [3, 1.5],
            },
        ),
    ]


def _labels(palette: Palette, locale: Locale) -> list[Layer]:
    ink = {"text-color": palette.text, "text-halo-color": palette.halo, "text-halo-width": 1.4}
    return [
        _layer(
            "countries",
            "symbol",
            "places",
            maxzoom=6.5,
            filter=["==", ["get", "kind"], "country"],
            layout={
                "text-field": ["get", f"name_{locale}"],
                "text-font": ["Noto Sans"],
                "text-size": _by_zoom(2, 10, 6, 14),
                "text-letter-spacing": 0.15,
                "text-max-width": 8,
            },
            paint={**ink, "text-opacity": 0.65},
        ),
        _layer(
            "city-dots",
            "circle",
            "places",
            filter=["==", ["get", "kind"], "city"],
            paint={
                "circle-radius": ["match", ["get", "rank"], 1, 3.2, 2, 2.6, 2],
                "circle-color": palette.halo,
                "circle-stroke-color": palette.text,
                "circle-stroke-width": 1.2,
            },
        ),
        _layer(
            "cities",
            "symbol",
            "places",
            filter=["==", ["get", "kind"], "city"],
            layout={
                "text-field": ["get", f"name_{locale}"],
                "text-font": ["match", ["get", "rank"], 1, _font("Semibold"), _font("Regular")],
                "text-size": ["match", ["get", "rank"], 1, 14, 2, 12.5, 11.5],
                "text-variable-anchor": ["left", "right", "top", "bottom"],
                "text-radial-offset": 0.5,
                "text-justify": "auto",
                "symbol-sort-key": ["get", "rank"],
            },
            paint=ink,
        ),
    ]


def _font(weight: str) -> list[Any]:
    return ["literal", [f"Noto Sans {weight}"]]
