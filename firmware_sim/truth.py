"""What really happened on a trip: ground truth, to hold against what detection finds.

Behaviours and plots register what they do on the draft as `Planned`, with places along the path;
the vehicle resolves each to a `Happening` with times while the trip is driven. Codes are those of
the detection contract, with or without a detector of today.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

DeviceScope = Literal["seal", "gps", "any"]
ExpectationKind = Literal["must", "may", "must_not"]
ActKind = Literal[
    "border_crossing", "incident", "reseal", "transshipment", "arrival_notice", "arrival"
]

CODES = frozenset(
    [
        "route_deviation",
        "wrong_direction",
        "checkpoint_missed",
        "restricted_zone",
        "border_exit",
        "unauthorised_stop",
        "overstay",
        "rendezvous",
        "seal_cut",
        "seal_body_open",
        "seal_fault",
        "battery_low",
        "silence",
        "unauthorised_unlock",
        "seal_state_conflict",
        "separation",
        "jamming",
        "spoofing_suspected",
        "power_cut",
        "sequence_gap",
        "clock_fault",
        "identity_conflict",
        "late_risk",
        "overdue",
        "non_arrival",
        "arrival_mismatch",
        "unloading_signature",
    ]
)
"""All codes of the detection contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What detection is to say of a device (None: of the delivery) in a window of true time.

    An anomaly lies in the window if its span touches it; None leaves that side open. `must`: at
    least one such anomaly; `may`: any number is right; `must_not`: any is a false alarm.
    """

    code: str
    device: DeviceScope | None
    kind: ExpectationKind
    from_ms: int | None = None
    to_ms: int | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code} is no code of the detection contract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that befell a trip. Times are true, ms UTC; the place is where it began."""

    name: str
    params: Mapping[str, Any]
    vehicle: str
    device_ids: tuple[str, ...]
    start_ms: int
    end_ms: int
    lon: float
    lat: float
    place: str
    expects: tuple[Expectation, ...] = ()

    @property
    def must(self) -> tuple[str, ...]:
        """Codes that have to be found."""
        return self._codes("must")

    @property
    def may(self) -> tuple[str, ...]:
        """Codes that are right if found, and no fault if not."""
        return self._codes("may")

    @property
    def must_not(self) -> tuple[str, ...]:
        """Codes that would be false alarms."""
        return self._codes("must_not")

    def _codes(self, kind: ExpectationKind) -> tuple[str, ...]:
        return tuple(dict.fromkeys(e.code for e in self.expects if e.kind == kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What a person does on the trip, for a runner to send through the HTTP API.

    `fields`: what the call's body holds besides `at` and `position`. `position` None: not given.
    """

    kind: ActKind
    at_ms: int
    position: tuple[float, float] | None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTruth:
    """How the delivery really went.

    `nondelivery`: the goods do not reach the destination post whole. `rank_high`: it belongs at
    the top of the list by risk. `honest`: nobody on board meant harm, whatever it looks like.
    """

    vehicle: str
    plots: tuple[str, ...] = ()
    nondelivery: bool = False
    goods_gone: bool = False
    honest: bool = True
    rank_high: bool = False
    start_ms: int = 0
    end_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """An expectation before the trip: its window is the happening's, widened by these seconds.

    inf leaves that side of it open; `whole_trip` both.
    """

    code: str
    kind: ExpectationKind = "must"
    device: DeviceScope | None = "any"
    before_s: float = 0.0
    after_s: float = 600.0
    whole_trip: bool = False

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code} is no code of the detection contract")

    def resolved(self, start_ms: int, end_ms: int) -> Expectation:
        """The same with times."""
        plain = Expectation(code=self.code, device=self.device, kind=self.kind)
        if self.whole_trip:
            return plain
        return replace(
            plain,
            from_ms=None if math.isinf(self.before_s) else start_ms - round(self.before_s * 1000),
            to_ms=None if math.isinf(self.after_s) else end_ms + round(self.after_s * 1000),
        )


class Told(Protocol):
    """A vehicle that knows what has befallen it."""

    @property
    def happenings(self) -> Sequence[Happening]:
        """What has happened so far, in order of beginning."""

    @property
    def outcome(self) -> DeliveryTruth:
        """How the delivery went."""

    @property
    def acts(self) -> Sequence[Act]:
        """What people have done so far, in order of time."""


def truth_lines(vehicle: Told) -> Iterator[str]:
    """The truth of a driven trip as JSON lines: happenings, acts, and the delivery at last."""
    for happening in vehicle.happenings:
        yield _line("happening", happening_fields(happening))
    for act in vehicle.acts:
        yield _line("act", {**_plain(act), "fields": dict(act.fields)})
    yield _line("delivery", _plain(vehicle.outcome))


def happening_fields(happening: Happening) -> dict[str, Any]:
    """A happening as plain values, codes by kind included."""
    return {
        **_plain(happening),
        "params": dict(happening.params),
        "expects": [_plain(expectation) for expectation in happening.expects],
        "must": list(happening.must),
        "may": list(happening.may),
        "must_not": list(happening.must_not),
    }


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _line(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
