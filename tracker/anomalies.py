"""What a delivery's data shows: folds over its observations, and rules over the whole. Pure.

The anomalies of a delivery are a function of its records in t* order (the order law,
detection.md). `fold` takes the observations in that order, from a state that may have been stored,
and returns the next state with every episode that is over; `present` adds the episodes that the
data ends in. Folding a list in one go or in parts gives the same, and late records are judged by
folding again from a state before them. `whole` then asks the rules that look at more than one
device's records: they keep no state and are asked again each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.arrival import arrival_mismatch
from tracker.detectors.base import (
    Detector,
    Findings,
    Judged,
    PairDetector,
    PairScene,
    Rule,
    Scene,
    Whole,
    WholeDetector,
    shows,
)
from tracker.detectors.clock import non_arrival, overdue
from tracker.detectors.communication import SilenceState, deadline_ms, silence
from tracker.detectors.composite import unloading_signature
from tracker.detectors.course import CHECKPOINT_MISSED, course
from tracker.detectors.device_clock import clock_fault
from tracker.detectors.eta import driving, late_risk
from tracker.detectors.fleet import rendezvous
from tracker.detectors.identity import identity_conflict
from tracker.detectors.layers import temper_jamming, temper_silence
from tracker.detectors.limits import Limits, LimitsInForce, in_force, version_of
from tracker.detectors.pair import separation
from tracker.detectors.power import battery_low, power_cut
from tracker.detectors.radio import jamming
from tracker.detectors.route import route_deviation
from tracker.detectors.seal import seal_body_open, seal_cut
from tracker.detectors.seal_health import seal_fault
from tracker.detectors.seal_history import seal_state_conflict
from tracker.detectors.seal_lock import unauthorised_unlock
from tracker.detectors.sequence import sequence_gap
from tracker.detectors.spoofing import spoofing_suspected
from tracker.detectors.stop import stop
from tracker.detectors.twins import twins
from tracker.detectors.zones import border_exit, restricted_zone
from tracker.geodesy import distance_m
from tracker.model import (
    Around,
    BoundDevice,
    DeliveryPlan,
    Finding,
    Newest,
    Observation,
    SealNow,
    Step,
    Visit,
)
from tracker.track import Track, advance, settle

__all__ = [
    "DETECTORS",
    "PAIRS",
    "RULES",
    "WHOLE",
    "Fold",
    "Judged",
    "Limits",
    "LimitsInForce",
    "Scenery",
    "fold",
    "in_force",
    "present",
    "version_of",
    "whole",
]

DETECTORS: tuple[Detector[Any], ...] = (
    route_deviation,
    course,
    restricted_zone,
    border_exit,
    stop,
    seal_cut,
    seal_body_open,
    seal_fault,
    unauthorised_unlock,
    seal_state_conflict,
    jamming,
    spoofing_suspected,
    battery_low,
    power_cut,
    clock_fault,
    twins,
    silence,
)
"""Everything that looks at one device's observations, in the order it is asked."""

PAIRS: tuple[PairDetector[Any], ...] = (driving, separation)
"""Everything that compares the devices of a delivery."""

WHOLE: tuple[WholeDetector, ...] = (
    late_risk,
    overdue,
    non_arrival,
    identity_conflict,
    rendezvous,
    sequence_gap,
    arrival_mismatch,
    unloading_signature,
)
"""Everything that looks at the whole delivery, its surroundings and the clock."""

TRACE = "trace_"
"""Codes that begin so are traces: left for other deliveries to be compared with, never shown."""

TEMPERS: tuple[Callable[[Finding, Around, Limits], Finding], ...] = (
    temper_silence,
    temper_jamming,
)
"""What lowers the severity of a finding, and nothing else of it but evidence that says why."""

RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        *(rule for detector in DETECTORS for rule in detector.rules),
        *(pair.rule for pair in PAIRS),
        *(one.rule for one in WHOLE),
    )
    if not rule.code.startswith(TRACE)
}
"""Every code that can be found, with its EAEU code, severity and text."""

WHOLE_CODES = frozenset(one.rule.code for one in WHOLE)
"""Codes that are found anew each time, whatever the fold began from."""

VERSION = "8"
"""Of the rules and their stored state, recorded with each finding. A state of another version is
not read: the delivery is folded anew."""

_FINISH = {detector.rule.code: detector.finish for detector in DETECTORS}
_FINISH_PAIRS = tuple((pair.rule.code, pair.finish) for pair in PAIRS)

Looking = tuple[str, Struct, bool, Callable[[Any, Step, Scene], tuple[Any, Findings]]]
"""A detector as the fold asks it: its code, its state at rest, whether it may come to rest again,
and its step."""


class _Asked(Struct, frozen=True):
    """Whom to ask about steps that show the same: ``all`` that look at such, of them those that are
    ``awake`` even at rest, the codes of the others; and those that compare devices."""

    all: tuple[Looking, ...]
    awake: tuple[Looking, ...]
    dozing: frozenset[str]
    pairs: tuple[tuple[str, Struct, Callable[[Any, Step, PairScene], tuple[Any, Findings]]], ...]

    def looking(self, states: Mapping[str, Struct]) -> Iterable[Looking]:
        """The detectors to ask, in their order: those that are awake, or not at rest."""
        if self.dozing.isdisjoint(states):
            return self.awake
        return [one for one in self.all if one[0] in states or one[0] not in self.dozing]


_ASKED: dict[int, _Asked] = {}
"""By what a step shows, as bits: there are few combinations."""


def _asked(bits: int) -> _Asked:
    asked = _ASKED.get(bits)
    if asked is None:
        all_ = [d for d in DETECTORS if int(d.looks) & bits]
        awake = [d for d in all_ if d.wakes is None or int(d.wakes) & bits]
        asked = _ASKED[bits] = _Asked(
            all=tuple(map(_looking, all_)),
            awake=tuple(map(_looking, awake)),
            dozing=frozenset(d.rule.code for d in all_ if d not in awake),
            pairs=tuple(
                (p.rule.code, p.state_type(), p.step) for p in PAIRS if int(p.looks) & bits
            ),
        )
    return asked


def _looking(detector: Detector[Any]) -> Looking:
    rests = detector.wakes is not None
    return detector.rule.code, detector.state_type(), rests, detector.step


Order = tuple[int, str, int, int]


def order_of(observation: Observation) -> Order:
    """The place of an observation in the order law: (t*, device, gen, seq)."""
    return observation.t_ms, observation.device, observation.gen, observation.seq


class DeviceFold(Struct, frozen=True):
    """One device: its track, where it has been, and the state of each detector by code.

    ``states`` holds only what differs from a detector's state before the first observation: of the
    many detectors that wait for something to happen nearly all rest, and are not asked.
    """

    track: Track = Track()
    states: dict[str, Struct] = {}
    newest: Newest | None = None
    moved: bool = False
    visits: dict[str, Visit] = {}
    seal: SealNow | None = None
    last_ms: int | None = None


_UNSEEN = DeviceFold()


class Fold(Struct, frozen=True, kw_only=True):
    """The state after all observations up to ``upto_ms``."""

    devices: dict[str, DeviceFold] = {}
    pairs: dict[str, Struct] = {}
    upto_ms: int | None = None

    @property
    def moved(self) -> bool:
        """Whether any device has been seen moving: the delivery is in transit."""
        return any(device.moved for device in self.devices.values())


class Scenery(Struct, frozen=True, kw_only=True):
    """What the fold may look at besides the observations.

    ``limits``: the thresholds; ``in_force``, if given, says how they change over time.
    """

    plan: DeliveryPlan
    limits: Limits
    now_ms: int
    in_force: LimitsInForce | None = None

    def limits_at(self, t_ms: int | None) -> Limits:
        """The thresholds in force at a time."""
        return self.limits if self.in_force is None else self.in_force.at(t_ms)

    def of(self, device: BoundDevice, limits: Limits) -> Scene:
        """The scene of one device."""
        return Scene(device, limits, self.plan, self.now_ms)

    def of_pairs(self, limits: Limits) -> PairScene:
        """The scene of all devices together."""
        return PairScene(limits, self.plan, self.now_ms)

    def bound(self, name: str) -> BoundDevice:
        """The device of the delivery with this id.

        Raises:
            KeyError: the delivery has no such device.
        """
        for device in self.plan.devices:
            if device.id == name:
                return device
        raise KeyError(name)

    @property
    def watched(self) -> frozenset[str]:
        """The zones whose visits are kept: the posts' own and those of checkpoints."""
        posts = (self.plan.departure, self.plan.destination)
        ends = {post.zone for post in posts if post is not None}
        return frozenset(ends | {c.zone for r in self.plan.routes for c in r.checkpoints})


# ---------------------------------------------------------------- the fold


class _Hand(Struct):
    """A device being folded: as `DeviceFold`, but written in place."""

    device: BoundDevice
    scene: Scene
    track: Track
    states: dict[str, Struct]
    newest: Newest | None
    moved: bool
    visits: dict[str, Visit]
    seal: SealNow | None
    last_ms: int | None

    def put_down(self) -> DeviceFold:
        """The state after what it has taken."""
        return DeviceFold(
            self.track,
            self.states,
            self.newest,
            self.moved,
            self.visits,
            self.seal,
            self.last_ms,
        )


class _Folding:
    """One run of the fold: the states in hand, and what is over."""

    def __init__(self, state: Fold, scenery: Scenery, limits: Limits) -> None:
        self.state = state
        self.scenery = scenery
        self.limits = limits
        self.pair_scene = scenery.of_pairs(limits)
        self.pairs = dict(state.pairs)
        self.hands: dict[str, _Hand] = {}

    def hand(self, name: str) -> _Hand:
        """The device with this id, taken in hand."""
        hand = self.hands.get(name)
        if hand is None:
            device = self.state.devices.get(name) or _UNSEEN
            bound = self.scenery.bound(name)
            hand = self.hands[name] = _Hand(
                bound,
                self.scenery.of(bound, self.limits),
                device.track,
                dict(device.states),
                device.newest,
                device.moved,
                device.visits,
                device.seal,
                device.last_ms,
            )
        return hand

    def at(self, t_ms: int) -> None:
        """Let the thresholds in force at a time apply."""
        if self.scenery.in_force is None:
            return
        limits = self.scenery.in_force.at(t_ms)
        if limits is not self.limits:
            self.limits = limits
            self.pair_scene = self.scenery.of_pairs(limits)
            for hand in self.hands.values():
                hand.scene = self.scenery.of(hand.device, limits)

    def take(self, hand: _Hand, step: Step) -> Findings:
        """Show a step to every detector that looks at such."""
        asked = _asked(shows(step))
        found: Findings = ()
        states, scene = hand.states, hand.scene
        for code, at_rest, rests, look in asked.looking(states):
            before = states.get(code, at_rest)
            after, over = look(before, step, scene)
            if after is not before:
                if rests and after == at_rest:
                    states.pop(code, None)
                else:
                    states[code] = after
            if over:
                found += over
        pairs = self.pairs
        for code, first, compare in asked.pairs:
            before = pairs.get(code, first)
            after, over = compare(before, step, self.pair_scene)
            if after is not before:
                pairs[code] = after
            if over:
                found += over
        self._keep(hand, step)
        return found

    def _keep(self, hand: _Hand, step: Step) -> None:
        """Where the device is and has been, whether it moves, and what its seal says."""
        seen = step.observation
        if seen.timed:
            hand.last_ms = seen.t_ms
        if step.valid and seen.fix is not None:
            fix = seen.fix
            hand.newest = Newest(t_ms=seen.t_ms, fix=fix, place=step.place, moving=seen.moving)
            if fix.zones or fix.crossed:
                hand.visits = _visited(hand.visits, seen, self.scenery.watched)
        if not hand.moved:
            hand.moved = _is_moving(step)
        if seen.kind == "seal":
            hand.seal = _seal_now(hand.seal, seen)

    def done(self, upto_ms: int | None) -> Fold:
        """The state after all that was taken."""
        if not self.hands:
            return self.state
        devices = dict(self.state.devices)
        for name, hand in self.hands.items():
            devices[name] = hand.put_down()
        return Fold(devices=devices, pairs=self.pairs, upto_ms=upto_ms)


def fold(
    state: Fold, observations: Iterable[Observation], scenery: Scenery
) -> tuple[Fold, Findings]:
    """Fold observations, which follow those already in ``state`` in the order law.

    Returns the new state and the episodes that are over. ``decided_ms`` of each is the t* of the
    observation that decided it: a later one can no longer change it, a state from before it can.
    """
    folding = _Folding(state, scenery, scenery.limits_at(state.upto_ms))
    upto_ms = state.upto_ms
    found: list[Finding] = []
    for seen in observations:
        upto_ms = seen.t_ms
        folding.at(upto_ms)
        hand = folding.hand(seen.device)
        hand.track, steps = advance(hand.track, seen)
        for step in steps:
            over = folding.take(hand, step)
            if over:
                found.extend(replace(finding, decided_ms=upto_ms) for finding in over)
    return folding.done(upto_ms), tuple(found)


def _visited(
    visits: dict[str, Visit], seen: Observation, watched: frozenset[str]
) -> dict[str, Visit]:
    fix = seen.fix
    assert fix is not None
    touched = [z.code for z in (*fix.zones, *fix.crossed) if z.code in watched]
    if not touched:
        return visits
    now = dict(visits)
    for code in touched:
        before = now.get(code)
        first_ms = seen.t_ms if before is None else before.first_ms
        now[code] = Visit(first_ms=first_ms, last_ms=seen.t_ms)
    return now


_SAYS: dict[str, dict[str, Any]] = {
    "rope_cut": {"rope": "cut"},
    "case_open": {"case": "open"},
    "sealed": {"lock": "locked", "armed": True},
    "unsealed": {"lock": "open", "armed": False},
    "unlock_ok": {"lock": "open"},
}
"""What an event says of the seal where the record does not state it."""


def _seal_now(now: SealNow | None, seen: Observation) -> SealNow | None:
    rope, case, lock, armed = seen.rope, seen.case, seen.lock, seen.armed
    says = None if seen.event is None else _SAYS.get(seen.event)
    if says is not None:
        rope = says.get("rope") if rope is None else rope
        case = says.get("case") if case is None else case
        lock = says.get("lock") if lock is None else lock
        armed = says.get("armed") if armed is None else armed
    if rope is None and case is None and lock is None and armed is None:
        return now
    before = now or _NOT_STATED
    return SealNow(
        rope=before.rope if rope is None else rope,
        case=before.case if case is None else case,
        lock=before.lock if lock is None else lock,
        armed=before.armed if armed is None else armed,
        t_ms=seen.t_ms,
    )


_NOT_STATED = SealNow()


MOVING_KMH = 5.0
"""Faster than the speed a parked receiver reports by noise, slower than any driving."""


MOVED_M = 150.0
"""Farther from the fix before than a parked receiver's noise: the radius of a stop."""


def _is_moving(step: Step) -> bool:
    """By the device's word, else by its speed, else, if it states neither, by its way."""
    seen, fix = step.observation, step.observation.fix
    if seen.moving is not None:
        return seen.moving
    if not step.valid or fix is None:
        return False
    if fix.speed_kmh is not None or step.previous is None:
        return (fix.speed_kmh or 0.0) > MOVING_KMH
    before = step.previous
    return distance_m((before.lon, before.lat), (fix.lon, fix.lat)) > MOVED_M


# ---------------------------------------------------------------- the present


class Present(Struct, frozen=True, kw_only=True):
    """What is the case if the data ends here: open episodes, where each device is and has been."""

    findings: Findings
    newest: dict[str, Newest]
    visits: dict[str, dict[str, Visit]]
    seals: dict[str, SealNow]
    pairs: dict[str, Struct]
    next_clock_ms: int | None


def present(state: Fold, scenery: Scenery) -> Present:
    """The episodes that the data ends in.

    ``next_clock_ms``: when the present has to be looked at again although no record came.
    """
    limits = scenery.limits_at(scenery.now_ms if state.upto_ms is None else state.upto_ms)
    found: list[Finding] = []
    clocks: list[int] = []
    for device in state.devices.values():
        if device.track.jump is not None:
            state, settled = _settled(state, scenery, limits)
            found += settled
            break
    ended: dict[str, DeviceFold] = {}
    newest: dict[str, Newest] = {}
    visits: dict[str, dict[str, Visit]] = {}
    seals: dict[str, SealNow] = {}
    for bound in scenery.plan.devices:
        name = bound.id
        ending = state.devices.get(name)
        if ending is None:
            continue
        ended[name] = ending
        if ending.newest is not None:
            newest[name] = ending.newest
        if ending.visits:
            visits[name] = ending.visits
        if ending.seal is not None:
            seals[name] = ending.seal
        scene = scenery.of(bound, limits)
        found += _going_on(ending.states, scene)
        clocks += _clocks(ending.states, scene)
    pair_scene = scenery.of_pairs(limits)
    for code, finish in _FINISH_PAIRS:
        pair_state = state.pairs.get(code)
        if pair_state is not None:
            found += finish(pair_state, pair_scene)
    return Present(
        findings=tuple(f for f in found if not _passed_by_another(f, ended)) if found else (),
        newest=newest,
        visits=visits,
        seals=seals,
        pairs=state.pairs,
        next_clock_ms=_next(clocks, scenery.now_ms),
    )


def _settled(state: Fold, scenery: Scenery, limits: Limits) -> tuple[Fold, Findings]:
    """The state after all that waits on the tracks, if their jumps are no accidents, in the order
    law; and the episodes that are over then."""
    folding = _Folding(state, scenery, limits)
    steps: list[Step] = []
    for bound in scenery.plan.devices:
        device = state.devices.get(bound.id)
        if device is not None and device.track.jump is not None:
            hand = folding.hand(bound.id)
            hand.track, settled = settle(hand.track)
            steps += settled
    steps.sort(key=lambda step: order_of(step.observation))
    found: Findings = ()
    for step in steps:
        found += folding.take(folding.hand(step.observation.device), step)
    return folding.done(state.upto_ms), found


def _passed_by_another(finding: Finding, ended: Mapping[str, DeviceFold]) -> bool:
    """Whether a checkpoint that one device's track missed was touched by another's.

    A seal that reports every five minutes cuts the bends of the road; its vehicle's unit shows that
    the vehicle was there. Such a finding stays open, so it is always among those of the present.
    """
    if finding.code != CHECKPOINT_MISSED.code:
        return False
    zone = finding.evidence["zone"]
    return any(zone in d.visits for name, d in ended.items() if name != finding.device)


def _next(clocks: Iterable[int], now_ms: int) -> int | None:
    soonest_ms: int | None = None
    for clock in clocks:
        if clock > now_ms and (soonest_ms is None or clock < soonest_ms):
            soonest_ms = clock
    return soonest_ms


def _going_on(states: Mapping[str, Struct], scene: Scene) -> Findings:
    """What every detector says is still going on."""
    ending: dict[str, Findings] = {}
    for code, state in states.items():
        found = _FINISH[code](state, scene)
        if found:
            ending[code] = found
    if not ending:
        return ()
    return tuple(f for code in _FINISH if code in ending for f in ending[code])


def _clocks(states: Mapping[str, Struct], scene: Scene) -> list[int]:
    """When silence begins, and when it has lasted long enough to weigh more."""
    state = states.get(silence.rule.code)
    if state is None or scene.device.to_ms is not None:
        return []
    heard = cast(SilenceState, state)
    due_ms = deadline_ms(heard, scene)
    if due_ms is None or heard.last_ms is None:
        return []
    # One millisecond past the limit: the limit itself is still kept.
    return [due_ms + 1, heard.last_ms + round(scene.limits.silence_slack_high_s * 1000)]


# ---------------------------------------------------------------- the whole


def whole(scenery: Scenery, now: Present, standing: Iterable[Finding], around: Around) -> Judged:
    """What the rules over the whole delivery find, and when they are to be asked again.

    ``standing``: every episode that its records show: those that are over and those of ``now``.
    """
    seen = Whole(
        plan=scenery.plan,
        limits=scenery.limits_at(scenery.now_ms),
        now_ms=scenery.now_ms,
        standing=tuple(standing),
        newest=now.newest,
        visits=now.visits,
        seals=now.seals,
        around=around,
        pairs=now.pairs,
    )
    found: Findings = ()
    clocks: list[int] = [] if now.next_clock_ms is None else [now.next_clock_ms]
    if scenery.in_force is not None:
        # Other thresholds may open or end what the clock finds.
        clocks += [from_ms for from_ms, _ in scenery.in_force.later]
    for rule in WHOLE:
        judged = rule.find(seen)
        found += judged.findings
        clocks += judged.clocks
    ahead = _next(clocks, scenery.now_ms)
    return Judged(findings=found, clocks=() if ahead is None else (ahead,))


def shown_in(found: Findings) -> Findings:
    """What is an anomaly of what a fold has found."""
    return tuple(f for f in found if not f.code.startswith(TRACE))


def traces_in(found: Findings) -> Findings:
    """What a fold leaves for other deliveries to be compared with."""
    return tuple(f for f in found if f.code.startswith(TRACE))


def tempered(found: Findings, around: Around, scenery: Scenery) -> Findings:
    """Findings with their severity in the light of dated layers: dead zones, area jamming."""
    if not around.dead and not around.others:
        return found
    for temper in TEMPERS:
        found = tuple(temper(f, around, scenery.limits_at(f.start_ms)) for f in found)
    return found


# ---------------------------------------------------------------- storing the state


class _StoredDevice(Struct, frozen=True, array_like=True):
    track: Track
    states: dict[str, msgspec.Raw]
    newest: Newest | None
    moved: bool
    visits: dict[str, Visit]
    seal: SealNow | None
    last_ms: int | None


class _Stored(Struct, frozen=True, array_like=True):
    devices: dict[str, _StoredDevice]
    pairs: dict[str, msgspec.Raw]
    upto_ms: int | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


def dump(state: Fold) -> bytes:
    """The state as bytes."""
    devices = {
        name: (d.track, d.states, d.newest, d.moved, d.visits, d.seal, d.last_ms)
        for name, d in state.devices.items()
    }
    return _encode((devices, state.pairs, state.upto_ms))


def load(stored: bytes) -> Fold:
    """The state from its bytes."""
    raw = _decode(stored)
    return Fold(
        devices={name: _load_device(device) for name, device in raw.devices.items()},
        pairs=_load_states(raw.pairs, {pair.rule.code: pair.state_type for pair in PAIRS}),
        upto_ms=raw.upto_ms,
    )


def _load_device(device: _StoredDevice) -> DeviceFold:
    types = {detector.rule.code: detector.state_type for detector in DETECTORS}
    return DeviceFold(
        track=device.track,
        states=_load_states(device.states, types),
        newest=device.newest,
        moved=device.moved,
        visits=device.visits,
        seal=device.seal,
        last_ms=device.last_ms,
    )


def _load_states(
    states: Mapping[str, msgspec.Raw], types: Mapping[str, type[Struct]]
) -> dict[str, Struct]:
    return {
        code: msgspec.msgpack.decode(raw, type=types[code])
        for code, raw in states.items()
        if code in types
    }
