"""Jamming: word by word of the contract, at its exact edges."""

from __future__ import annotations

import pytest

from tests.unit.detectors.trips import at, episodes, findings, ms, place, record, scenery, seconds
from tracker.anomalies import Fold, fold, present, traces_in
from tracker.detectors.radio import cell_of
from tracker.model import Finding, Observation


def jam(at_s: float, level: int | None, **more: object) -> Observation:
    return at(at_s, 20 * at_s, jam=level, **more)


def shown(trip: list[Observation]) -> list[tuple[float | None, float | None]]:
    return episodes(trip, code="jamming")


def test_strong_jamming_opens_at_once() -> None:
    assert shown([jam(0, 0), jam(30, 2)]) == [(30, None)]


def test_the_event_opens_at_once_without_a_level() -> None:
    assert shown([jam(0, 0), record(30, event="jam_on")]) == [(30, None)]


def test_weak_jamming_opens_after_three_minutes_from_its_first_record() -> None:
    run = [jam(s, 1) for s in (10, 60, 120, 190)]
    assert shown(run) == [(10, None)]
    assert shown([*run[:-1], jam(189.999, 1)]) == []


def test_a_clear_record_breaks_a_weak_run() -> None:
    assert shown([jam(0, 1), jam(90, 0), jam(100, 1), jam(200, 1)]) == []


def test_records_that_do_not_state_it_break_nothing() -> None:
    assert shown([jam(0, 1), jam(90, None), record(100), jam(180, 1)]) == [(0, None)]


def test_it_closes_at_the_first_of_three_clear_minutes() -> None:
    trip = [jam(0, 2), jam(60, 0), jam(120, None), jam(180, 0), jam(240, 0)]
    assert shown(trip) == [(0, 60)]
    assert shown(trip[:-1]) == [(0, None)]


def test_any_jamming_breaks_a_clear_run() -> None:
    trip = [jam(0, 2), jam(60, 0), jam(180, 1), jam(200, 0), jam(379, 0)]
    assert shown(trip) == [(0, None)]
    assert shown([*trip, jam(380, 0)]) == [(0, 200)]


def test_the_event_closes_at_once() -> None:
    assert shown([jam(0, 2), record(60, event="jam_off")]) == [(0, 60)]
    assert shown([jam(0, 2), record(60, event="jam_off"), jam(90, 2)]) == [(0, 60), (90, None)]


def test_strong_after_weak_opens_by_itself() -> None:
    (found,) = findings([jam(0, 1), jam(60, 2)], code="jamming")
    assert seconds(found.start_ms) == 60
    assert found.evidence["weak_since_ms"] == ms(0)


def test_the_evidence_names_the_longest_unaccounted_gap() -> None:
    trip = [at(0, 0, jam=0), record(30, jam=2, no_fix=True), record(600, jam=2, no_fix=True)]
    trip += [at(1230, 10_000, jam=0), at(1500, 15_000, jam=0)]
    (found,) = findings(trip, code="jamming")
    evidence = found.evidence
    assert evidence["last_fix"] == list(place(0))
    assert evidence["next_fix"] == list(place(10_000))
    assert evidence["route_distance_m"] == pytest.approx(10_000, abs=1)
    assert evidence["shortest_min"] == pytest.approx(6.7, abs=0.05)
    assert evidence["slack_min"] == pytest.approx(20.5 - 6.67, abs=0.1)
    assert evidence["cell"] == cell_of(*place(0))
    assert (found.severity, found.end_ms) == ("high", ms(1230))


# ---------------------------------------------------------------- traces


def traces(trip: list[Observation]) -> list[Finding]:
    scene = scenery(now_s=10_000)
    state, over = fold(Fold(), trip, scene)
    return list(traces_in((*over, *present(state, scene).findings)))


def test_a_vehicle_without_a_fix_leaves_a_trace_where_its_last_fix_was() -> None:
    trip = [at(0), record(60, no_fix=True), record(120), at(180)]
    (left,) = [t for t in traces(trip) if t.code == "trace_jam"]
    assert (seconds(left.start_ms), seconds(left.end_ms)) == (60, 180)
    assert left.evidence["cell"] == cell_of(*place(0))


def test_a_device_that_never_had_a_fix_leaves_none() -> None:
    assert [t for t in traces([record(0, no_fix=True)]) if t.code == "trace_jam"] == []
