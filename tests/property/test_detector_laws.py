"""Laws that hold for every detector, and the detectors against plain readings of the contract."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property.test_order_law import all_of, plain
from tests.property.trips_at_random import sceneries, trips
from tests.unit.detectors.trips import (
    LIMIT_MOVING_S,
    LIMIT_PARKED_S,
    at,
    episodes,
    findings,
    record,
    seconds,
    zone,
)
from tracker.anomalies import DETECTORS, RULES, TRACE, Scenery, shown_in
from tracker.detectors.base import shows
from tracker.geodesy import distance_m
from tracker.model import Basis, BoundDevice, Finding, FixFacts, Observation, Step
from tracker.track import Track, advance, settle

MANY = settings(max_examples=150, deadline=None)
Episodes = list[tuple[float | None, float | None]]


@given(trips(), sceneries())
@MANY
def test_episodes_of_a_device_follow_each_other(trip: list[Observation], scene: Scenery) -> None:
    _, found = all_of(trip, scene)
    by_code: dict[tuple[str, str | None, str | None], list[Finding]] = defaultdict(list)
    for finding in found:
        assert finding.code in RULES or finding.code.startswith(TRACE)
        # Of restricted zones and checkpoints each is a subject of its own: zones may overlap.
        subject = finding.evidence["zone"] if finding.code in OF_ONE_ZONE else None
        by_code[finding.code, finding.device, subject].append(finding)
    for same in by_code.values():
        same.sort(key=lambda f: f.start_ms)
        for a, b in pairwise(same):
            assert a.end_ms is not None, "only the last may be open"
            assert a.end_ms <= b.start_ms


OF_ONE_ZONE = {"restricted_zone", "checkpoint_missed"}
OF_TWO_DEVICES = {"separation"}
STARTS_BETWEEN_RECORDS = {"overstay", "arrival_mismatch"}
MADE_BY_AN_ACT = {"arrival_mismatch"}


@given(trips(), sceneries())
@MANY
def test_each_finding_is_whole(trip: list[Observation], scene: Scenery) -> None:
    records = {(o.device, o.gen, o.seq) for o in trip}
    for finding in shown_in(tuple(all_of(trip, scene)[1])):
        assert finding.severity.order >= RULES[finding.code].severity.order
        assert finding.end_ms is None or finding.start_ms <= finding.end_ms
        if finding.basis is Basis.CLOCK:
            assert finding.start_ms <= scene.now_ms
        elif finding.code not in STARTS_BETWEEN_RECORDS:
            assert finding.start_ms in {o.t_ms for o in trip}
        if finding.code in MADE_BY_AN_ACT:
            assert finding.start_ms in {act.t_ms for act in scene.plan.acts}
        elif finding.basis is Basis.DATA:
            assert finding.found_by is not None
            source = finding.found_by
            assert (source.device, source.gen, source.seq) in records
            if finding.code not in OF_TWO_DEVICES:
                assert finding.device == source.device


@given(trips(), sceneries())
@MANY
def test_a_detector_at_rest_sleeps_through_all_that_does_not_wake_it(
    trip: list[Observation], scene: Scenery
) -> None:
    for device in scene.plan.devices:
        seen_by = scene.of(device, scene.limits)
        for step in steps_of(device, trip):
            for detector in DETECTORS:
                at_rest, bits = detector.state_type(), shows(step)
                if detector.wakes is None or not detector.looks & bits or detector.wakes & bits:
                    continue
                assert detector.step(at_rest, step, seen_by) == (at_rest, ())


@given(sceneries())
def test_at_rest_nothing_goes_on(scene: Scenery) -> None:
    for device in scene.plan.devices:
        seen_by = scene.of(device, scene.limits)
        assert not any(d.finish(d.state_type(), seen_by) for d in DETECTORS)


def steps_of(device: BoundDevice, trip: list[Observation]) -> Iterator[Step]:
    """What the track of a device decides, at the end of the data too."""
    track = Track()
    for seen in trip:
        if seen.device == device.id:
            track, steps = advance(track, seen)
            yield from steps
    yield from settle(track)[1]


@given(trips(), sceneries())
@MANY
def test_no_detector_knows_what_day_it_is(trip: list[Observation], scene: Scenery) -> None:
    def later(t_ms: int | None) -> int | None:
        return None if t_ms is None else t_ms + WEEK_MS

    moved_trip = [
        replace(
            o, t_ms=o.t_ms + WEEK_MS, fix=o.fix and replace(o.fix, fix_ms=o.fix.fix_ms + WEEK_MS)
        )
        for o in trip
    ]
    plan = scene.plan
    moved_scene = replace(
        scene,
        now_ms=scene.now_ms + WEEK_MS,
        plan=replace(
            plan,
            deadline_ms=plan.deadline_ms + WEEK_MS,
            released_ms=later(plan.released_ms),
            arrived_ms=later(plan.arrived_ms),
            acts=tuple(replace(act, t_ms=act.t_ms + WEEK_MS) for act in plan.acts),
            routes=tuple(
                replace(
                    route,
                    from_ms=later(route.from_ms),
                    checkpoints=tuple(
                        replace(c, from_ms=later(c.from_ms), to_ms=later(c.to_ms))
                        for c in route.checkpoints
                    ),
                )
                for route in plan.routes
            ),
        ),
    )

    def shape(found: list[Finding], shift_ms: int) -> list[tuple[object, ...]]:
        return [
            (f.code, f.device, f.severity, f.start_ms - shift_ms, f.end_ms and f.end_ms - shift_ms)
            for f in plain(found)
        ]

    assert shape(all_of(moved_trip, moved_scene)[1], WEEK_MS) == shape(all_of(trip, scene)[1], 0)


WEEK_MS = 7 * 86_400_000


# ---------------------------------------------------------------- against plain readings


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 59, LIMIT_MOVING_S, LIMIT_MOVING_S + 1, LIMIT_PARKED_S + 1]),
            st.sampled_from([None, True, False]),
            st.sampled_from([0, 0, 500]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_silence_is_each_gap_over_its_limit(steps: list[tuple[int, bool | None, int]]) -> None:
    trip: list[Observation] = []
    expected: Episodes = []
    now_s, moving, sleep_s = 0, True, 0
    for gap_s, stated, sleeps_s in steps:
        limit_s = sleep_s + (LIMIT_MOVING_S if moving else LIMIT_PARKED_S)
        if trip and gap_s > limit_s:
            expected.append((now_s, now_s + gap_s))
        now_s += gap_s
        moving, sleep_s = moving if stated is None else stated, sleeps_s
        trip.append(record(now_s, moving=stated, sleep_s=float(sleeps_s)))
    assert episodes(trip, code="silence") == expected


@given(st.lists(st.sampled_from([None, 3.0, 14.9, 15.0, 19.9, 20.0, 80.0]), max_size=20))
def test_battery_is_low_from_under_15_to_20(percents: list[float | None]) -> None:
    trip = [record(n, battery_pct=pct) for n, pct in enumerate(percents)]
    expected: Episodes = []
    for n, pct in enumerate(percents):
        is_open = bool(expected) and expected[-1][1] is None
        if pct is not None and is_open and pct >= 20:
            expected[-1] = (expected[-1][0], n)
        elif pct is not None and not is_open and pct < 15:
            expected.append((n, None))
    assert episodes(trip, code="battery_low") == expected


# Everything below is slow enough to be reachable, so that every fix is a valid one.
crawls = st.lists(
    st.tuples(
        st.sampled_from([10, 20, 30, 300, 600]),
        st.sampled_from([0, 0, 0, 40, 100, 160, 400, -40, -160, -400]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def crawl(steps: list[tuple[int, int, bool]]) -> list[Observation]:
    trip: list[Observation] = []
    now_s, progress_m = 0, 0
    for gap_s, step_m, parked in steps:
        now_s += gap_s
        progress_m += step_m
        trip.append(at(now_s, progress_m, zones=[zone("rest")] if parked else []))
    return trip


def runs(fixes: list[FixFacts]) -> Iterator[list[FixFacts]]:
    """The greedy runs, as the contract words them: each a list of its fixes inside."""
    start = 0
    while start < len(fixes):
        anchor, inside, end = fixes[start], [fixes[start]], len(fixes)
        for n in range(start + 1, len(fixes)):
            if away(anchor, fixes[n]) and n + 1 < len(fixes) and away(anchor, fixes[n + 1]):
                end = n
                break
            if not away(anchor, fixes[n]):
                inside.append(fixes[n])
        yield inside
        start = end


def away(anchor: FixFacts, fix: FixFacts) -> bool:
    return distance_m((anchor.lon, anchor.lat), (fix.lon, fix.lat)) > 150


@given(crawls)
@MANY
def test_stops_are_the_long_greedy_runs_outside_zones(steps: list[tuple[int, int, bool]]) -> None:
    trip = crawl(steps)
    all_runs = list(runs([o.fix for o in trip if o.fix]))
    expected = []
    for n, inside in enumerate(all_runs):
        long_enough = inside[-1].fix_ms - inside[0].fix_ms >= 15 * 60_000
        if long_enough and sum(bool(fix.zones) for fix in inside) * 2 < len(inside):
            is_last = n == len(all_runs) - 1
            expected.append(
                (seconds(inside[0].fix_ms), None if is_last else seconds(inside[-1].fix_ms))
            )
    assert episodes(trip, code="unauthorised_stop") == expected


drives = st.lists(
    st.tuples(
        st.sampled_from([10, 20, 30, 60]),
        st.sampled_from([0, 0, 850, 899, 901, 1004, 1006, 1300]),
    ),
    min_size=1,
    max_size=40,
)


@given(drives)
@MANY
def test_deviations_are_runs_outside_until_two_fixes_inside(steps: list[tuple[int, int]]) -> None:
    now_s, points = 0, []
    for gap_s, off_m in steps:
        now_s += gap_s
        points.append((now_s, off_m))
    trip = [at(s, 10 * s, off, acc_m=5) for s, off in points]
    if not all_reachable(trip):
        return
    expected: Episodes = []
    position = 0
    while position < len(points):
        run = run_outside(points, position)
        if len(run) >= 2 and run[-1][0] - run[0][0] >= 30:
            end = back_inside(points, position + opening(run) + 1)
            expected.append((run[0][0], None if end is None else points[end][0]))
            if end is None:
                break
            position = end + 2
        else:
            position += max(1, len(run))
    assert episodes(trip, code="route_deviation") == expected


def all_reachable(trip: list[Observation]) -> bool:
    from tracker.track import reachable

    return all(a.fix and b.fix and reachable(a.fix, b.fix) for a, b in pairwise(trip))


def run_outside(points: list[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    """The unbroken run of fixes beyond the corridor that begins here."""
    outside, group = next(groupby(points[start:], key=lambda p: p[1] - 5 > 1000))
    return list(group) if outside else []


def opening(run: list[tuple[int, int]]) -> int:
    """Which fix of a run makes it long enough."""
    return next(n for n, (s, _) in enumerate(run) if n and s - run[0][0] >= 30)


def back_inside(points: list[tuple[int, int]], start: int) -> int | None:
    """The first of two fixes in a row within 0.9 of the half-width."""
    for n in range(start, len(points) - 1):
        if points[n][1] <= 900 and points[n + 1][1] <= 900:
            return n
    return None


@given(st.lists(st.sampled_from([0.0, 4000.0]), min_size=1, max_size=12))
def test_an_isolated_jump_leaves_no_deviation(offs: list[float]) -> None:
    """Fixes 4 km away for under 60 s and fewer than 3 in a row, a second apart, are accidents."""
    groups = [(off, len(list(group))) for off, group in groupby(offs)]
    if groups[0][0] or groups[-1][0] or any(off and n >= 3 for off, n in groups):
        return
    trip = [at(float(n), 10 * n, off) for n, off in enumerate(offs)]
    assert findings(trip, code="route_deviation") == []
