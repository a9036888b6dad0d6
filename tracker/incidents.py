"""Incidents that a carrier reports: what telemetry says to them, and what they explain. Pure.

The codes are those of NCTS. Telemetry is asked at once: each check agrees, contradicts, or cannot
tell. An incident explains findings of the kinds that its code speaks of, in its time and place; it
never takes one back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from msgspec import Struct

from tracker.geodesy import distance_m
from tracker.model import Act, ActKind, Finding, Severity, from_ms, to_ms

IncidentCode = Literal[1, 2, 3, 4, 5, 6]
Verdict = Literal["agrees", "contradicts", "unknown"]
Point = tuple[float, float]

_SEAL: Final = frozenset({"seal_cut", "seal_body_open", "seal_fault", "seal_state_conflict"})
_STOP: Final = frozenset({"unauthorised_stop", "overstay"})
_ROUTE: Final = frozenset({"route_deviation", "wrong_direction", "checkpoint_missed"})
_OPENING: Final = frozenset({"seal_cut", "seal_body_open", "unauthorised_unlock"})
_TIME: Final = frozenset({"late_risk", "overdue", "non_arrival"})

#: NCTS code: the findings that such an incident can explain.
COVERS: Final[Mapping[int, frozenset[str]]] = {
    1: _ROUTE | {"restricted_zone"} | _TIME,
    2: _SEAL,
    3: _OPENING | _STOP | {"separation", "unloading_signature"},
    4: _OPENING | _STOP | {"separation", "unloading_signature"},
    5: _STOP | _TIME | {"silence", "power_cut"},
    6: _STOP | {"separation"},
}

#: What is planned, besides the code: a detour explains the route, a stop explains standing.
PLANNED: Final[Mapping[str, frozenset[str]]] = {"detour": _ROUTE, "stop": _STOP | _TIME}

#: NCTS code: findings that show what it says.
SHOWN_BY: Final[Mapping[int, frozenset[str]]] = {
    1: _ROUTE,
    2: frozenset({"seal_cut", "seal_body_open"}),
    3: _OPENING | {"separation"},
    4: _OPENING,
    5: frozenset({"unauthorised_stop"}),
    6: frozenset({"separation"}),
}

NEAR_M: Final = 2_000.0
"""A driver names a kilometre post or a village; his vehicle stands within that of it."""

EXPLAINS_M: Final = 5_000.0
"""A detour or a breakdown is within a few kilometres of the place that was named."""

BEFORE: Final = timedelta(hours=2)
"""A driver first looks after the vehicle, then reports."""

AFTER: Final = timedelta(hours=12)
"""Nobody plans farther ahead without saying until when."""


class IncidentFacts(Struct, frozen=True, kw_only=True):
    """What telemetry knows around the time of an incident.

    ``position``: the fix nearest to the time, with its distance from the place that was named, if
    one was; ``outside_m``: how far it lies outside the corridor, 0 within; ``moved_m``: the way
    within ten minutes around it. None: no fix near that time. ``standing``: codes of anomalies that
    have not been retracted and touch that time; ``has_seal``: a seal is bound.
    """

    position: Point | None = None
    position_at: datetime | None = None
    from_place_m: float | None = None
    outside_m: float | None = None
    moved_m: float | None = None
    standing: frozenset[str] = frozenset()
    has_seal: bool = False


class Check(Struct, frozen=True, kw_only=True):
    """One thing that telemetry says to an incident."""

    code: str
    verdict: Verdict
    msg: str


MOVED_M: Final = 500.0
"""Farther than this within ten minutes is driving, not manoeuvring."""


def checks(code: int, facts: IncidentFacts, *, planned: bool) -> tuple[Check, ...]:
    """What agrees with an incident of this code, and what contradicts it.

    ``planned``: the detour or stop is announced and need not be seen yet.
    """
    return (_place(facts), *_of_code(code, facts, planned=planned))


def contradicted(found: Sequence[Check]) -> bool:
    """Whether anything speaks against it."""
    return any(check.verdict == "contradicts" for check in found)


def confirmed(found: Sequence[Check]) -> bool:
    """Whether telemetry says the same, and nothing else."""
    return not contradicted(found) and any(check.verdict == "agrees" for check in found)


def _place(facts: IncidentFacts) -> Check:
    if facts.position is None:
        return _check("place", "unknown", "telemetry has no position near that time")
    if facts.from_place_m is None:
        return _check("place", "unknown", "no position was given with the incident")
    km = facts.from_place_m / 1000
    if facts.from_place_m <= NEAR_M:
        return _check("place", "agrees", f"the vehicle was {km:.1f} km from the place named")
    return _check("place", "contradicts", f"the vehicle was {km:.1f} km from the place named")


def _of_code(code: int, facts: IncidentFacts, *, planned: bool) -> tuple[Check, ...]:
    shown = sorted(facts.standing & SHOWN_BY[code])
    if shown:
        return (_check("telemetry", "agrees", f"telemetry shows {', '.join(shown)}"),)
    if planned:
        return (_check("telemetry", "unknown", "it is announced; telemetry shows nothing yet"),)
    if code == 1:
        return (_route(facts),)
    if code == 2:
        return (_seals(facts, "no seal is shown broken"),)
    if code in (3, 4):
        return (_seals(facts, "no seal is shown opened"), _standing(facts))
    if code == 5:
        return (_standing(facts),)
    return (_check("telemetry", "unknown", "telemetry cannot tell"),)


def _route(facts: IncidentFacts) -> Check:
    if facts.outside_m is None:
        return _check("route", "unknown", "telemetry has no position near that time")
    if facts.outside_m > 0:
        return _check(
            "route", "agrees", f"the vehicle was {facts.outside_m:.0f} m outside the corridor"
        )
    return _check("route", "contradicts", "the vehicle was within the corridor of its route")


def _seals(facts: IncidentFacts, text: str) -> Check:
    if not facts.has_seal:
        return _check("seals", "unknown", "no seal is on this delivery")
    return _check("seals", "contradicts", text)


def _standing(facts: IncidentFacts) -> Check:
    if facts.moved_m is None:
        return _check("motion", "unknown", "telemetry has no track near that time")
    if facts.moved_m > MOVED_M:
        km = facts.moved_m / 1000
        return _check("motion", "contradicts", f"the vehicle drove {km:.1f} km around that time")
    return _check("motion", "agrees", "the vehicle stood still around that time")


def _check(code: str, verdict: Verdict, msg: str) -> Check:
    return Check(code=code, verdict=verdict, msg=msg)


# ---------------------------------------------------------------- what an incident explains


def window(at: datetime, planned: Mapping[str, Any] | None) -> tuple[datetime, datetime]:
    """The time that an incident speaks of: what was planned, else hours around it."""
    since, until = at - BEFORE, at + AFTER
    if planned:
        since = min(at, _time(planned.get("from"), since))
        until = _time(planned.get("until"), until)
    return since, until


def _time(given: object, otherwise: datetime) -> datetime:
    if isinstance(given, str):
        return datetime.fromisoformat(given)
    return given if isinstance(given, datetime) else otherwise


def explains(act: Act, finding: Finding) -> bool:
    """Whether an incident speaks of such a finding: of its kind, in its time and place."""
    if act.kind is not ActKind.INCIDENT:
        return False
    data = act.data
    planned = data.get("planned")
    kinds = COVERS.get(int(data.get("code", 0)), frozenset())
    if planned:
        kinds |= PLANNED.get(planned.get("kind", ""), frozenset())
    if finding.code not in kinds:
        return False
    since, until = window(from_ms(act.t_ms), planned)
    end_ms = finding.end_ms
    if finding.start_ms > to_ms(until) or (end_ms is not None and end_ms < to_ms(since)):
        return False
    return _is_near(data.get("position"), finding)


def _is_near(place: Sequence[float] | None, finding: Finding) -> bool:
    """By the nearest of the finding's positions; one without a place is not told apart by it."""
    if place is None or finding.geometry is None:
        return True
    there = (float(place[0]), float(place[1]))
    points = list(_points(finding.geometry.get("coordinates")))
    return not points or any(distance_m(there, point) <= EXPLAINS_M for point in points)


def _points(coordinates: Any) -> list[Point]:
    if not isinstance(coordinates, list | tuple) or not coordinates:
        return []
    if isinstance(coordinates[0], int | float):
        return [(float(coordinates[0]), float(coordinates[1]))]
    return [point for part in coordinates for point in _points(part)]


def may_end(severity: Severity, found: Sequence[Check]) -> bool:
    """Whether an incident ends an alert as explained: only where telemetry says the same, and never
    a critical one. A carrier's word alone lets nothing go."""
    return severity is not Severity.CRITICAL and confirmed(found)


def sentence(act: Act) -> str:
    """An incident in the words of an alert's history."""
    data = act.data
    text = str(data.get("text", ""))
    return f"incident {data.get('code')} at {from_ms(act.t_ms):%Y-%m-%dT%H:%M:%SZ}: {text}"
