"""Seal lock: opened where, or by whom, it may not be.

A seal may be opened in the zones of the posts of departure and destination and in other zones under
customs control. Where the release or a resealing names the cards that may open it, no other card
may, wherever it is.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tracker.detectors.base import Detector, Findings, Looks, Rule, Scene, found_by, point
from tracker.detectors.seal import case_is_open, resealed_ms, rope_is_cut
from tracker.model import (
    ActKind,
    Basis,
    Finding,
    FixFacts,
    FoundBy,
    Observation,
    Severity,
    Step,
    ZoneKind,
)

UNAUTHORISED_UNLOCK = Rule(
    code="unauthorised_unlock",
    eaeu_code="07",
    severity=Severity.CRITICAL,
    basis=Basis.DATA,
    text="The seal was opened at a place or by a card that may not, or its PIN was being guessed.",
)

UNLOCK_ZONES = frozenset({ZoneKind.POST, ZoneKind.BORDER, ZoneKind.TERMINAL})
"""Zones under customs control. Parking, rest and fuel allow a stop, but no opening."""

UNLOCKS = frozenset({"unlock_ok", "unsealed"})

CARDS = "cards"
"""Where a release or a resealing names the cards that may open the seal."""

MOST_LISTED = 16
"""Openings told one by one; the count says how many there were."""


class Opening(Struct, frozen=True):
    """One opening, or attempt, that was not allowed. ``why``: place, card, illegal_card, pins."""

    t_ms: int
    why: tuple[str, ...]
    by: str
    auth: str | None
    card: str | None
    at: tuple[float, float] | None


class Unlocked(Struct, frozen=True, kw_only=True):
    """An episode: from the first of its openings until a customs officer reseals."""

    start_ms: int
    found_by: FoundBy
    openings: tuple[Opening, ...]
    count: int = 1


class Pins(Struct, frozen=True, kw_only=True):
    """Wrong PINs in a row: since when, how many events, and the highest count in one of them."""

    start_ms: int
    events: int = 0
    highest: int = 0

    @property
    def wrong(self) -> int:
        """How many there were: a device counts them itself, or tells them one by one."""
        return max(self.events, self.highest)


class LockState(Struct, frozen=True, kw_only=True):
    """What the lock last was, and where the seal is.

    ``zone``: that in which the newest valid fix lies and in which the seal may be opened.
    """

    zone: str | None = None
    lock: str | None = None
    armed: bool | None = None
    pins: Pins | None = None
    unlocked: Unlocked | None = None


def _step(state: LockState, step: Step, scene: Scene) -> tuple[LockState, Findings]:
    seen = step.observation
    if step.valid and seen.fix is not None:
        zone = _zone_to_open_in(seen.fix, scene)
        if zone != state.zone:
            state = replace(state, zone=zone)
    if seen.event is None and _is_as_before(state, seen):
        return state, ()
    state, over = _resealed(state, scene, until_ms=seen.t_ms)
    opening = _opening(state, step, scene)
    pins = _pins(state.pins, seen)
    if opening is None and pins is not None and pins is not state.pins:
        opening = _guessing(pins, step, scene)
    if opening is not None:
        state = replace(state, unlocked=_with(state.unlocked, opening, step, pins))
    return _said(state, seen, pins), over


def _is_as_before(state: LockState, seen: Observation) -> bool:
    return seen.lock in (None, state.lock) and seen.armed in (None, state.armed)


def _zone_to_open_in(fix: FixFacts, scene: Scene) -> str | None:
    if not fix.zones:
        return None
    ends = {post.zone for post in (scene.plan.departure, scene.plan.destination) if post}
    for zone in fix.zones:
        if zone.kind in UNLOCK_ZONES or zone.code in ends:
            return zone.code
    return None


# ---------------------------------------------------------------- what is an opening


def _opening(state: LockState, step: Step, scene: Scene) -> Opening | None:
    """The opening that a record tells of, if it is not allowed."""
    seen = step.observation
    if seen.event == "card_illegal":
        return _told(step, ("illegal_card",))
    if seen.event not in UNLOCKS and not _opened_by_state(state, seen):
        return None
    why = []
    if state.zone is None:
        why.append("place")
    known = _cards(scene, seen.t_ms)
    if known is not None and seen.card is not None and seen.card not in known:
        why.append("card")
    return _told(step, tuple(why)) if why else None


def _opened_by_state(state: LockState, seen: Observation) -> bool:
    """Locked before and open now, or armed before and not now, with no event that says so.

    A seal that was broken open is no opened one: that has codes of its own.
    """
    if rope_is_cut(seen) or case_is_open(seen):
        return False
    opened = state.lock == "locked" and seen.lock == "open"
    return opened or (state.armed is True and seen.armed is False)


def _told(step: Step, why: tuple[str, ...]) -> Opening:
    seen = step.observation
    by = seen.event or "state"
    return Opening(seen.t_ms, why, by, seen.auth, seen.card, step.here)


def _cards(scene: Scene, t_ms: int) -> frozenset[str] | None:
    """The cards that may open the seal, by the acts up to a time; None: nobody has named any."""
    cards: frozenset[str] | None = None
    for act in scene.acts:
        named = act.data.get(CARDS)
        if act.kind in (ActKind.RELEASE, ActKind.RESEAL) and act.t_ms <= t_ms and named:
            cards = (cards or frozenset()) | frozenset(named)
    return cards


def _pins(pins: Pins | None, seen: Observation) -> Pins | None:
    """Wrong PINs in a row; one that was right, or a sealing, ends the row."""
    if seen.event == "pin_wrong":
        pins = pins or Pins(start_ms=seen.t_ms)
        return replace(pins, events=pins.events + 1, highest=max(pins.highest, seen.count or 0))
    if seen.event in UNLOCKS or seen.event == "sealed":
        return None
    return pins


def _guessing(pins: Pins, step: Step, scene: Scene) -> Opening | None:
    return _told(step, ("pins",)) if pins.wrong > scene.limits.wrong_pins else None


def _with(unlocked: Unlocked | None, opening: Opening, step: Step, pins: Pins | None) -> Unlocked:
    if unlocked is None:
        # Of a row of wrong PINs the first is where it began.
        guessed = pins is not None and opening.why == ("pins",)
        return Unlocked(
            start_ms=pins.start_ms if pins is not None and guessed else opening.t_ms,
            found_by=found_by(step.observation),
            openings=(opening,),
        )
    openings = (*unlocked.openings, opening)[:MOST_LISTED]
    return replace(unlocked, openings=openings, count=unlocked.count + 1)


def _said(state: LockState, seen: Observation, pins: Pins | None) -> LockState:
    """The state with what the record says of the lock: an event counts for more than a reading
    beside it, which may have been taken before the motor moved."""
    lock, armed = state.lock, state.armed
    if seen.event in UNLOCKS:
        lock, armed = "open", False
    elif seen.event == "sealed":
        lock, armed = "locked", True
    else:
        if seen.lock in ("locked", "open"):
            lock = seen.lock
        if seen.armed is not None:
            armed = seen.armed
    if (lock, armed) == (state.lock, state.armed) and pins is state.pins:
        return state
    return replace(state, lock=lock, armed=armed, pins=pins)


# ---------------------------------------------------------------- episodes


def _resealed(state: LockState, scene: Scene, *, until_ms: int) -> tuple[LockState, Findings]:
    """An officer who reseals ends the episode, and any row of wrong PINs."""
    if state.pins is not None:
        ended_ms = resealed_ms(scene, after_ms=state.pins.start_ms, until_ms=until_ms)
        if ended_ms is not None:
            state = replace(state, pins=None)
    if state.unlocked is None:
        return state, ()
    end_ms = resealed_ms(scene, after_ms=state.unlocked.start_ms, until_ms=until_ms)
    if end_ms is None:
        return state, ()
    over = _finding(state.unlocked, scene, end_ms=end_ms)
    return replace(state, unlocked=None), (over,)


def _finding(unlocked: Unlocked, scene: Scene, *, end_ms: int | None = None) -> Finding:
    at = unlocked.openings[0].at
    return Finding(
        code=UNAUTHORISED_UNLOCK.code,
        device=scene.device.id,
        severity=UNAUTHORISED_UNLOCK.severity,
        basis=UNAUTHORISED_UNLOCK.basis,
        start_ms=unlocked.start_ms,
        end_ms=end_ms,
        geometry=point(*at) if at else None,
        evidence={
            "count": unlocked.count,
            "why": sorted({why for opening in unlocked.openings for why in opening.why}),
            "openings": [_plain(opening) for opening in unlocked.openings],
        },
        found_by=unlocked.found_by,
    )


def _plain(opening: Opening) -> dict[str, Any]:
    return {
        "t_ms": opening.t_ms,
        "why": list(opening.why),
        "by": opening.by,
        "auth": opening.auth,
        "card": opening.card,
        "position": list(opening.at) if opening.at else None,
    }


def _finish(state: LockState, scene: Scene) -> Findings:
    state, over = _resealed(state, scene, until_ms=scene.now_ms)
    return over if state.unlocked is None else (_finding(state.unlocked, scene),)


unauthorised_unlock = Detector(
    rule=UNAUTHORISED_UNLOCK,
    state_type=LockState,
    step=_step,
    finish=_finish,
    looks=Looks.FIX | Looks.SEAL,
    wakes=Looks.ZONE | Looks.SEAL,
)
