"""``seal_state_conflict``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import act, episodes, findings, record, reseal
from tracker.model import ActKind, Observation, Severity

conflicts = partial(episodes, code="seal_state_conflict")
Fields = dict[str, Any]
each = pytest.mark.parametrize(
    ("event", "broken", "whole"),
    [
        pytest.param({"event": "rope_cut"}, {"rope": "cut"}, {"rope": "in"}, id="rope"),
        pytest.param({"event": "case_open"}, {"case": "open"}, {"case": "closed"}, id="case"),
    ],
)


def seal(at_s: float, fields: Fields) -> Observation:
    return record(at_s, kind="seal", **fields)


@each
def test_whole_again_with_nobody_to_reseal(event: Fields, broken: Fields, whole: Fields) -> None:
    for says in (event, broken):
        trip = [seal(0, whole), seal(60, says), seal(120, whole), seal(180, whole)]
        assert conflicts(trip) == [(120, None)]


@each
def test_an_officer_between_makes_it_right(event: Fields, broken: Fields, whole: Fields) -> None:
    trip = [seal(60, broken), seal(120, whole)]
    assert conflicts(trip, acts=[reseal(90)]) == []
    assert conflicts(trip, acts=[reseal(30)]) == [(120, None)]
    others = [kind for kind in ActKind if kind is not ActKind.RESEAL]
    assert conflicts(trip, acts=[act(kind, 90) for kind in others]) == [(120, None)]


@each
def test_an_officer_afterwards_ends_it(event: Fields, broken: Fields, whole: Fields) -> None:
    trip = [seal(60, broken), seal(120, whole)]
    assert conflicts(trip, acts=[reseal(200)], now_s=250) == [(120, 200)]
    assert conflicts(trip, acts=[reseal(200)], now_s=150) == [(120, None)]
    again = [*trip, seal(300, broken), seal(360, whole)]
    assert conflicts(again, acts=[reseal(200)]) == [(120, 200), (360, None)]


@each
def test_broken_and_still_broken_agree(event: Fields, broken: Fields, whole: Fields) -> None:
    assert conflicts([seal(60, broken), seal(120, broken), seal(180, event)]) == []


@each
def test_one_record_does_not_contradict_itself(
    event: Fields, broken: Fields, whole: Fields
) -> None:
    assert conflicts([seal(60, event | whole)]) == []


def test_a_rope_taken_out_and_put_in_is_no_conflict() -> None:
    words = ("in", "out", "in", "?")
    assert conflicts([seal(n * 60, {"rope": word}) for n, word in enumerate(words)]) == []
    assert conflicts([seal(0, {"rope": "cut"}), seal(60, {"rope": "out"})]) == []


def test_rope_and_case_are_apart_and_both_named() -> None:
    assert conflicts([seal(60, {"rope": "cut"}), seal(120, {"case": "closed"})]) == []
    trip = [seal(60, {"rope": "cut", "case": "open"}), seal(120, {"rope": "in", "case": "closed"})]
    (found,) = findings(trip, code="seal_state_conflict")
    assert found.evidence["parts"] == ["case", "rope"]
    assert found.evidence["broken_since_ms"] == dict.fromkeys(("case", "rope"), trip[0].t_ms)
    assert found.severity is Severity.HIGH
