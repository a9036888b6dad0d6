"""Posts and zones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from geoalchemy2.shape import to_shape
from pydantic import ConfigDict, Field, model_validator
from shapely.geometry import mapping

from tracker.api.schemas.common import (
    Answer,
    Body,
    Code,
    Country,
    GeoJson,
    Instant,
    LocalName,
    Moment,
    MultiPolygon,
    Point,
    Polygon,
    Warning,
    warning_of,
)
from tracker.db.tables import Post, Zone
from tracker.errors import FieldError, Invalid

PostKind = Literal["border", "inland", "airport", "rail", "sea"]
ZoneKind = Literal[
    "post", "border", "parking", "rest", "fuel", "terminal", "restricted", "territory"
]

_POST: dict[str, Any] = {
    "code": "KZ-NURZHOLY",
    "name": {"ru": "Нур Жолы (Хоргос)", "kk": "Нұр жолы (Қорғас)", "en": "Nur Zholy (Khorgos)"},
    "geometry": {"type": "Point", "coordinates": [80.402, 44.212]},
    "country": "KZ",
    "kind": "border",
}
_ZONE: dict[str, Any] = {
    "code": "Z-SHELEK-PARKING",
    "name": {"ru": "Стоянка Шелек", "kk": "Шелек тұрағы", "en": "Shelek parking"},
    "kind": "parking",
    "geometry": {
        "type": "Polygon",
        "coordinates": [
            [[78.25, 43.59], [78.26, 43.59], [78.26, 43.6], [78.25, 43.6], [78.25, 43.59]]
        ],
    },
    "max_dwell_s": 7200,
}


class PostIn(Body):
    """A customs post. Without ``zone_code`` a circle around it becomes its zone."""

    code: Code
    name: LocalName
    geometry: Point
    country: Country
    kind: PostKind = "inland"
    zone_code: Code | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [_POST]})


class PostOut(Answer):
    """A customs post with the zone that it has."""

    id: int
    code: str
    name: dict[str, str]
    geometry: GeoJson
    country: str
    kind: PostKind
    zone_code: str
    created_at: Moment
    warnings: list[Warning] = Field(default_factory=list)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    **_POST,
                    "zone_code": "post:KZ-NURZHOLY",
                    "created_at": "2026-03-01T08:00:00.000Z",
                    "warnings": [],
                }
            ]
        }
    )


class ZoneShape(Body):
    """What a version of a zone says: what it is, where it lies, and when it is in force."""

    name: LocalName
    kind: ZoneKind
    geometry: Annotated[Polygon | MultiPolygon, Field(discriminator="type")]
    max_dwell_s: Annotated[
        float | None,
        Field(gt=0, le=31_536_000, description="Longest designated stop in it, s."),
    ] = None
    valid_from: Instant | None = None
    valid_to: Instant | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise Invalid.field("body", "valid_to", msg="must lie after valid_from")
        return self


class ZoneIn(ZoneShape):
    """An area with a meaning for a stop or a passage."""

    code: Code

    model_config = ConfigDict(json_schema_extra={"examples": [_ZONE]})


class ZoneVersionIn(ZoneShape):
    """A new version of a zone, in force from ``valid_from`` (by default now). ``code`` may be left
    out; the address says which zone."""

    code: Code | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [_ZONE | {"valid_from": "2026-04-01T00:00:00.000Z"}]}
    )


class ZoneOut(Answer):
    """A zone as of one of its versions, which is in force from ``valid_from`` (included) to
    ``valid_to`` (not included). ``version`` grows with each change of the zone. An outline of one
    piece is a Polygon, however it was sent. ``created_by`` entered this version; ``ended_by`` said
    at ``ended_at`` that it ends at ``valid_to``. A carrier is not told who."""

    id: int
    code: str
    name: dict[str, str]
    kind: ZoneKind
    geometry: GeoJson
    max_dwell_s: float | None
    valid_from: Moment | None
    valid_to: Moment | None
    version: int
    created_at: Moment
    created_by: str | None = None
    ended_at: Moment | None = None
    ended_by: str | None = None
    warnings: list[Warning] = Field(default_factory=list)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 2,
                    **_ZONE,
                    "valid_from": None,
                    "valid_to": None,
                    "version": 1,
                    "created_at": "2026-03-01T08:00:00.000Z",
                    "created_by": "a.bekova",
                    "ended_at": None,
                    "ended_by": None,
                    "warnings": [],
                }
            ]
        }
    )


def post_out(post: Post, zone_code: str) -> PostOut:
    """A stored post as the API shows it."""
    return PostOut(
        id=post.id,
        code=post.code,
        name=post.name,
        geometry=mapping(to_shape(post.geom)),
        country=post.country,
        kind=post.kind,  # type: ignore[arg-type]
        zone_code=zone_code,
        created_at=post.created_at,
    )


class ZoneUses(Answer):
    """What refers to a zone: the codes of posts whose zone it is, and the routes that have it as a
    checkpoint (their codes, else names; the first ten)."""

    posts: list[str]
    routes: list[str]


def zone_out(zone: Zone, warnings: Sequence[FieldError] = (), *, authors: bool = True) -> ZoneOut:
    """A stored version of a zone as the API shows it, without ``authors`` to who may not know."""
    return ZoneOut(
        id=zone.id,
        code=zone.code,
        name=zone.name,
        kind=zone.kind,  # type: ignore[arg-type]
        geometry=_outline(zone),
        max_dwell_s=zone.max_dwell_s,
        valid_from=zone.valid_from,
        valid_to=zone.valid_to,
        version=zone.version,
        created_at=zone.created_at,
        created_by=zone.created_by if authors else None,
        ended_at=zone.ended_at,
        ended_by=zone.ended_by if authors else None,
        warnings=[warning_of(w) for w in warnings],
    )


def _outline(zone: Zone) -> GeoJson:
    shape = to_shape(zone.geom)
    pieces = getattr(shape, "geoms", [shape])
    return dict(mapping(pieces[0] if len(pieces) == 1 else shape))
