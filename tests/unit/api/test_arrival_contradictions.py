"""What a confirmed arrival and the telemetry do not agree on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tracker.deliveries import ArrivalFacts, contradictions

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _codes(**more: Any) -> list[str]:
    agreeing: dict[str, Any] = {
        "at": AT,
        "deadline": AT,
        "reported": {"S1": "intact"},
        "bound_devices": frozenset({"S1", "G1"}),
        "bound_seals": frozenset({"S1"}),
        "broken_seals": {},
        "distance_m": 5000.0,
        "settled": True,
    }
    return [c.code for c in contradictions(ArrivalFacts(**(agreeing | more)))]


def test_an_arrival_that_agrees_has_none() -> None:
    assert _codes() == []
    assert _codes(reported={"S1": "cut"}, broken_seals={"S1": "seal_cut"}) == []


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ({"broken_seals": {"S1": "seal_cut"}}, ["seal_state"]),
        ({"reported": {"S1": "missing"}}, ["seal_state"]),
        ({"reported": {}}, ["seal_not_listed"]),
        ({"reported": {"S1": "intact", "S9": "intact"}}, ["seal_unknown"]),
        ({"distance_m": None}, ["no_position"]),
        ({"distance_m": 5000.1}, ["position_far"]),
        ({"deadline": AT - timedelta(seconds=1)}, ["deadline_passed"]),
        ({"settled": False}, ["not_settled"]),
    ],
)
def test_each_difference_is_named(more: dict[str, Any], codes: list[str]) -> None:
    assert _codes(**more) == codes
