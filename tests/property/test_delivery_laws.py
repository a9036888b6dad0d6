"""Laws of a delivery's life: every sequence of steps, every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deliveries import (
    FUTURE_TOLERANCE,
    STEPS,
    Status,
    Step,
    check_act_time,
    check_plan_times,
    plate_warning,
    take,
)
from tracker.errors import Conflict, FieldError, Invalid

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BACK = timedelta(days=30)
FINAL = {Status.COMPLETED, Status.DISCREPANCY, Status.NON_DELIVERY, Status.CANCELLED}
#: The contract's picture of the life cycle, with the two short cuts that late telemetry needs.
PICTURE = {
    ("declared", "released"),
    ("released", "in_transit"),
    ("in_transit", "arrived"),
    ("arrived", "under_control"),
    ("under_control", "completed"),
    ("under_control", "discrepancy"),
    ("in_transit", "overdue"),
    ("overdue", "enquiry"),
    ("overdue", "arrived"),
    ("enquiry", "non_delivery"),
    ("enquiry", "arrived"),
    ("declared", "cancelled"),
    ("released", "arrived"),
    ("released", "overdue"),
}

times = st.datetimes(
    datetime(2025, 1, 1),
    datetime(2027, 1, 1),
    timezones=st.just(UTC),
)


def test_the_steps_draw_the_contracts_picture() -> None:
    drawn = {(str(a), str(after)) for allowed, after in STEPS.values() for a in allowed}
    assert drawn == PICTURE


@given(st.lists(st.sampled_from(Step)))
def test_every_step_is_taken_or_refused_with_a_reason(steps: list[Step]) -> None:
    status = Status.DECLARED
    for step in steps:
        allowed, _ = STEPS[step]
        if status in allowed:
            after = take(step, status)
            assert (str(status), str(after)) in PICTURE
            status = after
            continue
        with pytest.raises(Conflict) as refusal:
            take(step, status)
        assert str(step) in refusal.value.detail
        assert any(str(fitting) in refusal.value.detail for fitting in allowed)


@given(st.sampled_from(Step), st.sampled_from(sorted(FINAL)))
def test_nothing_leaves_a_final_state(step: Step, status: Status) -> None:
    with pytest.raises(Conflict):
        take(step, status)


@given(st.sampled_from(sorted(set(Status) - FINAL)))
def test_every_other_state_can_be_left(status: Status) -> None:
    assert any(status in allowed for allowed, _ in STEPS.values())


@given(times, st.none() | times)
def test_an_act_is_accepted_exactly_within_its_bounds(
    at: datetime, before: datetime | None
) -> None:
    possible = NOW - BACK <= at <= NOW + FUTURE_TOLERANCE and (before is None or at >= before)
    if possible:
        check_act_time(at, now=NOW, backdating=BACK, not_before=before)
        return
    with pytest.raises(Invalid) as refusal:
        check_act_time(at, now=NOW, backdating=BACK, not_before=before)
    assert refusal.value.errors[0].loc == ("body", "at")


@given(times, st.none() | times)
def test_a_plan_that_is_accepted_can_be_kept(deadline: datetime, start: datetime | None) -> None:
    kept = deadline >= NOW - BACK and (start is None or deadline > start)

    def check() -> list[FieldError]:
        return check_plan_times(
            deadline=deadline, scheduled_departure=start, now=NOW, backdating=BACK
        )

    if kept:
        odd = {"deadline": deadline <= NOW, "scheduled_departure": start and start < NOW - BACK}
        assert [w.loc[-1] for w in check()] == [name for name, is_odd in odd.items() if is_odd]
        return
    with pytest.raises(Invalid) as refusal:
        check()
    assert all(e.loc[0] == "body" and e.msg for e in refusal.value.errors)
    assert refusal.value.errors


@given(st.text("ABC123", min_size=1), st.sampled_from(["", " ", "-"]))
def test_a_plate_is_the_same_however_it_is_written(plate: str, gap: str) -> None:
    assert plate_warning(plate, gap.join(plate).lower()) == []
    assert plate_warning(plate, plate + "9")
    assert plate_warning(plate, None) == []
