"""Who drives what, where and how honestly: the demo's fleet as values, the same at every start.

Pure: the present comes in as an argument.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pyproj import Geod

from tracker.demo.driving import CRUISE_MS, driving_s
from tracker.reference import Goods, read_bodies, read_goods

Plot = Literal[
    "honest",
    "rope_cut",
    "diversion",
    "case_opened",
    "unauthorised_stop",
    "battery_death",
    "coverage_gap",
    "late",
]

PREFIX: Final = "KZ-DEMO-"
#: The corridor's average with rest and delays, from which a fair deadline follows.
FAIR_KMH: Final = 35.0
#: The carrier gives notice of the crossing about this long before the release.
NOTICE: Final = timedelta(minutes=40)
#: A driver stands this long in the unauthorised stop, and at the far end of a diversion.
STOP_MIN: Final = 40.0
#: The battery goes from full to dead in this time.
BATTERY_MIN: Final = 60.0
#: A coverage gap lasts this long.
GAP_MIN: Final = 14.0
#: A seal is broken in the middle of a short stop.
BREAK_STOP_MIN: Final = 4.0
#: How far beyond the corridor's edge a diversion goes, km.
BEYOND_KM: Final = 8.0

_GEOD: Final = Geod(ellps="WGS84")
_KM: Final = 1000.0
_SHORTEST: Final = timedelta(minutes=10)
_SPARE: Final = timedelta(minutes=90)

#: (lane, how many lorries): the busy ones get more.
_LANES: Final = (
    ("R-NURZHOLY-ALMATY", 6),
    ("R-NURZHOLY-ASTANA", 3),
    ("R-NURZHOLY-KOSTANAY", 2),
    ("R-NURZHOLY-ZHIBEKZHOLY", 3),
    ("R-KOLZHAT-ALMATY", 2),
    ("R-DOSTYK-ALMATY", 3),
    ("R-BAKHTY-ASTANA", 3),
    ("R-MAIKAPCHAGAI-OSKEMEN", 2),
    ("R-ZHIBEKZHOLY-ALMATY", 4),
    ("R-ZHIBEKZHOLY-AKTOBE", 3),
    ("R-KAZYGURT-SHYMKENT", 1),
    ("R-KAPLANBEK-SHYMKENT", 1),
    ("R-KORDAY-ALMATY", 3),
    ("R-SYPATAI-SHYMKENT", 2),
    ("R-AKTAU-AKTOBE", 2),
)

#: (plot, seconds after the start at which it begins to show). The first is found within a
#: minute; the others follow every minute or two, so that a visitor always has news.
_PLOTS: Final[tuple[tuple[Plot, float], ...]] = (
    ("late", 40),
    ("rope_cut", 50),
    ("diversion", 100),
    ("unauthorised_stop", 150),
    ("case_opened", 200),
    ("battery_death", 300),
    ("coverage_gap", 360),
    ("rope_cut", 480),
    ("diversion", 570),
    ("unauthorised_stop", 660),
    ("case_opened", 780),
    ("coverage_gap", 900),
    ("battery_death", 1020),
    ("diversion", 1140),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A declared route with its ends and length (m)."""

    code: str
    points: tuple[tuple[float, float], ...]
    length_m: float
    corridor_m: float
    departure: str
    destination: str

    @property
    def direction(self) -> str:
        """Transit when both ends are at a border."""
        return "transit" if self.destination == "KZ-ZHIBEKZHOLY" else "import"


#: Seconds from passing the place of a plot to what can be seen of it.
_NEWS_S: Final[Mapping[Plot, Callable[[Lane], float]]] = {
    "honest": lambda lane: 0.0,
    "late": lambda lane: 0.0,
    "rope_cut": lambda lane: BREAK_STOP_MIN * 30,
    "case_opened": lambda lane: BREAK_STOP_MIN * 30,
    # It leaves at 45°; then two fixes outside are needed, a minute apart.
    "diversion": lambda lane: lane.corridor_m * math.sqrt(2) / CRUISE_MS + 75,
    # Fifteen minutes of standing, known with the second parked report.
    "unauthorised_stop": lambda lane: 1200.0,
    # It falls from 95 % in a straight line and is low under 15 %.
    "battery_death": lambda lane: BATTERY_MIN * 60 * (1 - 15 / 95),
    # Two missed periods of a moving vehicle and the grace.
    "coverage_gap": lambda lane: 185.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lorry:
    """A lorry with the ids of its vehicle unit and of its navigation seal."""

    plate: str
    trailer: str
    gps: str
    seal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place in the fleet, which makes one delivery after another on its lane."""

    number: int
    lane: Lane
    plot: Plot
    plot_after_s: float
    share: float
    carrier_no: int
    declarant_no: int
    goods: tuple[Mapping[str, Any], ...]

    @property
    def drives_on(self) -> bool:
        """Whether nothing but its place matters for how the trip goes on."""
        return self.plot in {"honest", "late"}

    def lorry(self, turn: int) -> Lorry:
        """Who drives a turn: two lorries alternate, so one can arrive while the other loads."""
        side = "AB"[(turn - 1) % 2]
        plate_no = self.number + (100 if side == "A" else 500)
        region = f"{self.number % 17 + 1:02d}"
        return Lorry(
            plate=f"{plate_no}DMO{region}",
            trailer=f"{plate_no % 100:02d}DMO{region}",
            gps=f"DEMO-GPS-{self.number:02d}{side}",
            seal=f"DEMO-SEAL-{self.number:02d}{side}",
        )

    def registration(self, turn: int) -> str:
        """Registration number of the slot's n-th delivery, counted from 1."""
        return f"{PREFIX}{self.number:02d}-{turn:04d}"

    @property
    def place_m(self) -> float:
        """Where along the lane the plot begins; for the honest, where the start finds them."""
        return self.lane.length_m * self.share

    def departure(self, now: datetime) -> datetime:
        """When it must have left so that its plot shows at the wished time after ``now``."""
        road_s = driving_s(self.lane.points, self.place_m) + _NEWS_S[self.plot](self.lane)
        left = now + timedelta(seconds=self.plot_after_s - road_s)
        return _whole_second(min(left, now - _SHORTEST))

    def end(self, departed: datetime) -> datetime:
        """When a trip is over for sure, stops and detours included."""
        return (
            departed + timedelta(seconds=driving_s(self.lane.points, self.lane.length_m)) + _SPARE
        )


def parse_registration(number: str) -> tuple[int, int] | None:
    """``(slot, turn)`` of a demo delivery's registration number, none for any other."""
    slot, _, turn = number.removeprefix(PREFIX).partition("-")
    if not number.startswith(PREFIX) or not (slot.isdigit() and turn.isdigit()):
        return None
    return int(slot), int(turn)


def lanes() -> dict[str, Lane]:
    """The reference routes by code, with the posts at their ends."""
    return {body["code"]: _lane(body) for body in read_bodies("routes")}


def fleet() -> tuple[Slot, ...]:
    """All slots. Crooked ones are spread over the lanes so that the whole map has news."""
    by_code = lanes()
    codes = [code for code, count in _LANES for _ in range(count)]
    # A stride that shares no factor with the fleet's size visits every slot once.
    crooked = {index * 17 % len(codes): plot for index, plot in enumerate(_PLOTS)}
    rng = random.Random("demo fleet")
    return tuple(
        _slot(number, by_code[code], crooked.get(number - 1, ("honest", 0.0)), rng)
        for number, code in enumerate(codes, start=1)
    )


def delivery_body(
    slot: Slot,
    turn: int,
    *,
    carriers: Sequence[str],
    declarants: Sequence[str],
    departed: datetime,
    now: datetime,
) -> dict[str, Any]:
    """The body of ``POST /deliveries`` for a slot's n-th delivery."""
    fair = timedelta(hours=12 + slot.lane.length_m / _KM / FAIR_KMH)
    # The late one's deadline passes before the eyes of the visitor.
    late = now + timedelta(seconds=slot.plot_after_s)
    lorry = slot.lorry(turn)
    return {
        "registration_number": slot.registration(turn),
        "direction": slot.lane.direction,
        "carrier_id": carriers[slot.carrier_no % len(carriers)],
        "declarant_id": declarants[slot.declarant_no % len(declarants)],
        "departure_post": slot.lane.departure,
        "destination_post": slot.lane.destination,
        "route_code": slot.lane.code,
        "scheduled_departure": stamp(departed),
        "deadline": stamp(late if slot.plot == "late" else max(departed + fair, now + fair / 2)),
        "goods": [dict(item) for item in slot.goods],
        "vehicle": {"plate": lorry.plate, "country": "KZ", "trailer": lorry.trailer},
        "devices": [lorry.seal, lorry.gps],
    }


def stamp(at: datetime) -> str:
    """An aware datetime as the API writes it: RFC 3339 in UTC with milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lane(body: Mapping[str, Any]) -> Lane:
    points = tuple((float(lon), float(lat)) for lon, lat in body["geometry"]["coordinates"])
    lons, lats = zip(*points, strict=True)
    return Lane(
        code=body["code"],
        points=points,
        length_m=float(_GEOD.line_length(lons, lats)),
        corridor_m=float(body["corridor_m"]),
        departure=_post_at(points[0]),
        destination=_post_at(points[-1]),
    )


def _post_at(point: tuple[float, float]) -> str:
    """The post where a lane ends: the reference lanes begin and end exactly at posts."""
    for post in read_bodies("posts"):
        if tuple(post["geometry"]["coordinates"]) == point:
            return str(post["code"])
    raise LookupError(f"no post at {point}")


def _slot(number: int, lane: Lane, plot: tuple[Plot, float], rng: random.Random) -> Slot:
    kind, after_s = plot
    return Slot(
        number=number,
        lane=lane,
        plot=kind,
        plot_after_s=after_s,
        share=_share(lane, kind, rng),
        carrier_no=rng.randrange(1000),
        declarant_no=rng.randrange(1000),
        goods=tuple(_goods(item, rng) for item in rng.sample(read_goods(), rng.choice((1, 1, 2)))),
    )


def _share(lane: Lane, plot: Plot, rng: random.Random) -> float:
    """How much of the lane is behind the lorry. Crooked ones have news ahead: not near the end."""
    # Nine hours of history at most, four for the crooked, so that a start stays short.
    most_km = 700.0 if plot == "honest" else 320.0
    low, high = (0.1, 0.85) if plot == "honest" else (0.4, 0.55)
    return min(rng.uniform(low, high), most_km * rng.uniform(0.5, 1.0) * _KM / lane.length_m)


def _whole_second(at: datetime) -> datetime:
    """The trip is replayed from its departure, which therefore must survive the way to and fro."""
    return at.replace(microsecond=0)


def _goods(item: Goods, rng: random.Random) -> dict[str, Any]:
    gross_kg = rng.randrange(12, 180) * 100
    # Costly goods travel in small lots: nobody loads eighteen tonnes of processors.
    if item.value_kzt_per_kg > 20_000:
        gross_kg = max(200, gross_kg // 20)
    return {
        "hs_code": item.hs_code,
        "description": item.description["ru"],
        "gross_kg": gross_kg,
        "value_kzt": gross_kg * item.value_kzt_per_kg,
        "payments_at_stake_kzt": gross_kg * item.payments_kzt_per_kg,
    }
