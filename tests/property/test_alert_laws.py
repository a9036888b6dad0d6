"""Laws of the alert life cycle for any stream of changes, cut into any batches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tracker.alerts import (
    TIME_NORMS,
    AlertPlan,
    AlertView,
    AnomalyChange,
    escalate,
    plan,
)
from tracker.model import Severity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
severities = st.sampled_from(list(Severity))


@st.composite
def streams(draw) -> list[AnomalyChange]:
    """Changes as an evaluator sends them: new once, then amended or closed, then retracted."""
    changes: list[AnomalyChange] = []
    alive: list[str] = []
    for number in range(draw(st.integers(0, 15))):
        kind = draw(st.sampled_from(["new", "amended", "closed", "retracted"]))
        if kind == "new" or not alive:
            alive.append(f"a{number}")
            kind, chosen = "new", alive[-1]
        else:
            chosen = draw(st.sampled_from(alive))
        if kind == "retracted":
            alive.remove(chosen)
        changes.append(AnomalyChange(anomaly_id=chosen, kind=kind, severity=draw(severities)))
    return changes


def standing_after(changes: list[AnomalyChange]) -> dict[str, Severity]:
    standing: dict[str, Severity] = {}
    for change in changes:
        if change.kind == "retracted":
            standing.pop(change.anomaly_id)
        else:
            standing[change.anomaly_id] = change.severity
    return standing


def view_after(before: AlertView | None, decided: AlertPlan, batch) -> AlertView | None:
    if decided.action == "none":
        return before
    if decided.action == "retract":
        return None
    assert decided.due_at is not None
    base = dict(before.standing) if before else {}
    for change in batch:
        if change.kind == "retracted":
            base.pop(change.anomaly_id, None)
        else:
            base[change.anomaly_id] = change.severity
    return AlertView(
        status=decided.status, severity=decided.severity, due_at=decided.due_at, standing=base
    )


@given(streams(), st.data())
def test_the_unresolved_alert_mirrors_the_standing_anomalies(changes, data) -> None:
    current: AlertView | None = None
    rest = list(changes)
    lines = 0
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        batch, rest = rest[:size], rest[size:]
        decided = plan(current, batch, NOW)
        lines += len(decided.history)
        current = view_after(current, decided, batch)
        if decided.action in ("raise", "update"):
            assert decided.count == len(current.standing)
    standing = standing_after(changes)
    assert (current is not None) == bool(standing)
    if current is not None:
        assert current.standing == standing
        assert current.severity == max(standing.values(), key=lambda s: s.order)
        assert lines > 0


@given(streams())
def test_every_change_of_a_standing_alert_leaves_its_line(changes) -> None:
    current = AlertView(
        status="open",
        severity=Severity.INFO,
        due_at=NOW + timedelta(days=1),
        standing={"base": Severity.INFO},
    )
    decided = plan(current, changes, NOW)
    assert decided.action == ("update" if changes else "none")
    own = [line for line in decided.history if not line.what.startswith("severity")]
    assert len(own) == len(changes)


@given(severities, severities)
def test_the_due_time_never_moves_back(before, after) -> None:
    current = AlertView(
        status="open", severity=before, due_at=NOW + TIME_NORMS[before], standing={"a": before}
    )
    change = AnomalyChange(anomaly_id="a", kind="amended", severity=after)
    decided = plan(current, [change], NOW + timedelta(minutes=1))
    assert decided.due_at is not None
    assert decided.due_at <= current.due_at


# ---------------------------------------------------------------- escalation


@given(
    severities,
    st.sampled_from(["open", "acknowledged"]),
    st.lists(st.integers(0, 5 * 86_400), max_size=12),
    st.integers(0, 3),
)
def test_an_alert_is_passed_on_step_by_step_and_never_before_its_time(
    severity: Severity, status, ticks: list[int], above: int
) -> None:
    """However often the clock is looked at, the level is that of the time that has passed."""
    norm = TIME_NORMS[severity]
    view = AlertView(status=status, severity=severity, due_at=NOW, standing={})
    roles = [f"role{n}" for n in range(above)]
    level = 0
    for tick_s in sorted(ticks):
        now = NOW - norm + timedelta(seconds=tick_s)
        passed = escalate(view, level=level, to=roles, now=now)
        begun = NOW + (norm if status == "acknowledged" else timedelta(0))
        expected = min(above, 1 + (now - begun) // norm) if now >= begun else 0
        if passed is None:
            assert level == max(level, expected)
        else:
            assert level < passed.level == expected
            assert passed.to == roles[passed.level - 1]
            level = passed.level


@given(severities, st.sampled_from(["resolved", "retracted"]))
def test_what_has_an_end_is_not_passed_on(severity: Severity, status) -> None:
    view = AlertView(status=status, severity=severity, due_at=NOW, standing={})
    assert escalate(view, level=0, to=["monitor"], now=NOW + timedelta(days=9)) is None
