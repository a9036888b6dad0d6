"""``unloading_signature``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import (
    act,
    at,
    episodes,
    findings,
    ms,
    record,
    scenery,
    seconds,
    zone,
)
from tracker.anomalies import Fold, present, whole
from tracker.model import ActKind, Around, Basis, Finding, Observation, Severity

signatures = partial(episodes, code="unloading_signature")
SEAL_EVENTS: list[dict[str, Any]] = [
    {"rope": "cut"},
    {"event": "case_open"},
    {"event": "unlock_ok"},
]


def stop(first_s: float = 600, last_s: float = 1800, **more: Any) -> list[Observation]:
    """A record a minute at one place."""
    times = range(round(first_s), round(last_s) + 1, 60)
    return [at(float(t), 10_000, moving=False, **more) for t in times]


def gone(at_s: float) -> list[Observation]:
    return [at(at_s, 20_000, moving=True), at(at_s + 60, 21_000, moving=True)]


TRIP = [*stop(), *gone(2100)]


@pytest.mark.parametrize("event", SEAL_EVENTS)
@pytest.mark.parametrize(
    ("at_s", "found"), [(599, False), (600, True), (1000, True), (1800, True), (1801, False)]
)
def test_a_seal_event_in_a_stop(event: dict[str, Any], at_s: float, found: bool) -> None:
    trip = [*TRIP, record(at_s, seq=1, device="seal-1", **event)]
    shown = signatures(trip, devices=("gps-1", "seal-1"))
    assert shown == [(600, 1800)] * found


def test_a_stop_alone_is_none_and_neither_is_an_event_alone() -> None:
    assert signatures(TRIP) == []
    assert signatures([at(n * 60.0, n * 1000, rope="cut") for n in range(9)]) == []


def test_a_stop_in_an_allowed_zone_is_none() -> None:
    parked = stop(zones=[zone("parking")])
    assert signatures([*parked, record(1000, seq=1, rope="cut"), *gone(2100)]) == []


def test_silence_within_the_stop() -> None:
    trip = [*stop(600, 900), *stop(9000, 9300), *gone(9600)]
    assert signatures(trip) == [(600, 9300)]
    (found,) = findings(trip, code="unloading_signature")
    assert found.severity is Severity.CRITICAL
    assert (found.basis, found.provisional) == (Basis.DATA, False)
    (part,) = found.evidence["parts"]
    assert (part["code"], part["start_ms"], part["end_ms"]) == ("silence", ms(900), ms(9000))


def test_silence_that_begins_with_the_last_fix_of_the_stop() -> None:
    assert signatures([*stop(), *gone(9000)]) == [(600, 1800)]


def test_a_silence_that_only_the_clock_shows_is_no_part() -> None:
    trip = stop()
    assert episodes(trip, code="silence", now_s=9000) == [(1800, None)]
    assert signatures(trip, now_s=9000) == []


def test_an_open_stop_with_a_cut_is_open() -> None:
    assert signatures([*stop(), record(1000, seq=1, rope="cut")]) == [(600, None)]


@pytest.mark.parametrize("code", ["separation", "jamming", "silence"])
@pytest.mark.parametrize(
    ("span_s", "found"),
    [((0, 599), False), ((0, 600), True), ((700, 800), True), ((1800, None), True),
     ((1801, None), False), ((0, None), True)],
)  # fmt: skip
def test_spans_that_overlap_the_stop(
    code: str, span_s: tuple[float, float | None], found: bool
) -> None:
    def finding(code: str, start_s: float, end_s: float | None) -> Finding:
        return Finding(
            code=code,
            device="gps-1",
            severity=Severity.MEDIUM,
            basis=Basis.DATA,
            start_ms=ms(start_s),
            end_ms=None if end_s is None else ms(end_s),
        )

    standing = [finding("unauthorised_stop", 600, 1800), finding(code, *span_s)]
    scene = scenery(now_s=5000)
    judged = whole(scene, present(Fold(), scene), standing, Around())
    shown = [f for f in judged.findings if f.code == "unloading_signature"]
    assert [(seconds(f.start_ms), seconds(f.end_ms)) for f in shown] == [(600, 1800)] * found


def test_other_findings_make_no_signature() -> None:
    trip = [*TRIP, record(1000, seq=1, battery_pct=3.0, event="motor_fault")]
    assert signatures(trip) == []


def test_parts_are_named_in_order() -> None:
    trip = [*TRIP, record(1100, seq=1, case="open"), record(1000, seq=2, rope="cut")]
    (found,) = findings(trip, code="unloading_signature", acts=[act(ActKind.RESEAL, 1500)])
    parts = [
        (p["code"], seconds(p["start_ms"]), seconds(p["end_ms"])) for p in found.evidence["parts"]
    ]
    assert parts == [("seal_cut", 1000, 1500), ("seal_body_open", 1100, 1500)]
    assert found.evidence["stop"]["start_ms"] == ms(600)
    assert found.evidence["count"] == 2
