"""``non_arrival``, word by word (contract detection.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.detectors.trips import act, episodes, findings, ms, scenery, seconds
from tracker.anomalies import Fold, Limits, present, whole
from tracker.model import ActKind, Around, Basis, Severity

DEADLINE_S = 3600.0
START_S = DEADLINE_S + 24 * 3600.0


def missing(now_s: float, **more: Any) -> list[tuple[float | None, float | None]]:
    return episodes([], code="non_arrival", deadline_s=DEADLINE_S, now_s=now_s, **more)


@pytest.mark.parametrize(("now_s", "opens"), [(START_S - 0.001, False), (START_S, True)])
def test_from_the_deadline_and_the_enquiry_clock_on(now_s: float, opens: bool) -> None:
    assert missing(now_s) == [(START_S, None)] * opens


def test_the_enquiry_clock_is_a_setting() -> None:
    short = Limits(enquiry_s=60.0)
    assert missing(DEADLINE_S + 60, limits=short) == [(DEADLINE_S + 60, None)]


def test_it_ends_with_the_arrival() -> None:
    assert missing(START_S * 2, arrived_ms=ms(START_S + 5)) == [(START_S, START_S + 5)]


def test_it_ends_with_the_result_of_an_enquiry() -> None:
    result = act(ActKind.ENQUIRY_RESULT, START_S + 7, result="non_delivery")
    assert missing(START_S * 2, acts=[result]) == [(START_S, START_S + 7)]
    begun = act(ActKind.ENQUIRY, START_S + 7)
    assert missing(START_S * 2, acts=[begun]) == [(START_S, None)]


@pytest.mark.parametrize("arrived_s", [100, DEADLINE_S + 100, START_S])
def test_who_came_before_is_not_missing(arrived_s: float) -> None:
    assert missing(START_S * 2, arrived_ms=ms(arrived_s)) == []


@pytest.mark.parametrize("plan", [{"released_ms": None}, {"cancelled": True}])
def test_what_does_not_move_cannot_be_missing(plan: dict[str, Any]) -> None:
    assert missing(START_S * 2, **plan) == []


def test_it_is_critical_and_provisional_while_open() -> None:
    (found,) = findings([], code="non_arrival", deadline_s=DEADLINE_S, now_s=START_S)
    assert (found.basis, found.severity, found.provisional) == (
        Basis.CLOCK,
        Severity.CRITICAL,
        True,
    )
    assert (found.device, found.evidence["enquiry_s"]) == (None, 86_400)


def test_the_clock_wakes_at_its_start() -> None:
    scene = scenery(deadline_s=DEADLINE_S, now_s=DEADLINE_S)
    judged = whole(scene, present(Fold(), scene), (), Around())
    assert seconds(judged.clocks[0]) == START_S
