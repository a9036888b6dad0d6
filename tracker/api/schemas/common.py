"""Types that many requests and answers share: texts, instants, names, geometry, pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
)
from pydantic_core import core_schema

from tracker.db.reading import rfc3339
from tracker.errors import FieldError

# ---------------------------------------------------------------- texts and numbers


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character; remove it")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Annotates a ``str``: trimmed, without NUL, of a bounded length, after a pattern."""

    longest: int
    shortest: int = 1
    pattern: str | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            _no_nul,
            core_schema.str_schema(
                strip_whitespace=True,
                min_length=self.shortest,
                max_length=self.longest,
                pattern=self.pattern,
            ),
        )


Code = Annotated[str, Text(longest=64, pattern=r"^[^\s/?#%]+$")]
Name = Annotated[str, Text(longest=300)]
Words = Annotated[str, Text(longest=4000, shortest=0)]
Country = Annotated[str, Text(longest=3, shortest=2, pattern=r"^[A-Za-z]{2,3}$")]
Money = Annotated[int, Field(ge=0, le=10**15, description="Whole tenge (KZT).")]

# ---------------------------------------------------------------- time

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def _require_text(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("give RFC 3339 text such as 2026-03-01T08:00:00.000Z, not a number")
    return value


def _to_utc_ms(at: datetime) -> datetime:
    if not _EARLIEST <= at < _LATEST:
        raise ValueError("lies outside the years 2000 to 2099; check the date")
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_require_text),
    AfterValidator(_to_utc_ms),
    PlainSerializer(rfc3339, return_type=str, when_used="json-unless-none"),
    Field(
        description="RFC 3339 with a time zone; answers are in UTC with milliseconds.",
        examples=["2026-03-01T08:00:00.000Z"],
    ),
]
"""An instant of a request: aware, in UTC, whole milliseconds, of this century."""

Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json-unless-none"),
    Field(description="RFC 3339 in UTC with milliseconds.", examples=["2026-03-01T08:00:00.000Z"]),
]
"""An instant of an answer."""

# ---------------------------------------------------------------- bodies


class Body(BaseModel):
    """A request body: unknown fields are refused, so a misspelt one is not lost in silence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Answer(BaseModel):
    """A body of an answer."""

    model_config = ConfigDict(frozen=True)


class LocalName(Body):
    """A name in the three languages of the pages."""

    ru: Name
    kk: Name
    en: Name

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ru": "Хоргос", "kk": "Қорғас", "en": "Khorgos"}]}
    )


class Warning(Answer):
    """What looks odd but may be true."""

    loc: list[str | int]
    msg: str


def warning_of(error: FieldError) -> Warning:
    """A field's remark as the answer shows it."""
    return Warning(loc=list(error.loc), msg=error.msg)


# ---------------------------------------------------------------- geometry

Lon = Annotated[float, Field(ge=-180, le=180)]
Lat = Annotated[float, Field(ge=-90, le=90)]


def _on_earth(position: tuple[float, ...]) -> tuple[float, ...]:
    lon, lat = position[0], position[1]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ValueError(f"[{lon:g}, {lat:g}] is no [lon, lat] within ±180 and ±90")
    return position


Position = Annotated[
    tuple[float, ...],
    Field(min_length=2, max_length=3, description="[lon, lat], degrees WGS 84."),
    AfterValidator(_on_earth),
]


class Point(Body):
    """A GeoJSON point: (lon, lat)."""

    type: Literal["Point"]
    coordinates: Position

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "Point", "coordinates": [80.402, 44.212]}]}
    )

    @property
    def lon_lat(self) -> tuple[float, float]:
        """(lon, lat), degrees."""
        return self.coordinates[0], self.coordinates[1]


class LineString(Body):
    """A GeoJSON line. How many points it needs is checked with the route, in its words."""

    type: Literal["LineString"]
    coordinates: Annotated[list[Position], Field(max_length=20_000)]

    @property
    def points(self) -> list[tuple[float, float]]:
        """(lon, lat) of each point, degrees."""
        return [(c[0], c[1]) for c in self.coordinates]


Ring = Annotated[list[Position], Field(min_length=4, max_length=50_000)]


class Polygon(Body):
    """A GeoJSON polygon: an outer ring and holes."""

    type: Literal["Polygon"]
    coordinates: Annotated[list[Ring], Field(min_length=1, max_length=1000)]


class MultiPolygon(Body):
    """A GeoJSON multipolygon."""

    type: Literal["MultiPolygon"]
    coordinates: Annotated[
        list[Annotated[list[Ring], Field(min_length=1, max_length=1000)]],
        Field(min_length=1, max_length=1000),
    ]


GeoJson = dict[str, Any]

# ---------------------------------------------------------------- pages

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A page of a list. ``next`` is the ``cursor`` of the next page, or null at the end."""

    items: list[T]
    next: str | None = None
