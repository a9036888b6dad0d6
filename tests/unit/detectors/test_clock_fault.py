"""``clock_fault``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import at, episodes, findings, ms, record
from tracker.model import Observation, Severity, TimeFlag

faults = partial(episodes, code="clock_fault")
WRONG = [
    TimeFlag.IMPLAUSIBLE | TimeFlag.FROM_TS,
    TimeFlag.ROLLOVER_CORRECTED | TimeFlag.FROM_FIX,
    TimeFlag.CLOCK_RESET | TimeFlag.FROM_FIX,
    TimeFlag.CLOCK_ROLLOVER | TimeFlag.FROM_FIX,
    TimeFlag.CLOCK_FUTURE | TimeFlag.FROM_FIX,
]
DOUBTFUL = [TimeFlag.CLOCK_PAST, TimeFlag.CLOCK_OFF, TimeFlag.CLOCK_LOCAL_TIME]
each = pytest.mark.parametrize("flags", WRONG, ids=str)


def seen(at_s: float, flags: int = TimeFlag.FROM_FIX, **fields: Any) -> Observation:
    return record(at_s, flags=int(flags), **fields)


@each
def test_from_the_first_implausible_to_the_first_good(flags: TimeFlag) -> None:
    trip = [seen(0), seen(60, flags), seen(120, flags), seen(180), seen(240)]
    assert faults(trip) == [(60, 180)]
    assert faults(trip[:3]) == [(60, None)]


def test_a_good_clock_is_none() -> None:
    trip = [seen(0), seen(60, TimeFlag.FROM_TS), seen(120, TimeFlag.FROM_FIX | TimeFlag.TRACCAR)]
    assert faults(trip) == []


@pytest.mark.parametrize("flags", DOUBTFUL, ids=str)
def test_a_plausible_time_that_is_off_neither_opens_nor_closes(flags: TimeFlag) -> None:
    assert faults([seen(0), seen(60, flags), seen(120)]) == []
    assert faults([seen(0, WRONG[2]), seen(60, flags)]) == [(0, None)]
    assert faults([seen(0, WRONG[2]), seen(60, flags), seen(120)]) == [(0, 120)]


def test_local_time_beside_a_fresh_time_of_the_satellites() -> None:
    local = int(TimeFlag.CLOCK_LOCAL_TIME | TimeFlag.FROM_FIX)
    assert faults([at(0), at(60, 500, flags=local)]) == [(60, None)]
    # The same fix again is an old one, and says nothing of the present.
    again = record(1800, fix=at(0).fix, flags=local)
    assert faults([at(0), again]) == []


def test_a_record_without_any_time() -> None:
    blind = seen(60, TimeFlag.IMPLAUSIBLE, timed=False, ts_ms=1000)
    trip = [seen(60, seq=1), replace_seq(blind, 2), seen(120, seq=3)]
    assert faults(trip) == [(60, 120)]
    (found,) = findings(trip, code="clock_fault")
    assert found.evidence["records_without_time"] == 1
    assert found.evidence["first_offset_s"] is None
    # Good or not, it is known of no time, and ends nothing.
    assert faults([seen(0, WRONG[2]), seen(60, timed=False)]) == [(0, None)]


def replace_seq(one: Observation, seq: int) -> Observation:
    return record(60, seq=seq, flags=one.flags, timed=False, ts_ms=one.ts_ms)


def test_evidence_names_the_fault_and_how_far_it_is_off() -> None:
    ahead = TimeFlag.CLOCK_FUTURE | TimeFlag.FROM_FIX
    trip = [seen(60, ahead, ts_ms=ms(60) + 86_400_000), seen(90, ahead | TimeFlag.CLOCK_RESET)]
    (found,) = findings(trip, code="clock_fault")
    assert found.evidence["faults"] == ["future", "reset"]
    assert found.evidence["first_offset_s"] == 86_400
    assert found.evidence["records"] == 2
    assert found.severity is Severity.LOW
