"""Two vehicles side by side: word by word of the contract, at its exact edges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.detectors.trips import ms, place, seconds
from tracker.detectors.fleet import meetings
from tracker.detectors.limits import Limits
from tracker.model import Trace

LIMITS = Limits()


def stop(
    delivery: str, from_s: float, last_s: float, *, open_: bool = False, north_m: float = 0.0
) -> Trace:
    lon, lat = place(0, north_m)
    return Trace(
        delivery=delivery,
        device=f"{delivery}-gps",
        kind="stop",
        from_ms=ms(from_s),
        to_ms=None if open_ else ms(last_s),
        lon=lon,
        lat=lat,
        data={"gen": 0, "seq": 7, "last_ms": ms(last_s)},
    )


def met(own: list[Trace], others: list[Trace]) -> list[tuple[Any, ...]]:
    return [
        (seconds(m.start_ms), seconds(m.end_ms), m.others) for m in meetings(own, others, LIMITS)
    ]


def test_ten_minutes_together_within_100_m() -> None:
    own = [stop("own", 0, 1200)]
    assert met(own, [stop("a", 600, 3000, north_m=99.9)]) == [(600, 1200, ("a",))]
    assert met(own, [stop("a", 600.001, 3000)]) == []
    assert met(own, [stop("a", 0, 3000, north_m=100.2)]) == []


def test_it_lasts_while_both_stand() -> None:
    own, other = stop("own", 0, 1200, open_=True), stop("a", 100, 900, open_=True)
    assert met([own], [other]) == [(100, None, ("a",))]
    assert met([own], [stop("a", 100, 900)]) == [(100, 900, ("a",))]


def test_what_no_record_shows_is_no_time_together() -> None:
    """The other was last heard nine minutes after both stood: it may have left since."""
    assert met([stop("own", 0, 3000)], [stop("a", 100, 640, open_=True)]) == []


def test_meetings_that_overlap_are_one_and_its_own_devices_are_one_vehicle() -> None:
    own = [stop("own", 0, 3000), stop("own", 60, 3000)]
    others = [stop("a", 0, 1800), stop("b", 1000, 3000)]
    assert met(own, others) == [(0, 3000, ("a", "b"))]


spans = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([0, 300, 600, 900, 2000]),
        st.sampled_from([600, 601, 1200, 4000]),
        st.booleans(),
        st.sampled_from([0.0, 60.0, 99.0, 101.0]),
    ),
    max_size=4,
)


@given(spans, st.sampled_from([0, 500]), st.sampled_from([600, 3000]), st.booleans())
def test_both_sides_find_the_same(
    others: list[tuple[str, int, int, bool, float]], from_s: int, lasts_s: int, open_: bool
) -> None:
    mine = stop("own", from_s, from_s + lasts_s, open_=open_)
    theirs = [stop(d, s, s + long, open_=o, north_m=n) for d, s, long, o, n in others]
    found = meetings([mine], theirs, LIMITS)
    assert [m.start_ms for m in found] == sorted(m.start_ms for m in found)
    for a, b in pairwise(found):
        assert a.end_ms is not None
        assert a.end_ms < b.start_ms
    seen = {(t.delivery, m.start_ms) for t in theirs for m in meetings([t], [mine], LIMITS)}
    assert {d for m in found for d in m.others} == {d for d, _ in seen}
    if found:
        assert min(m.start_ms for m in found) == min(t for _, t in seen)


def test_other_traces_are_no_stops() -> None:
    other = replace(stop("a", 0, 3000), kind="jam")
    assert met([stop("own", 0, 3000)], [other]) == []
