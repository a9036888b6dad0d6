"""The seal's mechanics, locks, cards and PINs."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

from pydantic import Field

from firmware_sim.actions import Pulse, Tell
from firmware_sim.behaviours.base import MINUTE_S, Placed, may, must, never
from firmware_sim.draft import AT_ARRIVAL, Draft, Outcome
from firmware_sim.effects import Broken, RadioOff, change

# From the unlocking to the open shackle, and from the closing to the lock: what hands need.
_OPENING_S = 5.0


def card_hash(name: str) -> str:
    """What a seal tells of a card: never its number."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


class _Breaking(Placed):
    stop_minutes: float = Field(
        4.0, ge=0, description="short stop in whose middle it happens; 0: while driving"
    )
    part: ClassVar[Literal["rope", "case"]]
    code: ClassVar[str]

    def apply(self, draft: Draft) -> Draft:
        """Adds the stop and the break in its middle."""
        at_m, after_s = draft.at_m(self.at), self.stop_minutes * 30
        broken = Broken(at_m=at_m, part=self.part, after_s=after_s)
        told = self.told(at_m, must(self.code, "seal"), after_s=after_s, devices="seal")
        stopping = draft.with_stop(at_m, self.stop_minutes) if self.stop_minutes else draft
        return stopping.with_effect(broken).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody was at the goods."""
        return Outcome(honest=False, rank_high=True)


class RopeCut(_Breaking):
    """The seal's rope is cut, by default during a stop of a few minutes."""

    name = "rope_cut"
    part = "rope"
    code = "seal_cut"


class CaseOpen(_Breaking):
    """The seal's case is opened, by default during a stop of a few minutes."""

    name = "case_open"
    part = "case"
    code = "seal_body_open"


class RopeCutOffline(Placed):
    """The rope is cut where there is no network: the news comes with the backlog."""

    name = "rope_cut_offline"
    minutes: float = Field(30.0, gt=0, description="length of the gap; the cut is in its middle")

    def apply(self, draft: Draft) -> Draft:
        """Adds the gap and the cut."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        gap = RadioOff(at_m=at_m, duration_s=long_s)
        cut = Broken(at_m=at_m, part="rope", after_s=long_s / 2)
        told = self.told(
            at_m, must("seal_cut", "seal"), *never("silence"), after_s=long_s / 2, devices="seal"
        )
        return draft.with_effect(gap, cut).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody was at the goods."""
        return Outcome(honest=False, rank_high=True)


class _Unlock(Placed):
    auth: ClassVar[Literal["rfid", "ble", "remote"]]
    at: float = Field(1.0, ge=0, le=1, description="where, as a part of the way; 1: on arrival")
    minutes: float = Field(5.0, gt=0, description="until it is locked again, minutes")
    stop_minutes: float = Field(10.0, ge=0, description="stop for it on the way, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the unlocking and the locking."""
        here = self.at == 1
        at_m = AT_ARRIVAL if here else draft.at_m(self.at)
        if not here and self.stop_minutes:
            draft = draft.with_stop(at_m, self.stop_minutes)
        long_s = self.minutes * MINUTE_S
        begin_s = MINUTE_S
        auth = (("auth", self.auth), *self._card())
        closed = Tell(code="sealed", extra=auth, lock="locked")
        found = never("unauthorised_unlock") if here else (must("unauthorised_unlock", "seal"),)
        told = self.told(
            at_m, *found, after_s=begin_s, duration_s=long_s + _OPENING_S, devices="seal"
        )
        return draft.with_pulse(
            _seal_pulse(at_m, Tell(code="unlock_ok", extra=auth), begin_s),
            _seal_pulse(at_m, Tell(code="unsealed", extra=auth, lock="open"), begin_s + _OPENING_S),
            _seal_pulse(at_m, closed, begin_s + _OPENING_S + long_s),
        ).with_happening(told)

    def outcome(self) -> Outcome:
        """On arrival it is the officer; on the way it is not."""
        return Outcome() if self.at == 1 else Outcome(honest=False, rank_high=True)

    def _card(self) -> tuple[tuple[str, str], ...]:
        return ()


class CardUnlock(_Unlock):
    """A known card opens the seal: on arrival that is right, on the way it is not."""

    name = "card_unlock"
    auth = "rfid"

    def _card(self) -> tuple[tuple[str, str], ...]:
        return (("card", card_hash("officer-1")),)


class BleUnlock(_Unlock):
    """An officer's phone opens the seal by Bluetooth."""

    name = "ble_unlock"
    auth = "ble"


class RemoteUnlock(_Unlock):
    """The centre opens the seal from afar."""

    name = "remote_unlock"
    auth = "remote"


class IllegalCard(Placed):
    """Somebody tries a card the seal does not know."""

    name = "illegal_card"
    tries: int = Field(2, ge=1, le=20, description="how often")
    stop_minutes: float = Field(4.0, ge=0, description="stop for it, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the tries."""
        at_m = draft.at_m(self.at)
        card = (("card", card_hash("stranger")), ("auth", "rfid"))
        denied = Tell(code="unlock_denied", extra=card)
        told = self.told(
            at_m,
            must("unauthorised_unlock", "seal"),
            after_s=30.0,
            duration_s=self.tries * 20.0,
            devices="seal",
        )
        stopping = draft.with_stop(at_m, self.stop_minutes) if self.stop_minutes else draft
        illegal = Tell(code="card_illegal", extra=card)
        return stopping.with_pulse(
            _seal_pulse(at_m, illegal, 30.0, times=self.tries, every_s=20.0),
            _seal_pulse(at_m, denied, 30.0, times=self.tries, every_s=20.0),
        ).with_happening(told)

    def outcome(self) -> Outcome:
        """Somebody tried."""
        return Outcome(honest=False, rank_high=True)


class WrongPins(Placed):
    """Somebody tries PINs; more than five wrong ones are no mistake."""

    name = "wrong_pins"
    tries: int = Field(6, ge=1, le=50, description="how many")
    stop_minutes: float = Field(4.0, ge=0, description="stop for it, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the tries."""
        at_m = draft.at_m(self.at)
        pulses = [
            _seal_pulse(at_m, Tell(code="pin_wrong", extra=(("auth", "pin"), ("n", n))), 20.0 * n)
            for n in range(1, self.tries + 1)
        ]
        found = (
            (must("unauthorised_unlock", "seal"),)
            if self.tries > 5
            else never("unauthorised_unlock")
        )
        told = self.told(
            at_m, *found, after_s=20.0, duration_s=20.0 * (self.tries - 1), devices="seal"
        )
        stopping = draft.with_stop(at_m, self.stop_minutes) if self.stop_minutes else draft
        return stopping.with_pulse(*pulses).with_happening(told)

    def outcome(self) -> Outcome:
        """Six are no mistake."""
        return Outcome(honest=self.tries <= 5, rank_high=self.tries > 5)


class MotorStuck(Placed):
    """The lock's motor jams half way."""

    name = "motor_stuck"
    minutes: float = Field(40.0, gt=0, description="until it works again, minutes")

    def apply(self, draft: Draft) -> Draft:
        """Adds the jam."""
        at_m, long_s = draft.at_m(self.at), self.minutes * MINUTE_S
        stuck = change(at_m, devices="seal", duration_s=long_s, lock="stuck")
        told = self.told(
            at_m,
            must("seal_fault", "seal"),
            *never("unauthorised_unlock"),
            duration_s=long_s,
            devices="seal",
        )
        return draft.with_effect(stuck).with_happening(told)


class SelfTestFails(Placed):
    """The seal's self-test fails once."""

    name = "selftest_fail"

    def apply(self, draft: Draft) -> Draft:
        """Adds the event."""
        at_m = draft.at_m(self.at)
        told = self.told(at_m, must("seal_fault", "seal"), duration_s=0.0, devices="seal")
        return draft.with_pulse(_seal_pulse(at_m, Tell(code="selftest_fail"), 0)).with_happening(
            told
        )


class ContactBounce(Placed):
    """A worn rope contact: three cuts in a tenth of a second, and the rope is in."""

    name = "contact_bounce"
    cuts: int = Field(3, ge=1, le=10, description="how many events")

    def apply(self, draft: Draft) -> Draft:
        """Adds the bounce."""
        at_m = draft.at_m(self.at)
        pulses = [
            _seal_pulse(at_m, Tell(code="rope_cut", seal=(("rope", "cut"),), late_ms=i * 40), 0)
            for i in range(self.cuts)
        ]
        told = self.told(
            at_m,
            must("seal_cut", "seal"),
            *may("seal_state_conflict", after_s=3600),
            duration_s=0.0,
            devices="seal",
        )
        return draft.with_pulse(*pulses).with_happening(told)


def _seal_pulse(
    at_m: float, tell: Tell, after_s: float, *, times: int = 1, every_s: float = 60.0
) -> Pulse:
    return Pulse(
        at_m=at_m, action=tell, after_s=after_s, devices="seal", times=times, every_s=every_s
    )
