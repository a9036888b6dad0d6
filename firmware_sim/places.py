"""Towns on Kazakhstan's transit roads and the stretches between them without a network.

Town centres, WGS 84. A dead stretch is a part of the straight line between two towns with a
half-width wide enough to hold the road's bends: an approximation by waypoints, not a survey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from firmware_sim.geo import LonLat, Path, distance_m

TOWNS: Mapping[str, LonLat] = {
    "Khorgos": (80.3852, 44.2234),
    "Zharkent": (80.0074, 44.1662),
    "Chundzha": (79.4658, 43.5381),
    "Shelek": (78.2575, 43.5962),
    "Almaty": (76.9115, 43.2525),
    "Korday": (74.7129, 43.0388),
    "Merke": (73.1965, 42.8718),
    "Taraz": (71.3733, 42.8980),
    "Shymkent": (69.6004, 42.3099),
    "Kazygurt": (69.3839, 41.7564),
    "Zhibek Zholy": (69.3650, 41.4759),
    "Turkistan": (68.2569, 43.2946),
    "Kyzylorda": (65.5092, 44.8528),
    "Aral": (61.6631, 46.8017),
    "Aktobe": (57.2072, 50.2797),
    "Oral": (51.4256, 51.2460),
    "Priozersk": (73.7025, 46.0311),
    "Balkhash": (74.9821, 46.8455),
    "Karagandy": (73.1021, 49.8019),
    "Astana": (71.4460, 51.1801),
    "Kokshetau": (69.3936, 53.2841),
    "Kostanay": (63.6246, 53.2144),
    "Konayev": (77.0630, 43.8668),
    "Taldykorgan": (78.3739, 45.0156),
    "Usharal": (80.9433, 46.1693),
    "Ayagoz": (80.4344, 47.9645),
    "Oskemen": (82.6059, 49.9714),
    "Dostyk": (82.4804, 45.2533),
    "Semey": (80.2502, 50.4206),
    "Pavlodar": (76.9688, 52.2760),
    "Petropavl": (69.1506, 54.8734),
    "Atyrau": (51.8843, 47.1048),
}

_SAMPLE_M = 2_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadStretch:
    """Parts (0–1) of the line between two towns, and how far from it the network is missing."""

    name: str
    between: tuple[str, str]
    parts: tuple[tuple[float, float], ...]
    half_width_m: float = 25_000.0


DEAD_STRETCHES: Sequence[DeadStretch] = (
    DeadStretch(
        name="almaty_bishkek", between=("Almaty", "Korday"), parts=((0.4, 0.55), (0.7, 0.85))
    ),
    DeadStretch(
        name="almaty_taldykorgan",
        between=("Konayev", "Taldykorgan"),
        parts=((0.25, 0.45), (0.6, 0.75)),
    ),
    DeadStretch(name="m36_balkhash", between=("Priozersk", "Balkhash"), parts=((0.15, 0.8),)),
    DeadStretch(name="m36_balkhash", between=("Balkhash", "Karagandy"), parts=((0.1, 0.35),)),
    DeadStretch(
        name="m32_kyzylorda_aktobe", between=("Kyzylorda", "Aral"), parts=((0.2, 0.4), (0.55, 0.8))
    ),
    DeadStretch(
        name="m32_kyzylorda_aktobe", between=("Aral", "Aktobe"), parts=((0.1, 0.35), (0.5, 0.7))
    ),
)


def dead_parts(path: Path, names: Sequence[str] = ()) -> list[tuple[str, float, float]]:
    """(stretch, from, to) in metres along a path where the network is missing; () names all."""
    found: list[tuple[str, float, float]] = []
    for stretch in DEAD_STRETCHES:
        if not names or stretch.name in names:
            found += [(stretch.name, a, b) for a, b in _inside(path, stretch)]
    return _joined(sorted(found, key=lambda part: part[1:]))


def describe(point: LonLat) -> str:
    """A place in words: the nearest town and how far it is, km."""
    name = min(TOWNS, key=lambda town: _rough(TOWNS[town], point))
    km = distance_m(TOWNS[name], point) / 1000
    return name if km < 1 else f"{km:.0f} km from {name}"


def _rough(a: LonLat, b: LonLat) -> float:
    # Longitudes shrink to about 0.69 of latitudes over Kazakhstan; enough to choose a town by.
    return ((a[0] - b[0]) * 0.69) ** 2 + (a[1] - b[1]) ** 2


@cache
def _axis(between: tuple[str, str]) -> Path:
    return Path([TOWNS[between[0]], TOWNS[between[1]]])


def _inside(path: Path, stretch: DeadStretch) -> list[tuple[float, float]]:
    """Runs of the path within the stretch, to the sampling step."""
    axis = _axis(stretch.between)
    runs: list[tuple[float, float]] = []
    at_m = 0.0
    while at_m <= path.length_m:
        spot = path.at(at_m)
        if _holds(axis, stretch, (spot.lon, spot.lat)):
            if runs and at_m - runs[-1][1] <= _SAMPLE_M * 1.5:
                runs[-1] = (runs[-1][0], at_m)
            else:
                runs.append((at_m, at_m))
        at_m += _SAMPLE_M
    return [(a, b) for a, b in runs if b > a]


def _holds(axis: Path, stretch: DeadStretch, point: LonLat) -> bool:
    (lon0, lat0), (lon1, lat1) = axis.corners
    margin_deg = 0.5
    if not (min(lon0, lon1) - margin_deg <= point[0] <= max(lon0, lon1) + margin_deg):
        return False
    if not (min(lat0, lat1) - margin_deg <= point[1] <= max(lat0, lat1) + margin_deg):
        return False
    along_m, off_m = axis.nearest_m(point)
    part = along_m / axis.length_m
    return off_m <= stretch.half_width_m and any(a <= part <= b for a, b in stretch.parts)


def _joined(parts: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    joined: list[tuple[str, float, float]] = []
    for name, from_m, to_m in parts:
        if joined and from_m <= joined[-1][2]:
            last = joined.pop()
            joined.append((last[0], last[1], max(last[2], to_m)))
        else:
            joined.append((name, from_m, to_m))
    return joined
