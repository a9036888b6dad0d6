"""Declared routes: line, corridor, legs, progress. Pure; PostGIS finds the distances.

A declared line is the geodesic through its points. It is cut into short pieces, each nearly
straight and of one corridor width, so that the database can look at the few pieces near a fix
and still answer for the whole line (`tracker/db/sql/facts.sql`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from tracker.errors import FieldError, Invalid
from tracker.geodesy import Point, along, densify, heading_deg
from tracker.model import Place, ProgressCandidate

LEGAL_LIMIT_M = 50_000.0
"""EAEU code 03: a deviation over 50 km or a value the authority sets, so never more than that."""

MAX_POINTS = 20_000
"""More points than any road needs; keeps one request's work bounded."""

MAX_LENGTH_M = 20_000_000.0
"""Half the Earth's circumference: nothing that drives goes farther on one declaration."""

MAX_LATITUDE_DEG = 85.0
"""Where Web Mercator, the plane in which pieces are found, ends."""

STEP_M = 1_000.0
"""Steps of the densified line: a straight chord of 1 km is within 3 cm of its geodesic."""

PIECE_STEPS = 16
PIECE_TURN_DEG = 45.0
"""A piece never turns by more than this from its first heading, so it has one nearest place."""


class Leg(Struct, frozen=True, kw_only=True):
    """A stretch of a route with its own corridor half-width."""

    from_m: float
    to_m: float
    corridor_m: float


class RoutePiece(Struct, frozen=True, kw_only=True):
    """A nearly straight piece: where it starts along the route, its length, its corridor."""

    start_m: float
    length_m: float
    half_width_m: float
    points: tuple[Point, ...]


class RoutePlan(Struct, frozen=True, kw_only=True):
    """A checked route, ready to be stored."""

    points: tuple[Point, ...]
    length_m: float
    corridor_m: float
    legs: tuple[Leg, ...]
    pieces: tuple[RoutePiece, ...]


def declare_route(
    points: Sequence[Point], corridor_m: float, legs: Sequence[Leg] = ()
) -> RoutePlan:
    """Check a declared line and cut it into pieces.

    Args:
        points: (lon, lat) in degrees, in the order of travel.
        corridor_m: half-width of the corridor, metres.
        legs: stretches with another half-width, in metres from the start.

    Raises:
        Invalid: naming each field that cannot be used and what to do about it.
    """
    line = _without_repeats(points)
    errors = [*_line_errors(points, line), *_width_errors(("corridor_m",), corridor_m)]
    if errors:
        raise Invalid("the route cannot be used as declared", errors)
    walk = list(densify(line, STEP_M))
    length_m = sum(step_m for _, step_m in walk)
    ordered = sorted(legs, key=lambda leg: leg.from_m)
    errors = [*_length_errors(length_m), *_leg_errors(ordered, length_m)]
    if errors:
        raise Invalid("the route cannot be used as declared", errors)
    return RoutePlan(
        points=line,
        length_m=length_m,
        corridor_m=corridor_m,
        legs=tuple(ordered),
        pieces=tuple(_pieces(walk, corridor_m, ordered)),
    )


def _without_repeats(points: Sequence[Point]) -> tuple[Point, ...]:
    """Neighbouring equal points dropped: recorded lines have them and they carry no direction."""
    kept: list[Point] = []
    for lon, lat in points:
        if not kept or kept[-1] != (lon, lat):
            kept.append((lon, lat))
    return tuple(kept)


def _line_errors(points: Sequence[Point], line: Sequence[Point]) -> Iterator[FieldError]:
    loc = ("geometry", "coordinates")
    if len(points) > MAX_POINTS:
        yield FieldError(loc, f"{len(points)} points; simplify the line to at most {MAX_POINTS}")
    elif len(line) < 2:
        yield FieldError(loc, "a route needs at least 2 different points; add its course")
    for i, (lon, lat) in enumerate(line):
        if not (-180 <= lon <= 180 and -MAX_LATITUDE_DEG <= lat <= MAX_LATITUDE_DEG):
            yield FieldError((*loc, i), f"({lon}, {lat}) is no (lon, lat) within ±180 and ±85")
            return
    if any(abs(b[0] - a[0]) > 180 for a, b in pairwise(line)):
        yield FieldError(loc, "the line crosses the antimeridian; declare it on one side")


def _width_errors(loc: tuple[str | int, ...], corridor_m: float) -> Iterator[FieldError]:
    if not 0 < corridor_m <= LEGAL_LIMIT_M:
        yield FieldError(
            loc, f"half-width {corridor_m:g} m; give more than 0 and at most {LEGAL_LIMIT_M:g} m"
        )


def _length_errors(length_m: float) -> Iterator[FieldError]:
    if length_m > MAX_LENGTH_M:
        yield FieldError(
            ("geometry", "coordinates"),
            f"the line is {length_m / 1000:.0f} km long; at most {MAX_LENGTH_M / 1000:.0f} km",
        )


def _leg_errors(legs: Sequence[Leg], length_m: float) -> Iterator[FieldError]:
    # Clients round measures to whole metres, so an end may lie a little past the line's own.
    slack_m = 1.0 + 0.001 * length_m
    for i, leg in enumerate(legs):
        if not 0 <= leg.from_m < leg.to_m <= length_m + slack_m:
            yield FieldError(
                ("legs", i),
                f"{leg.from_m:g} to {leg.to_m:g} m; legs lie within 0 to {length_m:.0f} m",
            )
        yield from _width_errors(("legs", i, "corridor_m"), leg.corridor_m)
    for i, (a, b) in enumerate(pairwise(legs), start=1):
        if b.from_m < a.to_m:
            yield FieldError(("legs", i), f"overlaps the leg that ends at {a.to_m:g} m")


def _pieces(
    walk: Sequence[tuple[Point, float]], corridor_m: float, legs: Sequence[Leg]
) -> Iterator[RoutePiece]:
    start_m, points, length_m, first_heading = 0.0, [walk[0][0]], 0.0, 0.0
    width_m = half_width_at(0.0, corridor_m, legs)
    for point, step_m, heading, step_width_m in _steps(walk, corridor_m, legs):
        cut = len(points) > 1 and (
            len(points) > PIECE_STEPS
            or step_width_m != width_m
            or _turn_deg(first_heading, heading) > PIECE_TURN_DEG
        )
        if cut:
            yield _piece(start_m, length_m, width_m, points)
            start_m, points, length_m = start_m + length_m, [points[-1]], 0.0
        if len(points) == 1:
            first_heading, width_m = heading, step_width_m
        points.append(point)
        length_m += step_m
    yield _piece(start_m, length_m, width_m, points)


def _piece(start_m: float, length_m: float, width_m: float, points: list[Point]) -> RoutePiece:
    return RoutePiece(
        start_m=start_m, length_m=length_m, half_width_m=width_m, points=tuple(points)
    )


def _steps(
    walk: Sequence[tuple[Point, float]], corridor_m: float, legs: Sequence[Leg]
) -> Iterator[tuple[Point, float, float, float]]:
    """Steps of the walk, split where a leg begins or ends: (to, length, heading, half-width)."""
    bounds = sorted({m for leg in legs for m in (leg.from_m, leg.to_m)})
    at_m = 0.0
    for (a, _), (b, step_m) in pairwise(walk):
        heading = heading_deg(a, b)
        # A cut closer than a centimetre to a vertex would make a piece of no length.
        cuts = [m for m in bounds if at_m + 0.01 < m < at_m + step_m - 0.01]
        ends = [*((along(a, b, (m - at_m) / step_m), m) for m in cuts), (b, at_m + step_m)]
        from_m = at_m
        for point, to_m in ends:
            middle_m = (from_m + to_m) / 2
            yield point, to_m - from_m, heading, half_width_at(middle_m, corridor_m, legs)
            from_m = to_m
        at_m += step_m


def _turn_deg(a: float, b: float) -> float:
    return abs((b - a + 180) % 360 - 180)


def half_width_at(progress_m: float, corridor_m: float, legs: Iterable[Leg]) -> float:
    """Half-width of the corridor at a distance along the route, metres."""
    for leg in legs:
        if leg.from_m <= progress_m < leg.to_m:
            return leg.corridor_m
    return corridor_m


# ---------------------------------------------------------------- progress

_SAME_PLACE_M = 10.0
"""Neighbouring pieces share a point: their nearest places there are one place."""

_BACKWARD_COST = 3.0
_BACKWARD_START_M = 50.0
"""Vehicles go forward: where a line retraces itself, the outbound and the inbound place are equally
near, and only the direction of travel tells them apart; 50 m is a little noise and reversing."""


SLACK_ACCURACIES = 3.0
SLACK_M = 50.0
"""Places within three accuracies and two carriageways of the nearest are as near as it is."""

MOST_SLACK_M = 20_000_000.0

DRAWN_M = 400.0
"""A line that is drawn by hand, or simplified, lies so far beside the road: where it comes by twice
and the passes are not drawn alike, the one that is driven need not be the nearest."""

_OFF_COST = 10.0
"""What a place costs for each metre that it lies farther off than the nearest: a pass that goes on
is kept rather than one that is kilometres ahead or back, and on a winding road the nearest bend."""

_DOWNHILL = 2.0
"""On a straight road the squared distance grows by the square of the way from the nearest place;
twice that allows for bends."""


def merge_candidates(candidates: Iterable[ProgressCandidate]) -> tuple[ProgressCandidate, ...]:
    """One candidate for each place on the line, in the order of progress.

    Each piece of the line has given its nearest place. That of a neighbour of the nearest piece is
    its end, which is no place of its own: from there the line only comes nearer. Where two legs
    meet the narrower counts, whatever order the database gives them in.
    """
    merged: list[ProgressCandidate] = []
    for c in sorted(_nearest_places(list(candidates)), key=_by_place):
        if merged and c.progress_m - merged[-1].progress_m < _SAME_PLACE_M:
            if c.distance_m < merged[-1].distance_m:
                merged[-1] = c
        else:
            merged.append(c)
    return tuple(merged)


def _by_place(c: ProgressCandidate) -> tuple[float, float, float]:
    return c.progress_m, c.distance_m, c.half_width_m


def _nearest_places(candidates: list[ProgressCandidate]) -> Iterator[ProgressCandidate]:
    for c in candidates:
        if not any(_leads_down(c, other) for other in candidates):
            yield c


def _leads_down(c: ProgressCandidate, nearer: ProgressCandidate) -> bool:
    rise_m2 = c.distance_m**2 - nearer.distance_m**2
    return rise_m2 > 0 and (c.progress_m - nearer.progress_m) ** 2 <= _DOWNHILL * rise_m2


def choose_place(
    candidates: Sequence[ProgressCandidate],
    distance_to_route_m: float,
    last_m: float | None,
    acc_m: float = 0.0,
) -> Place:
    """Choose where on the route a fix is, so that progress is continuous.

    On a route that crosses, retraces or loops several places are equally near. The first fix takes
    the earliest of these; later ones the place that costs least to reach from the last progress,
    going forward being cheaper than going back, and near the line cheaper than beside it.

    Args:
        acc_m: accuracy of the fix, metres: places are told apart no better.
    """
    near_m = distance_to_route_m + slack_m(acc_m)
    if len(candidates) == 1:  # as on any road that is driven once
        chosen = candidates[0]
    elif last_m is None:
        near = [c for c in candidates if c.distance_m <= near_m]
        chosen = min(near or candidates, key=lambda c: c.progress_m)
    else:
        chosen = min(
            candidates,
            key=lambda c: (
                _cost_m(c.progress_m - last_m) + _OFF_COST * max(0.0, c.distance_m - near_m),
                -c.progress_m,
            ),
        )
    return Place(
        progress_m=chosen.progress_m,
        distance_m=distance_to_route_m,
        half_width_m=chosen.half_width_m,
    )


def slack_m(acc_m: float) -> float:
    """How much farther than the nearest a place may lie and still be as near, metres.

    A device may state any accuracy, even one that overflows when tripled: half-way round the globe
    is the most that it can mean.
    """
    return min(SLACK_ACCURACIES * acc_m + SLACK_M, MOST_SLACK_M)


def _cost_m(ahead_m: float) -> float:
    return ahead_m if ahead_m >= 0 else _BACKWARD_START_M - _BACKWARD_COST * ahead_m
