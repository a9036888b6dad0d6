"""Laws of `identity_conflict`, against plain readings of its rules."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.detectors.test_identity_conflict import at, bound, other, plan
from tracker.detectors.identity import (
    MAX_LISTED,
    Sighting,
    device_on_two,
    identity_clock_ms,
    identity_conflicts,
    two_places,
)
from tracker.detectors.limits import Limits
from tracker.model import DeliveryPlan, Finding, Refusal
from tracker.track import reachable

MANY = settings(max_examples=200, deadline=None)
QUIET_MS = 600_000
REASONS = ("mac_wrong", "mac_missing", "identity_conflict")


@st.composite
def refusals(draw: st.DrawFn) -> Refusal:
    first = draw(st.integers(at(-30), at(180)))
    length = draw(st.integers(0, 9 * 60_000))
    back = draw(st.sampled_from([0, 0, 3_600_000]))
    return Refusal(
        device=draw(st.sampled_from(["S", "G", "X"])),
        reason=draw(st.sampled_from(REASONS)),
        first_ms=first,
        last_ms=first + length,
        count=draw(st.integers(1, 1000)),
        from_ms=first - back,
        to_ms=first + length - back,
        topics=(draw(st.sampled_from(["a", "b", "c"])),),
        quarantine_ids=tuple(draw(st.lists(st.integers(1, 99), max_size=3))),
    )


@st.composite
def plans(draw: st.DrawFn) -> DeliveryPlan:
    until = draw(st.one_of(st.none(), st.integers(60, 170)))
    return plan(bound("S", draw(st.integers(0, 50)), until), bound("G"))


def belongs(refusal: Refusal, to: DeliveryPlan) -> bool:
    return any(
        d.id == refusal.device
        and refusal.to_ms >= d.from_ms
        and (d.to_ms is None or refusal.from_ms < d.to_ms)
        for d in to.devices
    )


def key(found: Finding) -> tuple[str | None, str]:
    return found.device, found.evidence["reason"]


@given(st.lists(refusals(), max_size=12), plans(), st.integers(at(0), at(400)))
@MANY
def test_every_refusal_of_the_delivery_is_counted_in_one_episode(
    refused: list[Refusal], delivery: DeliveryPlan, now_ms: int
) -> None:
    found = identity_conflicts(refused, delivery, now_ms)
    ours = [r for r in refused if belongs(r, delivery)]
    assert sum(f.evidence["count"] for f in found) == sum(r.count for r in ours)
    for r in ours:
        around = [
            f
            for f in found
            if key(f) == (r.device, r.reason)
            and f.evidence["first_received_ms"] <= r.first_ms
            and r.last_ms <= f.evidence["last_received_ms"]
        ]
        assert len(around) == 1
    for f in found:
        assert f.device in {"S", "G"}
        assert len(f.evidence["quarantine_ids"]) <= MAX_LISTED


@given(st.lists(refusals(), max_size=12), plans(), st.integers(at(0), at(400)))
@MANY
def test_episodes_of_a_reason_lie_ten_quiet_minutes_apart_and_only_the_last_is_open(
    refused: list[Refusal], delivery: DeliveryPlan, now_ms: int
) -> None:
    found = identity_conflicts(refused, delivery, now_ms)
    for device_reason in {key(f) for f in found}:
        same = [f for f in found if key(f) == device_reason]
        for a, b in pairwise(same):
            assert b.start_ms - a.evidence["last_received_ms"] > QUIET_MS
        for f in same:
            young = now_ms - f.evidence["last_received_ms"] <= QUIET_MS
            assert f.end_ms == (None if young else f.evidence["last_received_ms"])


@given(
    st.lists(refusals(), max_size=12),
    plans(),
    st.integers(at(0), at(400)),
    st.tuples(st.floats(0, 7200), st.floats(0, 7200)),
)
@MANY
def test_a_longer_quiet_only_joins_episodes(
    refused: list[Refusal], delivery: DeliveryPlan, now_ms: int, quiet_s: tuple[float, float]
) -> None:
    less, more = (Limits(identity_quiet_s=s) for s in sorted(quiet_s))
    apart = identity_conflicts(refused, delivery, now_ms, less)
    joined = identity_conflicts(refused, delivery, now_ms, more)
    for whole in joined:
        first, last = whole.start_ms, whole.evidence["last_received_ms"]
        parts = [f for f in apart if key(f) == key(whole) and first <= f.start_ms <= last]
        assert sum(f.evidence["count"] for f in parts) == whole.evidence["count"]
        assert (whole.end_ms is None) >= any(f.end_ms is None for f in parts)
    assert len(joined) <= len(apart)


@given(st.data(), st.lists(refusals(), max_size=10), plans(), st.integers(at(0), at(400)))
@MANY
def test_the_order_of_arrival_does_not_matter(
    data: st.DataObject, refused: list[Refusal], delivery: DeliveryPlan, now_ms: int
) -> None:
    def plain(given_: list[Refusal]) -> list[object]:
        found = identity_conflicts(given_, delivery, now_ms)
        return [
            (f.device, f.start_ms, f.end_ms, f.evidence["reason"], f.evidence["count"])
            for f in found
        ]

    assert plain(data.draw(st.permutations(refused))) == plain(refused)


@given(st.lists(refusals(), min_size=1, max_size=10), plans(), st.integers(at(0), at(400)))
@MANY
def test_a_resend_adds_to_the_evidence_and_makes_no_finding(
    refused: list[Refusal], delivery: DeliveryPlan, now_ms: int
) -> None:
    once = identity_conflicts(refused, delivery, now_ms)
    again = identity_conflicts([*refused, refused[0]], delivery, now_ms)
    assert [(key(f), f.start_ms, f.end_ms) for f in again] == [
        (key(f), f.start_ms, f.end_ms) for f in once
    ]


@given(st.lists(refusals(), max_size=10), plans(), st.integers(at(0), at(400)))
@MANY
def test_nothing_changes_before_the_clock_says_so(
    refused: list[Refusal], delivery: DeliveryPlan, now_ms: int
) -> None:
    clock_ms = identity_clock_ms(refused, delivery, now_ms)
    now = identity_conflicts(refused, delivery, now_ms)
    if clock_ms is None:
        assert all(f.end_ms is not None for f in now)
        assert identity_conflicts(refused, delivery, now_ms + 10**9) == now
        return
    assert clock_ms > now_ms
    assert identity_conflicts(refused, delivery, clock_ms - 1) == now
    assert identity_conflicts(refused, delivery, clock_ms) != now


# ---------------------------------------------------------------- two deliveries

SPANS = st.tuples(st.integers(0, 100), st.one_of(st.none(), st.integers(1, 60)))


@given(SPANS, SPANS)
@MANY
def test_an_overlap_is_found_from_both_sides_alike(
    own: tuple[int, int | None], its: tuple[int, int | None]
) -> None:
    def until(span: tuple[int, int | None]) -> int | None:
        return None if span[1] is None else span[0] + span[1]

    ours = device_on_two([other(its[0], until(its))], plan(bound("S", own[0], until(own))))
    theirs = device_on_two([other(own[0], until(own))], plan(bound("S", its[0], until(its))))
    assert ours == theirs
    minutes = range(0, 200)
    shared = [
        m
        for m in minutes
        if all(s[0] <= m and (s[1] is None or m < s[0] + s[1]) for s in (own, its))
    ]
    assert bool(ours) is bool(shared)
    if ours:
        assert ours[0].start_ms == at(shared[0])


# ---------------------------------------------------------------- two places


@st.composite
def drives(draw: st.DrawFn, lon: float, seq: int) -> list[Sighting]:
    """A lorry's own track: at most 90 km/h, at uneven times."""
    t_ms, lat, out = at(0), 43.0, []
    for n in range(draw(st.integers(4, 20))):
        step_s = draw(st.integers(5, 120))
        t_ms += step_s * 1000
        lat += draw(st.floats(-1, 1)) * 25.0 * step_s / 111_000
        out.append(
            Sighting(device="S", gen=0, seq=seq + n, fix_ms=t_ms, lon=lon, lat=lat, acc_m=10)
        )
    return out


@given(drives(76.9, 1))
@MANY
def test_one_lorry_is_in_one_place(track: list[Sighting]) -> None:
    assert two_places(track) == ()


@given(drives(76.9, 1), drives(60.0, 500))
@MANY
def test_two_lorries_under_one_name_are_found_if_they_alternate(
    one: list[Sighting], two: list[Sighting]
) -> None:
    both = sorted([*one, *two], key=lambda s: (s.fix_ms, s.gen, s.seq))
    switches = sum(a.lon != b.lon for a, b in pairwise(both))
    found = two_places(both)
    assert len(found) == (switches >= 3)
    for f in found:
        assert f.evidence["switches"] == switches
        assert f.end_ms is None


@given(st.data(), drives(76.9, 1), drives(60.0, 500))
@MANY
def test_places_do_not_depend_on_the_order_of_arrival(
    data: st.DataObject, one: list[Sighting], two: list[Sighting]
) -> None:
    both = [*one, *two]
    assert two_places(data.draw(st.permutations(both))) == two_places(both)


@given(drives(76.9, 1), drives(60.0, 500), st.integers(-(10**9), 10**9))
@MANY
def test_places_do_not_know_what_day_it_is(
    one: list[Sighting], two: list[Sighting], shift_ms: int
) -> None:
    moved = [replace(s, fix_ms=s.fix_ms + shift_ms) for s in (*one, *two)]
    assert two_places(moved) == tuple(
        replace(
            f,
            start_ms=f.start_ms + shift_ms,
            end_ms=None if f.end_ms is None else f.end_ms + shift_ms,
        )
        for f in two_places([*one, *two])
    )


@st.composite
def wanderings(draw: st.DrawFn) -> list[Sighting]:
    """Anything at all: places picked at random from a few that are far apart."""
    lons = draw(st.lists(st.sampled_from([60.0, 70.0, 80.0]), max_size=12))
    gaps = [draw(st.integers(1, 400)) for _ in lons]
    return [
        Sighting(
            device="S", gen=0, seq=n + 1, fix_ms=at(sum(gaps[: n + 1])), lon=lon, lat=45.0, acc_m=10
        )
        for n, lon in enumerate(lons)
    ]


@given(wanderings())
@MANY
def test_a_finding_has_enough_jumps_that_no_vehicle_can_make(track: list[Sighting]) -> None:
    found = two_places(track)
    jumps = [b.fix_ms for a, b in pairwise(track) if not reachable(a, b)]
    for f in found:
        until_ms = f.end_ms if f.end_ms is not None else track[-1].fix_ms
        inside = [t for t in jumps if f.start_ms <= t <= until_ms]
        assert len(inside) >= f.evidence["switches"] >= 3
    for a, b in pairwise(found):
        assert a.end_ms is not None
        assert a.end_ms < b.start_ms
