"""Which fixes are valid (contract detection.md, "Valid fix") and where on the route they lie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.detectors.trips import at, fix, ms, record, seconds
from tracker.model import Observation, ProgressCandidate, Record, Step, WireFix
from tracker.track import MAX_JUMPS, Track, accuracy_m, advance, position_of, reachable, settle

T_MS = ms(0)
FAR_M = 100_000.0


def walk(trip: Iterable[Observation]) -> tuple[Track, list[Step]]:
    track = Track()
    decided: list[Step] = []
    for seen in trip:
        track, steps = advance(track, seen)
        decided.extend(steps)
    return track, decided


def valid_s(trip: Iterable[Observation], *, settled: bool = False) -> list[float | None]:
    """The moments of the fixes that are decided as valid."""
    track, decided = walk(trip)
    if settled:
        decided += settle(track)[1]
    return [seconds(step.observation.t_ms) for step in decided if step.valid]


# ---------------------------------------------------------------- a record's own fix


def wire(**fields: Any) -> Record:
    good: dict[str, Any] = {
        "t": T_MS,
        "ok": True,
        "lat": 43.5,
        "lon": 76.0,
        "src": "gnss",
        "acc": 4.0,
    }
    return Record(v=1, gen=0, seq=1, ts=T_MS, fix=WireFix(**(good | fields)))


def usable(record: Record) -> bool:
    return position_of(record, T_MS, T_MS) is not None


@pytest.mark.parametrize("fields", [{}, {"ok": None}, {"src": None}, {"t": None}, {"lat": 0.0}])
def test_usable_positions(fields: dict[str, Any]) -> None:
    assert usable(wire(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"ok": False},
        {"src": "lbs"},
        {"src": "wifi"},
        {"src": "last"},
        {"lat": None},
        {"lon": None},
        {"lat": 0.0, "lon": 0.0},
    ],
)
def test_positions_that_are_none(fields: dict[str, Any]) -> None:
    assert not usable(wire(**fields))


@pytest.mark.parametrize("t", [None, 0, T_MS + 10**7])
def test_the_time_of_the_record_stands_for_one_that_cannot_be(t: int | None) -> None:
    position = position_of(wire(t=t), T_MS - 5, T_MS)
    assert position is not None
    assert position.fix_ms == T_MS - 5


def test_a_record_without_a_fix_has_no_position() -> None:
    assert not usable(Record(v=1, gen=0, seq=1, ts=T_MS))


@pytest.mark.parametrize(
    ("acc", "hdop", "metres"),
    [(4.0, 9.0, 4.0), (0.0, 9.0, 0.0), (None, 1.5, 7.5), (None, None, 15)],
)
def test_accuracy_is_reported_or_from_hdop_or_fifteen_metres(
    acc: float | None, hdop: float | None, metres: float
) -> None:
    assert accuracy_m(acc, hdop) == metres


# ---------------------------------------------------------------- in order


def test_a_fix_must_be_newer_than_the_last() -> None:
    frozen = fix(10, 100)
    trip = [
        at(0),
        record(10, fix=frozen),
        record(20, fix=frozen),
        record(30, fix=fix(9, 100)),
        at(40),
    ]
    assert valid_s(trip) == [0, 10, 40]


def test_records_without_a_fix_are_decided_at_once() -> None:
    _, decided = walk([at(0), record(5), at(10)])
    assert [step.valid for step in decided] == [True, False, True]


@pytest.mark.parametrize(("metres", "there"), [(2009.99, True), (2010.01, False)])
def test_a_place_can_be_reached_at_200_kmh_between_the_accuracies(
    metres: float, there: bool
) -> None:
    # 36 s at 200 km/h are 2,000 m, and 5 m of accuracy at each end.
    assert reachable(fix(0), fix(36, metres)) is there


# ---------------------------------------------------------------- isolated jumps


def test_one_fix_elsewhere_and_back_is_no_valid_fix() -> None:
    assert valid_s([at(0), at(10, FAR_M), at(20, 200)]) == [0, 20]


def test_two_fixes_elsewhere_for_59_seconds_and_back_are_none() -> None:
    assert valid_s([at(0), at(10, FAR_M), at(69, FAR_M), at(80, 900)]) == [0, 80]


def test_two_fixes_elsewhere_for_60_seconds_are_valid() -> None:
    assert valid_s([at(0), at(10, FAR_M), at(70, FAR_M)]) == [0, 10, 70]


def test_three_fixes_elsewhere_are_valid_however_short() -> None:
    assert valid_s([at(0), at(1, FAR_M), at(2, FAR_M), at(3, FAR_M)]) == [0, 1, 2, 3]


def test_of_a_jump_that_stays_repeated_fixes_are_invalid_all_the_same() -> None:
    repeated = record(11, fix=fix(10, FAR_M))
    assert valid_s([at(0), at(10, FAR_M), repeated, at(20, FAR_M), at(30, FAR_M)]) == [
        0,
        10,
        20,
        30,
    ]


def test_a_lone_fix_long_before_the_return_is_isolated_all_the_same() -> None:
    assert valid_s([at(0), at(10, FAR_M), at(600, 200)]) == [0, 600]


def test_undecided_everything_waits_and_counts_as_valid_if_the_data_ends_there() -> None:
    trip = [at(0), at(10, FAR_M), record(15), at(20, FAR_M)]
    assert valid_s(trip) == [0]
    assert valid_s(trip, settled=True) == [0, 10, 20]


def test_what_waited_comes_out_in_order_and_once() -> None:
    trip = [at(0), at(10, FAR_M), record(15), record(16), at(20, 100), record(30)]
    _, decided = walk(trip)
    assert [step.observation for step in decided] == trip


def test_a_record_that_repeats_the_jumps_fix_does_not_prolong_it() -> None:
    jumped = fix(10, FAR_M)
    trip = [at(0), *(record(s, fix=jumped) for s in (10, 11, 12, 90)), at(100, 200)]
    assert valid_s(trip) == [0, 100]


def test_jumping_from_place_to_place_and_back_is_all_isolated() -> None:
    trip = [at(0), at(10, FAR_M), at(20, 2 * FAR_M), at(30, -FAR_M), at(40, 300)]
    assert valid_s(trip) == [0, 40]


def test_a_receiver_that_only_jumps_does_not_make_us_wait_for_ever() -> None:
    # Each place is farther from all before than can be driven.
    trip = [at(10 * n, FAR_M * n * n) for n in range(MAX_JUMPS + 2)]
    assert len(valid_s(trip)) == len(trip)


def test_a_detour_under_way_is_no_jump() -> None:
    trip = [at(60 * n, 1500 * n, 3000 if n in (3, 4) else 0) for n in range(8)]
    assert valid_s(trip) == [60 * n for n in range(8)]


# ---------------------------------------------------------------- places


def test_progress_goes_on_from_the_last_valid_fix() -> None:
    def twice(at_s: float, progress_m: float) -> Observation:
        """On a road that is driven out and back: two places are equally near."""
        seen = fix(at_s, progress_m)
        places = (ProgressCandidate(progress_m, 0, 1), ProgressCandidate(20_000 - progress_m, 0, 1))
        return record(at_s, fix=replace(seen, candidates=places))

    outward = [twice(60 * n, 1000 * n) for n in range(11)]
    homeward = [twice(60 * n, 20_000 - 1000 * n) for n in range(11, 20)]
    _, decided = walk(outward + homeward)
    progress = [step.place.progress_m for step in decided if step.place]
    assert progress == [1000 * n for n in range(20)]
