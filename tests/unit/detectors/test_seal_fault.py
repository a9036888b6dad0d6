"""``seal_fault``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import episodes, findings, record
from tracker.model import Observation, Severity

faults = partial(episodes, code="seal_fault")
FAULT: list[dict[str, Any]] = [
    {"event": "motor_fault"},
    {"event": "selftest_fail"},
    {"lock": "stuck"},
]
each = pytest.mark.parametrize("fault", FAULT)


def seal(at_s: float, **fields: Any) -> Observation:
    return record(at_s, kind="seal", **fields)


def healthy(*times: float) -> list[Observation]:
    return [seal(at_s, lock="locked") for at_s in times]


@each
def test_each_opens_it(fault: dict[str, Any]) -> None:
    assert faults([*healthy(0), seal(60, **fault)]) == [(60, None)]


@each
def test_ten_healthy_minutes_close_it_at_their_first_record(fault: dict[str, Any]) -> None:
    trip = [seal(60, **fault), *healthy(120, 400)]
    assert faults([*trip, *healthy(719.999)]) == [(60, None)]
    assert faults([*trip, *healthy(720)]) == [(60, 120)]


@each
def test_a_fault_in_between_begins_the_ten_minutes_anew(fault: dict[str, Any]) -> None:
    trip = [seal(60, **fault), *healthy(120), seal(600, **fault), *healthy(660, 1259)]
    assert faults(trip) == [(60, None)]
    assert faults([*trip, *healthy(1260)]) == [(60, 660)]


def test_a_lock_that_was_stuck_must_be_said_not_to_be() -> None:
    silent = [seal(60 + n * 60, battery_pct=80.0) for n in range(1, 20)]
    assert faults([seal(60, lock="stuck"), *silent]) == [(60, None)]
    assert faults([seal(60, event="motor_fault"), *silent]) == [(60, 120)]


def test_other_words_and_events_open_nothing() -> None:
    trip = [seal(n * 60, lock=word) for n, word in enumerate(("open", "locked", "?"))]
    assert faults([*trip, seal(300, event="shock"), seal(360, event="unlock_denied")]) == []


def test_an_event_without_a_time_counts_but_proves_no_health() -> None:
    untimed = seal(60, timed=False, event="selftest_fail")
    assert faults([untimed, *healthy(120)]) == [(60, None)]
    mute = [seal(60, event="motor_fault"), seal(120, timed=False, event="shock"), seal(720)]
    assert faults(mute) == [(60, None)]


def test_evidence_names_each_kind() -> None:
    (fault,) = findings(
        [seal(60, event="motor_fault", lock="stuck"), seal(90, event="selftest_fail")],
        code="seal_fault",
    )
    assert fault.evidence == {
        "faults": ["lock_stuck", "motor_fault", "selftest_fail"],
        "records": 2,
    }
    assert fault.severity is Severity.MEDIUM
