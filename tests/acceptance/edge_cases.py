"""Trips at the exact edges of each detector, and what is to be found on them (detection.md)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.drives import (
    BASE_MS,
    LAT,
    LON,
    Wire,
    at,
    beside,
    drive,
    joined,
    rec,
    still,
)

D, S, Q, B = "route_deviation", "unauthorised_stop", "silence", "battery_low"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A trip and what is to be found on it: code, start, end and, where it matters, severity."""

    name: str
    records: list[Wire]
    expected: list[tuple[Any, ...]]
    kind: str
    route: Wire
    order: Callable[[list[Wire]], list[Any]]
    arrive_s: float | None
    ignore: frozenset[str]


CASES: list[Case] = []


def case(
    name: str,
    records: list[Wire],
    *expected: tuple[Any, ...],
    kind: str = "gps",
    route: Wire | None = None,
    send: Callable[[list[Wire]], list[Any]] = lambda records: [records],
    arrive_s: float | None = None,
    ignore: set[str] | None = None,
) -> None:
    """Add a case."""
    CASES.append(
        Case(
            name=name,
            records=records,
            expected=list(expected),
            kind=kind,
            route=route or {},
            order=send,
            arrive_s=arrive_s,
            ignore=frozenset(ignore or ()),
        )
    )


def bat(*levels: float) -> list[Wire]:
    """A record a minute with these levels, per cent."""
    return [rec(i + 1, i * 60, i * 1000.0, pwr={"bat": b}) for i, b in enumerate(levels)]


def sealed(*states: Wire) -> list[Wire]:
    """A record a minute with these fields on top."""
    return [rec(i + 1, i * 60, i * 1000.0, **state) for i, state in enumerate(states)]


W1024 = 1024 * 7 * 86400 * 1000


def shift(
    records: list[Wire],
    ts: Callable[[int], int],
    fix_t: Callable[[int], int] = lambda t: t,
    **more: Any,
) -> list[Wire]:
    """The records with other clocks."""
    return [
        r | {"ts": ts(r["ts"]), "fix": r["fix"] | {"t": fix_t(r["fix"]["t"])}} | more
        for r in records
    ]


def shuffled(seed: int) -> Callable[[list[Wire]], list[Any]]:
    """Out of order, some twice, in pieces of 1 to 4."""

    def order(records: list[Wire]) -> list[Any]:
        rng = random.Random(seed)
        twice = records + [r | {"hist": True} for r in rng.sample(records, 10)]
        rng.shuffle(twice)
        return [twice[i : i + rng.randint(1, 4)] for i in range(0, len(twice), 4)] + twice

    return order


case("dev_30s", beside((0, 0), (30, 1100), (60, 1100), (90, 0), (120, 0)), (D, 30, 90))
case("dev_29s", beside((0, 0), (30, 1100), (59, 1100), (90, 0), (120, 0)))
case(
    "dev_29_then_30",
    beside((0, 0), (30, 1100), (59, 1100), (60, 1100), (90, 0), (120, 0)),
    (D, 30, 90),
)
case("dev_broken_run", beside((0, 0), (30, 1100), (60, 0), (90, 1100), (120, 0), (150, 0)))
case("dev_acc", beside((0, 0), (30, 1100), (60, 1100), (90, 1100), (120, 0), acc=150))
case("dev_acc_less", beside((0, 0), (30, 1100), (60, 1100), (90, 0), (120, 0), acc=90), (D, 30, 90))
case("dev_no_acc_is_15", beside((0, 0), (30, 1012), (60, 1012), (90, 0), (120, 0), acc=None))
case(
    "dev_no_acc_is_15b",
    beside((0, 0), (30, 1020), (60, 1020), (90, 0), (120, 0), acc=None),
    (D, 30, 90),
)
case("dev_hdop", beside((0, 0), (30, 1018), (60, 1018), (90, 0), (120, 0), acc=None, hdop=4))
case(
    "dev_hysteresis",
    beside((0, 0), (30, 1100), (60, 1100), (90, 950), (120, 950), (150, 890), (180, 880), (210, 0)),
    (D, 30, 150),
)
case(
    "dev_single_inside_no_close",
    beside(
        (0, 0),
        (30, 1100),
        (60, 1100),
        (90, 800),
        (120, 950),
        (150, 800),
        (180, 1100),
        (210, 800),
        (240, 700),
    ),
    (D, 30, 210),
)
case("dev_open", beside((0, 0), (30, 1100), (60, 1100), (90, 1200)), (D, 30, None))
case("dev_3x_last", beside((0, 0), (60, 0), (300, 3100)), (D, 300, None), ignore={Q})
case("dev_3x_back", beside((0, 0), (60, 0), (240, 3100), (420, 0), (480, 0)), ignore={Q})
case(
    "dev_invalid_between",
    [
        *beside((0, 0), (30, 1100)),
        rec(3, 40) | {"fix": {"ok": False}},
        rec(4, 45) | {"fix": {"t": at(45), "ok": True, "lat": 0, "lon": 0, "src": "gnss"}},
        rec(5, 50) | {"fix": {"t": at(50), "ok": True, "lat": LAT, "lon": LON, "src": "lbs"}},
        rec(6, 52) | {"fix": {"t": at(30), "ok": True, "lat": LAT, "lon": LON, "src": "gnss"}},
        rec(7, 54) | {"fix": {"t": at(54), "ok": True, "lat": LAT, "lon": LON, "src": "last"}},
        rec(8, 60, 1720, 1100),
        rec(9, 90, 2080, 0),
        rec(10, 120, 2440, 0),
    ],
    (D, 30, 90),
)
case(
    "dev_legs",
    beside((0, 0), (60, 300), (120, 300), (180, 0), (240, 0)),
    (D, 60, 180),
    route={"legs": [{"from_m": 0, "to_m": 10000, "corridor_m": 200}]},
)
case(
    "dev_legs_wide",
    beside((0, 0), (60, 1500), (120, 1500), (180, 0), (240, 0)),
    route={"legs": [{"from_m": 0, "to_m": 10000, "corridor_m": 2000}]},
)
case(
    "dev_legs_beyond",
    [
        r | {"fix": r["fix"] | {"lat": r["fix"]["lat"] + 0.2}}
        for r in beside((0, 0), (60, 300), (120, 300), (180, 0), (240, 0))
    ],
    route={"legs": [{"from_m": 0, "to_m": 10000, "corridor_m": 200}]},
)
case(
    "dev_end_of_line",
    [
        r | {"fix": r["fix"] | {"lat": 44.0 + 1050 / 111130 + i * 1e-5, "lon": LON}}
        for i, r in enumerate(beside((0, 0), (60, 0), (120, 0)))
    ],
    (D, 0, None),
)
case(
    "jump_isolated",
    [
        *beside((0, 0), (60, 0)),
        rec(3, 70, 60000, 50000),
        rec(4, 80, 60000, 50000),
        *[r | {"seq": r["seq"] + 4} for r in [rec(1, 120, 2500), rec(2, 180, 3200)]],
    ],
)
case(
    "jump_3_fixes",
    [
        *beside((0, 0), (60, 0)),
        rec(3, 61, 60000, 50000),
        rec(4, 62, 60000, 50000),
        rec(5, 63, 60000, 50000),
        rec(6, 120, 2500),
        rec(7, 180, 3200),
    ],
    ignore={D, "spoofing_suspected"},
)

# stops
case(
    "stop_15min",
    joined(drive(0, 240), still(300, 1200), drive(1260, 1500, from_m=6000)),
    (S, 300, 1200),
)
case(
    "stop_short",
    joined(drive(0, 240), still(300, 1199), [rec(1, 1199.9, 5000)], drive(1260, 1500, from_m=6000)),
)
case(
    "stop_15_exact_edges",
    joined(drive(0, 240), still(300, 1140), [rec(1, 1200, 5000)], drive(1260, 1500, from_m=6000)),
    (S, 300, 1200),
)
case(
    "stop_one_outlier",
    joined(
        drive(0, 240),
        still(300, 900),
        [rec(1, 960, 5000, 200)],
        still(1020, 1260),
        drive(1320, 1500, from_m=6000),
    ),
    (S, 300, 1260),
)
case(
    "stop_two_outliers",
    joined(
        drive(0, 240),
        still(300, 780),
        [rec(1, 840, 5000, 200), rec(1, 900, 5000, 200)],
        still(960, 1380),
        drive(1440, 1600, from_m=6500),
    ),
)
case(
    "stop_149m",
    joined(
        drive(0, 240),
        still(300, 780),
        still(840, 1260, along_m=5000, off_m=145),
        drive(1320, 1500, from_m=6000),
    ),
    (S, 300, 1260),
)
case("stop_open", joined(drive(0, 240), still(300, 1500)), (S, 300, None))
case(
    "stop_silence_inside",
    joined(
        drive(0, 240),
        still(300, 420),
        [rec(1, 1800, 5010, mot={"mov": False})],
        drive(1860, 2100, from_m=6000),
    ),
    (S, 300, 1800),
    ("unloading_signature", 300, 1800, "critical"),
    ignore={Q},
)
case(
    "stop_no_mot",
    [
        {k: v for k, v in r.items() if k != "mot"}
        for r in joined(drive(0, 240), still(300, 1200), drive(1260, 1500, from_m=6000))
    ],
    (S, 300, 1200),
)

# silence gps: 60 moving, 600 parked
case("sil_edge", [rec(1, 0, 0), rec(2, 180, 3000), rec(3, 360, 6000)])
case(
    "sil_over", [rec(1, 0, 0), rec(2, 180.001, 3000), rec(3, 240, 4000)], (Q, 0, 180.001, "medium")
)
case("sil_long_high", [rec(1, 0, 0), rec(2, 3600, 3000), rec(3, 3660, 4000)], (Q, 0, 3600, "high"))
case("sil_parked_edge", [rec(1, 0, 0, mot={"mov": False}), rec(2, 1260, 2000), rec(3, 1320, 3000)])
case(
    "sil_parked_over",
    [rec(1, 0, 0, mot={"mov": False}), rec(2, 1261, 2000), rec(3, 1320, 3000)],
    (Q, 0, 1261),
)
case(
    "sil_last_stated",
    [
        rec(1, 0, 0, mot={"mov": False}),
        rec(2, 60, 100, mot={}),
        rec(3, 1320, 2000),
        rec(4, 1380, 3000),
    ],
    ignore=set(),
)
case(
    "sil_default_moving",
    [rec(1, 0, 0, mot={}), rec(2, 200, 2000, mot={}), rec(3, 260, 3000, mot={})],
    (Q, 0, 200),
)
case("sil_sleep_edge", [rec(1, 0, 0, sleep_s=3600), rec(2, 3780, 2000), rec(3, 3840, 3000)])
case(
    "sil_sleep_over",
    [rec(1, 0, 0, sleep_s=3600), rec(2, 3781, 2000), rec(3, 3840, 3000)],
    (Q, 0, 3781),
)
case("sil_no_fix_records_count", [rec(1, 0, 0), rec(2, 120), rec(3, 240), rec(4, 360, 5000)])
case("sil_seal_periods", [rec(1, 0, 0), rec(2, 660, 5000), rec(3, 1320, 9000)], kind="seal")
case(
    "sil_seal_over", [rec(1, 0, 0), rec(2, 661, 5000), rec(3, 1320, 9000)], (Q, 0, 661), kind="seal"
)

# battery
case("bat_15", bat(50, 15, 16))
case("bat_14", bat(50, 14, 15, 19, 20, 19), (B, 60, 240, "low"), kind="gps")
case("bat_5", bat(50, 14, 5, 4), (B, 60, None, "high"))
case("bat_6", bat(50, 6, 6), (B, 60, None, "low"))
case("bat_5_first", bat(5, 30, 14, 30), (B, 0, 60, "high"), (B, 120, 180, "low"))
case(
    "bat_null",
    [
        *bat(50, 14),
        rec(3, 120, 2000, pwr={"bat": None}),
        rec(4, 180, 3000, pwr={}),
        rec(5, 240, 4000, pwr={"bat": 20}),
    ],
    (B, 60, 240),
)

# seal
case(
    "cut_evt",
    sealed({}, {"evt": {"code": "rope_cut", "at": at(55)}}, {}),
    ("seal_cut", 60, None, "critical"),
    kind="seal",
)
case(
    "cut_state",
    sealed({}, {"seal": {"rope": "cut"}}, {"seal": {"rope": "in"}}),
    ("seal_cut", 60, None),
    ("seal_state_conflict", 120, None, "high"),
    kind="seal",
)
case("cut_out_is_no_cut", sealed({}, {"seal": {"rope": "out"}}, {}), kind="seal")
case(
    "cut_once",
    sealed(
        {}, {"evt": {"code": "rope_cut"}}, {"seal": {"rope": "cut"}}, {"evt": {"code": "rope_cut"}}
    ),
    ("seal_cut", 60, None),
    kind="seal",
)
case(
    "body_evt",
    sealed({}, {"evt": {"code": "case_open"}}, {"seal": {"case": "closed"}}),
    ("seal_body_open", 60, None, "critical"),
    ("seal_state_conflict", 120, None, "high"),
    kind="seal",
)
case(
    "body_state", sealed({}, {"seal": {"case": "open"}}), ("seal_body_open", 60, None), kind="seal"
)
case(
    "both",
    sealed({}, {"seal": {"case": "open", "rope": "cut"}}),
    ("seal_body_open", 60, None),
    ("seal_cut", 60, None),
    kind="seal",
)
case(
    "cut_no_fix",
    [rec(1, 0, 0), rec(2, 60, None, evt={"code": "rope_cut"}), rec(3, 120, 2000)],
    ("seal_cut", 60, None),
    kind="seal",
)
case(
    "cut_timeless",
    [
        rec(1, 0, 0),
        rec(2, 60, None, evt={"code": "rope_cut"}, ts=1000, tq="none"),
        rec(3, 120, 2000),
    ],
    ("seal_cut", 0, None),
    kind="seal",
    ignore={"clock_fault"},
)
case(
    "cut_timeless_first",
    [rec(1, 60, None, evt={"code": "rope_cut"}, ts=1000, tq="none"), rec(2, 120, 2000)],
    ("seal_cut", 120, None),
    kind="seal",
    ignore={"clock_fault"},
)

# t*
DEVIATION = beside((0, 0), (30, 1100), (60, 1100), (90, 0), (120, 0))
case(
    "t_fix_over_ts", shift(DEVIATION, lambda t: t + 7_000_000), (D, 30, 90), ignore={"clock_fault"}
)
case(
    "t_1970_ts",
    shift(DEVIATION, lambda t: t - BASE_MS, tq="none"),
    (D, 30, 90),
    ignore={"clock_fault"},
)
case(
    "t_rollover_both",
    shift(DEVIATION, lambda t: t - W1024, lambda t: t - W1024),
    (D, 30, 90),
    ignore={"clock_fault"},
)
case(
    "t_rollover_fix",
    shift(DEVIATION, lambda t: t, lambda t: t - W1024),
    (D, 30, 90),
    ignore={"clock_fault"},
)
case(
    "t_fix_future",
    shift(DEVIATION, lambda t: t, lambda t: t + 86400_000 * 3650),
    (D, 30, 90),
    ignore={"clock_fault"},
)
case(
    "t_fix_1970",
    shift(DEVIATION, lambda t: t, lambda t: t - BASE_MS),
    (D, 30, 90),
    ignore={"clock_fault"},
)
case(
    "t_no_fix_t",
    [r | {"fix": {k: v for k, v in r["fix"].items() if k != "t"}} for r in DEVIATION],
    (D, 30, 90),
    ignore={"clock_fault"},
)
case(
    "t_none_at_all",
    shift(DEVIATION, lambda t: t - BASE_MS, lambda t: t - BASE_MS),
    ignore={"clock_fault"},
)

# bounds of the delivery
case(
    "before_release",
    joined(beside((-600, 5000), (-540, 5000), (-480, 5000)), beside((0, 0), (60, 0), (120, 0))),
)
case(
    "straddling_release",
    joined(beside((-60, 1100), (-30, 1100), (0, 1100)), beside((60, 0), (120, 0))),
)
case(
    "after_arrival",
    joined(beside((0, 0), (60, 0)), beside((300, 5000), (360, 5000), (420, 5000))),
    arrive_s=120,
    ignore={"arrival_mismatch"},
)

# orders
EVERYTHING = joined(
    drive(0, 240),
    [
        rec(1, 270, 5000, 1100),
        rec(1, 300, 5200, 1300),
        rec(1, 330, 5400, 1300),
        rec(1, 360, 5600, 0),
        rec(1, 390, 5800, 0),
    ],
    [rec(1, 450 + n * 75, 7000, mot={"mov": False}) for n in range(15)],
    [
        rec(1, 1560, 8000, pwr={"bat": 12}),
        rec(1, 1620, 9000, pwr={"bat": 4}),
        rec(1, 1680, 10000, pwr={"bat": 44}),
    ],
    [rec(1, 2400, 11000), rec(1, 2450, 12000, evt={"code": "rope_cut"}), rec(1, 2510, 13000)],
)
EVERYTHING_FOUND = ((D, 270, 360), (S, 450, 1500), (B, 1560, 1680, "high"), (Q, 1680, 2400))
case("order_in", EVERYTHING, *EVERYTHING_FOUND, ignore={"seal_cut"})
case("order_single", EVERYTHING, *EVERYTHING_FOUND, send=lambda rs: list(rs), ignore={"seal_cut"})
case(
    "order_reversed",
    EVERYTHING,
    *EVERYTHING_FOUND,
    send=lambda rs: list(reversed(rs)),
    ignore={"seal_cut"},
)
case("order_shuffled", EVERYTHING, *EVERYTHING_FOUND, send=shuffled(1), ignore={"seal_cut"})
case("order_shuffled2", EVERYTHING, *EVERYTHING_FOUND, send=shuffled(2), ignore={"seal_cut"})
