"""What every detector is: a rule with its code, and two pure functions over its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntFlag
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct

from tracker.detectors.limits import Limits
from tracker.model import (
    Act,
    Around,
    Basis,
    BoundDevice,
    DeliveryPlan,
    Finding,
    FoundBy,
    Newest,
    Observation,
    SealNow,
    Severity,
    Step,
    TimeFlag,
    Visit,
)

State = TypeVar("State", bound=Struct)


class Rule(Struct, frozen=True, kw_only=True):
    """What a code means: EAEU code, severity where nothing raises it, basis, one line of text."""

    code: str
    eaeu_code: str | None
    severity: Severity
    basis: Basis
    text: str


class Scene(Struct, frozen=True):
    """What a detector may look at besides the observations: never a clock or a store.

    ``limits``: the thresholds in force at the time of the step; at the end of the data, of the last
    record. ``device``: whose steps these are.
    """

    device: BoundDevice
    limits: Limits
    plan: DeliveryPlan
    now_ms: int

    @property
    def acts(self) -> tuple[Act, ...]:
        """What people did, in order of time."""
        return self.plan.acts


Findings = tuple[Finding, ...]


class Looks(IntFlag):
    """What of an observation a detector looks at; it is not asked about others.

    ``FIX``: a valid fix. ``SEAL``: the state of a seal, or an event. ``POWER``: battery or supply.
    ``JAM``: jamming or forgery stated, or a device without a fix. ``CLOCK``: a flagged clock.
    ``ANY``: all that has a time of its own. What few records show, and what wakes a detector at
    rest: ``ALARM``: an event, or a seal that says that something is wrong with it. ``BLIND``: an
    event, jamming, or no fix. ``ZONE``: a valid fix that is in a zone or has crossed one. ``LAND``:
    a valid fix inside the territory. ``STRAY``: a fix that is not valid, or that a jump led to.
    """

    FIX = 1
    SEAL = 2
    POWER = 4
    JAM = 8
    CLOCK = 16
    ANY = 32
    ALARM = 64
    BLIND = 128
    ZONE = 256
    LAND = 512
    STRAY = 1024


def shows(step: Step) -> int:
    """What a step has to look at, as bits of `Looks`; a plain int, since it is asked of each."""
    seen = step.observation
    bits = _ANY if seen.timed else 0
    fix = seen.fix
    if step.valid and fix is not None:
        bits |= _FIX
        if fix.zones or fix.crossed:
            bits |= _ZONE
        if fix.home:
            bits |= _LAND
        if step.jumped:
            bits |= _STRAY
    elif fix is not None:
        bits |= _STRAY
    if seen.flags & _WRONG_CLOCK:
        bits |= _CLOCK
    if seen.event is not None:
        return bits | _EVENT
    rope, case, lock = seen.rope, seen.case, seen.lock
    if rope is not None or case is not None or lock is not None or seen.armed is not None:
        bits |= _SEAL
        if rope == "cut" or case == "open" or lock == "stuck":
            bits |= _ALARM
    if seen.battery_pct is not None or seen.external_mv is not None:
        bits |= _POWER
    if seen.jam or seen.no_fix:
        bits |= _JAM_BLIND
    elif seen.jam is not None or seen.spoof:
        bits |= _JAM
    return bits


_FIX, _SEAL, _POWER, _JAM, _CLOCK, _ANY, _ALARM, _BLIND, _ZONE, _LAND, _STRAY = map(int, Looks)
_JAM_BLIND = _JAM | _BLIND
_EVENT = _SEAL | _ALARM | _POWER | _JAM | _BLIND
_WRONG_CLOCK = int(
    TimeFlag.IMPLAUSIBLE
    | TimeFlag.ROLLOVER_CORRECTED
    | TimeFlag.CLOCK_RESET
    | TimeFlag.CLOCK_ROLLOVER
    | TimeFlag.CLOCK_FUTURE
    | TimeFlag.CLOCK_PAST
    | TimeFlag.CLOCK_LOCAL_TIME
    | TimeFlag.CLOCK_OFF
)


class Detector(Struct, Generic[State], frozen=True, kw_only=True):
    """A rule and its two functions over one device's steps.

    ``state_type()`` is the state before the first observation: the detector is at rest. ``also``:
    other codes that the same state decides. ``looks``: what it is asked about. ``wakes``: what it
    is asked about while at rest; nothing else may change that state or be a finding. None: it is
    never looked whether it rests, since it nearly never does.
    """

    rule: Rule
    state_type: type[State]
    step: Callable[[State, Step, Scene], tuple[State, Findings]]
    finish: Callable[[State, Scene], Findings]
    looks: Looks = Looks.ANY | Looks.SEAL
    wakes: Looks | None = None
    also: tuple[Rule, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule that it finds."""
        return (self.rule, *self.also)


class PairScene(Struct, frozen=True):
    """What a detector over all devices of a delivery may look at besides their observations."""

    limits: Limits
    plan: DeliveryPlan
    now_ms: int


class PairDetector(Struct, Generic[State], frozen=True, kw_only=True):
    """A rule and its two functions over the steps of all devices of a delivery.

    Steps of one device come in the order law; between devices one may come late, since a device
    whose track has jumped waits for what the jump turns out to be.
    """

    rule: Rule
    state_type: type[State]
    step: Callable[[State, Step, PairScene], tuple[State, Findings]]
    finish: Callable[[State, PairScene], Findings]
    looks: Looks = Looks.FIX


class Whole(Struct, frozen=True, kw_only=True):
    """A delivery as a whole, for the rules that look at more than one device's records.

    ``standing``: every episode that its records show, closed ones included. ``newest``, ``visits``
    (by device, then zone code), ``seals``: where its devices are, have been, and what its seals
    last said. ``pairs``: what the folds over all its devices keep, by code; none: no steps yet.
    ``around``: what is known besides its records.
    """

    plan: DeliveryPlan
    limits: Limits
    now_ms: int
    standing: Findings
    newest: Mapping[str, Newest]
    visits: Mapping[str, Mapping[str, Visit]]
    seals: Mapping[str, SealNow]
    around: Around
    pairs: Mapping[str, Struct] = {}


class Judged(NamedTuple):
    """What a rule over the whole finds, and when it is to be asked again although nothing came."""

    findings: Findings = ()
    clocks: tuple[int, ...] = ()


class WholeDetector(Struct, frozen=True, kw_only=True):
    """A rule over the whole delivery. It keeps no state: it is asked again each time."""

    rule: Rule
    find: Callable[[Whole], Judged]


def found_by(observation: Observation) -> FoundBy:
    """The record that made a finding."""
    return FoundBy(device=observation.device, gen=observation.gen, seq=observation.seq)


def point(lon: float, lat: float) -> dict[str, Any]:
    """A GeoJSON point."""
    return {"type": "Point", "coordinates": [lon, lat]}
