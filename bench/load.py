"""The load: a national fleet on long declared routes, and the signed records its devices send.

Everything is drawn from one seed, so two runs store the same records. Each active delivery has a
seal and a vehicle unit; further devices are registered and report, but are bound to nothing. The
devices of a round are interleaved: neighbours in the stream belong to different deliveries.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from hashlib import sha256
from math import cos, gcd, radians
from typing import Any

import msgspec
import numpy as np

from tracker.model import to_ms
from tracker.payload import Key, sign, topic_of
from tracker.storing import Incoming

VERTICES = 1_500
"""As many as a lane of 800 km has when it is drawn by its bends."""

ROUTES = 10
SPEED_KMH = 70.0
KM_PER_DEGREE = 111.2
DELAY_MS = 900
"""From the device's clock to the server's: radio and broker."""

GOLDEN = 0.6180339887498949
"""Multiples of it, whole turns left out, spread evenly and never meet: no two vehicles stand in one
place by accident."""

CROOKED = 50
"""Of so many deliveries one leaves its corridor for a while and one stands where it may not."""

CUT: dict[str, Any] = {
    "seal": {"armed": True, "lock": "locked", "rope": "cut", "case": "closed", "temp": 12.5},
    "evt": {"code": "rope_cut"},
    "why": "evt",
}


class Line:
    """One declared route, in degrees: eastward, winding, each vertex a bend."""

    def __init__(self, number: int) -> None:
        steps = np.linspace(0, 1, VERTICES)
        self.x = 70 + 10 * steps
        bends = 0.6 * np.sin(40 * steps + number) + 0.02 * np.sin(900 * steps)
        self.y = 43 + 0.4 * number + bends
        self._at = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(self.x), np.diff(self.y)))))

    @property
    def length(self) -> float:
        """Its length in degrees."""
        return float(self._at[-1])

    def place(self, along: float) -> tuple[float, float]:
        """The point (x, y) so far along it, in degrees."""
        return float(np.interp(along, self._at, self.x)), float(np.interp(along, self._at, self.y))


@cache
def lines() -> tuple[Line, ...]:
    """The fleet's routes."""
    return tuple(Line(number) for number in range(ROUTES))


@dataclass(frozen=True, kw_only=True)
class Member:
    """A device of the fleet. ``delivery`` None: registered, reporting, bound to nothing."""

    number: int
    kind: str
    way: int
    """Which drive it makes: that of its delivery, or one of its own."""
    delivery: int | None

    @property
    def id(self) -> str:
        """Its id."""
        return f"bench-{self.number:06d}"

    @property
    def key(self) -> Key:
        """The key it signs with; the database is given the same by its own ``sha256``."""
        return Key(kid="1", secret=sha256(self.id.encode()).digest())


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much: registered devices, active deliveries of two of them each, records of each."""

    devices: int
    deliveries: int
    rounds: int
    begin: datetime
    apart_s: float = 180.0
    """From one record of a device to its next, by its clock: between the minute of a vehicle's unit
    and the five minutes of a seal."""
    seed: int = 7

    @property
    def span_s(self) -> float:
        """What the rounds take on the devices' clocks."""
        return self.apart_s * self.rounds

    @property
    def records(self) -> int:
        """Records in all."""
        return self.devices * self.rounds

    @cached_property
    def stride(self) -> int:
        """Device ``n`` has place ``n · stride mod devices`` among deliveries: interleaving."""
        stride = max(1, round(self.devices * 0.618))
        while gcd(stride, self.devices) > 1:
            stride += 1
        return stride

    @cached_property
    def fleet(self) -> tuple[Member, ...]:
        """All devices, in the order in which they report."""
        return tuple(self._member(number) for number in range(self.devices))

    def _member(self, number: int) -> Member:
        place = number * self.stride % self.devices
        way = place // 2
        return Member(
            number=number,
            kind="seal" if place % 2 else "gps",
            way=way,
            delivery=way if way < self.deliveries else None,
        )

    def batches(
        self, size: int, *, first: int = 0, last: int | None = None
    ) -> list[list[Incoming]]:
        """The signed messages, one record each, of these rounds, in rounds of all devices."""
        batch = list(self._messages(range(first, self.rounds if last is None else last)))
        return [batch[i : i + size] for i in range(0, len(batch), size)]

    def _messages(self, rounds: range) -> Iterator[Incoming]:
        rng = random.Random(self.seed + rounds.start)
        for round_ in rounds:
            for member in self.fleet:
                share = round_ + member.number / self.devices
                at = self.begin + timedelta(seconds=share * self.apart_s)
                yield self.message(member, round_, to_ms(at), rng)

    def message(
        self, member: Member, round_: int, t_ms: int, rng: random.Random, **more: Any
    ) -> Incoming:
        """A device's signed message of one record. ``more``: fields besides those of every one."""
        driven_m = self._driven(member, t_ms) * KM_PER_DEGREE * 1000
        body = _record(round_ + 1, t_ms, self._place(member, t_ms, rng), driven_m, rng)
        if member.kind == "seal":
            body["seal"] = CUT["seal"] | {"rope": "in"}
        topic = topic_of(member.id, member.kind, "tlm")
        return Incoming(
            topic=topic,
            payload=sign(msgspec.json.encode(body | more), topic, member.key),
            received_ms=t_ms + DELAY_MS,
        )

    def _place(self, member: Member, t_ms: int, rng: random.Random) -> tuple[float, float]:
        # Degrees stand for the way: the load needs places along a line, not a drive.
        line = lines()[member.way % ROUTES]
        part = (t_ms - to_ms(self.begin)) / 1000 / self.span_s
        start = (member.way * GOLDEN) % 1 * 0.6 * line.length
        x, y = line.place(start + self._driven(member, t_ms))
        away = member.way % CROOKED == 0 and 0.3 < part < 0.8
        noise_deg = 5 / 1000 / KM_PER_DEGREE
        lat = y + (0.03 if away else 0) + rng.gauss(0, noise_deg)
        return x + rng.gauss(0, noise_deg) / cos(radians(y)), lat

    def _driven(self, member: Member, t_ms: int) -> float:
        """How far a device has come, in degrees."""
        speed = 0.0 if member.way % CROOKED == 1 else SPEED_KMH / 3600 / KM_PER_DEGREE
        return (t_ms - to_ms(self.begin)) / 1000 * speed


def _record(
    seq: int, t_ms: int, place: tuple[float, float], driven_m: float, rng: random.Random
) -> dict[str, Any]:
    """A record with all that a vehicle unit sends."""
    return {
        **{"v": 1, "gen": 0, "seq": seq, "ts": t_ms + 123, "tq": "gnss"},
        **{"hist": False, "why": "time"},
        "fix": {
            **{"t": t_ms, "ok": True, "lat": round(place[1], 7), "lon": round(place[0], 7)},
            **{"alt": 812, "spd": round(rng.uniform(60, 80), 1), "hdg": 84, "hdop": 0.9},
            **{"sat": 11, "acc": 5, "src": "gnss", "jam": 0, "spoof": 0},
        },
        "mot": {"ign": True, "mov": True, "odo": 1_234_567 + round(driven_m)},
        "pwr": {"ext": 24_100, "bat": 87, "chg": False},
        "net": {"rssi": -71, "mcc": 401, "mnc": 1, "lac": 711, "cid": 12_345},
        "sleep_s": 0,
    }
