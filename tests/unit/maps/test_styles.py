"""Styles draw what the basemap holds, in every language, and ask for nothing outside."""

from __future__ import annotations

import csv
import gzip
import json
import struct
from typing import Any, get_args

import pytest

from maps.basemap import BASEMAP, BORDERS, DATA
from maps.styles import PALETTES, Locale, Theme, style


def _metadata() -> dict[str, Any]:
    """Metadata of the built PMTiles file (its header holds where they are)."""
    with BASEMAP.open("rb") as file:
        header = file.read(127)
        assert header[:7] == b"PMTiles"
        start, length = struct.unpack_from("<QQ", header, 24)
        file.seek(start)
        loaded: dict[str, Any] = json.loads(gzip.decompress(file.read(length)))
    return loaded


@pytest.mark.parametrize("theme", get_args(Theme))
@pytest.mark.parametrize("locale", get_args(Locale))
def test_every_layer_of_a_style_is_in_the_basemap(theme: Theme, locale: Locale) -> None:
    held = {layer["id"]: layer["fields"] for layer in _metadata()["vector_layers"]}
    drawn = [layer for layer in style(theme, locale)["layers"] if "source-layer" in layer]
    assert {layer["source-layer"] for layer in drawn} == set(held)
    assert f"name_{locale}" in held["places"]


@pytest.mark.parametrize("theme", PALETTES)
def test_a_style_reaches_nothing_outside(theme: Theme) -> None:
    found = style(theme, "kk")
    assert not {"glyphs", "sprite"} & set(found)
    addresses = [source["url"] for source in found["sources"].values()]
    assert addresses == ["pmtiles:///basemap.pmtiles"]


def test_openstreetmap_is_credited_on_the_map() -> None:
    found = style("light", "en")["sources"]["basemap"]["attribution"]
    assert "OpenStreetMap" in found
    assert "Natural Earth" in found


def test_baikonur_lies_in_kazakhstan() -> None:
    features = json.loads(BORDERS.read_text(encoding="utf-8"))["features"]
    assert len(features) > 150
    assert "Baikonur" not in BORDERS.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["cities.csv", "countries.csv"])
def test_every_place_has_three_names_and_a_place_on_earth(name: str) -> None:
    with (DATA / name).open(encoding="utf-8", newline="") as rows:
        places = list(csv.DictReader(rows))
    for place in places:
        assert all(place[f"name_{locale}"].strip() for locale in get_args(Locale)), place
        assert -180 <= float(place["lon"]) <= 180
        assert -90 <= float(place["lat"]) <= 90
        assert 1 <= int(place.get("rank", 1)) <= 4
    assert len({place["name_en"] for place in places}) == len(places)


def test_kazakhstans_cities_are_where_they_are() -> None:
    with (DATA / "cities.csv").open(encoding="utf-8", newline="") as rows:
        places = {
            row["name_en"]: (float(row["lat"]), float(row["lon"])) for row in csv.DictReader(rows)
        }
    assert places["Almaty"] == (43.2525, 76.9115)
    assert places["Khorgos"] == (44.2234, 80.3852)
    assert len(places) >= 90
