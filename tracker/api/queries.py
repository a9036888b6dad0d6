"""Query parameters that several reading calls share, and answers without a second validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from babel.core import negotiate_locale
from fastapi import Header, Query, Response
from pydantic import AwareDatetime

from tracker.db.reading_findings import FindingFilter
from tracker.db.reading_positions import Box
from tracker.errors import Invalid

LOCALES: Final = ("ru", "kk", "en")
NO_NUL: Final = r"^[^\x00]*$"
ANOMALY_STATUS: Final = ("open", "closed", "retracted")
ALERT_STATUS: Final = ("open", "acknowledged", "resolved", "retracted")
SEVERITIES: Final = ("info", "low", "medium", "high", "critical")

Word = Annotated[str, Query(max_length=200, pattern=NO_NUL)]
Words = Annotated[
    list[Annotated[str, Query(max_length=200, pattern=NO_NUL)]],
    Query(description="Several: repeat it, or separate them by commas."),
]
Since = Annotated[AwareDatetime | None, Query(description="RFC 3339; found or raised since then.")]


def answer(data: Any, status: int = 200, media_type: str = "application/json") -> Response:
    """A JSON answer that is made of checked values: no second validation, which is slow."""
    return Response(msgspec.json.encode(data), status, media_type=media_type)


def page(items: Sequence[Any], following: str | None) -> Response:
    """A page of a list."""
    return answer({"items": items, "next": following})


def finding_filter(
    *,
    code: list[str],
    status: list[str],
    severity: list[str],
    statuses: Sequence[str],
    delivery_id: UUID | None = None,
    post: str | None = None,
    since: datetime | None = None,
) -> FindingFilter:
    """The filter of a list, with its words checked.

    Raises:
        Invalid: a status or severity that does not exist.
    """
    return FindingFilter(
        delivery_id=delivery_id,
        code=split(code),
        status=one_of("status", split(status), statuses),
        severity=one_of("severity", split(severity), SEVERITIES),
        post=post,
        since=since,
    )


def split(values: Sequence[str]) -> list[str]:
    """Repeated and comma-separated values as one list."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def one_of(name: str, values: list[str], allowed: Sequence[str]) -> list[str]:
    """The values, each one of those allowed.

    Raises:
        Invalid: naming those allowed.
    """
    for value in values:
        if value not in allowed:
            raise Invalid.field("query", name, msg=f"give one of {', '.join(allowed)}")
    return values


def parse_box(text: str | None) -> Box | None:
    """``minlon,minlat,maxlon,maxlat`` → a box; minlon above maxlon crosses the 180th meridian.

    Raises:
        Invalid: not four finite degrees in their ranges.
    """
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise _box_error() from None
    in_range = all(abs(v) <= 180 for v in (west, east)) and -90 <= south <= north <= 90
    if not in_range or not all(map(math.isfinite, (west, south, east, north))):
        raise _box_error()
    return west, south, east, north


def _box_error() -> Invalid:
    return Invalid.field(
        "query", "bbox", msg="give minlon,minlat,maxlon,maxlat in degrees, as 76.5,43.0,77.2,43.5"
    )


def locale(
    lang: Annotated[str | None, Query(pattern="^(ru|kk|en)$", description="ru, kk or en")] = None,
    accept_language: Annotated[str | None, Header()] = None,
) -> str:
    """The language of texts: ``lang``, else the first known one of ``Accept-Language``, else en."""
    if lang:
        return lang
    return negotiate_locale(_preferred(accept_language or ""), LOCALES, sep="-") or "en"


def _preferred(header: str) -> list[str]:
    """The languages of an ``Accept-Language`` header, the most wanted first."""
    weighted = []
    for place, part in enumerate(header.split(",")[:20]):
        tag, _, weight = part.partition(";q=")
        try:
            weighted.append((-float(weight or 1), place, tag.strip()))
        except ValueError:
            continue
    return [tag for _, _, tag in sorted(weighted) if tag]
