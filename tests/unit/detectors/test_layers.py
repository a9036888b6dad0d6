"""What is known of a place lowers a severity, by its dated layer, and never the record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.detectors.trips import ms
from tracker.detectors.layers import (
    dead_key,
    jammed_area,
    temper_jamming,
    temper_silence,
)
from tracker.detectors.limits import Limits
from tracker.detectors.radio import cell_of
from tracker.model import Around, Basis, DeadCell, Finding, Severity, Trace

LIMITS = Limits()
HERE = (74.98, 46.85)
CELL = cell_of(*HERE)


def silence(severity: Severity = Severity.MEDIUM, **evidence: Any) -> Finding:
    return Finding(
        code="silence",
        device="d",
        severity=severity,
        basis=Basis.DATA,
        start_ms=ms(0),
        end_ms=ms(3600),
        evidence={"last_fix": list(HERE), **evidence},
    )


KNOWN = Around(
    dead={dead_key(CELL, ms(0)): DeadCell(cell=CELL, layer_date="2026-02-24", devices=4, gaps=9)}
)


def test_a_known_dead_zone_takes_one_step() -> None:
    tempered = temper_silence(silence(slack_min=5, shortest_min=40), KNOWN, LIMITS)
    assert tempered.severity == "low"
    assert tempered.evidence["dead_zone"] == {
        "layer_date": "2026-02-24", "cell": CELL, "devices": 4, "gaps": 9, "lowered": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slack_min", "severity"), [(15.0, "medium"), (20.0, "medium"), (20.1, "high"), (90.0, "high")]
)
def test_time_to_spare_is_explained_by_slow_driving_only(slack_min: float, severity: str) -> None:
    """40 minutes at 90 km/h are 60 at 60 km/h."""
    found = silence(Severity.HIGH, slack_min=slack_min, shortest_min=40)
    tempered = temper_silence(found, KNOWN, LIMITS)
    assert tempered.severity == severity
    assert tempered.evidence["dead_zone"]["lowered"] is (severity != "high")


def test_a_long_silence_that_lasts_is_not_explained() -> None:
    assert temper_silence(silence(Severity.HIGH), KNOWN, LIMITS).severity == "high"
    assert temper_silence(silence(), KNOWN, LIMITS).severity == "low"


def test_elsewhere_on_another_day_or_of_another_code_nothing_changes() -> None:
    elsewhere = silence(last_fix=[75.5, 46.85])
    assert temper_silence(elsewhere, KNOWN, LIMITS) == elsewhere
    another_day = DeadCell(cell=CELL, layer_date="2026-02-24", devices=4, gaps=9)
    around = Around(dead={dead_key(CELL, ms(86_400)): another_day})
    assert temper_silence(silence(), around, LIMITS) == silence()
    nowhere = silence(last_fix=None)
    assert temper_silence(nowhere, KNOWN, LIMITS) == nowhere


@given(
    st.sampled_from([Severity.MEDIUM, Severity.HIGH]),
    st.none() | st.floats(0, 1000),
    st.floats(0, 1000),
)
def test_only_severity_and_its_reason_change(
    severity: Severity, slack_min: float | None, shortest_min: float
) -> None:
    more = {} if slack_min is None else {"slack_min": slack_min, "shortest_min": shortest_min}
    before = silence(severity, **more)
    after = temper_silence(before, KNOWN, LIMITS)
    assert 0 <= before.severity.order - after.severity.order <= 1
    assert after.severity.order >= Severity.LOW.order
    assert (after.start_ms, after.end_ms, after.code) == (ms(0), ms(3600), "silence")
    assert before.evidence.items() <= after.evidence.items()


# ---------------------------------------------------------------- area jamming


def other(delivery: str, at_s: float, cell: str = CELL, kind: str = "jam") -> Trace:
    return Trace(
        delivery=delivery, device=f"{delivery}-gps", kind=kind, from_ms=ms(at_s), to_ms=None,
        lon=HERE[0], lat=HERE[1], cell=cell,
    )  # fmt: skip


def area(*others: Trace, at_s: float = 0) -> bool:
    return jammed_area(CELL, ms(at_s), "own", others, LIMITS)


def test_three_deliveries_within_ten_minutes() -> None:
    assert area(other("a", 0), other("b", 600))
    assert area(other("a", -300), other("b", 300))
    assert not area(other("a", 0), other("b", 600.001))
    assert not area(other("a", -301), other("b", 300)), "eleven minutes between the two"
    assert not area(other("a", 0))


def test_one_delivery_counts_once_and_other_places_and_kinds_do_not() -> None:
    assert not area(other("a", 0), other("a", 60))
    assert not area(other("a", 0), other("own", 60))
    assert not area(other("a", 0), other("b", 0, cell=cell_of(75.5, 46.85)))
    assert not area(other("a", 0), other("b", 0, kind="stop"))


def test_jamming_of_an_area_is_low_with_its_layer_named() -> None:
    jam = Finding(
        code="jamming", device="d", severity=Severity.HIGH, basis=Basis.DATA, start_ms=ms(0),
        evidence={"cell": CELL},
    )  # fmt: skip
    around = Around(others=(other("a", 0), other("b", 60)))
    tempered = temper_jamming(jam, around, LIMITS)
    assert tempered.severity == "low"
    assert tempered.evidence["area_jamming"] == {
        "layer_date": "2026-02-25", "cell": CELL, "vehicles_at_least": 3
    }  # fmt: skip
    assert temper_jamming(jam, Around(others=(other("a", 0),)), LIMITS) == jam


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0, 299, 300, 599, 600, 601, 900])),
        max_size=6,
    ),
    st.randoms(),
)
def test_all_of_an_area_agree_that_it_is_one(seen: list[tuple[str, int]], rng: Any) -> None:
    """Whose jamming it is makes no difference, nor the order in which they are read."""
    traces = [other(delivery, at_s) for delivery, at_s in seen]
    shuffled = rng.sample(traces, len(traces))
    for trace in traces:
        mine = jammed_area(CELL, trace.from_ms, trace.delivery, traces, LIMITS)
        assert mine == jammed_area(CELL, trace.from_ms, trace.delivery, shuffled, LIMITS)
        windows = [
            {t.delivery for t in traces if b <= t.from_ms <= b + 600_000}
            for b in {t.from_ms for t in traces}
            if b <= trace.from_ms <= b + 600_000
        ]
        assert mine == any(len(names) >= 3 for names in windows)
