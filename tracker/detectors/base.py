"""What every detector is: a rule with its code, and two pure functions over its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from tracker.detectors.limits import Limits
from tracker.model import (
    Act,
    Basis,
    BoundDevice,
    Finding,
    FoundBy,
    Observation,
    Severity,
    Step,
)

State = TypeVar("State", bound=Struct)


class Rule(Struct, frozen=True, kw_only=True):
    """What a code means: EAEU code, severity where nothing raises it, basis, one line of text."""

    code: str
    eaeu_code: str | None
    severity: Severity
    basis: Basis
    text: str


class Scene(Struct, frozen=True, kw_only=True):
    """What a detector may look at besides the observations: never a clock or a store."""

    device: BoundDevice
    limits: Limits
    acts: tuple[Act, ...]
    now_ms: int


Findings = tuple[Finding, ...]


class Detector(Struct, Generic[State], frozen=True, kw_only=True):
    """A rule and its two functions. ``state_type()`` is the state before the first observation."""

    rule: Rule
    state_type: type[State]
    step: Callable[[State, Step, Scene], tuple[State, Findings]]
    finish: Callable[[State, Scene], Findings]


def found_by(observation: Observation) -> FoundBy:
    """The record that made a finding."""
    return FoundBy(device=observation.device, gen=observation.gen, seq=observation.seq)


def point(lon: float, lat: float) -> dict[str, Any]:
    """A GeoJSON point."""
    return {"type": "Point", "coordinates": [lon, lat]}
