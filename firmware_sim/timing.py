"""Instants as numbers and as text."""

from __future__ import annotations

from datetime import UTC, datetime


def to_ms(at: datetime) -> int:
    """An aware instant as ms UTC."""
    return round(at.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Ms UTC as an aware instant."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def rfc3339(at: datetime) -> str:
    """An aware instant as the API writes it: RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
