"""Time norms of a delivery's steps: how long each may take, how long it took, kept or not. Pure.

Regulation and measurement (seed 004): every step has a time norm, and whether it is kept is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tracker.model import ActKind

#: step: (the time allowed, why). The journey has the deadline that was set for it.
NORMS: Final[Mapping[str, tuple[timedelta, str]]] = {
    "notify_crossing": (
        timedelta(hours=3),
        "EAEU Customs Code art. 88: arrival is notified within 3 h of work after crossing",
    ),
    "release": (
        timedelta(hours=4),
        "EAEU Customs Code art. 119: release within 4 h after registration",
    ),
    "journey": (timedelta(0), "the deadline set at registration"),
    "confirm_arrival": (
        timedelta(hours=1),
        "EAEU Customs Code art. 151: arrival is registered within an hour after it was notified",
    ),
    "begin_control": (timedelta(hours=3), "a vehicle is unloaded and looked at within a shift"),
    "close": (
        timedelta(hours=24),
        "EAEU Customs Code art. 151: the day after the documents were handed in",
    ),
    "begin_enquiry": (
        timedelta(days=7),
        "NCTS: the enquiry request goes out within 7 days after the time limit has expired",
    ),
    "enquiry_result": (timedelta(days=28), "NCTS: an enquiry is answered within 28 days"),
}


class Event(Struct, frozen=True, kw_only=True):
    """A recorded act: when it happened and when it was entered."""

    kind: str
    at: datetime
    recorded_at: datetime


class StepTime(Struct, frozen=True, kw_only=True):
    """One step: from when it ran, by when it had to be done, when it was.

    ``kept`` None: not done, and its time has not passed yet.
    """

    step: str
    since: datetime
    due_at: datetime
    norm_s: float
    done_at: datetime | None = None
    taken_s: float | None = None
    kept: bool | None = None
    reason: str = ""


class Course(Struct, frozen=True, kw_only=True):
    """What the measuring of a delivery's steps needs to know of it."""

    declared_at: datetime
    deadline: datetime
    released_at: datetime | None
    arrived_at: datetime | None
    cancelled: bool
    events: Sequence[Event] = ()

    def first(self, *kinds: ActKind) -> Event | None:
        """The first act of these kinds."""
        return next((event for event in self.events if event.kind in kinds), None)


def measured(course: Course, now: datetime) -> tuple[StepTime, ...]:
    """Every step that has begun, in order, with its norm and whether it is kept."""
    if course.cancelled:
        return ()
    steps: list[StepTime] = []
    crossing = course.first(ActKind.BORDER_CROSSING)
    if crossing is not None:
        steps.append(_step("notify_crossing", crossing.at, crossing.recorded_at, now))
    # A release may have happened before customs registered it: then it took no time.
    released_at = course.released_at
    steps.append(_step("release", course.declared_at, released_at, now))
    if released_at is None:
        return tuple(steps)
    steps.append(_journey(released_at, course, now))
    steps += _enquiry(course, now)
    steps += _arrival(course, now)
    return tuple(steps)


def _journey(released_at: datetime, course: Course, now: datetime) -> StepTime:
    norm = course.deadline - released_at
    return _step("journey", released_at, course.arrived_at, now, norm=norm)


def _enquiry(course: Course, now: datetime) -> list[StepTime]:
    begun, result = course.first(ActKind.ENQUIRY), course.first(ActKind.ENQUIRY_RESULT)
    if begun is None:
        late = course.arrived_at is None and now > course.deadline
        return [_step("begin_enquiry", course.deadline, None, now)] if late else []
    done_at = result.at if result is not None else course.arrived_at
    return [
        _step("begin_enquiry", course.deadline, begun.at, now),
        _step("enquiry_result", begun.at, done_at, now),
    ]


def _arrival(course: Course, now: datetime) -> list[StepTime]:
    steps: list[StepTime] = []
    notice, arrival = course.first(ActKind.ARRIVAL_NOTICE), course.first(ActKind.ARRIVAL)
    if notice is not None:
        confirmed_at = arrival.recorded_at if arrival is not None else None
        steps.append(_step("confirm_arrival", notice.at, confirmed_at, now))
    if course.arrived_at is None:
        return steps
    begun = course.first(ActKind.CONTROL, ActKind.SCAN)
    closed = course.first(ActKind.CLOSE)
    if begun is not None or closed is None:
        begun_at = begun.at if begun is not None else None
        steps.append(_step("begin_control", course.arrived_at, begun_at, now))
    closed_at = closed.at if closed is not None else None
    steps.append(_step("close", course.arrived_at, closed_at, now))
    return steps


def _step(
    name: str,
    since: datetime,
    done_at: datetime | None,
    now: datetime,
    *,
    norm: timedelta | None = None,
) -> StepTime:
    allowed, reason = NORMS[name]
    allowed = allowed if norm is None else norm
    due_at = since + allowed
    end = done_at if done_at is not None else now
    return StepTime(
        step=name,
        since=since,
        due_at=due_at,
        norm_s=allowed.total_seconds(),
        done_at=done_at,
        taken_s=None if done_at is None else max(0.0, (done_at - since).total_seconds()),
        kept=(end <= due_at) if done_at is not None or end > due_at else None,
        reason=reason,
    )
