"""When a delivery is seen to be on its way: by the device's word, its speed, or its way."""

from __future__ import annotations

import pytest

from tests.unit.detectors.trips import at, scenery
from tracker.anomalies import Fold, fold
from tracker.model import Observation


@pytest.mark.parametrize(
    ("trip", "moved"),
    [
        ([at(0), at(60, 0, moving=True)], True),
        ([at(0), at(60, 1000, moving=False)], False),
        ([at(0, speed_kmh=6.0)], True),
        ([at(0), at(60, 1000, speed_kmh=0.0)], False),
        ([at(0), at(60, 151)], True),
        ([at(0), at(60, 149), at(120, 0)], False),
        ([at(0, 20_000)], False),
    ],
)
def test_it_is_on_its_way(trip: list[Observation], moved: bool) -> None:
    state, _ = fold(Fold(), trip, scenery())
    assert state.moved is moved
