"""What all reading queries share: whose deliveries may be seen, pages, times of the API."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tracker.errors import Invalid

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose deliveries a caller may know of; ``carrier`` None: all.

    Queries take it as ``%(scope_carrier)s`` and compare it with ``deliveries.carrier_id``.
    """

    carrier: UUID | None = None

    def params(self) -> Row:
        """The query parameters that carry the scope."""
        return {"scope_carrier": self.carrier}

    def sees(self, carrier_id: UUID | None) -> bool:
        """Whether a delivery of this carrier may be seen."""
        return self.carrier is None or self.carrier == carrier_id


EVERYTHING = Scope()


def rfc3339(at: datetime | None) -> str | None:
    """An aware datetime as RFC 3339 in UTC with milliseconds."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---------------------------------------------------------------- pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How much of a list to read, and after which key; ``after`` None: from the start."""

    limit: int
    after: tuple[Any, ...] | None = None


def encode_cursor(key: Sequence[Any]) -> str:
    """A sort key as an opaque cursor."""
    text = json.dumps([_plain(part) for part in key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *parts: Callable[[Any], Any]) -> tuple[Any, ...] | None:
    """A cursor → its key, each part read by one of ``parts``.

    Raises:
        Invalid: it is no cursor of this list.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        return tuple(read(value) for read, value in zip(parts, values, strict=True))
    except (ValueError, TypeError, ArithmeticError, binascii.Error) as exc:
        raise Invalid.field(
            "query", "cursor", msg="not a cursor of this list: pass `next` back as it came"
        ) from exc


def int64(value: Any) -> int:
    """A whole number that PostgreSQL's bigint holds, as a part of a cursor."""
    number = int(value)
    if abs(number) >= 2**63:
        raise ValueError("beyond 64 bits")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int | float | str | None) else str(value)


def page_of(
    rows: Sequence[Row], limit: int, key: Callable[[Row], Sequence[Any]]
) -> tuple[Sequence[Row], str | None]:
    """Cut ``limit + 1`` rows to a page and the cursor of the next one."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(key(rows[limit - 1]))
