"""What the data of a delivery shows: one fold over its observations. Pure.

The anomalies of a delivery are a function of its records in t* order (the order law,
detection.md). `fold` takes the observations in that order, from a state that may have been stored,
and returns the next state with every episode that is over; `present` adds the episodes that the
data ends in. Folding a list in one go or in parts gives the same, and late records are judged by
folding again from a state before them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Rule, Scene
from tracker.detectors.clock import OVERDUE, overdue
from tracker.detectors.communication import SilenceState, deadline_ms, silence
from tracker.detectors.limits import Limits, version_of
from tracker.detectors.power import battery_low
from tracker.detectors.route import route_deviation
from tracker.detectors.seal import seal_body_open, seal_cut
from tracker.detectors.stop import unauthorised_stop
from tracker.model import BoundDevice, DeliveryPlan, Finding, FixFacts, Observation, Place, Step
from tracker.track import Track, advance, settle

__all__ = ["DETECTORS", "RULES", "Fold", "Limits", "fold", "present", "version_of"]

DETECTORS: tuple[Detector[Any], ...] = (
    route_deviation,
    unauthorised_stop,
    seal_cut,
    seal_body_open,
    battery_low,
    silence,
)
"""Everything that looks at one device's observations, in the order it is asked."""

RULES: dict[str, Rule] = {
    rule.code: rule for rule in (*(detector.rule for detector in DETECTORS), OVERDUE)
}
"""Every code that can be found, with its EAEU code, severity and text."""

VERSION = "1"
"""Of the stored state. A state of another version is not read: the delivery is folded anew."""

Order = tuple[int, str, int, int]


def order_of(observation: Observation) -> Order:
    """The place of an observation in the order law: (t*, device, gen, seq)."""
    return observation.t_ms, observation.device, observation.gen, observation.seq


class Newest(Struct, frozen=True, kw_only=True):
    """A device's newest valid fix with its place on the route: what the live map shows."""

    t_ms: int
    fix: FixFacts
    place: Place | None
    moving: bool | None


class DeviceFold(Struct, frozen=True, kw_only=True):
    """One device: its track, and the state of each detector by code."""

    track: Track = Track()
    states: dict[str, Struct] = {}
    newest: Newest | None = None
    moved: bool = False


class Fold(Struct, frozen=True, kw_only=True):
    """The state after all observations up to ``upto_ms``."""

    devices: dict[str, DeviceFold] = {}
    upto_ms: int | None = None

    @property
    def moved(self) -> bool:
        """Whether any device has been seen moving: the delivery is in transit."""
        return any(device.moved for device in self.devices.values())


class Scenery(Struct, frozen=True, kw_only=True):
    """What the fold may look at besides the observations."""

    plan: DeliveryPlan
    limits: Limits
    now_ms: int

    def of(self, device: BoundDevice) -> Scene:
        """The scene of one device."""
        return Scene(device=device, limits=self.limits, acts=self.plan.acts, now_ms=self.now_ms)


# ---------------------------------------------------------------- the fold


def fold(
    state: Fold, observations: Iterable[Observation], scenery: Scenery
) -> tuple[Fold, Findings]:
    """Fold observations, which follow those already in ``state`` in the order law.

    Returns the new state and the episodes that are over. ``decided_ms`` of each is the t* of the
    observation that decided it: a later one can no longer change it, a state from before it can.
    """
    scenes = {device.id: scenery.of(device) for device in scenery.plan.devices}
    devices = dict(state.devices)
    upto_ms = state.upto_ms
    found: list[Finding] = []
    for seen in observations:
        device = devices.get(seen.device, DeviceFold())
        track, steps = advance(device.track, seen)
        device, over = _take(replace(device, track=track), steps, scenes[seen.device])
        found.extend(replace(finding, decided_ms=seen.t_ms) for finding in over)
        devices[seen.device] = device
        upto_ms = seen.t_ms
    return Fold(devices=devices, upto_ms=upto_ms), tuple(found)


def _take(device: DeviceFold, steps: Iterable[Step], scene: Scene) -> tuple[DeviceFold, Findings]:
    states = dict(device.states)
    newest, moved = device.newest, device.moved
    found: list[Finding] = []
    for step in steps:
        for detector in DETECTORS:
            code = detector.rule.code
            before = states.get(code) or detector.state_type()
            states[code], over = detector.step(before, step, scene)
            found.extend(over)
        newest = _newest(step) or newest
        moved = moved or _is_moving(step)
    return replace(device, states=states, newest=newest, moved=moved), tuple(found)


MOVING_KMH = 5.0
"""Faster than the speed a parked receiver reports by noise, slower than any driving."""


def _is_moving(step: Step) -> bool:
    seen = step.observation
    if seen.moving is not None:
        return seen.moving
    return step.valid and seen.fix is not None and (seen.fix.speed_kmh or 0.0) > MOVING_KMH


def _newest(step: Step) -> Newest | None:
    seen = step.observation
    if not step.valid or seen.fix is None:
        return None
    return Newest(t_ms=seen.t_ms, fix=seen.fix, place=step.place, moving=seen.moving)


class Present(Struct, frozen=True, kw_only=True):
    """What is the case if the data ends here: open episodes, and each device's newest fix."""

    findings: Findings
    newest: dict[str, Newest]
    next_clock_ms: int | None


def present(state: Fold, scenery: Scenery) -> Present:
    """The episodes that the data ends in, and those that only the clock opens.

    ``next_clock_ms``: when the present has to be looked at again although no record came.
    """
    found: list[Finding] = list(overdue(scenery.plan, scenery.now_ms))
    newest: dict[str, Newest] = {}
    clocks: list[int] = []
    for bound in scenery.plan.devices:
        device = state.devices.get(bound.id)
        if device is None:
            continue
        ended, findings = _end(device, scenery.of(bound))
        found.extend(findings)
        if ended.newest is not None:
            newest[bound.id] = ended.newest
        clocks.extend(_clocks(ended, scenery.of(bound)))
    if scenery.plan.arrived_ms is None and scenery.plan.released_ms is not None:
        clocks.append(scenery.plan.deadline_ms)
    ahead = [clock for clock in clocks if clock > scenery.now_ms]
    return Present(findings=tuple(found), newest=newest, next_clock_ms=min(ahead, default=None))


def _end(device: DeviceFold, scene: Scene) -> tuple[DeviceFold, Findings]:
    """Settle what waits, then ask every detector what is still going on."""
    track, steps = settle(device.track)
    ended: DeviceFold = device
    over: Findings = ()
    if steps:
        ended, over = _take(replace(device, track=track), steps, scene)
    going_on = [
        finding
        for detector in DETECTORS
        for finding in detector.finish(
            ended.states.get(detector.rule.code) or detector.state_type(), scene
        )
    ]
    return ended, (*over, *going_on)


def _clocks(device: DeviceFold, scene: Scene) -> list[int]:
    """When silence begins, and when it has lasted long enough to weigh more."""
    state = cast(SilenceState, device.states.get(silence.rule.code) or SilenceState())
    due_ms = deadline_ms(state, scene)
    if due_ms is None or state.last_ms is None or scene.device.to_ms is not None:
        return []
    # One millisecond past the limit: the limit itself is still kept.
    return [due_ms + 1, state.last_ms + round(scene.limits.silence_slack_high_s * 1000)]


# ---------------------------------------------------------------- storing the state


class _StoredDevice(Struct, frozen=True, kw_only=True):
    track: Track
    states: dict[str, msgspec.Raw]
    newest: Newest | None
    moved: bool


class _Stored(Struct, frozen=True, kw_only=True):
    devices: dict[str, _StoredDevice]
    upto_ms: int | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


def dump(state: Fold) -> bytes:
    """The state as bytes."""
    return _encode(state)


def load(stored: bytes) -> Fold:
    """The state from its bytes."""
    raw = _decode(stored)
    return Fold(
        devices={name: _load_device(device) for name, device in raw.devices.items()},
        upto_ms=raw.upto_ms,
    )


def _load_device(device: _StoredDevice) -> DeviceFold:
    types = {detector.rule.code: detector.state_type for detector in DETECTORS}
    return DeviceFold(
        track=device.track,
        states={
            code: msgspec.msgpack.decode(raw, type=types[code])
            for code, raw in device.states.items()
            if code in types
        },
        newest=device.newest,
        moved=device.moved,
    )
