"""Short ways to write a trip and to ask what it shows.

The road of these trips runs due east from `START`; ``progress_m`` is along it, ``off_m`` north of
it. Times are seconds since the trip began.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pyproj import Geod

from tracker.anomalies import Fold, Limits, Scenery, fold, order_of, present, whole
from tracker.model import (
    Act,
    ActKind,
    Around,
    BoundDevice,
    DeliveryPlan,
    Finding,
    FixFacts,
    Observation,
    Periods,
    ProgressCandidate,
    ZoneHit,
)

T0_MS = 1_772_000_000_000
START = (76.0, 43.5)
DEVICE = "gps-1"
PERIODS = Periods(moving_s=60, parked_s=600)
LIMIT_MOVING_S = 2 * 60 + 60
LIMIT_PARKED_S = 2 * 600 + 60
NEVER_S = 10**8

_GEOD = Geod(ellps="WGS84")


def ms(at_s: float) -> int:
    """t* of a moment of the trip."""
    return T0_MS + round(at_s * 1000)


def seconds(t_ms: int | None) -> float | None:
    """The moment of the trip, back from t*."""
    return None if t_ms is None else (t_ms - T0_MS) / 1000


def kind_of(device: str) -> Literal["seal", "gps"]:
    """Seals are named so."""
    return "seal" if device.startswith("seal") else "gps"


def zone(kind: str, code: str | None = None, max_dwell_s: float | None = None) -> ZoneHit:
    """A zone around a fix."""
    return ZoneHit(code=code or f"Z-{kind}", kind=kind, max_dwell_s=max_dwell_s)


def place(progress_m: float, off_m: float = 0.0) -> tuple[float, float]:
    """(lon, lat) so far along the road and so far north of it; exact to the geodesic."""
    lon, lat, _ = _GEOD.fwd(*START, 90, progress_m)
    lon, lat, _ = _GEOD.fwd(lon, lat, 0, off_m)
    return float(lon), float(lat)


def fix(
    at_s: float,
    progress_m: float = 0.0,
    off_m: float = 0.0,
    *,
    acc_m: float = 5.0,
    half_width_m: float = 1000.0,
    zones: Sequence[ZoneHit] = (),
    **facts: Any,
) -> FixFacts:
    """A fix with the facts that PostGIS would have found of it."""
    lon, lat = place(progress_m, off_m)
    return FixFacts(
        fix_ms=ms(at_s),
        lon=lon,
        lat=lat,
        acc_m=acc_m,
        distance_m=abs(off_m),
        candidates=(ProgressCandidate(progress_m, abs(off_m), half_width_m),),
        zones=tuple(zones),
        **facts,
    )


def record(at_s: float, seq: int | None = None, **fields: Any) -> Observation:
    """A record without a fix; ``seq`` defaults to something that grows with time."""
    device = fields.pop("device", DEVICE)
    return Observation(
        device=device,
        kind=fields.pop("kind", kind_of(device)),
        gen=0,
        seq=round(at_s * 1000) + 1 if seq is None else seq,
        t_ms=ms(at_s),
        **fields,
    )


RECORD_FIELDS = frozenset(Observation.__struct_fields__)


def at(at_s: float, progress_m: float = 0.0, off_m: float = 0.0, **more: Any) -> Observation:
    """A record with a fix; further names go to the record or to its fix."""
    fields = {name: value for name, value in more.items() if name in RECORD_FIELDS}
    measures = {name: value for name, value in more.items() if name not in RECORD_FIELDS}
    return record(at_s, fix=fix(at_s, progress_m, off_m, **measures), **fields)


def act(kind: ActKind, at_s: float, **data: Any) -> Act:
    """Something a person did."""
    return Act(kind=kind, t_ms=ms(at_s), data=data)


def reseal(at_s: float) -> Act:
    """A customs officer puts a new seal on."""
    return act(ActKind.RESEAL, at_s)


def scenery(
    *,
    now_s: float = 0.0,
    acts: Iterable[Act] = (),
    periods: Periods = PERIODS,
    bound_to_s: float | None = None,
    deadline_s: float = NEVER_S,
    devices: Sequence[str] = (DEVICE,),
    limits: Limits | None = None,
    **plan: Any,
) -> Scenery:
    """A delivery with its devices, seen at a present."""
    bound = tuple(
        BoundDevice(
            id=name,
            kind=kind_of(name),
            periods=periods,
            from_ms=ms(0),
            to_ms=None if bound_to_s is None else ms(bound_to_s),
        )
        for name in devices
    )
    known: dict[str, Any] = {"released_ms": ms(0), "arrived_ms": None} | plan
    return Scenery(
        plan=DeliveryPlan(
            id="d", deadline_ms=ms(deadline_s), devices=bound, acts=tuple(acts), **known
        ),
        limits=limits or Limits(),
        now_ms=ms(now_s),
    )


def findings(
    trip: Sequence[Observation], *, code: str, around: Around | None = None, **more: Any
) -> list[Finding]:
    """Every episode of a code that the trip shows; ``now_s`` is by default its last record."""
    in_order = sorted(trip, key=order_of)
    now_s = more.pop("now_s", seconds(in_order[-1].t_ms) if in_order else 0.0)
    scene = scenery(now_s=now_s, **more)
    state, over = fold(Fold(), in_order, scene)
    now = present(state, scene)
    shown = [*over, *now.findings]
    found = [*shown, *whole(scene, now, shown, around or Around()).findings]
    return sorted((f for f in found if f.code == code), key=lambda f: f.start_ms)


def episodes(trip: Sequence[Observation], **more: Any) -> list[tuple[float | None, float | None]]:
    """(start, end) of each episode, in seconds of the trip; end None: open."""
    return [(seconds(f.start_ms), seconds(f.end_ms)) for f in findings(trip, **more)]
