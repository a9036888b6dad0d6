# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""A device's clock, from what it sends to what its page shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.api_world import ApiWorld, bare, world
from tests.support.seed import record
from tracker.clocks import ROLLOVER_MS
from tracker.model import TimeFlag, to_ms
from tracker.payload import topic_of
from tracker.pipeline import store
from tracker.storing import Incoming

NOW = datetime.now(UTC).replace(microsecond=0)


def send(database: str, device: str, clock: Callable[[int], int], *, fix: bool = True) -> None:
    """Twenty live records over ten hours; ``clock``: the true ms → what the device says."""
    messages = []
    for n in range(1, 21):
        at = NOW - timedelta(minutes=30 * (20 - n))
        body: dict[str, Any] = record(n, at, 76.0, 43.5) if fix else record(n, at)
        body |= {"ts": clock(to_ms(at)), "tq": "rtc"}
        messages.append((body, to_ms(at) + 2000))
    with psycopg.connect(database) as conn:
        store(
            conn,
            [
                Incoming(
                    topic=topic_of(device, "gps", "tlm"),
                    payload=json.dumps(body).encode(),
                    received_ms=received_ms,
                )
                for body, received_ms in messages
            ],
            quarantine_per_device=10,
        )


def clock_of(world: ApiWorld, device: str) -> dict[str, Any]:
    shown: dict[str, Any] = world.get(f"/devices/{device}")["health"]["clock"]
    return shown


def flags(database: str) -> set[int]:
    with psycopg.connect(database) as conn:
        return {row[0] for row in conn.execute("SELECT flags FROM telemetry")}


def test_a_device_that_sent_nothing_has_no_clock_to_judge(world: ApiWorld) -> None:
    shown = clock_of(world, world.device("gps"))
    assert shown == {"offset_s": None, "drift_s_per_day": None, "fault": None}


def test_a_good_clock(world: ApiWorld, database: str) -> None:
    send(database, device := world.device("gps"), lambda ms: ms)
    assert clock_of(world, device) == {"offset_s": 0.0, "drift_s_per_day": 0.0, "fault": None}
    assert flags(database) == {TimeFlag.FROM_FIX}


@pytest.mark.parametrize(
    ("clock", "fault", "flag", "offset_s"),
    [
        (lambda ms: ms + 5 * 3_600_000, "local_time", TimeFlag.CLOCK_LOCAL_TIME, 18_000),
        (lambda ms: ms - ROLLOVER_MS, "rollover", TimeFlag.CLOCK_ROLLOVER, -ROLLOVER_MS / 1000),
        (lambda ms: ms + 40 * 86_400_000, "future", TimeFlag.CLOCK_FUTURE, 40 * 86_400),
        (lambda ms: ms - 90 * 86_400_000, "past", TimeFlag.CLOCK_PAST, -90 * 86_400),
        (lambda ms: ms - 400_000, "offset", TimeFlag.CLOCK_OFF, -400),
    ],
)
def test_faults_are_flagged_shown_and_corrected_by_the_satellites_time(
    world: ApiWorld,
    database: str,
    clock: Callable[[int], int],
    fault: str,
    flag: TimeFlag,
    offset_s: float,
) -> None:
    send(database, device := world.device("gps"), clock)
    shown = clock_of(world, device)
    assert (shown["fault"], shown["offset_s"]) == (fault, offset_s)
    assert flags(database) == {TimeFlag.FROM_FIX | flag}
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT max(t_star) FROM telemetry").fetchone()
    assert row == (NOW,)


@pytest.mark.parametrize("start", [0, 315_964_800_000])
def test_a_clock_that_was_reset_without_satellites_gives_no_time(
    world: ApiWorld, database: str, start: int
) -> None:
    first = to_ms(NOW) - 36_000_000
    send(database, device := world.device("gps"), lambda ms: start + ms - first, fix=False)
    assert clock_of(world, device)["fault"] == "reset"
    assert flags(database) == {TimeFlag.IMPLAUSIBLE | TimeFlag.CLOCK_RESET}


def test_drift(world: ApiWorld, database: str) -> None:
    zero = to_ms(NOW)
    send(database, device := world.device("gps"), lambda ms: ms + round((ms - zero) * 30 / 86_400))
    shown = clock_of(world, device)
    assert shown["fault"] == "drift"
    assert shown["drift_s_per_day"] == pytest.approx(30, abs=0.1)
