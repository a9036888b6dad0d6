"""The scenario file: roads, posts, zones, groups of deliveries, people's acts. YAML or JSON.

What each key means is in `docs/scenario.schema.json`, which is written from these models. Read one
with `read_scenario`; `cast.py` draws the deliveries from it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from firmware_sim.draws import Amount, extremes
from firmware_sim.errors import PlanError
from firmware_sim.geo import LonLat, Path, away
from firmware_sim.places import TOWNS
from firmware_sim.plan import (
    PeriodsPlan,
    Point,
    SlowPlan,
    StartText,
    make_plot,
    read_route,
)
from firmware_sim.truth import ActKind

LIBRARY = FilePath(__file__).parent / "scenarios"
"""The scenarios that come with the simulator."""

_CIRCLE_CORNERS = 32
# Steps of an error's place that name the branch of a union and not a key.
_BRANCHES = frozenset(
    {"float", "int", "str", "bool", "Uniform", "Normal", "LogNormal", "OnRoad", "PlotUse"}
)
# As wide as the contract lets a corridor be.
_CORRIDOR_MAX_M = 50_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,29}$")]
Code = Annotated[str, Field(pattern=r"^[^\s/?#%]{1,64}$")]
Weights = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]


ZoneKind = Literal[
    "post", "border", "parking", "rest", "fuel", "terminal", "restricted", "territory"
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OnRoad(_Part):
    """A place on a road of this scenario: after this part (0–1) of its length."""

    road: Name
    part: float = Field(ge=0, le=1)


Place = Annotated[
    str | Point | OnRoad,
    Field(description="a town's name, [lon, lat], or {road, part}"),
]


class LegSpec(_Part):
    """A stretch of a road with its own half-width, metres from the start."""

    from_m: float = Field(ge=0)
    to_m: float = Field(gt=0)
    corridor_m: float = Field(gt=0, le=_CORRIDOR_MAX_M)


class CheckpointSpec(_Part):
    """A zone that has to be passed."""

    zone: str = Field(min_length=1)
    mandatory: bool = True


class RoadSpec(_Part):
    """A declared route. Exactly one of `via`, `line` and `file`."""

    via: tuple[str | Point, ...] | None = Field(
        None, min_length=2, description="towns by name, and places as [lon, lat]"
    )
    line: tuple[Point, ...] | None = Field(
        default=None, min_length=2, description="[lon, lat] of bends"
    )
    file: str | None = Field(default=None, description="GeoJSON file beside the scenario")
    corridor_m: float = Field(default=1000, gt=0, le=_CORRIDOR_MAX_M, description="half-width, m")
    legs: tuple[LegSpec, ...] = ()
    checkpoints: tuple[CheckpointSpec, ...] = ()
    departure: str | None = Field(
        default=None, description="post's code; default: one is made at the end"
    )
    destination: str | None = Field(
        default=None, description="post's code; default: one is made there"
    )

    @model_validator(mode="after")
    def _one_shape(self) -> RoadSpec:
        given = [name for name in ("via", "line", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of via (towns), line (points) and file (GeoJSON)")
        for name in self.via or ():
            if isinstance(name, str):
                town(name)
        return self


class PostSpec(_Part):
    """A customs post that is registered if the server has none of this code."""

    code: Code
    at: Place
    kind: Literal["border", "inland", "airport", "rail", "sea"] = "inland"
    country: str = Field(default="KZ", pattern=r"^[A-Z]{2}$")
    name: str | None = None


class ZoneSpec(_Part):
    """An area. Exactly one of `at` with `radius_m`, and `ring`."""

    code: Code
    kind: Literal[
        "post", "border", "parking", "rest", "fuel", "terminal", "restricted", "territory"
    ]
    at: Place | None = None
    radius_m: float | None = Field(default=None, gt=0, le=3_000_000)
    ring: tuple[Point, ...] | None = Field(
        default=None, min_length=4, description="closed: last = first"
    )
    max_dwell_minutes: float | None = Field(default=None, gt=0)
    name: str | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> ZoneSpec:
        if (self.ring is None) == (self.at is None) or (self.at is None) != (self.radius_m is None):
            raise ValueError("give either at with radius_m, or ring")
        if self.ring is not None and self.ring[0] != self.ring[-1]:
            raise ValueError("the ring is not closed: repeat its first point at the end")
        return self


class StopSpec(_Part):
    """A planned stop. Exactly one of `at`, within 5 km of the road, and `part` of the road."""

    at: Place | None = None
    part: float | None = Field(default=None, ge=0, le=1)
    minutes: Amount

    @model_validator(mode="after")
    def _one_place(self) -> StopSpec:
        if (self.at is None) == (self.part is None):
            raise ValueError("give either at (a place) or part (of the road, 0-1)")
        return self


class CompaniesSpec(_Part):
    """Companies of one sort, as carriers and declarants; `facts` decide their category."""

    count: int = Field(default=5, ge=1, le=1000)
    facts: dict[str, bool | int | float | str] = Field(default_factory=dict)


class GoodsSpec(_Part):
    """What is carried."""

    hs_code: str = Field(default="9403", pattern=r"^[0-9]{2,10}$")
    description: str = Field(default="furniture", min_length=1)
    gross_kg: Amount = 15_000.0
    value_kzt: Amount = 30_000_000.0
    payments_kzt: Amount = 5_000_000.0


class DeviceSpec(_Part):
    """A device on each vehicle. `signed`: its messages carry a MAC; by default a seal's do."""

    kind: Literal["seal", "gps"]
    signed: bool | None = None
    bat_pct: Amount = 95.0


class PlotUse(_Part):
    """A plot or behaviour with parameters; any of them may be a draw."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> PlotUse:
        for params in extremes(self.params):
            make_plot(self.name, params)
        return self


class DeparturesSpec(_Part):
    """When vehicles leave, from the scenario's beginning on: at random over so many hours, or one
    after another."""

    over_hours: float | None = Field(default=None, ge=0, le=24 * 30)
    every_minutes: Amount | None = None
    first_minutes: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> DeparturesSpec:
        if (self.over_hours is None) == (self.every_minutes is None):
            raise ValueError("give exactly one of over_hours and every_minutes")
        return self


class DeadlineSpec(_Part):
    """Hours after the departure; or minutes after the delivery is registered, which lets it pass
    while a trip of the past is played. By default what the
    road takes at 35 km/h, and 12 hours. Never is it less than a day ahead, but by `minutes_ahead`.
    """

    hours: float | None = Field(default=None, gt=0)
    minutes_ahead: float | None = Field(default=None, gt=0)


class PersonsAct(_Part):
    """What someone does so long after the departure, at the vehicle's place."""

    kind: ActKind
    after_minutes: Amount
    fields: dict[str, Any] = Field(default_factory=dict, description="the call's further fields")


class ActsSpec(_Part):
    """What people do. The release is always the departure. None: they don't."""

    crossing_minutes_before: Amount | None = 40.0
    arrival_minutes_after: Amount | None = 20.0
    others: tuple[PersonsAct, ...] = ()


def _uses(value: object) -> object:
    entries = value if isinstance(value, list | tuple) else [value]
    return tuple({"name": entry} if isinstance(entry, str) else entry for entry in entries)


def _weights(value: object) -> object:
    return {value: 1.0} if isinstance(value, str) else value


Chosen = Annotated[Weights, BeforeValidator(_weights, json_schema_input_type=str | Weights)]
Uses = Annotated[
    tuple[PlotUse, ...],
    BeforeValidator(
        _uses, json_schema_input_type=str | PlotUse | Annotated[list[str | PlotUse], Field()]
    ),
]


class GroupSpec(_Part):
    """Deliveries of one sort."""

    group: Name
    count: int = Field(default=1, ge=1, le=100_000)
    together: int = Field(
        default=1,
        ge=1,
        le=50,
        description="so many leave at the same instant on the same road, with the same draws",
    )
    road: Chosen = Field(description="a road's name, or several with their weights")
    plot: Uses = Field(default=("honest",), validate_default=True)
    devices: tuple[DeviceSpec, ...] = (DeviceSpec(kind="seal"), DeviceSpec(kind="gps"))
    departures: DeparturesSpec = DeparturesSpec(over_hours=12)
    companies: Chosen | None = None
    goods: Chosen | None = None
    deadline: DeadlineSpec = DeadlineSpec()
    acts: ActsSpec = ActsSpec()
    stops: tuple[StopSpec, ...] = ()
    slow: tuple[SlowPlan, ...] = ()
    periods: dict[Literal["seal", "gps"], PeriodsPlan] = Field(default_factory=dict)
    tail_s: float = Field(
        default=600.0, ge=0, description="reports go on so long after the arrival"
    )


class Scenario(_Part):
    """A whole scenario."""

    version: Literal[1] = 1
    name: Name
    about: str = ""
    seed: int = 0
    begin: StartText = Field(
        default="now-36h", description="now, now-36h, or RFC 3339: first departure"
    )
    roads: dict[Name, RoadSpec] = Field(min_length=1)
    posts: tuple[PostSpec, ...] = ()
    zones: tuple[ZoneSpec, ...] = ()
    companies: dict[Name, CompaniesSpec] = Field(default_factory=lambda: {"any": CompaniesSpec()})
    goods: dict[Name, GoodsSpec] = Field(default_factory=lambda: {"any": GoodsSpec()})
    deliveries: tuple[GroupSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Scenario:
        for place, word, known in self._references():
            if word not in known:
                raise ValueError(f"{place}: no {word!r} here; {_near(word, known)}")
        groups = [group.group for group in self.deliveries]
        twice = {name for name in groups if groups.count(name) > 1}
        if twice:
            raise ValueError(f"deliveries: group {min(twice)} occurs twice; names must be unique")
        return self

    def _references(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """(where, name, names that there are) of whatever names something else."""
        roads, zones = tuple(self.roads), tuple(zone.code for zone in self.zones)
        for i, group in enumerate(self.deliveries):
            for word in group.road:
                yield f"deliveries.{i}.road", word, roads
            for word in group.companies or ():
                yield f"deliveries.{i}.companies", word, tuple(self.companies)
            for word in group.goods or ():
                yield f"deliveries.{i}.goods", word, tuple(self.goods)
        for name, road in self.roads.items():
            for checkpoint in road.checkpoints:
                yield f"roads.{name}.checkpoints", checkpoint.zone, zones
        kinds: tuple[tuple[str, Sequence[PostSpec | ZoneSpec]], ...] = (
            ("posts", self.posts),
            ("zones", self.zones),
        )
        for kind, spots in kinds:
            for i, spot in enumerate(spots):
                if isinstance(spot.at, OnRoad):
                    yield f"{kind}.{i}.at.road", spot.at.road, roads
                elif isinstance(spot.at, str):
                    town(spot.at)

    @property
    def count(self) -> int:
        """Deliveries in all."""
        return sum(group.count for group in self.deliveries)

    def scaled(self, total: int) -> Scenario:
        """The same mix with about so many deliveries.

        Each group keeps one at least, as long as there are not more groups than deliveries; those
        that leave together stay complete.
        """
        quotas = [group.count * total / self.count for group in self.deliveries]
        counts = [int(quota) for quota in quotas]
        if total >= len(counts):
            counts = [max(1, count) for count in counts]
        by_rest = sorted(range(len(counts)), key=lambda i: counts[i] - quotas[i])
        for i in by_rest[: max(0, total - sum(counts))]:
            counts[i] += 1
        groups = tuple(
            group.model_copy(update={"count": -(-count // group.together) * group.together})
            for group, count in zip(self.deliveries, counts, strict=True)
            if count
        )
        return self.model_copy(update={"deliveries": groups})

    def line(self, road: str) -> tuple[LonLat, ...]:
        """The points of a road."""
        spec = self.roads[road]
        if spec.via is not None:
            return tuple(town(p) if isinstance(p, str) else p for p in spec.via)
        return spec.line or ()

    def point(self, place: Place) -> LonLat:
        """Where a place is, lon, lat."""
        if isinstance(place, OnRoad):
            path = Path(self.line(place.road))
            spot = path.at(place.part * path.length_m)
            return spot.lon, spot.lat
        return town(place) if isinstance(place, str) else place

    def ring(self, zone: ZoneSpec) -> list[LonLat]:
        """The outline of a zone, closed."""
        if zone.ring is not None:
            return list(zone.ring)
        assert zone.at is not None
        assert zone.radius_m is not None
        centre, corners = self.point(zone.at), range(_CIRCLE_CORNERS)
        ring = [away(centre, 360.0 * i / _CIRCLE_CORNERS, zone.radius_m) for i in corners]
        return [*ring, ring[0]]


_TOWNS: Mapping[str, str] = {re.sub(r"\W", "", name).lower(): name for name in TOWNS}


def town(name: str) -> LonLat:
    """Where a town is, however its name is spelt in case and spaces; ValueError if unknown."""
    key = re.sub(r"\W", "", name).lower()
    if key not in _TOWNS:
        raise ValueError(f"no town {name!r}; {_near(name, tuple(TOWNS))}, or give [lon, lat]")
    return TOWNS[_TOWNS[key]]


def read_scenario(source: str) -> Scenario:
    """Read a scenario file, or one of the library by its name. PlanError is one line."""
    file = FilePath(source)
    if not file.exists() and (LIBRARY / f"{source}.yaml").exists():
        file = LIBRARY / f"{source}.yaml"
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(library())
        raise PlanError(
            f"{source}: {error.strerror}; give a scenario file or one of {names}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlanError(f"{source}: not YAML or JSON: {' '.join(str(error).split())}") from error
    return parse_scenario(raw, base=file.parent, name=str(source))


def library() -> list[str]:
    """Names of the scenarios that come with the simulator."""
    return sorted(file.stem for file in LIBRARY.glob("*.yaml"))


def parse_scenario(raw: object, *, base: FilePath = FilePath(), name: str = "scenario") -> Scenario:
    """Validate a scenario that is already data. Names of GeoJSON files are relative to `base`."""
    if not isinstance(raw, dict):
        raise PlanError(f"{name}: a scenario is a mapping with name, roads and deliveries")
    try:
        return Scenario.model_validate(_with_lines(raw, base))
    except PlanError as error:
        raise PlanError(f"{name}: {error}") from error
    except ValidationError as error:
        raise PlanError(f"{name}: {explain(error)}") from error


def _with_lines(raw: dict[str, Any], base: FilePath) -> dict[str, Any]:
    """The same with the lines of GeoJSON files read in."""
    roads = raw.get("roads")
    if not isinstance(roads, dict):
        return raw
    read = {
        name: {**{k: v for k, v in road.items() if k != "file"}, "line": read_route(base / file)}
        for name, road in roads.items()
        if isinstance(road, dict) and isinstance(file := road.get("file"), str)
        if road.get("via") is None and road.get("line") is None
    }
    return {**raw, "roads": {**roads, **read}}


def explain(error: ValidationError) -> str:
    """The most telling fault of a validation on one line: `place: what is wrong; remedy`."""
    fault = max(error.errors(), key=_depth)
    place = ".".join(str(part) for part in fault["loc"] if not _is_branch(part))
    text = " ".join(fault["msg"].removeprefix("Value error, ").split())
    if fault["type"] == "extra_forbidden":
        word = str(fault["loc"][-1])
        near = difflib.get_close_matches(word, _keys() - {word}, n=1)
        hint = f"did you mean {near[0]}?" if near else "see docs/scenario.schema.json"
        text = f"unknown key; {hint}"
    return f"{place}: {text}" if place else text


def _depth(fault: ErrorDetails) -> tuple[int, bool]:
    """Of the branches of a union the one that got farthest is the one that was meant."""
    return len(fault["loc"]), fault["type"] == "extra_forbidden"


def _is_branch(part: int | str) -> bool:
    """Whether a step of an error's place is the name of a union's branch, not of a key."""
    return isinstance(part, str) and (
        part in _BRANCHES or "[" in part or part.startswith(("function-", "constrained-"))
    )


def _near(word: str, known: tuple[str, ...]) -> str:
    """A hint at what was meant, or what there is."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


@cache
def _keys() -> frozenset[str]:
    """All keys of a scenario file, to hint at with a misspelt one."""
    models = (value for value in globals().values() if isinstance(value, type))
    parts = [model for model in models if issubclass(model, BaseModel)]
    return frozenset(key for part in parts for key in part.model_fields)
