"""Rules of course, zones and stops against plain readings of the contract; the way to a fix."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property.test_detector_laws import runs
from tests.unit.detectors.trips import at, episodes, findings, ms, record, seconds, zone
from tracker.model import Checkpoint, DeclaredRoute, FixFacts, Observation, PlanPost
from tracker.track import Track, advance, previous_of, settle

MANY = settings(max_examples=150, deadline=None)
Episodes = list[tuple[float | None, float | None]]
EVERY_S = 600
"""Ten minutes between fixes: 33 km can be driven, so that every fix below is a valid one."""

# ---------------------------------------------------------------- wrong_direction

turns = st.lists(
    st.tuples(
        st.sampled_from([0, 500, 1999, 2000, 3000, -500, -1999, -2000, -2500, -4999, -5000]),
        st.sampled_from([0, 0, 0, 0, 1004, 1006]),
    ),
    min_size=1,
    max_size=30,
)


def driven(steps: list[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """(seconds, progress, inside the corridor) of each fix."""
    progress_m, fixes = 100_000, []
    for n, (step_m, off_m) in enumerate(steps):
        progress_m += step_m
        fixes.append((n * EVERY_S, progress_m, off_m - 5 <= 1000))
    return fixes


def driven_back(fixes: list[tuple[int, int, bool]]) -> Episodes:
    """Each episode from scratch: look for the spell's maximum, then for the way forward."""
    found: Episodes = []
    begun = 0
    while True:
        opening = _opening(fixes, begun)
        if opening is None:
            return found
        turned, opened = opening
        closed = _closing(fixes, opened)
        found.append((fixes[turned][0], None if closed is None else fixes[closed][0]))
        if closed is None:
            return found
        begun = closed


def _opening(fixes: list[tuple[int, int, bool]], begun: int) -> tuple[int, int] | None:
    for n in range(begun, len(fixes)):
        if not fixes[n][2]:
            continue
        spell = begun
        for k in range(begun, n):
            if not fixes[k][2]:
                spell = k + 1
        top_m = max(fix[1] for fix in fixes[spell : n + 1])
        if top_m - fixes[n][1] >= 5000:
            return max(k for k in range(spell, n) if fixes[k][1] == top_m), n
    return None


def _closing(fixes: list[tuple[int, int, bool]], opened: int) -> int | None:
    for n in range(opened + 1, len(fixes)):
        lowest_m = min(fix[1] for fix in fixes[opened:n] if fix[2])
        if fixes[n][2] and fixes[n][1] >= lowest_m + 2000:
            return n
    return None


@given(turns)
@MANY
def test_wrong_direction_is_from_the_maximum_to_the_way_forward(
    steps: list[tuple[int, int]],
) -> None:
    fixes = driven(steps)
    trip = [
        at(s, progress_m, off_m)
        for (s, progress_m, _), (_, off_m) in zip(fixes, steps, strict=True)
    ]
    assert episodes(trip, code="wrong_direction") == driven_back(fixes)


# ---------------------------------------------------------------- checkpoint_missed


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 3000, 10_000, -3000]), st.sampled_from(["", "", "C", "D"])),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([90_000, 100_000, 110_000]),
)
@MANY
def test_a_checkpoint_is_missed_where_it_lies_5_km_behind_untouched(
    steps: list[tuple[int, str]], second_m: int
) -> None:
    marks = {"C": 104_000, "D": second_m}
    checkpoints = tuple(Checkpoint(zone=z, progress_m=m) for z, m in marks.items())
    trip, expected, touched = [], [], set()
    progress_m = 100_000
    for n, (step_m, code) in enumerate(steps):
        progress_m += step_m
        trip.append(at(n * EVERY_S, progress_m, crossed=(zone("post", code),) if code else ()))
        touched.add(code)
        for mandatory, mark_m in marks.items():
            known = {zone for _, zone in expected}
            if progress_m >= mark_m + 5000 and not {mandatory} & (touched | known):
                expected.append((n * EVERY_S, mandatory))
    routes = (DeclaredRoute(route_id=1, length_m=400_000, checkpoints=checkpoints),)
    found = findings(trip, code="checkpoint_missed", routes=routes)
    assert sorted((seconds(f.start_ms), f.evidence["zone"]) for f in found) == sorted(expected)
    assert all(f.end_ms is None for f in found)


# ---------------------------------------------------------------- zones


@given(st.lists(st.sampled_from(["", "", "in", "across"]), min_size=1, max_size=20))
@MANY
def test_restricted_zones_are_from_the_first_touch_to_two_fixes_outside(ways: list[str]) -> None:
    bad = zone("restricted", "X")
    trip = [
        at(n * 60, 10 * n, zones=[bad] if way == "in" else [], crossed=(bad,) * (way == "across"))
        for n, way in enumerate(ways)
    ]
    expected: Episodes = []
    n = 0
    while n < len(ways):
        if ways[n]:
            outside = [k for k in range(n, len(ways) - 1) if "in" not in ways[k : k + 2]]
            end = outside[0] if outside else None
            expected.append((n * 60, None if end is None else end * 60))
            if end is None:
                break
            n = end + 1
        else:
            n += 1
    assert episodes(trip, code="restricted_zone") == expected


@given(
    st.lists(st.sampled_from(["home", "home", "abroad", "abroad", "exit", "unknown"]), max_size=20)
)
@MANY
def test_exits_are_from_outside_after_inside_until_inside(lands: list[str]) -> None:
    trip, expected, lawful = [], [], True
    for n, land in enumerate(lands):
        here = {"home": {"home": True}, "unknown": {}}.get(land, {"abroad": True})
        passed = (zone("border", "Z-OUT"),) if land == "exit" else ()
        trip.append(at(n * 60, 10 * n, crossed=passed, **here))
        is_open = bool(expected) and expected[-1][1] is None
        if land == "home":
            lawful = False
            if is_open:
                expected[-1] = (expected[-1][0], n * 60)
        elif land == "exit" and not is_open:
            lawful = True
        elif land == "abroad" and not is_open and not lawful:
            expected.append((n * 60, None))
    out = PlanPost(code="OUT", kind="border", zone="Z-OUT", lon=76.0, lat=43.5)
    assert episodes(trip, code="border_exit", direction="transit", destination=out) == expected


# ---------------------------------------------------------------- overstay


@given(
    st.lists(
        st.tuples(
            st.sampled_from([60, 600, 1800]),
            st.sampled_from([0, 0, 0, 0, 100, 5000]),
            st.sampled_from(["", "P", "R", "P", "PR", "F"]),
        ),
        min_size=1,
        max_size=25,
    )
)
@MANY
def test_an_overstay_is_what_a_run_lasts_beyond_the_longest_of_its_zones(
    steps: list[tuple[int, int, str]],
) -> None:
    known = {"P": zone("parking", "P", 600), "R": zone("rest", "R", 3000), "F": zone("fuel", "F")}
    trip, now_s, progress_m = [], 0, 0
    for gap_s, step_m, codes in steps:
        now_s, progress_m = now_s + gap_s, progress_m + step_m
        trip.append(at(now_s, progress_m, zones=[known[code] for code in codes]))
    expected: Episodes = []
    found = list(runs([o.fix for o in trip if o.fix]))
    for n, inside in enumerate(found):
        spans = [z.max_dwell_s for fix in inside for z in fix.zones]
        explained = 2 * sum(bool(fix.zones) for fix in inside) >= len(inside)
        if not spans or None in spans or not explained:
            continue
        longest_s = max(span for span in spans if span is not None)
        stood_s = (inside[-1].fix_ms - inside[0].fix_ms) / 1000
        if stood_s > longest_s:
            start_s = (seconds(inside[0].fix_ms) or 0) + longest_s
            over = n < len(found) - 1
            expected.append((start_s, seconds(inside[-1].fix_ms) if over else None))
    assert episodes(trip, code="overstay") == expected


# ---------------------------------------------------------------- the way to a fix

jumpy = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 10, 30, 59, 60, 61, 600]),
        st.sampled_from([0, 0, 0, 100, 2000, 100_000, -100_000, 200_000, 300_000]),
        st.sampled_from(["fix", "fix", "fix", "fix", "late", "none"]),
    ),
    max_size=40,
)


def bare(fix: FixFacts) -> FixFacts:
    """Only the position, as `tracker.observing` has it before the database is asked."""
    return FixFacts(fix_ms=fix.fix_ms, lon=fix.lon, lat=fix.lat, acc_m=fix.acc_m, distance_m=0.0)


def journey(steps: list[tuple[int, int, str]]) -> list[Observation]:
    trip, now_s, progress_m = [], 0, 0
    for seq, (gap_s, place_m, kind) in enumerate(steps, start=1):
        now_s += gap_s
        progress_m += place_m if abs(place_m) < 10_000 else 0
        # Far places are jumps from the road, not steps along it, so that tracks come back.
        seen = at(now_s, progress_m + (place_m if abs(place_m) >= 10_000 else 0), seq=seq)
        assert seen.fix is not None
        if kind == "none":
            seen = record(now_s, seq=seq)
        elif kind == "late":
            seen = replace(seen, fix=replace(seen.fix, fix_ms=ms(now_s - 20)))
        trip.append(seen)
    return trip


@given(jumpy)
@settings(max_examples=500, deadline=None)
def test_the_fix_that_a_valid_one_follows_is_known_when_it_comes(
    steps: list[tuple[int, int, str]],
) -> None:
    track, told, valid = Track(), {}, []
    for seen in journey(steps):
        seen = seen if seen.fix is None else replace(seen, fix=bare(seen.fix))
        if seen.fix is not None:
            told[seen.seq] = previous_of(track, seen.fix)
        track, decided = advance(track, seen)
        valid += [step for step in decided if step.valid]
    valid += [step for step in settle(track)[1] if step.valid]
    for step in valid:
        assert told[step.observation.seq] == step.previous
    for before, after in pairwise(valid):
        assert after.previous == before.observation.fix
