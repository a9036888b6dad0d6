"""Which weeks are due, and whose records stay."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deliveries import Status
from tracker.retention import LET_GO, Week, cutoff, due, holds

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
BEFORE = NOW - timedelta(days=100)
WEEKS = [Week(monday=date(2026, 3, 2) - timedelta(weeks=n)) for n in range(20)]


def test_by_default_nothing_is_ever_due() -> None:
    assert cutoff(NOW, 0) is None
    assert due(WEEKS, NOW, 0) == []


@given(st.integers(1, 400))
def test_a_week_is_due_when_its_last_record_is_old_enough_and_the_oldest_comes_first(
    days: int,
) -> None:
    found = due(WEEKS, NOW, days)
    assert found == sorted(found)
    for week in WEEKS:
        youngest = week.end - timedelta(milliseconds=1)
        assert (week in found) == (NOW - youngest > timedelta(days=days))


def test_the_week_of_today_is_never_due() -> None:
    assert WEEKS[0] not in due(WEEKS, NOW, 1)


@pytest.mark.parametrize("status", list(Status))
def test_only_deliveries_that_ended_well_are_let_go(status: Status) -> None:
    old = BEFORE - timedelta(days=1)
    held = holds(status=status, ended_at=old, alerts=[], before=BEFORE)
    assert held is (status not in LET_GO)


@pytest.mark.parametrize(
    ("alert", "held"),
    [
        (("open", None), True),
        (("acknowledged", None), True),
        (("resolved", "confirmed"), True),
        (("resolved", "explained"), False),
        (("resolved", "false"), False),
        (("retracted", None), False),
    ],
)
def test_unresolved_and_confirmed_alerts_hold(alert: tuple[str, str | None], held: bool) -> None:
    old = BEFORE - timedelta(days=1)
    alerts = [("resolved", "technical"), alert]
    assert holds(status=Status.COMPLETED, ended_at=old, alerts=alerts, before=BEFORE) is held


def test_a_delivery_goes_whole_or_stays_whole() -> None:
    kept = {"status": Status.COMPLETED, "alerts": [], "before": BEFORE}
    assert holds(ended_at=None, **kept)
    assert holds(ended_at=BEFORE + timedelta(seconds=1), **kept)
    assert not holds(ended_at=BEFORE, **kept)
