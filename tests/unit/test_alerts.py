"""The life of an alert, step by step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tracker.alerts import (
    NOTHING,
    AlertView,
    AnomalyChange,
    acknowledge,
    assign,
    comment,
    notes,
    plan,
    resolve,
)
from tracker.errors import Conflict
from tracker.model import Severity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def change(anomaly_id: str, kind, severity=Severity.MEDIUM, text: str = "") -> AnomalyChange:
    return AnomalyChange(anomaly_id=anomaly_id, kind=kind, severity=severity, text=text)


def alert(status="open", **standing: Severity) -> AlertView:
    severity = max(standing.values(), key=lambda s: s.order, default=Severity.MEDIUM)
    return AlertView(
        status=status, severity=severity, due_at=NOW + timedelta(hours=1), standing=standing
    )


@pytest.mark.parametrize(
    ("severity", "minutes"),
    [("critical", 5), ("high", 15), ("medium", 60), ("low", 1440), ("info", 1440)],
)
def test_a_new_anomaly_raises_an_alert_due_by_its_severity(severity: str, minutes: int) -> None:
    decided = plan(None, [change("a", "new", Severity(severity), "cut at 12:00")], NOW)
    assert decided.action == "raise"
    assert decided.status == "open"
    assert decided.due_at == NOW + timedelta(minutes=minutes)
    assert decided.anomaly_ids == ("a",)
    assert [(h.who, h.what, h.text) for h in decided.history] == [
        ("system", "raised", "cut at 12:00")
    ]


def test_repeats_are_counted_on_the_alert_even_once_acknowledged() -> None:
    current = alert("acknowledged", a=Severity.MEDIUM)
    decided = plan(current, [change("b", "new")], NOW)
    assert (decided.action, decided.status, decided.count) == ("update", "acknowledged", 2)
    assert decided.anomaly_ids == ("b",)
    assert [h.what for h in decided.history] == ["repeated"]
    assert decided.due_at == current.due_at


def test_a_graver_anomaly_raises_severity_and_brings_the_due_time_forward() -> None:
    decided = plan(alert(a=Severity.MEDIUM), [change("a", "amended", Severity.HIGH)], NOW)
    assert decided.severity == Severity.HIGH
    assert decided.due_at == NOW + timedelta(minutes=15)
    assert [h.what for h in decided.history] == ["amended", "severity_raised"]


def test_a_milder_one_keeps_the_due_time() -> None:
    current = alert(a=Severity.HIGH)
    decided = plan(current, [change("a", "amended", Severity.LOW)], NOW)
    assert decided.severity == Severity.LOW
    assert decided.due_at == current.due_at
    assert decided.history[-1].text == "high → low"


def test_an_alert_is_retracted_with_its_last_anomaly_and_says_why() -> None:
    current = alert("acknowledged", a=Severity.HIGH, b=Severity.HIGH)
    first = plan(current, [change("a", "retracted", text="late data")], NOW)
    assert (first.action, first.count) == ("update", 1)
    both = [change("a", "retracted"), change("b", "retracted", text="was: silence 47 min")]
    decided = plan(current, both, NOW)
    assert (decided.action, decided.status) == ("retract", "retracted")
    assert decided.history[-1].what == "retracted"
    assert decided.history[-1].text == "was: silence 47 min"


def test_replaced_in_one_batch_the_alert_lives_on() -> None:
    swap = [change("a", "retracted"), change("b", "new")]
    decided = plan(alert(a=Severity.LOW), swap, NOW)
    assert (decided.action, decided.count, decided.anomaly_ids) == ("update", 1, ("b",))


@pytest.mark.parametrize("status", ["resolved", "retracted"])
def test_a_finished_alert_is_not_reopened_but_a_new_anomaly_raises_another(status) -> None:
    done = alert(status, a=Severity.HIGH)
    assert plan(done, [change("a", "amended", Severity.CRITICAL)], NOW) == NOTHING
    mixed = [change("a", "closed"), change("b", "new", Severity.HIGH)]
    decided = plan(done, mixed, NOW)
    assert (decided.action, decided.count, decided.anomaly_ids) == ("raise", 1, ("b",))
    assert [line.what for line in notes(mixed, NOW)] == ["closed"]


def test_what_comes_and_goes_in_one_batch_raises_nothing() -> None:
    assert plan(None, [change("a", "new"), change("a", "retracted")], NOW) == NOTHING
    assert plan(None, [change("a", "amended")], NOW) == NOTHING
    assert plan(alert(a=Severity.LOW), [change("z", "amended")], NOW) == NOTHING


def test_people_acknowledge_assign_comment_and_resolve() -> None:
    opened = alert(a=Severity.HIGH)
    acked = acknowledge(opened, who="dana", text="looking", now=NOW)
    assert (acked.status, acked.history[0].who) == ("acknowledged", "dana")
    given = assign(opened, to="erlan", who="dana", text="", now=NOW)
    assert (given.status, given.assignee) == ("open", "erlan")
    said = comment(alert("resolved", a=Severity.HIGH), who="dana", text="photo", now=NOW)
    assert (said.status, said.history[0].text) == ("resolved", "photo")
    done = resolve(opened, finding="explained", who="dana", text="road works", now=NOW)
    assert (done.status, done.finding) == ("resolved", "explained")
    assert done.history[0].text == "explained: road works"


def test_acknowledging_twice_changes_nothing() -> None:
    again = acknowledge(alert("acknowledged"), who="dana", text="", now=NOW)
    assert (again.status, again.history) == ("acknowledged", ())


@pytest.mark.parametrize("status", ["resolved", "retracted"])
def test_a_finished_alert_refuses_to_be_handled(status) -> None:
    done = alert(status, a=Severity.HIGH)
    with pytest.raises(Conflict, match=status):
        acknowledge(done, who="dana", text="", now=NOW)
    with pytest.raises(Conflict, match=status):
        resolve(done, finding="false", who="dana", text="", now=NOW)
    with pytest.raises(Conflict, match=status):
        assign(done, to="erlan", who="dana", text="", now=NOW)
