"""When a simulated lorry reaches a place: so that the demo's events fall where they are wanted.

The figures are those of the simulator's driver; the estimate is right to about one per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from pyproj import Geod

LonLat = tuple[float, float]

#: 80 km/h is the legal limit of a lorry; drivers keep 5 % below it.
CRUISE_MS: Final = 76 / 3.6
_ACCELERATION_MS2: Final = 0.5
_BRAKING_MS2: Final = 0.8
#: The first and last 300 m are yards at 20 km/h, and the lorry starts and ends standing.
_YARD_M: Final = 300.0
_YARD_MS: Final = 19 / 3.6
#: Bends under 10° are taken at full speed, sharper ones the slower the sharper.
_BEND_DEG: Final = 10.0

_GEOD: Final = Geod(ellps="WGS84")


def driving_s(points: Sequence[LonLat], to_m: float) -> float:
    """Seconds from standing at the start of a line to passing ``to_m`` of it."""
    yard_s = _YARD_M / _YARD_MS - _YARD_M / CRUISE_MS
    cruise_s = to_m / CRUISE_MS
    bends_s = sum(_slowing_s(_bend_ms(turn)) for at_m, turn in _turns(points) if at_m < to_m)
    return cruise_s + yard_s + _slowing_s(0.0) / 2 + bends_s


def _turns(points: Sequence[LonLat]) -> list[tuple[float, float]]:
    """(metres from the start, degrees turned) at each inner point of a line."""
    courses = [_GEOD.inv(*a, *b) for a, b in pairwise(points)]
    starts = accumulate(length for _, _, length in courses)
    # The back azimuth at a point's arrival, turned about, is the course there.
    turned = (abs((b[0] - (a[1] + 180) + 180) % 360 - 180) for a, b in pairwise(courses))
    return list(zip(starts, turned, strict=False))


def _bend_ms(turned_deg: float) -> float:
    if turned_deg < _BEND_DEG:
        return CRUISE_MS
    return min(CRUISE_MS, max(12.0, 80.0 * (1 - turned_deg / 100)) / 3.6)


def _slowing_s(to_ms: float) -> float:
    """What braking to a speed and gathering way again costs against cruising on."""
    lost_ms = CRUISE_MS - to_ms
    return lost_ms**2 / (2 * CRUISE_MS) * (1 / _BRAKING_MS2 + 1 / _ACCELERATION_MS2)
