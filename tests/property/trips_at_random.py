"""Random trips for laws of detection: near every threshold, with all the habits of devices."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.detectors.trips import DEVICE, at, record, reseal, scenery, zone
from tracker.anomalies import Scenery
from tracker.model import DeclaredRoute, Observation, ProgressCandidate

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
STEPS_M = [0, 0, 0, 10, 140, 160, 1000, 1500, -50, -2000, 90_000, -90_000]
OFFS_M = [0, 0, 0, 100, 860, 904, 906, 1004, 1006, 1500, 3004, 3006, 9000]
ROAD_M = 400_000.0


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
        "rope": draw(st.sampled_from([None, None, None, "in", "cut"])),
        "event": draw(st.sampled_from([None, None, None, None, "case_open", "rope_cut"])),
    }
    kind = draw(st.sampled_from(["fix", "fix", "fix", "fix", "late fix", "none", "untimed"]))
    if kind == "none":
        return record(now_s, **fields)
    if kind == "untimed":
        untimed = {"seq", "device", "rope", "event"}
        return record(now_s, timed=False, **{k: v for k, v in fields.items() if k in untimed})
    zones = [zone("parking")] if draw(st.booleans()) else []
    off_m = draw(st.sampled_from(OFFS_M))
    seen = at(now_s, progress_m, off_m, zones=zones, **fields)
    assert seen.fix is not None
    fix = seen.fix
    if kind == "late fix":
        fix = replace(fix, fix_ms=fix.fix_ms - 10_000)
    if draw(st.booleans()):  # a road driven out and back
        back = ProgressCandidate(ROAD_M - progress_m, abs(off_m), 1000.0)
        fix = replace(fix, candidates=(*fix.candidates, back))
    return replace(seen, fix=fix)


@st.composite
def sceneries(draw: st.DrawFn) -> Scenery:
    """The plan of such a trip: officers may have resealed; the present is after all of it."""
    acts = sorted(draw(st.lists(st.sampled_from([50.0, 300.0, 2000.0, 9000.0]), max_size=2)))
    return scenery(
        now_s=200_000,
        acts=[reseal(s) for s in acts],
        devices=(DEVICE, OTHER),
        deadline_s=draw(st.sampled_from([1000.0, 20_000.0, 10.0**8])),
        routes=draw(st.sampled_from([(), (DeclaredRoute(route_id=1, length_m=ROAD_M),)])),
    )
