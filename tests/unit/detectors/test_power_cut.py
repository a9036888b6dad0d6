"""``power_cut``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import at, episodes, findings, record
from tracker.model import Observation, Severity

cuts = partial(episodes, code="power_cut")
SEAL = "seal-1"


def moving(at_s: float, mv: float | None = None, **fields: Any) -> Observation:
    return record(at_s, **{"moving": True, "external_mv": mv} | fields)


@pytest.mark.parametrize(("mv", "opens"), [(7000, False), (6999, True), (0, True)])
def test_below_seven_volts_while_moving(mv: float, opens: bool) -> None:
    assert cuts([moving(0, 24_000), moving(60, mv)]) == [(60, None)] * opens
    assert cuts([moving(60, mv)]) == [(60, None)] * opens


@pytest.mark.parametrize("mv", [0, 6999])
def test_standing_is_no_cut(mv: float) -> None:
    assert cuts([moving(0, 24_000), record(60, moving=False, external_mv=mv)]) == []
    assert cuts([record(60, external_mv=mv)]) == []


def test_motion_is_as_last_stated_or_as_the_fix_shows() -> None:
    assert cuts([moving(0), record(60, external_mv=5000.0)]) == [(60, None)]
    assert cuts([record(0, moving=False), record(60, external_mv=5000.0)]) == []
    fast = at(60, 0, external_mv=5000.0)
    assert fast.fix is not None
    assert cuts([fast]) == []


@pytest.mark.parametrize(("mv", "closes"), [(9999, False), (10_000, True), (24_000, True)])
def test_ten_volts_close_it(mv: float, closes: bool) -> None:
    end_s = 120 if closes else None
    assert cuts([moving(60, 5000), moving(120, mv)]) == [(60, end_s)]
    standing = record(120, moving=False, external_mv=float(mv))
    assert cuts([moving(60, 5000), standing]) == [(60, end_s)]


def test_events_each_way() -> None:
    trip = [record(60, event="ext_cut"), record(120), record(180, event="ext_ok")]
    assert cuts(trip[:2]) == [(60, None)]
    assert cuts(trip) == [(60, 180)]
    (found,) = findings(trip, code="power_cut")
    assert found.evidence == {"by": "event", "lowest_mv": None}
    assert found.severity is Severity.MEDIUM


def test_the_event_counts_for_more_than_the_reading_beside_it() -> None:
    assert cuts([moving(60, 24_000, event="ext_cut"), moving(120, 100)]) == [(60, None)]
    assert cuts([moving(60, 100), moving(120, 100, event="ext_ok")]) == [(60, 120)]


def test_an_event_without_a_time_counts() -> None:
    assert cuts([moving(0), record(0, seq=9, timed=False, event="ext_cut")]) == [(0, None)]


def test_a_seal_has_no_supply_to_lose_unless_it_had_one() -> None:
    def seal(at_s: float, mv: float, **fields: Any) -> Observation:
        return moving(at_s, mv, device=SEAL, kind="seal", **fields)

    on_it: dict[str, Any] = {"devices": (SEAL,)}
    assert cuts([seal(n * 60, 0) for n in range(9)], **on_it) == []
    assert cuts([seal(0, 12_000), seal(60, 0)], **on_it) == [(60, None)]
    assert cuts([seal(0, 0, event="ext_cut")], **on_it) == [(0, None)]


def test_each_cut_is_an_episode() -> None:
    trip = [moving(n * 60, mv) for n, mv in enumerate((24e3, 1e3, 5e2, 24e3, 2e3))]
    assert cuts(trip) == [(60, 180), (240, None)]
    first, _ = findings(trip, code="power_cut")
    assert first.evidence == {"by": "voltage", "lowest_mv": 500.0}
