"""Draws a scenario's deliveries from its seed: who drives what, when, with which devices. Pure.

Each delivery has a generator of its own, named by group and place in it, so that a group added to a
scenario leaves the others as they were.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from firmware_sim.draws import amount, drawn
from firmware_sim.geo import LonLat, Path, distance_m
from firmware_sim.plan import StopPlan, VehiclePlan, make_plot, start_time
from firmware_sim.scenario import GroupSpec, OnRoad, RoadSpec, Scenario, StopSpec
from firmware_sim.truth import ActKind

#: The corridor's average with rest and delays, from which a fair deadline follows.
_FAIR_KMH = 35.0
_FAIR_MORE = timedelta(hours=12)
_LEAST_AHEAD = timedelta(days=1)
_LETTERS = "ABCEHKMOPTXY"
# Ends of roads this near to each other are one post.
_SAME_PLACE_M = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A road with its points, its length and the posts at its ends."""

    road: str
    code: str
    spec: RoadSpec
    points: tuple[LonLat, ...]
    length_m: float
    departure: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoPost:
    """A post that the scenario does not name: a road's end."""

    code: str
    point: LonLat
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An act of the scenario, so long after the departure."""

    kind: ActKind
    after_s: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One delivery, before it begins. `company`: (sort, number within it)."""

    number: int
    registration: str
    group: GroupSpec
    lane: Lane
    plan: VehiclePlan
    departs: datetime
    carrier: tuple[str, int]
    declarant: tuple[str, int]
    goods: Mapping[str, Any]
    crossing_before_s: float | None
    arrival_after_s: float | None
    others: tuple[Due, ...]

    def deadline(self, now: datetime) -> datetime:
        """The deadline to register at this instant: never in the past, the server refuses that."""
        spec = self.group.deadline
        if spec.minutes_ahead is not None:
            return now + timedelta(minutes=spec.minutes_ahead)
        fair = timedelta(hours=self.lane.length_m / 1000 / _FAIR_KMH) + _FAIR_MORE
        takes = fair if spec.hours is None else timedelta(hours=spec.hours)
        return max(self.departs + takes, now + _LEAST_AHEAD)

    def signs(self, device_id: str) -> bool:
        """Whether a device's messages must be signed."""
        at = [device.id for device in self.plan.devices].index(device_id)
        spec = self.group.devices[at]
        return spec.kind == "seal" if spec.signed is None else spec.signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """All that a scenario needs, drawn: `prefix` begins its registration numbers and device ids."""

    scenario: Scenario
    prefix: str
    begin: datetime
    lanes: Mapping[str, Lane]
    posts: tuple[AutoPost, ...]
    roles: tuple[Role, ...]


def draw_cast(scenario: Scenario, *, prefix: str, now: datetime) -> Cast:
    """The deliveries of a scenario. The same scenario, prefix and instant give the same cast."""
    posts, ends = _ends(scenario)
    lanes = {name: _lane(scenario, name, ends) for name in scenario.roads}
    begin = start_time(scenario.begin, now).replace(microsecond=0)
    roles = tuple(_roles(scenario, lanes, prefix, begin))
    return Cast(
        scenario=scenario, prefix=prefix, begin=begin, lanes=lanes, posts=posts, roles=roles
    )


def _ends(scenario: Scenario) -> tuple[tuple[AutoPost, ...], dict[tuple[str, int], str]]:
    """Posts for the roads' ends that name none, and the code of each end (road, 0 or -1)."""
    made: list[AutoPost] = []
    codes: dict[tuple[str, int], str] = {}
    for road, spec in scenario.roads.items():
        line = scenario.line(road)
        for end, given in ((0, spec.departure), (-1, spec.destination)):
            if given is not None:
                codes[road, end] = given
                continue
            near = (post for post in made if distance_m(post.point, line[end]) < _SAME_PLACE_M)
            post = next(near, None)
            if post is None:
                word = spec.via[end] if spec.via else f"{road}-{'from' if end == 0 else 'to'}"
                label = word if isinstance(word, str) else f"{road}-{len(made)}"
                code = f"{scenario.name}-{label.replace(' ', '')}"
                post = AutoPost(code=code, point=line[end], name=label)
                made.append(post)
            codes[road, end] = post.code
    return tuple(made), codes


def _lane(scenario: Scenario, road: str, ends: Mapping[tuple[str, int], str]) -> Lane:
    points = scenario.line(road)
    return Lane(
        road=road,
        code=f"{scenario.name}-{road}",
        spec=scenario.roads[road],
        points=points,
        length_m=Path(points).length_m,
        departure=ends[road, 0],
        destination=ends[road, -1],
    )


def _roles(
    scenario: Scenario, lanes: Mapping[str, Lane], prefix: str, begin: datetime
) -> Iterator[Role]:
    number = 0
    for group in scenario.deliveries:
        after_s, waited_s = 0, group.departures.first_minutes * 60
        for place in range(group.count):
            name = f"{scenario.seed}/{group.group}"
            # What those who leave together share comes from a generator of their own.
            shared = random.Random(f"{name}/together/{place // group.together}")
            own = random.Random(f"{name}/{place}")
            if place % group.together == 0:
                after_s, waited_s = _departure(group, own, waited_s)
            number += 1
            departs = begin + timedelta(seconds=after_s)
            yield _role(scenario, group, lanes, number, prefix, departs, own, shared)


def _departure(group: GroupSpec, rng: random.Random, waited_s: float) -> tuple[int, float]:
    """(seconds after the beginning, the same for the next one to count from)."""
    spec = group.departures
    if spec.every_minutes is None:
        assert spec.over_hours is not None
        return round(waited_s + rng.uniform(0, spec.over_hours * 3600)), waited_s
    return round(waited_s), waited_s + amount(spec.every_minutes, rng) * 60


def _role(
    scenario: Scenario,
    group: GroupSpec,
    lanes: Mapping[str, Lane],
    number: int,
    prefix: str,
    departs: datetime,
    rng: random.Random,
    shared: random.Random,
) -> Role:
    lane = lanes[_pick(group.road, shared)]
    acts = group.acts
    before, after = acts.crossing_minutes_before, acts.arrival_minutes_after
    return Role(
        number=number,
        registration=f"{prefix}-{number:05d}",
        group=group,
        lane=lane,
        departs=departs,
        carrier=_company(scenario, group, rng),
        declarant=_company(scenario, group, rng),
        goods=_goods(scenario, group, rng),
        crossing_before_s=None if before is None else amount(before, rng) * 60,
        arrival_after_s=None if after is None else amount(after, rng) * 60,
        others=tuple(
            Due(kind=act.kind, after_s=amount(act.after_minutes, rng) * 60, fields=act.fields)
            for act in acts.others
        ),
        plan=_vehicle(
            scenario, group, lane, f"{prefix}-{number:05d}", number, departs, rng, shared
        ),
    )


def _stop(scenario: Scenario, stop: StopSpec, lane: Lane, rng: random.Random) -> StopPlan:
    place = stop.at if stop.at is not None else OnRoad(road=lane.road, part=stop.part or 0.0)
    return StopPlan(at=scenario.point(place), minutes=amount(stop.minutes, rng))


def _vehicle(
    scenario: Scenario,
    group: GroupSpec,
    lane: Lane,
    name: str,
    number: int,
    departs: datetime,
    rng: random.Random,
    shared: random.Random,
) -> VehiclePlan:
    devices = [
        {
            "id": f"{name}-{spec.kind[0].upper()}{place}",
            "kind": spec.kind,
            "bat_pct": amount(spec.bat_pct, rng),
        }
        for place, spec in enumerate(group.devices, start=1)
    ]
    return VehiclePlan.model_validate(
        {
            "vehicle": plate(number),
            "devices": devices,
            "route": lane.points,
            "start": departs.isoformat(),
            "stops": [_stop(scenario, stop, lane, rng) for stop in group.stops],
            "slow": group.slow,
            "plot": [make_plot(use.name, drawn(use.params, shared)) for use in group.plot],
            "seed": rng.getrandbits(32),
            "periods": group.periods,
            "tail_s": group.tail_s,
        }
    )


def plate(number: int) -> str:
    """A number plate of Kazakhstan's form, another for each number up to 27 million."""
    rest, digits = divmod(number, 1000)
    rest, region = divmod(rest, 16)
    letters = ""
    for _ in range(3):
        rest, at = divmod(rest, len(_LETTERS))
        letters = _LETTERS[at] + letters
    return f"{digits:03d}{letters}{region + 1:02d}"


def _pick(weights: Mapping[str, float], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _company(scenario: Scenario, group: GroupSpec, rng: random.Random) -> tuple[str, int]:
    sort = _pick(group.companies or dict.fromkeys(scenario.companies, 1.0), rng)
    return sort, rng.randrange(scenario.companies[sort].count)


def _goods(scenario: Scenario, group: GroupSpec, rng: random.Random) -> dict[str, Any]:
    spec = scenario.goods[_pick(group.goods or dict.fromkeys(scenario.goods, 1.0), rng)]
    return {
        "hs_code": spec.hs_code,
        "description": spec.description,
        "gross_kg": round(amount(spec.gross_kg, rng)),
        "value_kzt": round(amount(spec.value_kzt, rng)),
        "payments_at_stake_kzt": round(amount(spec.payments_kzt, rng)),
    }
