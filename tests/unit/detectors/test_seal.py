"""``seal_cut`` and ``seal_body_open``, word by word (contract detection.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.detectors.trips import act, at, episodes, findings, record, reseal
from tracker.model import ActKind, Observation, Severity

KINDS = [
    pytest.param("seal_cut", {"event": "rope_cut"}, {"rope": "cut"}, {"rope": "in"}, id="rope"),
    pytest.param(
        "seal_body_open", {"event": "case_open"}, {"case": "open"}, {"case": "closed"}, id="case"
    ),
]
each = pytest.mark.parametrize(("code", "event", "state", "whole"), KINDS)
Fields = dict[str, Any]


def seal(at_s: float, fields: Fields) -> Observation:
    return record(at_s, kind="seal", **fields)


@each
def test_event_and_state_each_open_it(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    for says in (event, state):
        trip = [seal(0, whole), seal(60, says), seal(120, says)]
        assert episodes(trip, code=code) == [(60, None)]


@each
def test_it_starts_with_the_first_record_that_says_so(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    (cut,) = findings([seal(60, state), seal(90, event)], code=code)
    assert cut.start_ms == seal(60, state).t_ms
    assert cut.severity is Severity.CRITICAL
    assert cut.evidence["by"] == "event"
    assert cut.evidence["records"] == 2


@each
def test_a_seal_that_calls_itself_whole_again_is_not(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    assert episodes([seal(60, state), seal(90, whole)], code=code) == [(60, None)]


@each
def test_only_an_officer_makes_it_whole(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    trip = [seal(60, event), seal(300, whole)]
    assert episodes(trip, code=code, acts=[reseal(200)]) == [(60, 200)]
    others = [kind for kind in ActKind if kind is not ActKind.RESEAL]
    assert episodes(trip, code=code, acts=[act(kind, 200) for kind in others]) == [(60, None)]


@each
def test_an_officer_after_the_last_record_closes_it_too(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    trip = [seal(60, event)]
    assert episodes(trip, code=code, acts=[reseal(200)], now_s=250) == [(60, 200)]
    assert episodes(trip, code=code, acts=[reseal(200)], now_s=150) == [(60, None)]


@each
def test_a_resealing_before_the_cut_closes_nothing(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    assert episodes([seal(60, event)], code=code, acts=[reseal(30)], now_s=999) == [(60, None)]


@each
def test_cut_again_after_the_resealing_is_a_second_episode(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    trip = [seal(60, event), seal(180, state), seal(300, state)]
    assert episodes(trip, code=code, acts=[reseal(200), reseal(400)]) == [(60, 200), (300, None)]


@each
def test_a_record_without_a_time_of_its_own_counts(
    code: str, event: Fields, state: Fields, whole: Fields
) -> None:
    untimed = record(60, kind="seal", timed=False, **event)
    assert episodes([seal(0, whole), untimed], code=code) == [(60, None)]


def test_rope_and_case_are_apart() -> None:
    trip = [seal(60, {"event": "rope_cut"})]
    assert episodes(trip, code="seal_body_open") == []


def test_other_words_of_a_seal_open_nothing() -> None:
    trip = [seal(n, {"rope": word, "case": word}) for n, word in enumerate(("in", "out", "?"))]
    assert episodes(trip, code="seal_cut") == []
    assert episodes(trip, code="seal_body_open") == []


def test_the_last_valid_position_is_the_place() -> None:
    trip = [at(0, 1000), seal(60, {"rope": "cut"}), at(120, 3000)]
    (cut,) = findings(trip, code="seal_cut")
    fix = trip[0].fix
    assert fix is not None
    assert cut.evidence["last_position"] == [fix.lon, fix.lat]
