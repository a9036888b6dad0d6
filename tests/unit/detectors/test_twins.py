"""A device in two places: record by record it finds what the rule over all sightings finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.detectors.trips import at, scenery
from tracker.anomalies import Fold, Limits, fold, present, traces_in
from tracker.detectors.identity import Sighting, two_places
from tracker.model import Finding, Observation


def traces(trip: list[Observation], limits: Limits | None = None) -> list[Finding]:
    scene = scenery(now_s=10_000, limits=limits)
    state, over = fold(Fold(), trip, scene)
    left = traces_in((*over, *present(state, scene).findings))
    return [trace for trace in left if trace.code == "trace_two_places"]


def sightings(trip: list[Observation]) -> list[Sighting]:
    return [
        Sighting(
            device=o.device, gen=o.gen, seq=o.seq, fix_ms=o.fix.fix_ms,
            lon=o.fix.lon, lat=o.fix.lat, acc_m=o.fix.acc_m,
        )
        for o in trip if o.fix is not None
    ]  # fmt: skip


def test_there_back_and_there_again_is_two_places() -> None:
    trip = [at(60 * n, 500 * n, 100_000 * (n % 2)) for n in range(4)]
    (found,) = traces(trip)
    assert (found.start_ms, found.end_ms) == (trip[1].t_ms, None)
    assert traces(trip[:3]) == []


def test_the_number_of_switches_in_force_counts() -> None:
    trip = [at(60 * n, 500 * n, 100_000 * (n % 2)) for n in range(4)]
    assert traces(trip, Limits(two_places_switches=4)) == []
    assert len(traces(trip[:3], Limits(two_places_switches=2))) == 1


def test_one_jump_is_none_whether_it_holds_or_not() -> None:
    assert traces([at(0), at(60, 0, 100_000), *(at(60 * n) for n in range(2, 60))]) == []
    assert traces([at(0), *(at(60 * n, 0, 100_000) for n in range(1, 90))]) == []


@pytest.mark.parametrize(("apart_m", "told"), [(990, 0), (1010, 1)])
def test_a_receiver_that_wavers_between_sky_and_reflection_is_one(
    apart_m: float, told: int
) -> None:
    trip = [at(n, 10 * n, apart_m * (n % 2)) for n in range(20)]
    assert len(traces(trip)) == told
    assert len(two_places(sightings(trip))) == told


def test_how_near_is_one_place_is_a_threshold() -> None:
    trip = [at(n, 10 * n, 250 * (n % 2)) for n in range(20)]
    assert len(traces(trip, Limits(two_places_m=200))) == 1


def test_what_the_device_itself_calls_forged_is_left_out() -> None:
    trip = [at(60 * n, 0, 100_000 * (n % 2), spoof=bool(n % 2)) for n in range(9)]
    assert traces(trip) == []


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 30, 60, 600]), st.sampled_from([0, 0, 100_000])), max_size=25
    ),
    st.integers(1, 6),
)
@settings(max_examples=300, deadline=None)
def test_record_by_record_it_finds_what_all_sightings_show(
    steps: list[tuple[int, int]], switches: int
) -> None:
    limits = Limits(two_places_switches=switches)
    now_s, trip = 0, []
    for gap_s, off_m in steps:
        now_s += gap_s
        trip.append(at(now_s, 5 * now_s, off_m))
    whole = [(f.start_ms, f.end_ms, f.evidence) for f in two_places(sightings(trip), limits)]
    assert [(f.start_ms, f.end_ms, f.evidence) for f in traces(trip, limits)] == whole
