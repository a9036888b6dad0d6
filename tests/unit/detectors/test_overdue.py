"""``overdue``, word by word (contract detection.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.detectors.trips import episodes, findings, ms, scenery, seconds
from tracker.anomalies import Fold, present, whole
from tracker.model import Around, Basis, Severity

DEADLINE_S = 3600.0


def overdue(now_s: float, **more: Any) -> list[tuple[float | None, float | None]]:
    return episodes([], code="overdue", deadline_s=DEADLINE_S, now_s=now_s, **more)


@pytest.mark.parametrize(("now_s", "opens"), [(DEADLINE_S - 0.001, False), (DEADLINE_S, True)])
def test_from_the_deadline_on(now_s: float, opens: bool) -> None:
    assert overdue(now_s) == [(DEADLINE_S, None)] * opens


def test_it_ends_with_the_arrival() -> None:
    assert overdue(10_000, arrived_ms=ms(5000)) == [(DEADLINE_S, 5000)]


@pytest.mark.parametrize("arrived_s", [100, DEADLINE_S])
def test_an_arrival_in_time_is_not_late_however_late_it_is_entered(arrived_s: float) -> None:
    assert overdue(10_000, arrived_ms=ms(arrived_s)) == []


@pytest.mark.parametrize("plan", [{"released_ms": None}, {"cancelled": True}])
def test_what_does_not_move_cannot_be_late(plan: dict[str, Any]) -> None:
    assert overdue(10_000, **plan) == []


def test_it_depends_on_the_clock_and_is_provisional_while_open() -> None:
    (late,) = findings([], code="overdue", deadline_s=DEADLINE_S, now_s=4000)
    assert (late.basis, late.severity, late.provisional) == (Basis.CLOCK, Severity.HIGH, True)
    assert late.device is None


def test_the_clock_wakes_at_the_deadline() -> None:
    scene = scenery(deadline_s=DEADLINE_S)
    judged = whole(scene, present(Fold(), scene), (), Around())
    assert seconds(judged.clocks[0]) == DEADLINE_S
