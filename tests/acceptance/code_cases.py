"""Plain trips as an outside tester would send them: a straight route, one gps and one seal, a
record a minute at 60 km/h; honest ones, and one at and one below the edge of each code."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Wire = dict[str, Any]

LON, LAT = 81.5, 45.0
"""Where the line begins that every trip goes along, north, apart from other files' places."""

WAY_M = 30_000
MINUTE_M = 1000
_M_PER_LAT = 111_150.0
LINE = [(LON, LAT), (LON, LAT + WAY_M / _M_PER_LAT)]


def place(along_m: float, off_m: float = 0.0, line: float = LON) -> tuple[float, float]:
    """(lon, lat) so far along the line and east of it."""
    lat = LAT + along_m / _M_PER_LAT
    east = 111_320.0 * math.cos(math.radians(lat)) * 1.00176
    return round(line + off_m / east, 7), round(lat, 7)


def box(along_m: float, half_m: float, off_m: float = 0.0, line: float = LON) -> list[list[float]]:
    """The ring of a square around a place."""
    corners = ((-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))
    return [list(place(along_m + a * half_m, off_m + b * half_m, line)) for a, b in corners]


@dataclass(frozen=True, kw_only=True)
class At:
    """Where the vehicle is at a second of its trip, and what is special about the record."""

    t_s: float
    along_m: float
    off_m: float = 0.0
    mov: bool = True
    more: Wire = field(default_factory=dict)


Path = list[At]


def drive(
    start_s: float = 0, from_m: float = 0, to_m: float = WAY_M, step_s: float = 60, kmh: float = 60
) -> Path:
    """Straight along at one speed, instantly."""
    step_m = step_s * kmh / 3.6
    steps = round((to_m - from_m) / step_m)
    return [
        At(t_s=start_s + n * step_s, along_m=min(to_m, from_m + n * step_m))
        for n in range(steps + 1)
    ]


def stay(
    start_s: float, until_s: float, along_m: float, off_m: float = 0, step_s: float = 60
) -> Path:
    """Standing, a record a minute."""
    steps = int((until_s - start_s) / step_s) + 1
    return [
        At(t_s=start_s + n * step_s, along_m=along_m, off_m=off_m, mov=False) for n in range(steps)
    ]


def stopping(along_m: float, stop_s: float) -> Path:
    """A drive with a stop: a fix a minute before it, the first at the place, the last there."""
    before = drive(0, 0, along_m - MINUTE_M)
    begin_s = before[-1].t_s + 60
    standing = stay(begin_s, begin_s + stop_s, along_m)
    return [*before, *standing, *drive(standing[-1].t_s + 60, along_m + MINUTE_M)]


def with_(path: Path, n: int, **more: Any) -> Path:
    """The path with more in its nth record."""
    return [replace(a, more=merged(a.more, more)) if i == n else a for i, a in enumerate(path)]


def moved(path: Path, numbers: Sequence[int], off_m: float) -> Path:
    """The path with some records so far east of the line."""
    return [replace(a, off_m=off_m) if n in numbers else a for n, a in enumerate(path)]


def merged(a: Wire, b: Wire) -> Wire:
    """Both, with the fields of nested objects together."""
    both = copy.deepcopy(a)
    for key, value in b.items():
        old = both.get(key)
        both[key] = (
            merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return both


def records(path: Path, base_ms: int, kind: str, *, line: float = LON, seq: int = 1) -> list[Wire]:
    """What a device sends on a path."""
    return [_record(a, base_ms, kind, line, seq + n) for n, a in enumerate(path)]


def _record(a: At, base_ms: int, kind: str, line: float, seq: int) -> Wire:
    t = base_ms + round(a.t_s * 1000)
    lon, lat = place(a.along_m, a.off_m, line)
    record: Wire = {
        "v": 1,
        "gen": 0,
        "seq": seq,
        "ts": t,
        "tq": "gnss",
        "fix": {
            "t": t,
            "ok": True,
            "lat": lat,
            "lon": lon,
            "spd": 60.0 if a.mov else 0.0,
            "hdg": 0,
            "acc": 5,
            "src": "gnss",
            "jam": 0,
        },
        "mot": {"ign": a.mov, "mov": a.mov},
        "pwr": {"bat": 90},
    }
    if kind == "seal":
        record["seal"] = {"armed": True, "lock": "locked", "rope": "in", "case": "closed"}
    else:
        record["pwr"]["ext"] = 24_100
    return merged(record, a.more)


# ---------------------------------------------------------------- honest trips

Change = Callable[[list[Wire]], list[Any]]
"""From a device's records to the messages that it sends: records, and arrays of them."""


def whole(sent: list[Wire]) -> list[Any]:
    """In arrays of a hundred."""
    return [sent[n : n + 100] for n in range(0, len(sent), 100)]


def bare(sent: list[Wire]) -> list[Any]:
    """Only what is required, and a plain fix."""
    return whole(
        [
            {k: r[k] for k in ("v", "gen", "seq", "ts")}
            | {"fix": {k: r["fix"][k] for k in ("t", "ok", "lat", "lon")}}
            for r in sent
        ]
    )


def barest(sent: list[Wire]) -> list[Any]:
    """Not even the time of the fix."""
    return whole(
        [
            {k: r[k] for k in ("v", "gen", "seq", "ts")}
            | {"fix": {k: r["fix"][k] for k in ("lat", "lon")}}
            for r in sent
        ]
    )


def newest_first(sent: list[Wire]) -> list[Any]:
    """A backlog from its end."""
    return [[r | {"hist": True} for r in sent[n : n + 25][::-1]] for n in range(0, len(sent), 25)][
        ::-1
    ]


def one_by_one(sent: list[Wire]) -> list[Any]:
    """A message each, every third one twice."""
    return [r for n, r in enumerate(sent) for _ in range(2 if n % 3 == 0 else 1)]


def counting(sent: list[Wire]) -> list[Any]:
    """With an odometer that counts the way."""
    odo, out = 500_000.0, []
    for before, r in zip([sent[0], *sent], sent, strict=False):
        odo += abs(r["fix"]["lat"] - before["fix"]["lat"]) * _M_PER_LAT
        out.append(merged(r, {"mot": {"odo": round(odo)}}))
    return whole(out)


def noisy(sent: list[Wire]) -> list[Any]:
    """Fixes some metres beside, as receivers have them."""
    shaken = []
    for n, r in enumerate(sent):
        fix = r["fix"]
        d_lat, d_lon = math.sin(n * 7.3) * 9e-5, math.cos(n * 5.1) * 9e-5
        at = {"lat": round(fix["lat"] + d_lat, 7), "lon": round(fix["lon"] + d_lon, 7), "acc": 12}
        shaken.append(r | {"fix": fix | at})
    return whole(shaken)


def every_300_s(sent: list[Wire]) -> list[Any]:
    """A seal's own period, numbered through."""
    base = sent[0]["ts"]
    return whole(
        [
            r | {"seq": n}
            for n, r in enumerate((r for r in sent if (r["ts"] - base) % 300_000 == 0), 1)
        ]
    )


def from_1000(sent: list[Wire]) -> list[Any]:
    """A device that was used before."""
    return whole([r | {"seq": r["seq"] + 999} for r in sent])


def swapped_card(sent: list[Wire]) -> list[Any]:
    """An officer's card seals at the departure and unseals at the destination."""
    open_ = {"armed": False, "lock": "open", "rope": "out", "case": "closed"}
    by_card = {"auth": "rfid", "card": "9f86d081884c7d65"}
    done = [merged(r, {}) for r in sent]
    done[0]["seal"] = open_
    done[1]["evt"] = {"code": "sealed", "at": done[1]["ts"], **by_card}
    done[-2]["evt"] = {"code": "unlock_ok", "at": done[-2]["ts"], **by_card}
    done[-1]["evt"] = {"code": "unsealed", "at": done[-1]["ts"], **by_card}
    done[-2]["seal"] = done[-1]["seal"] = open_
    return whole(done)


@dataclass(frozen=True, kw_only=True)
class Honest:
    """A trip on which nothing is to be found. ``days``: how long ago; ``lo``: of the birth, None:
    the device sends none. ``arrive_s``: after the last record."""

    path: Path
    seal: Change = whole
    gps: Change = whole
    release_s: float = 0.0
    arrive_s: float = 0.0
    days: float = 0.25
    lo: int | None = 1
    notified: bool = True
    kinds: tuple[str, ...] = ("seal", "gps")


REST_M = 12_000
"""Where the parking place is that honest drivers stop at."""


def _honest() -> Path:
    before = [*stay(0, 240, 0), *drive(300, MINUTE_M, REST_M)]
    rest = stay(before[-1].t_s + 60, before[-1].t_s + 30 * 60, REST_M)
    after = drive(rest[-1].t_s + 60, REST_M + MINUTE_M, WAY_M)
    return [*before, *rest, *after, *stay(after[-1].t_s + 60, after[-1].t_s + 240, WAY_M)]


def _night() -> Path:
    before = drive(0, 0, REST_M - MINUTE_M)
    rest = stay(before[-1].t_s + 60, before[-1].t_s + 60 + 3 * 3600, REST_M)
    return [*before, *rest, *drive(rest[-1].t_s + 60, REST_M + MINUTE_M)]


def _thinned(sent: list[Wire], moving_s: int, parked_s: int) -> list[Any]:
    """At the periods of a device, and at each change of its motion."""
    kept: list[Wire] = []
    for n, r in enumerate(sent):
        moves = r["mot"]["mov"]
        due_s = moving_s if moves else parked_s
        changes = n == 0 or moves is not sent[n - 1]["mot"]["mov"] or n == len(sent) - 1
        if changes or r["ts"] - kept[-1]["ts"] >= due_s * 1000:
            kept.append(r)
    return whole([r | {"seq": n} for n, r in enumerate(kept, 1)])


def seal_parked(sent: list[Wire]) -> list[Any]:
    """As a seal reports by default."""
    return _thinned(sent, 300, 1800)


def gps_parked(sent: list[Wire]) -> list[Any]:
    """As a vehicle unit reports by default."""
    return _thinned(sent, 60, 600)


NIGHT = _night()
USUAL = _honest()
STRAIGHT = drive()
"""Whose only fix in the destination's zone is the last one."""

HONEST: dict[str, Honest] = {
    "usual": Honest(path=USUAL),
    "straight": Honest(path=STRAIGHT),
    "arrival_a_minute_later": Honest(path=STRAIGHT, arrive_s=60),
    "arrival_20_minutes_later": Honest(path=USUAL, arrive_s=1200),
    "no_notification": Honest(path=USUAL, notified=False),
    "bare": Honest(path=USUAL, seal=bare, gps=bare),
    "barest": Honest(path=USUAL, seal=barest, gps=barest),
    "seal_300_s": Honest(path=USUAL, seal=every_300_s),
    "seal_300_s_bare": Honest(path=STRAIGHT, seal=lambda s: bare(every_300_s(s)[0]), gps=bare),
    "newest_first": Honest(path=USUAL, seal=newest_first, gps=newest_first),
    "one_by_one": Honest(path=STRAIGHT, seal=one_by_one, gps=one_by_one),
    "odometer": Honest(path=USUAL, gps=counting),
    "noisy": Honest(path=USUAL, seal=noisy, gps=noisy),
    "kmh_90": Honest(path=drive(kmh=90)),
    "every_10_s": Honest(path=drive(step_s=10)),
    "released_an_hour_later": Honest(path=[*stay(-3600, -60, -4000), *USUAL]),
    "records_an_hour_later": Honest(path=USUAL, release_s=-3600),
    "used_before": Honest(path=USUAL, seal=from_1000, gps=from_1000, lo=1000),
    "used_before_bare": Honest(path=STRAIGHT, seal=from_1000, gps=from_1000, lo=None),
    "by_card": Honest(path=USUAL, seal=swapped_card),
    "by_card_on_the_spot": Honest(path=STRAIGHT[:1] + USUAL[1:], seal=swapped_card),
    "days_ago": Honest(path=USUAL, days=6),
    "only_a_seal": Honest(path=USUAL, kinds=("seal",)),
    "only_a_gps": Honest(path=USUAL, kinds=("gps",)),
    "two_gps": Honest(path=USUAL, kinds=("seal", "gps", "gps")),
    "parked_for_the_night": Honest(path=NIGHT, seal=seal_parked, gps=gps_parked, days=0.5),
    "short_of_a_minute": Honest(
        path=with_(with_(STRAIGHT, 9, hist=True), 20, evt={"code": "shock", "n": 1})
    ),
}


# ---------------------------------------------------------------- one code each

BOTH = ("seal", "gps")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A trip at the edge of a code, and just below it.

    ``codes``: what is found at the edge, ``below``: just below. ``on``: the devices that
    ``edge`` and ``under`` are about; the other goes the same way (``other``) with nothing of note.
    ``lo``: of the births.
    """

    edge: Path
    under: Path
    codes: frozenset[str]
    below: frozenset[str] = frozenset()
    on: tuple[str, ...] = BOTH
    other: Path = field(default_factory=lambda: STRAIGHT)
    other_under: Path | None = None
    severity: str = "high"
    eaeu: str | None = None
    route: Wire = field(default_factory=dict)
    drop: tuple[int, ...] = ()
    lo: tuple[int, int] = (1, 1)
    line: float = LON
    direction: str = "transit"


def codes(*names: str) -> frozenset[str]:
    """A set of codes."""
    return frozenset(names)


def _back(to_m: float) -> Path:
    out = drive(0, 0, 15_000)
    back = [
        At(t_s=out[-1].t_s + 60 * n, along_m=15_000 - n * (15_000 - to_m) / 5) for n in range(1, 6)
    ]
    return [*out, *back, *drive(back[-1].t_s + 60, to_m + MINUTE_M)]


def _skipping(gap_s: float) -> Path:
    before = drive(0, 0, 10_000)
    return [*before, *drive(before[-1].t_s + gap_s, 10_000 + MINUTE_M * 2)]


def _jumping(by_m: float) -> Path:
    before = drive(0, 0, 10_000)
    return [*before, *drive(before[-1].t_s + 60, 10_000 + by_m, WAY_M)]


def _jammed(level: int, *numbers: int) -> Path:
    path = STRAIGHT
    for n in numbers:
        path = with_(path, n, fix={"jam": level})
    return path


def _told(n: int, **more: Any) -> Path:
    return with_(STRAIGHT, n, **more)


def _event(code: str, n: int = 15, **more: Any) -> Path:
    return _told(n, evt={"code": code, **more})


def _pins(wrong: int) -> Path:
    path = STRAIGHT
    for n in range(10, 10 + wrong):
        path = with_(path, n, evt={"code": "pin_wrong", "auth": "pin"})
    return path


CUT = codes("seal_cut", "arrival_mismatch")
CASES: dict[str, Case] = {
    "route_deviation": Case(
        edge=moved(STRAIGHT, (10, 11), 1015),
        under=moved(STRAIGHT, (10, 11), 1000),
        codes=codes("route_deviation"),
        eaeu="03",
    ),
    "wrong_direction": Case(
        edge=_back(9_900),
        under=_back(10_100),
        codes=codes("wrong_direction"),
        severity="medium",
        eaeu="03",
    ),
    "unauthorised_stop": Case(
        edge=stopping(5_000, 900),
        under=stopping(7_000, 840),
        codes=codes("unauthorised_stop"),
        severity="medium",
        eaeu="07",
    ),
    "seal_cut": Case(
        edge=_event("rope_cut"),
        under=_told(15, seal={"rope": "out"}),
        codes=CUT | {"seal_state_conflict"},
        on=("seal",),
        severity="critical",
        eaeu="01",
    ),
    "seal_body_open": Case(
        edge=with_(_told(29, seal={"case": "open"}), 30, seal={"case": "open"}),
        under=_event("shock"),
        codes=codes("seal_body_open", "arrival_mismatch"),
        on=("seal",),
        severity="critical",
        eaeu="02",
    ),
    "seal_fault": Case(
        edge=_event("motor_fault"),
        under=_event("store_full"),
        codes=codes("seal_fault"),
        on=("seal",),
        severity="medium",
        eaeu="04",
    ),
    "battery_low": Case(
        edge=_told(15, pwr={"bat": 14}),
        under=_told(15, pwr={"bat": 15}),
        codes=codes("battery_low"),
        on=("seal",),
        severity="low",
        eaeu="05",
    ),
    "silence": Case(
        edge=_skipping(181),
        under=_skipping(180),
        codes=codes("silence"),
        on=("gps",),
        other=_skipping(180),
        severity="medium",
        eaeu="06",
    ),
    "unauthorised_unlock": Case(
        edge=_event("unlock_ok", auth="rfid", card="aa"),
        under=_event("unlock_ok", 0, auth="rfid", card="aa"),
        codes=codes("unauthorised_unlock", "arrival_mismatch"),
        on=("seal",),
        severity="critical",
        eaeu="07",
    ),
    "unauthorised_unlock_pins": Case(
        edge=_pins(6),
        under=_pins(5),
        codes=codes("unauthorised_unlock", "arrival_mismatch"),
        on=("seal",),
        severity="critical",
        eaeu="07",
    ),
    "seal_state_conflict": Case(
        edge=_told(15, seal={"rope": "cut"}),
        under=with_(_told(15, seal={"rope": "out"}), 16, seal={"rope": "in"}),
        codes=CUT | {"seal_state_conflict"},
        on=("seal",),
        eaeu="04",
    ),
    "separation": Case(
        edge=moved(STRAIGHT, range(10, 16), 325),
        under=moved(STRAIGHT, range(10, 16), 300),
        codes=codes("separation"),
        on=("gps",),
        severity="critical",
        eaeu="07",
    ),
    "separation_brief": Case(
        edge=moved(STRAIGHT, range(10, 16), -325),
        under=moved(STRAIGHT, range(10, 14), 325),
        codes=codes("separation"),
        on=("seal",),
        severity="critical",
        eaeu="07",
    ),
    "jamming": Case(
        edge=_jammed(2, 10),
        under=_jammed(1, 10, 11, 12),
        codes=codes("jamming"),
        on=("gps",),
        eaeu="07",
    ),
    "jamming_weak": Case(
        edge=_jammed(1, 20, 21, 22, 23),
        under=_jammed(1, 20),
        codes=codes("jamming"),
        on=("gps",),
        eaeu="07",
    ),
    "spoofing_suspected": Case(
        edge=_jumping(3500),
        under=_jumping(3000),
        codes=codes("spoofing_suspected"),
        eaeu="07",
    ),
    "spoofing_suspected_told": Case(
        edge=_told(15, fix={"spoof": 1}),
        under=_told(15, fix={"spoof": 0}),
        codes=codes("spoofing_suspected"),
        on=("gps",),
        eaeu="07",
    ),
    "power_cut": Case(
        edge=_told(15, pwr={"ext": 6_999}),
        under=_told(15, pwr={"ext": 7_000}),
        codes=codes("power_cut"),
        on=("gps",),
        severity="medium",
        eaeu="04",
    ),
    "power_cut_told": Case(
        edge=_event("ext_cut"),
        under=_event("ext_ok"),
        codes=codes("power_cut"),
        on=("gps",),
        severity="medium",
        eaeu="04",
    ),
    "sequence_gap": Case(
        edge=STRAIGHT,
        under=STRAIGHT,
        codes=codes("sequence_gap"),
        on=("gps",),
        severity="low",
        eaeu="06",
        drop=(10,),
        lo=(12, 11),
    ),
    "clock_fault": Case(
        edge=_told(15, ts=1_000_000),
        under=STRAIGHT,
        codes=codes("clock_fault"),
        on=("gps",),
        severity="low",
        eaeu="04",
    ),
    "unloading_signature": Case(
        edge=with_(stopping(20_000, 900), 25, evt={"code": "rope_cut"}, seal={"rope": "cut"}),
        under=stopping(23_000, 900),
        other=stopping(20_000, 900),
        other_under=stopping(23_000, 900),
        codes=CUT | {"unauthorised_stop", "unloading_signature", "seal_state_conflict"},
        below=codes("unauthorised_stop"),
        on=("seal",),
        severity="critical",
        eaeu="07",
    ),
}
