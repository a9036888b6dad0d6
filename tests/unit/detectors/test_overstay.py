"""``overstay``, word by word (contract detection.md), and the trace of a stop."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.detectors.trips import at, episodes, scenery, seconds, zone
from tracker.anomalies import RULES, Fold, fold, present, traces_in
from tracker.model import Finding, Observation, Severity, ZoneHit

overstays = partial(episodes, code="overstay")
MINUTE = 60
HOUR = 3600
PARKING = zone("parking", "P", 3600)


def standing(*minutes: float, zones: list[ZoneHit] | None = None) -> list[Observation]:
    inside = [PARKING] if zones is None else zones
    return [at(m * MINUTE, zones=inside) for m in minutes]


def leaving(from_min: float) -> list[Observation]:
    return [at((from_min + n) * MINUTE, 5000 + 1000 * n) for n in range(2)]


@pytest.mark.parametrize(("last_s", "opens"), [(HOUR, False), (HOUR + 0.001, True)])
def test_longer_than_the_designated_time_opens_it_when_that_is_up(
    last_s: float, opens: bool
) -> None:
    trip = [*standing(0, 30), at(last_s, zones=[PARKING])]
    assert overstays(trip) == ([(HOUR, None)] if opens else [])


def test_it_ends_with_the_last_fix_inside() -> None:
    trip = standing(0, 30, 90, 100)
    assert overstays(trip + leaving(120)) == [(HOUR, 100 * MINUTE)]
    assert overstays(standing(0, 30, 60) + leaving(120)) == []


def test_of_overlapping_zones_the_longest_time_counts() -> None:
    both = [PARKING, zone("rest", "R", 7200)]
    assert overstays(standing(0, 60, 120, zones=both)) == []
    assert overstays(standing(0, 60, 121, zones=both)) == [(2 * HOUR, None)]
    apart = [*standing(0, 60, zones=[PARKING]), *standing(119, 121, zones=both[1:])]
    assert overstays(apart) == [(2 * HOUR, None)]


def test_a_zone_without_a_designated_time_has_no_end_of_it() -> None:
    assert overstays(standing(0, 600, zones=[zone("parking", "free")])) == []
    assert overstays(standing(0, 600, zones=[PARKING, zone("rest", "free")])) == []


def test_a_stop_that_zones_do_not_authorise_is_no_overstay() -> None:
    outside = [at(m * MINUTE) for m in (10, 20, 80)]
    assert overstays([*standing(0, 90), *outside]) == []
    assert overstays([*standing(0, 40, 90), *outside]) == [(HOUR, None)], "half of them"


def test_a_zone_that_allows_no_stop_designates_no_time() -> None:
    restricted = zone("restricted", "X", 600)
    assert overstays(standing(0, 60, 90, zones=[restricted])) == []
    assert overstays(standing(0, 60, 90, zones=[restricted, PARKING])) == [(HOUR, None)]


def test_evidence_says_how_long_and_where() -> None:
    trip = standing(0, 30, 90)
    scene = scenery(now_s=90 * MINUTE)
    (found,) = present(fold(Fold(), trip, scene)[0], scene).findings
    assert (found.code, found.severity) == ("overstay", Severity.LOW)
    assert found.evidence == {
        "duration_s": 1800,
        "designated_s": 3600,
        "stood_s": 5400,
        "fixes": 3,
        "fixes_in_allowed_zones": 3,
        "zones": ["P"],
    }


# ---------------------------------------------------------------- the trace of a stop


def traces(trip: list[Observation]) -> list[Finding]:
    scene = scenery(now_s=10**6)
    state, over = fold(Fold(), trip, scene)
    return list(traces_in((*over, *present(state, scene).findings)))


@pytest.mark.parametrize(("last_min", "left"), [(9.99, False), (10, True)])
def test_ten_minutes_outside_zones_leave_a_trace(last_min: float, left: bool) -> None:
    found = traces(standing(0, 5, last_min, zones=[]))
    assert [(f.code, seconds(f.start_ms), f.end_ms) for f in found] == (
        [("trace_stop", 0, None)] if left else []
    )


def test_it_ends_with_the_run_and_lies_at_the_anchor() -> None:
    trip = standing(0, 5, 12, zones=[])
    (found,) = traces(trip + leaving(20))
    anchor = trip[0].fix
    assert anchor is not None
    assert seconds(found.end_ms) == 12 * MINUTE
    assert found.geometry == {"type": "Point", "coordinates": [anchor.lon, anchor.lat]}
    assert found.evidence["fixes"] == 3


def test_a_stop_that_zones_explain_leaves_none() -> None:
    assert traces(standing(0, 5, 12)) == []
    assert traces([*standing(0, 5), *standing(10, 12, zones=[])]) == []
    assert len(traces([*standing(0, 5), *standing(10, 12, 14, zones=[])])) == 1


def test_a_trace_is_no_anomaly() -> None:
    assert not any(code.startswith("trace_") for code in RULES)
