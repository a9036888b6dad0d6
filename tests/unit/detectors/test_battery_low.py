"""``battery_low``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.detectors.trips import episodes, findings, record
from tracker.model import Observation, Severity

lows = partial(episodes, code="battery_low")


def readings(*percents: float | None) -> list[Observation]:
    return [record(60 * n, battery_pct=percent) for n, percent in enumerate(percents)]


@pytest.mark.parametrize(("percent", "opens"), [(15, False), (14.9, True)])
def test_under_fifteen_opens_it(percent: float, opens: bool) -> None:
    assert bool(lows(readings(80, percent))) is opens


@pytest.mark.parametrize(("percent", "end"), [(19.9, None), (20, 120)])
def test_twenty_closes_it(percent: float, end: float | None) -> None:
    assert lows(readings(80, 12, percent)) == [(60, end)]


@pytest.mark.parametrize(
    ("percent", "severity"), [(14, Severity.LOW), (5.1, Severity.LOW), (5, Severity.HIGH)]
)
def test_five_percent_weighs_more(percent: float, severity: Severity) -> None:
    (low,) = findings(readings(80, 12, percent, 13), code="battery_low")
    assert low.severity is severity
    assert low.evidence == {"lowest_pct": min(12, percent), "newest_pct": 13}


def test_records_that_say_nothing_of_the_battery_change_nothing() -> None:
    assert lows(readings(None, 12, None, None, 25, None)) == [(60, 240)]


def test_low_again_is_a_second_episode() -> None:
    assert lows(readings(12, 20, 16, 14)) == [(0, 60), (180, None)]
