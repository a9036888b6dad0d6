"""The life of a delivery: its steps, its clocks, what people may record of it and when. Pure.

Steps are refused with a reason when they do not fit the state; what looks odd but may be true is
a warning. Nothing here reads a clock: ``now`` comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

from tracker.errors import Conflict, FieldError, Invalid


class Status(StrEnum):
    """States of a delivery (contract http.md)."""

    DECLARED = "declared"
    RELEASED = "released"
    IN_TRANSIT = "in_transit"
    OVERDUE = "overdue"
    ENQUIRY = "enquiry"
    ARRIVED = "arrived"
    UNDER_CONTROL = "under_control"
    COMPLETED = "completed"
    DISCREPANCY = "discrepancy"
    NON_DELIVERY = "non_delivery"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What moves a delivery from one state to the next."""

    RELEASE = "release"
    DEPART = "depart"
    PASS_DEADLINE = "pass_deadline"
    ENQUIRE = "enquire"
    ARRIVE = "arrive"
    ESTABLISH_NON_DELIVERY = "establish_non_delivery"
    CONTROL = "control"
    COMPLETE = "complete"
    FIND_DISCREPANCY = "find_discrepancy"
    CANCEL = "cancel"


#: step: (states it may be taken in, state after it). A delivery may arrive, or pass its deadline,
#: before its first record says that it moves: telemetry can be late, the person at the post cannot
#: wait for it.
STEPS: Final[Mapping[Step, tuple[frozenset[Status], Status]]] = {
    Step.RELEASE: (frozenset({Status.DECLARED}), Status.RELEASED),
    Step.DEPART: (frozenset({Status.RELEASED}), Status.IN_TRANSIT),
    Step.PASS_DEADLINE: (frozenset({Status.RELEASED, Status.IN_TRANSIT}), Status.OVERDUE),
    Step.ENQUIRE: (frozenset({Status.OVERDUE}), Status.ENQUIRY),
    Step.ARRIVE: (
        frozenset({Status.RELEASED, Status.IN_TRANSIT, Status.OVERDUE, Status.ENQUIRY}),
        Status.ARRIVED,
    ),
    Step.ESTABLISH_NON_DELIVERY: (frozenset({Status.ENQUIRY}), Status.NON_DELIVERY),
    Step.CONTROL: (frozenset({Status.ARRIVED}), Status.UNDER_CONTROL),
    Step.COMPLETE: (frozenset({Status.UNDER_CONTROL}), Status.COMPLETED),
    Step.FIND_DISCREPANCY: (frozenset({Status.UNDER_CONTROL}), Status.DISCREPANCY),
    Step.CANCEL: (frozenset({Status.DECLARED}), Status.CANCELLED),
}

#: States in which the carrier's notification of a border crossing still says something.
NOTIFIABLE: Final = frozenset(
    {Status.DECLARED, Status.RELEASED, Status.IN_TRANSIT, Status.OVERDUE, Status.ENQUIRY}
)

_DONE: Final[Mapping[Step, tuple[Status, str]]] = {
    Step.RELEASE: (Status.RELEASED, "it has been released already"),
    Step.ARRIVE: (Status.ARRIVED, "its arrival has been confirmed already"),
}


def take(step: Step, status: Status) -> Status:
    """The state after a step.

    Raises:
        Conflict: the step does not fit the state; the text says in which states it does.
    """
    allowed, after = STEPS[step]
    if status in allowed:
        return after
    done = _DONE.get(step)
    why = done[1] if done and done[0] == status else f"the delivery is {status}"
    fitting = ", ".join(sorted(allowed))
    raise Conflict.field("status", msg=f"{step} is refused: {why}; it is allowed in {fitting}")


def require_notifiable(status: Status) -> None:
    """Refuse a notification of a border crossing when the journey is over.

    Raises:
        Conflict: naming the state.
    """
    if status not in NOTIFIABLE:
        fitting = ", ".join(sorted(NOTIFIABLE))
        raise Conflict.field(
            "status",
            msg=f"a border crossing is refused: the delivery is {status}; allowed in {fitting}",
        )


#: States in which the goods are on their way, in a carrier's hands.
ON_THE_WAY: Final = frozenset({Status.RELEASED, Status.IN_TRANSIT, Status.OVERDUE, Status.ENQUIRY})


def require_on_the_way(what: str, status: Status) -> None:
    """Refuse what can only happen on the way.

    Raises:
        Conflict: naming the state.
    """
    if status not in ON_THE_WAY:
        fitting = ", ".join(sorted(ON_THE_WAY))
        raise Conflict.field(
            "status", msg=f"{what} is refused: the delivery is {status}; allowed in {fitting}"
        )


def controlled(status: Status) -> Status:
    """The state after a control or a scan was recorded: the first one begins the control.

    Raises:
        Conflict: the delivery has not arrived, or its control is over.
    """
    if status is Status.UNDER_CONTROL:
        return status
    return take(Step.CONTROL, status)


def closing(
    status: Status,
    results: Sequence[str | None],
    measures: Sequence[str],
    asked: Literal["completed", "discrepancy"] | None,
) -> Status:
    """The state after customs control has ended.

    A delivery for which nothing was ordered at arrival (green corridor) may be closed without a
    control; it passes through it.

    Args:
        results: of the controls and scans recorded; None: ordered, not carried out.
        measures: what was ordered at arrival.
        asked: what the officer says; None: as the results say.

    Raises:
        Conflict: it has not arrived, something ordered has not been carried out, or the officer
            says otherwise than the results.
    """
    if status is Status.ARRIVED:
        if measures and not results:
            raise Conflict.field(
                "status",
                msg=f"close is refused: {', '.join(measures)} ordered and not recorded; "
                "record it with POST …/controls first",
            )
        status = take(Step.CONTROL, status)
    violated = any(result == "violation" for result in results)
    step = Step.FIND_DISCREPANCY if violated or asked == "discrepancy" else Step.COMPLETE
    after = take(step, status)
    if None in results and not any(results):
        raise Conflict.field(
            "status", msg="close is refused: a control was ordered and has no result yet; record it"
        )
    if violated and asked == "completed":
        raise Conflict.field(
            "result", msg="a control found a violation: the delivery ends with a discrepancy"
        )
    return after


# ---------------------------------------------------------------- when things happened

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""Clocks of offices differ by a minute or two; more than this is a wrong date."""

BACKDATING_SETTING: Final = "TRACKER_BACKDATING_DAYS"


def check_act_time(
    at: datetime, *, now: datetime, backdating: timedelta, not_before: datetime | None = None
) -> None:
    """Refuse a time at which an act cannot have happened.

    Args:
        at: when the act happened, as the person says.
        backdating: how far back an act may be recorded.
        not_before: an act that this one follows (an arrival follows the release).

    Raises:
        Invalid: in the future, too long ago, or before the act that it follows.
    """
    if at > now + FUTURE_TOLERANCE:
        raise _at("lies in the future; give the time at which it happened")
    if at < now - backdating:
        raise _at(
            f"lies more than {_days(backdating)} days back; {BACKDATING_SETTING} sets how far"
        )
    if not_before is not None and at < not_before:
        raise _at(f"lies before the release ({not_before.isoformat(timespec='seconds')})")


FARTHEST_AHEAD: Final = timedelta(days=30)
"""Road works are known weeks before; a later date is a wrong one."""


def check_reroute_time(
    from_t: datetime, *, now: datetime, backdating: timedelta, released: datetime | None
) -> None:
    """Refuse a time from which another route cannot be in force.

    It may lie in the past, where it was allowed by word of mouth, or ahead, where a road will be
    closed; before the release there is no journey.

    Raises:
        Invalid: too far ahead, too long ago, or before the release.
    """
    fault = None
    if from_t > now + FARTHEST_AHEAD:
        fault = f"lies more than {_days(FARTHEST_AHEAD)} days ahead; check the date"
    elif from_t < now - backdating:
        fault = f"lies more than {_days(backdating)} days back; {BACKDATING_SETTING} sets how far"
    elif released is not None and from_t < released:
        fault = f"lies before the release ({released.isoformat(timespec='seconds')})"
    if fault is not None:
        raise Invalid.field("body", "from", msg=fault)


def _at(text: str) -> Invalid:
    return Invalid.field("body", "at", msg=text)


def _days(span: timedelta) -> str:
    return f"{span.total_seconds() / 86400:g}"


def check_plan_times(
    *,
    deadline: datetime,
    scheduled_departure: datetime | None,
    now: datetime,
    backdating: timedelta,
) -> list[FieldError]:
    """Check the times of a delivery to be declared; returns warnings.

    Both may lie in the past: paper came first, or a recorded trip is replayed; that a deadline has
    passed is said. One from before any release that may still be recorded is a wrong date; a
    departure planned then is odd, and said.

    Raises:
        Invalid: naming each field and what to do.
    """
    back = f"lies more than {_days(backdating)} days back"
    too_far = f"{back}, farther than a release may be recorded; {BACKDATING_SETTING} sets how far"
    if deadline < now - backdating:
        raise _invalid("deadline", too_far)
    if scheduled_departure is not None and deadline <= scheduled_departure:
        raise _invalid("deadline", "must lie after scheduled_departure; give a later one")
    warnings = []
    if deadline <= now:
        text = "lies in the past; check it, unless what is over is entered after the fact"
        warnings.append(_body("deadline", text))
    if scheduled_departure is not None and scheduled_departure < now - backdating:
        warnings.append(_body("scheduled_departure", too_far))
    return warnings


def _invalid(field: str, text: str) -> Invalid:
    return Invalid.field("body", field, msg=text)


def _body(field: str, text: str) -> FieldError:
    return FieldError(("body", field), text)


# ---------------------------------------------------------------- oddities that may be true

FAR_FROM_ROUTE_M: Final = 10_000.0
"""A line may end at the town's edge or at the gate; a post farther off is likely another post."""


def route_warnings(*, start_m: float, end_m: float) -> list[FieldError]:
    """Warnings where a post lies far from its end of the declared route (metres)."""
    ends = (("departure_post", start_m, "start"), ("destination_post", end_m, "end"))
    return [
        _body(field, f"lies {distance_m / 1000:.0f} km from the route's {end}; check both")
        for field, distance_m, end in ends
        if distance_m > FAR_FROM_ROUTE_M
    ]


def device_warnings(kinds: Collection[str]) -> list[FieldError]:
    """Warnings where a delivery has no device, or no seal, to watch it."""
    if not kinds:
        return [_body("devices", "none given: nothing will be known of the journey")]
    if "seal" not in kinds:
        return [_body("devices", "no seal among them: nobody will know if the goods are opened")]
    return []


def plate_warning(declared: str, seen: str | None) -> list[FieldError]:
    """A warning where the plate seen is not the declared one, spaces and case apart."""
    if seen is None or _plain(declared) == _plain(seen):
        return []
    return [_body("plate", f"{seen} is not the declared plate {declared}; check the vehicle")]


def _plain(plate: str) -> str:
    return "".join(c for c in plate.upper() if c.isalnum())


# ---------------------------------------------------------------- arrival against telemetry

SealState = Literal["intact", "damaged", "broken", "cut", "open", "missing"]
SEAL_FINDINGS: Final = frozenset({"seal_cut", "seal_body_open"})

FAR_FROM_POST_M: Final = 5_000.0
"""A vehicle under a terminal's roof may lose its fix a few kilometres before; more is elsewhere."""

#: What an officer's word about a seal is worth to the risk block: as an anomaly of that code.
INDICATOR_OF_STATE: Final[Mapping[SealState, str]] = {
    "damaged": "seal_body_open",
    "open": "seal_body_open",
    "broken": "seal_cut",
    "cut": "seal_cut",
    "missing": "seal_cut",
}


class Contradiction(Struct, frozen=True, kw_only=True):
    """Where the arrival as confirmed and the telemetry do not agree."""

    code: str
    msg: str


class ArrivalFacts(Struct, frozen=True, kw_only=True):
    """What is known when an arrival is confirmed.

    ``reported``: state by device id, as the officer says. ``bound_seals``: seals of the delivery.
    ``broken_seals``: seals with an open finding of theirs, by code. ``distance_m``: from the last
    position to the destination's zone; None without a position.
    """

    at: datetime
    deadline: datetime
    reported: Mapping[str, SealState]
    bound_devices: frozenset[str]
    bound_seals: frozenset[str]
    broken_seals: Mapping[str, str]
    distance_m: float | None
    settled: bool


def contradictions(facts: ArrivalFacts) -> tuple[Contradiction, ...]:
    """Everything in which the confirmed arrival and the telemetry differ, gravest first."""
    return (*_seal_contradictions(facts), *_journey_contradictions(facts))


def _seal_contradictions(facts: ArrivalFacts) -> Sequence[Contradiction]:
    found = []
    for device, state in facts.reported.items():
        finding = facts.broken_seals.get(device)
        if device not in facts.bound_devices:
            found.append(_c("seal_unknown", f"{device} is not on this delivery"))
        elif state == "intact" and finding:
            found.append(
                _c("seal_state", f"{device} is confirmed intact, but telemetry shows {finding}")
            )
        elif state != "intact" and not finding:
            found.append(
                _c("seal_state", f"{device} is confirmed {state}, but telemetry shows no break")
            )
    missing = sorted(facts.bound_seals - facts.reported.keys())
    return [*found, *(_c("seal_not_listed", f"the state of {d} is not given") for d in missing)]


def _journey_contradictions(facts: ArrivalFacts) -> Sequence[Contradiction]:
    found = []
    if facts.distance_m is None:
        found.append(_c("no_position", "telemetry has no position of this delivery"))
    elif facts.distance_m > FAR_FROM_POST_M:
        km = facts.distance_m / 1000
        found.append(_c("position_far", f"the last known position is {km:.1f} km from the post"))
    if facts.at > facts.deadline:
        found.append(_c("deadline_passed", "the arrival is after the deadline"))
    if not facts.settled:
        found.append(_c("not_settled", "not all stored records have been judged yet"))
    return found


def _c(code: str, msg: str) -> Contradiction:
    return Contradiction(code=code, msg=msg)
