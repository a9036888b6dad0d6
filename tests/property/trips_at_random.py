"""Random trips for laws of detection: near every threshold, with all the habits of devices."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.detectors.trips import DEVICE, act, at, ms, record, reseal, scenery, zone
from tracker.anomalies import Scenery
from tracker.model import (
    Act,
    ActKind,
    Checkpoint,
    DeclaredRoute,
    FixFacts,
    Observation,
    PlanPost,
    ProgressCandidate,
    TimeFlag,
)

OTHER = "seal-1"
GAPS_S = [
    0,
    0.001,
    5,
    10,
    29.999,
    30,
    31,
    59,
    60,
    61,
    180,
    180.001,
    600,
    899,
    900,
    1260,
    1261,
    5000,
]
STEPS_M = [0, 0, 0, 10, 140, 160, 1000, 1500, 2000, 6000, -50, -2000, -5000, 90_000, -90_000]
OFFS_M = [0, 0, 0, 100, 860, 904, 906, 1004, 1006, 1500, 3004, 3006, 9000]
EVENTS: list[dict[str, Any]] = [
    *[{}] * 12,
    *({"event": code} for code in ("case_open", "rope_cut", "jam_on", "jam_off", "spoof_on")),
    *({"event": code} for code in ("motor_fault", "selftest_fail", "sealed", "unsealed")),
    *({"event": code} for code in ("card_illegal", "pin_wrong", "ext_cut", "ext_ok")),
    *({"event": "unlock_ok", "card": card} for card in (None, "known", "other")),
    {"event": "pin_wrong", "count": 6},
]
ODOMETERS_M = [0.0, 100.0, 2_000.0, 4_000.0, 9_000.0, 30_000.0]
ROAD_M = 400_000.0
REROUTED_S = 4000.0

EXIT = PlanPost(code="OUT", kind="border", zone="Z-exit", lon=76.0, lat=43.5)
CHECKPOINTS = (
    Checkpoint(zone="Z-C", progress_m=101_000.0),
    Checkpoint(zone="Z-D", progress_m=150_000.0, to_ms=ms(2000)),
    Checkpoint(zone="Z-E", progress_m=190_000.0, from_ms=ms(500)),
)
ROUTES = (
    DeclaredRoute(route_id=1, length_m=ROAD_M, checkpoints=CHECKPOINTS),
    DeclaredRoute(route_id=2, length_m=ROAD_M, from_ms=ms(REROUTED_S), checkpoints=CHECKPOINTS),
)
PLACES = [
    zone("parking", max_dwell_s=600),
    zone("rest"),
    zone("restricted", "Z-X"),
    zone("restricted", "Z-Y"),
    zone("post", "Z-C"),
    zone("post", "Z-D"),
    zone("border", "Z-exit"),
]
LANDS = [{"home": True}, {"home": True}, {"abroad": True}, {}]

SEAL_WORDS: list[dict[str, Any]] = [
    *[{}] * 6,
    *({"rope": word} for word in ("in", "in", "cut", "cut")),
    *({"case": word} for word in ("closed", "open")),
    *({"lock": word} for word in ("locked", "open", "stuck")),
    {"armed": True, "lock": "locked", "rope": "in", "case": "closed"},
    {"armed": False},
]
FLAGS = [
    *[int(TimeFlag.FROM_FIX)] * 4,
    int(TimeFlag.FROM_FIX | TimeFlag.CLOCK_RESET),
    int(TimeFlag.FROM_FIX | TimeFlag.CLOCK_LOCAL_TIME),
    int(TimeFlag.FROM_TS | TimeFlag.CLOCK_OFF),
    int(TimeFlag.FROM_TS | TimeFlag.IMPLAUSIBLE),
]
RELEASES: list[list[Act]] = [[], [act(ActKind.RELEASE, 0, cards=["known"])]]
ARRIVALS: list[list[Act]] = [
    [],
    [act(ActKind.ARRIVAL, 150_000, seals=[{"device_id": OTHER, "state": "intact"}])],
    [act(ActKind.ARRIVAL, 150_000, seals=[]), act(ActKind.CONTROL, 160_000)],
]


@st.composite
def trips(draw: st.DrawFn, *, most: int = 30) -> list[Observation]:
    """Observations of two devices in the order law, each identity once."""
    now_s, progress_m, trip = 0.0, 100_000.0, []
    for seq in range(1, draw(st.integers(0, most)) + 1):
        now_s += draw(st.sampled_from(GAPS_S))
        progress_m += draw(st.sampled_from(STEPS_M))
        trip.append(_observation(draw, seq, now_s, progress_m))
    return sorted(trip, key=lambda o: (o.t_ms, o.device, o.gen, o.seq))


def _observation(draw: st.DrawFn, seq: int, now_s: float, progress_m: float) -> Observation:
    fields: dict[str, Any] = {
        "seq": seq,
        "device": draw(st.sampled_from([DEVICE, DEVICE, OTHER])),
        "moving": draw(st.sampled_from([None, None, True, False])),
        "sleep_s": draw(st.sampled_from([0.0, 0.0, 0.0, 600.0])),
        "battery_pct": draw(st.sampled_from([None, None, 4.0, 5.0, 14.9, 15.0, 19.9, 20.0])),
        "odometer_m": draw(st.sampled_from([None, *ODOMETERS_M])),
        "jam": draw(st.sampled_from([None, None, 0, 0, 1, 2])),
        "spoof": draw(st.sampled_from([None, None, None, False, True])),
        "no_fix": draw(st.sampled_from([False, False, False, True])),
        "external_mv": draw(st.sampled_from([None, None, 6_999.0, 7_000.0, 10_000.0])),
        "flags": draw(st.sampled_from(FLAGS)),
        **draw(st.sampled_from(SEAL_WORDS)),
        **draw(st.sampled_from(EVENTS)),
        "ts_ms": ms(now_s),
    }
    kind = draw(st.sampled_from(["fix", "fix", "fix", "fix", "late fix", "none", "untimed"]))
    if kind == "none":
        return record(now_s, **fields)
    if kind == "untimed":
        untimed = {"seq", "device", "rope", "case", "lock", "event", "count", "card", "flags"}
        return record(now_s, timed=False, **{k: v for k, v in fields.items() if k in untimed})
    off_m = draw(st.sampled_from(OFFS_M))
    seen = at(now_s, progress_m, off_m, **fields)
    assert seen.fix is not None
    fix = _placed(draw, seen.fix, now_s)
    if kind == "late fix":
        fix = replace(fix, fix_ms=fix.fix_ms - 10_000)
    if draw(st.booleans()):  # a road driven out and back
        back = ProgressCandidate(ROAD_M - progress_m, abs(off_m), 1000.0)
        fix = replace(fix, candidates=(*fix.candidates, back))
    return replace(seen, fix=fix)


def _placed(draw: st.DrawFn, fix: FixFacts, now_s: float) -> FixFacts:
    """The zones that the fix lies in, those that were crossed on the way, its land and route."""
    places = draw(st.lists(st.sampled_from(PLACES), max_size=2, unique=True))
    inside = draw(st.integers(0, len(places)))
    return replace(
        fix,
        zones=tuple(places[:inside]),
        crossed=tuple(places[inside:]),
        route=int(now_s >= REROUTED_S),
        **draw(st.sampled_from(LANDS)),
    )


@st.composite
def sceneries(draw: st.DrawFn) -> Scenery:
    """The plan of such a trip: officers may have resealed; the present is after all of it."""
    reseals = sorted(draw(st.lists(st.sampled_from([50.0, 300.0, 2000.0, 9000.0]), max_size=2)))
    acts = [*draw(st.sampled_from(RELEASES)), *(reseal(s) for s in reseals)]
    arrival = draw(st.sampled_from(ARRIVALS))
    return scenery(
        now_s=200_000,
        acts=[*acts, *arrival],
        arrived_ms=arrival[0].t_ms if arrival else None,
        devices=(DEVICE, OTHER),
        deadline_s=draw(st.sampled_from([1000.0, 20_000.0, 10.0**8])),
        routes=draw(st.sampled_from([(), ROUTES])),
        direction=draw(st.sampled_from(["import", "transit"])),
        destination=draw(st.sampled_from([None, EXIT])),
    )
