"""What telemetry says to an incident, and which findings an incident explains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tracker.incidents import (
    AFTER,
    BEFORE,
    COVERS,
    SHOWN_BY,
    IncidentFacts,
    checks,
    confirmed,
    contradicted,
    explains,
    may_end,
)
from tracker.model import Act, ActKind, Basis, Finding, Severity, from_ms, to_ms

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = (76.0, 43.5)
SEEN = IncidentFacts(
    position=HERE, position_at=AT, from_place_m=100.0, outside_m=0.0, moved_m=10.0, has_seal=True
)


def verdicts(code: int, planned: bool = False, **facts: Any) -> list[tuple[str, str]]:
    seen = IncidentFacts(**{n: getattr(SEEN, n) for n in SEEN.__struct_fields__} | facts)
    return [(c.code, c.verdict) for c in checks(code, seen, planned=planned)]


@pytest.mark.parametrize(
    ("code", "facts", "expected"),
    [
        (1, {}, ("route", "contradicts")),
        (1, {"outside_m": 40.0}, ("route", "agrees")),
        (1, {"outside_m": None}, ("route", "unknown")),
        (1, {"standing": frozenset({"route_deviation"})}, ("telemetry", "agrees")),
        (2, {}, ("seals", "contradicts")),
        (2, {"has_seal": False}, ("seals", "unknown")),
        (2, {"standing": frozenset({"seal_cut"})}, ("telemetry", "agrees")),
        (5, {}, ("motion", "agrees")),
        (5, {"moved_m": 501.0}, ("motion", "contradicts")),
        (5, {"moved_m": None}, ("motion", "unknown")),
        (6, {}, ("telemetry", "unknown")),
    ],
)
def test_telemetry_agrees_or_contradicts(
    code: int, facts: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert verdicts(code, **facts)[1] == expected


@pytest.mark.parametrize("code", [3, 4])
def test_goods_are_not_moved_from_a_sealed_vehicle_that_drives(code: int) -> None:
    assert verdicts(code, moved_m=3000.0)[1:] == [
        ("seals", "contradicts"),
        ("motion", "contradicts"),
    ]


def test_what_is_planned_need_not_be_seen_yet() -> None:
    assert verdicts(1, planned=True)[1] == ("telemetry", "unknown")


@pytest.mark.parametrize(
    ("away_m", "verdict"), [(2000.0, "agrees"), (2001.0, "contradicts"), (None, "unknown")]
)
def test_the_place_is_looked_at(away_m: float | None, verdict: str) -> None:
    assert verdicts(6, from_place_m=away_m)[0] == ("place", verdict)


def test_what_shows_an_incident_is_covered_by_it() -> None:
    assert set(COVERS) == set(SHOWN_BY) == {1, 2, 3, 4, 5, 6}
    for code, shown in SHOWN_BY.items():
        assert shown <= COVERS[code]


def test_only_what_telemetry_confirms_ends_an_alert_and_never_a_critical_one() -> None:
    stood = checks(5, SEEN, planned=False)
    assert confirmed(stood)
    assert may_end(Severity.MEDIUM, stood)
    assert not may_end(Severity.CRITICAL, stood)
    drove = checks(5, IncidentFacts(position=HERE, moved_m=9000.0), planned=False)
    assert contradicted(drove)
    assert not may_end(Severity.MEDIUM, drove)
    nothing = checks(5, IncidentFacts(), planned=False)
    assert not contradicted(nothing)
    assert not may_end(Severity.LOW, nothing)


# ---------------------------------------------------------------- what it explains


def incident(**data: Any) -> Act:
    return Act(kind=ActKind.INCIDENT, t_ms=to_ms(AT), data={"code": 5, "text": "tyre"} | data)


def finding(
    code: str = "unauthorised_stop",
    start: timedelta = timedelta(0),
    end: timedelta | None = None,
    at: tuple[float, float] | None = None,
) -> Finding:
    return Finding(
        code=code,
        device="gps-1",
        severity=Severity.MEDIUM,
        basis=Basis.DATA,
        start_ms=to_ms(AT + start),
        end_ms=None if end is None else to_ms(AT + end),
        geometry=None if at is None else {"type": "Point", "coordinates": list(at)},
    )


@pytest.mark.parametrize("code", sorted(frozenset.union(*COVERS.values())))
def test_each_code_speaks_of_its_own_findings(code: str) -> None:
    for number, covered in COVERS.items():
        assert explains(incident(code=number), finding(code)) == (code in covered)


@pytest.mark.parametrize(
    ("start", "end", "explained"),
    [
        (timedelta(0), None, True),
        (AFTER, None, True),
        (AFTER + timedelta(seconds=1), None, False),
        (-BEFORE - timedelta(hours=1), -BEFORE, True),
        (-BEFORE - timedelta(hours=1), -BEFORE - timedelta(seconds=1), False),
        (-BEFORE - timedelta(days=1), None, True),
    ],
)
def test_in_its_time(start: timedelta, end: timedelta | None, explained: bool) -> None:
    assert explains(incident(), finding(start=start, end=end)) == explained


def test_what_was_planned_has_its_own_time() -> None:
    until = (AT + timedelta(hours=1)).isoformat()
    planned = {"kind": "detour", "until": until}
    later = finding("route_deviation", start=timedelta(hours=2))
    soon = finding("route_deviation", start=timedelta(minutes=59))
    assert explains(incident(planned=planned), soon)
    assert not explains(incident(planned=planned), later)
    assert not explains(incident(), soon), "a breakdown explains no detour"


@pytest.mark.parametrize(("lon", "explained"), [(76.0, True), (76.06, True), (76.07, False)])
def test_in_its_place(lon: float, explained: bool) -> None:
    assert explains(incident(position=[*HERE]), finding(at=(lon, 43.5))) == explained


def test_without_a_place_only_the_time_tells() -> None:
    assert explains(incident(position=[*HERE]), finding())
    assert explains(incident(), finding(at=(10.0, 10.0)))


def test_other_acts_explain_nothing() -> None:
    other = Act(kind=ActKind.RESEAL, t_ms=to_ms(AT), data={"code": 5})
    assert not explains(other, finding())
    assert from_ms(other.t_ms) == AT
