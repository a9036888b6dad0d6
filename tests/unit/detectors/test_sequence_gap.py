"""``sequence_gap``, word by word (contract detection.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.detectors.trips import DEVICE, NEVER_S, episodes, findings, ms, scenery, seconds
from tracker.anomalies import Fold, present, whole
from tracker.model import Around, Basis, Finding, Hole, Severity

DAY_S = 24 * 3600.0


def hole(
    first: int = 3,
    last: int = 4,
    *,
    before_s: float | None = 100,
    after_s: float | None = 200,
    received_s: float = 1000,
    **more: Any,
) -> Hole:
    return Hole(
        device=more.pop("device", DEVICE),
        gen=more.pop("gen", 0),
        seqs=(first, last),
        missing=last - first + 1,
        higher_received_ms=ms(received_s),
        before_ms=None if before_s is None else ms(before_s),
        after_ms=None if after_s is None else ms(after_s),
        **more,
    )


def gaps(*holes: Hole, now_s: float = 10 * DAY_S, **more: Any) -> list[Any]:
    return episodes([], code="sequence_gap", around=Around(holes=holes), now_s=now_s, **more)


def only(*holes: Hole, now_s: float = 10 * DAY_S) -> Finding:
    (found,) = findings([], code="sequence_gap", around=Around(holes=holes), now_s=now_s)
    return found


@pytest.mark.parametrize(("after_s", "opens"), [(DAY_S - 0.001, False), (DAY_S, True)])
def test_a_day_after_a_higher_number_was_received(after_s: float, opens: bool) -> None:
    assert gaps(hole(), now_s=1000 + after_s) == [(100, 200)] * opens


def test_below_what_the_device_holds_at_once() -> None:
    assert gaps(hole(final=True), now_s=1000) == [(100, 200)]


def test_it_is_of_the_clock_and_may_be_filled_until_it_is_final() -> None:
    waiting, final = only(hole()), only(hole(final=True))
    assert waiting.basis is final.basis is Basis.CLOCK
    assert waiting.severity is Severity.LOW
    assert (waiting.provisional, final.provisional) == (True, False)


def test_the_clock_wakes_when_it_is_a_day_old() -> None:
    scene = scenery(now_s=1000)
    now = present(Fold(), scene)
    judged = whole(scene, now, (), Around(holes=(hole(), hole(7, 7, received_s=500))))
    assert [seconds(t) for t in judged.clocks] == [500 + DAY_S]
    final = whole(scene, now, (), Around(holes=(hole(final=True),)))
    assert [seconds(t) for t in final.clocks] == [NEVER_S], "the deadline's own"


@pytest.mark.parametrize(
    ("neighbours", "within"),
    [
        ({"before_s": 0, "after_s": 499.999}, True),
        ({"before_s": -0.001, "after_s": 100}, False),
        ({"before_s": 100, "after_s": 500}, True),
        ({"before_s": 100, "after_s": 500.001}, False),
        ({"before_s": 100, "after_s": None}, False),
        ({"before_s": None, "after_s": 100}, False),
    ],
)
def test_within_the_binding_by_its_neighbours(neighbours: dict[str, Any], within: bool) -> None:
    assert bool(gaps(hole(**neighbours), bound_to_s=500)) is within


def test_numbers_missing_from_the_first_on_begin_with_the_binding() -> None:
    assert gaps(hole(1, 4, before_s=None, after_s=240)) == [(0, 240)]
    assert gaps(hole(1, 4, before_s=None, after_s=-10)) == []


def test_a_device_that_was_used_before_has_lost_nothing() -> None:
    # It makes a record a minute: four take it as many.
    assert gaps(hole(1, 4, before_s=None, after_s=239.999)) == []
    assert gaps(hole(1, 999, before_s=None, after_s=0, final=True)) == []


def test_another_devices_are_not_ours() -> None:
    assert gaps(hole(device="gps-2")) == []


def test_each_hole_is_told_apart_though_they_share_a_neighbour() -> None:
    holes = hole(), hole(6, 6, before_s=200, after_s=300)
    assert gaps(*holes) == [(100, 200), (200, 300)]


def test_spans_that_overlap_are_one() -> None:
    first = hole(final=True)
    second = hole(1, 2, gen=1, before_s=None, after_s=150)
    found = only(second, first)
    assert (seconds(found.start_ms), seconds(found.end_ms)) == (0, 200)
    assert found.evidence == {
        "missing": 4,
        "ranges": [{"gen": 0, "seqs": [[3, 4]]}, {"gen": 1, "seqs": [[1, 2]]}],
        "final": False,
    }


def test_a_clock_that_was_put_back_between_the_neighbours() -> None:
    assert gaps(hole(before_s=200, after_s=100)) == [(100, 200)]
