"""Which records may leave the database, and which stay as evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from msgspec import Struct

from tracker.deliveries import Status

WEEK: Final = timedelta(weeks=1)

LET_GO: Final = frozenset({Status.COMPLETED, Status.CANCELLED})
"""Deliveries that ended well. A discrepancy and a non-delivery are cases, however old."""

UNRESOLVED: Final = frozenset({"open", "acknowledged"})
CONFIRMED: Final = "confirmed"
"""Alerts that nobody has resolved, or whose finding stands, hold their delivery's records."""


class Week(Struct, frozen=True, kw_only=True, order=True):
    """A partition of telemetry: the records received from this Monday on, for a week (UTC)."""

    monday: date

    @property
    def start(self) -> datetime:
        """The first instant of the week."""
        return datetime.combine(self.monday, time(), UTC)

    @property
    def end(self) -> datetime:
        """The first instant after the week."""
        return self.start + WEEK


def cutoff(now: datetime, days: float) -> datetime | None:
    """Records received before it may go; None: none ever may."""
    return now - timedelta(days=days) if days > 0 else None


def due(weeks: Iterable[Week], now: datetime, days: int) -> list[Week]:
    """The weeks whose last record has passed the age, the oldest first."""
    before = cutoff(now, days)
    return [] if before is None else sorted(week for week in weeks if week.end <= before)


def holds(
    *,
    status: str,
    ended_at: datetime | None,
    alerts: Iterable[tuple[str, str | None]],
    before: datetime,
) -> bool:
    """Whether a delivery's records are to stay.

    It is not finished (``ended_at`` None: a device is bound still), was a case for customs, ended
    after ``before`` (it stays whole or goes whole), or has an alert (status, finding) that is
    unresolved or confirmed.
    """
    if status not in LET_GO or ended_at is None or ended_at > before:
        return True
    return any(state in UNRESOLVED or finding == CONFIRMED for state, finding in alerts)
