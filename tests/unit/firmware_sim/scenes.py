"""Small scenarios and stories for tests of drawing, playing dry and scoring."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from firmware_sim.scenario import Scenario, parse_scenario
from firmware_sim.score_match import Finding
from firmware_sim.truth import DeliveryTruth, Expectation, Happening
from firmware_sim.truthfile import Reports, Story

NOW = datetime(2026, 3, 2, 20, tzinfo=UTC)
T0 = 1_772_400_000_000


def raw(**changes: Any) -> dict[str, Any]:
    """A scenario of two groups as it stands in a file."""
    return {
        "name": "scene",
        "seed": 5,
        "begin": "now-12h",
        "roads": {"a2": {"via": ["Khorgos", "Zharkent"]}},
        "deliveries": [
            {"group": "honest", "count": 2, "road": "a2", "departures": {"over_hours": 2}},
            {
                "group": "crooked",
                "road": "a2",
                "plot": {"name": "diversion", "params": {"km": {"uniform": [3.0, 5.0]}}},
            },
        ],
        **changes,
    }


def scene(**changes: Any) -> Scenario:
    return parse_scenario(raw(**changes))


def minute(n: float) -> int:
    """The instant n minutes after the beginning, ms."""
    return T0 + round(n * 60_000)


def happening(*expects: Expectation, name: str = "deed", start: float = 30, end: float = 60) -> Any:
    return Happening(
        name=name,
        params={},
        vehicle="A",
        device_ids=("g1", "s1"),
        start_ms=minute(start),
        end_ms=minute(end),
        lon=76.0,
        lat=43.0,
        place="somewhere",
        expects=expects,
    )


def expect(code: str, kind: str = "must", device: str | None = "any", *span: float) -> Expectation:
    """An expectation; `span`: from and to in minutes, else without a window."""
    from_ms, to_ms = (minute(n) for n in span) if span else (None, None)
    return Expectation(
        code=code,
        kind=kind,  # type: ignore[arg-type]
        device=device,  # type: ignore[arg-type]
        from_ms=from_ms,
        to_ms=to_ms,
    )


def story(*happenings: Any, registration: str = "r1", **changes: Any) -> Story:
    """A delivery with a vehicle unit that reports every minute and a seal every five."""
    reports = {
        "g1": Reports(device="g1", kind="gps", gen=1, made_ms=tuple(minute(n) for n in range(121))),
        "s1": Reports(
            device="s1", kind="seal", gen=1, made_ms=tuple(minute(5 * n) for n in range(25))
        ),
    }
    fields: dict[str, Any] = {
        "registration": registration,
        "group": "g",
        "km": 100.0,
        "off_road_ms": (),
        "stood_ms": (),
        "truth": DeliveryTruth(vehicle="A", plots=("deed",), honest=False),
        "happenings": happenings,
        "zoned": tuple(False for _ in happenings),
        "reports": reports,
    }
    return Story(**{**fields, **changes})


def finding(code: str, start: float, end: float | None = None, **changes: Any) -> Finding:
    """An anomaly of the vehicle unit; `found`: at which minute's record."""
    found = changes.pop("found", None)
    fields: dict[str, Any] = {
        "code": code,
        "device": "g1",
        "start_ms": minute(start),
        "end_ms": None if end is None else minute(end),
        "found_device": "g1",
        "found_gen": 1,
        "found_seq": None if found is None else found + 1,
    }
    return Finding(**{**fields, **changes})
