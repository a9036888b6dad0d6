"""Traccar's alarms in the words of our contract, each with its reason. Pure.

Traccar brings 260 protocols to some fifty words, so a word says less than the device did. Where it
could mean two of our events, the table takes the one that a customs officer must look at. A word
that is not listed (sos, overspeed, hardBraking …) is kept with the body and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct


class Meaning(Struct, frozen=True, kw_only=True):
    """What an alarm says: an event, and the states that it leaves the device in."""

    event: str
    rope: str | None = None
    case: str | None = None
    lock: str | None = None
    armed: bool | None = None
    jam: int | None = None
    reason: str


MEANINGS: Mapping[str, Meaning] = {
    "removing": Meaning(
        event="rope_cut",
        rope="cut",
        reason="taken off what it was fixed to: a seal comes off only when its rope is open",
    ),
    "tampering": Meaning(
        event="case_open",
        case="open",
        reason="hands on the device itself: its cover or its tamper contact (JT/T 808 bit 17)",
    ),
    "door": Meaning(
        event="case_open",
        case="open",
        reason="an alarm is raised only for a door under guard, which is that of the load (eSeal:"
        " Event-Door); the plain attribute door may be the cab's and is not used",
    ),
    "unlock": Meaning(
        event="unlock_ok",
        lock="open",
        reason="the lock has opened; whether it was allowed there is for the detector to say",
    ),
    "lock": Meaning(
        event="sealed", lock="locked", armed=True, reason="the lock has closed (eSeal: Event-Lock)"
    ),
    "jamming": Meaning(event="jam_on", jam=2, reason="the receiver itself says it is jammed"),
    "powerCut": Meaning(event="ext_cut", reason="the vehicle's supply is gone"),
    "powerOff": Meaning(
        event="ext_cut", reason="JT/T 808 bit 8, main supply off, comes under this name"
    ),
    "powerRestored": Meaning(event="ext_ok", reason="the vehicle's supply is back"),
    "powerOn": Meaning(event="ext_ok", reason="the other end of powerOff"),
    "lowBattery": Meaning(event="bat_low", reason="the device's own battery"),
    "fault": Meaning(
        event="selftest_fail", reason="a defect the device has found in itself, not said which"
    ),
    "gpsAntennaCut": Meaning(
        event="selftest_fail", reason="no antenna: a defect that the device has found in itself"
    ),
    "shock": Meaning(event="shock", reason="the same word"),
    "vibration": Meaning(event="shock", reason="eSeal: Event-Shock comes under this name"),
    "fallDown": Meaning(event="shock", reason="dropped (eSeal: Event-Drop)"),
    "accident": Meaning(event="shock", reason="what the accelerometer says of a crash"),
    "geofenceEnter": Meaning(event="fence_in", reason="a region of the device's own"),
    "geofenceExit": Meaning(event="fence_out", reason="a region of the device's own"),
}

GRAVITY: tuple[str, ...] = (
    *("rope_cut", "case_open", "unlock_ok", "jam_on", "ext_cut", "selftest_fail"),
    *("bat_low", "shock", "sealed", "ext_ok", "fence_out", "fence_in"),
)
"""A record has room for one event: the gravest. States have room for all."""


def meanings(alarm: object) -> list[Meaning]:
    """The known ones of an ``alarm`` attribute, gravest first; several are joined by commas."""
    words = alarm.split(",") if isinstance(alarm, str) else []
    known: Iterable[Meaning] = (MEANINGS[w] for w in map(str.strip, words) if w in MEANINGS)
    return sorted(known, key=lambda meaning: GRAVITY.index(meaning.event))
