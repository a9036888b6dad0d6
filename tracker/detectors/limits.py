"""The thresholds of detection, each with its reason. Settings: national values by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from tracker.errors import FieldError, Invalid


class Limits(Struct, frozen=True, kw_only=True):
    """Thresholds in force. The defaults are those of the published detection contract."""

    deviation_fixes: int = 2
    """One fix may be an outlier; two in a row beyond accuracy are not."""
    deviation_s: float = 30.0
    """A lorry at road speed is 500 m further after 30 s: no lay-by or overtaking lane."""
    deviation_provisional_factor: float = 3.0
    """One fix this many half-widths away is worth an operator's look before the next comes."""
    deviation_return_factor: float = 0.9
    """Back inside means clearly inside, so that driving along the edge is one episode."""

    wrong_direction_m: float = 5_000.0
    """Farther than to the next place to turn, or back to a missed junction or fuel."""
    wrong_direction_return_m: float = 2_000.0
    """Clearly forward again: more than manoeuvring in a yard or at a pump."""
    checkpoint_past_m: float = 5_000.0
    """Past any approach road and queue of the checkpoint, whatever the fixes' spacing."""

    stop_radius_m: float = 150.0
    """A lorry park's length, and ten times the noise of a parked receiver."""
    stop_s: float = 15 * 60.0
    """Enough to open a container and hand goods over; longer than signals and level crossings."""
    stop_trace_s: float = 10 * 60.0
    """Stops as long as two vehicles need to hand goods over are compared with other deliveries'."""

    separation_m: float = 300.0
    """A road train, two antennas and the spread of two receivers' fixes, several times over."""
    separation_s: float = 5 * 60.0
    """Longer than one of the two needs to catch up after a cold start or a bad fix."""
    separation_gap_s: float = 150.0
    """Between fixes farther apart in time a vehicle's place is a guess, not a measurement."""
    separation_still_m: float = 150.0
    """What has come no farther than a stop's radius has stood, however long it was not heard."""

    rendezvous_m: float = 100.0
    """Two lorries side by side, or at the two ends of a lay-by."""
    rendezvous_s: float = 10 * 60.0
    """Enough to hand goods over from one to the other; longer than a greeting."""

    jam_s: float = 3 * 60.0
    """Weak interference comes and goes by radar and mobile masts; a jammer stays on."""
    area_jam_vehicles: int = 3
    """A jammer aboard blinds its own vehicle; three of different deliveries are under another's."""
    area_jam_s: float = 10 * 60.0
    """Within this time a column of vehicles enters a jammed area of one cell."""

    spoof_jump_kmh: float = 200.0
    """No lorry drives at 200 km/h; the same bound as for a valid fix."""
    spoof_jump_m: float = 300.0
    """Reflections between houses, and what a receiver corrects after a tunnel, are less: once a
    second even 100 m are faster than any lorry. No forger gains by so little."""
    spoof_jump_fixes: int = 3
    """Fewer fixes at a place are an accident of the receiver."""
    spoof_jump_s: float = 60.0
    """Less time at a place is an accident of the receiver."""
    spoof_path_m: float = 10_000.0
    """Over this way the noise of fixes and the error of an odometer are small."""
    spoof_path_factor: float = 1.3
    """Worn tyres and wrong settings make an odometer wrong by a tenth, not by a third."""
    spoof_frozen_m: float = 2_000.0
    """The wheels have turned for 2 km, and not one digit of the position has moved."""
    spoof_clear_s: float = 10 * 60.0
    """A forger who stops, stops for good; a receiver that was fooled needs minutes to recover."""

    battery_low_pct: float = 15.0
    """EAEU emergency code 05."""
    battery_high_pct: float = 5.0
    """Below this a seal dies within the hour in frost."""
    battery_ok_pct: float = 20.0
    """Charged again, and not a reading that flickers around 15."""

    power_cut_mv: float = 7_000.0
    """Below this no 12 V battery starts an engine: one that moves has more, so the wire is cut."""
    power_ok_mv: float = 10_000.0
    """A 12 V supply under load; clearly above what counts as cut."""

    fault_healthy_s: float = 600.0
    """A loose contact comes and goes within minutes: ten without a fault mean that it is over."""
    wrong_pins: int = 5
    """A person who knows the PIN does not mistype it more often than this: the rest is guessing."""

    arrival_far_m: float = 5_000.0
    """Under a terminal's roof the fix may be lost some kilometres before; more is elsewhere."""

    identity_quiet_s: float = 600.0
    """A forger who tries again within ten minutes is the same attempt: one anomaly, not a flood.
    Refusals are counted by ten minutes; with less, those of one such slot are one attempt still."""
    two_places_switches: int = 3
    """There, back and there again: one jump is spoofing or an outlier, and so is one that returns;
    a third cannot be undone by a single wrong fix."""

    two_places_m: float = 1_000.0
    """A receiver that wavers between the sky and its reflection is a street off, not a district:
    a second sender so near would gain nothing."""

    sequence_gap_s: float = 24 * 3600.0
    """A day covers any dead zone on these roads and the upload after it."""

    silence_periods: float = 2.0
    """EAEU emergency code 06: no messages for two consecutive periods."""
    silence_grace_s: float = 60.0
    """Fix, radio and broker take up to a minute."""
    silence_slack_high_s: float = 15 * 60.0
    """Unaccounted time in which a container can be opened, as for a stop."""
    dead_zone_kmh: float = 60.0
    """A heavy lorry's pace on a bad road: in a known dead zone it explains what legal speed does
    not."""
    legal_speed_kmh: float = 90.0
    """The legal speed of a lorry over 3.5 t on Kazakhstan's roads outside towns."""

    break_after_s: float = 4.5 * 3600.0
    """AETR art. 7: a driver takes a break at the latest after 4.5 h of driving."""
    break_s: float = 45 * 60.0
    """AETR art. 7: the length of that break."""
    day_driving_s: float = 9 * 3600.0
    """AETR art. 6: a driver drives at most 9 h a day."""
    day_rest_s: float = 11 * 3600.0
    """AETR art. 8: the shortest regular daily rest; then the next 9 h may begin."""
    enquiry_s: float = 24 * 3600.0
    """A day past the deadline a lorry that was merely slow has come: customs asks where it is."""
    lane_deliveries: int = 20
    """Fewer arrivals of a lane say nothing of what is usual there."""


LEGAL_DEVIATION_M = 50_000.0
"""EAEU emergency code 03: a deviation is one of over 50 km, or less if the authority says so. No
distance of detection may be set beyond it."""

_YEAR_S = 365 * 86_400.0

#: What a threshold may be set to, by the end of its name: (least, most, unit).
BOUNDS: Mapping[str, tuple[float, float, str]] = {
    "_pct": (0, 100, "%"),
    "_kmh": (1, 300, "km/h"),
    "_mv": (1, 60_000, "mV"),
    "_m": (1, LEGAL_DEVIATION_M, "m"),
    "_s": (0, _YEAR_S, "s"),
    "_factor": (0.01, 100, ""),
}
OTHERWISE = (1, 1000, "")
"""Counts: of fixes, vehicles, tries, periods."""

#: Thresholds that need room between them, the smaller first.
IN_ORDER = (
    ("battery_high_pct", "battery_low_pct"),
    ("battery_low_pct", "battery_ok_pct"),
    ("power_cut_mv", "power_ok_mv"),
    ("wrong_direction_return_m", "wrong_direction_m"),
    ("break_after_s", "day_driving_s"),
    ("break_s", "day_rest_s"),
)


OF_THEIR_OWN: Mapping[str, tuple[float, float, str]] = {
    # A day's driving is reckoned in turns of driving and break: one of no length would never end.
    "break_after_s": (600, _YEAR_S, "s"),
    "day_driving_s": (600, _YEAR_S, "s"),
}
"""Thresholds with other bounds than their unit's."""


RULES_WITH: Mapping[str, str | tuple[str, ...]] = {
    "route_deviation": "deviation_",
    "wrong_direction": "wrong_direction_",
    "checkpoint_missed": "checkpoint_",
    "unauthorised_stop": "stop_",
    "seal_fault": "fault_",
    "unauthorised_unlock": "wrong_pins",
    "battery_low": "battery_",
    "power_cut": "power_",
    "identity_conflict": ("identity_", "two_places_"),
    "sequence_gap": "sequence_gap_",
    "arrival_mismatch": ("arrival_", "legal_speed_"),
    "separation": "separation_",
    "rendezvous": "rendezvous_",
    "jamming": ("jam_", "area_jam_"),
    "spoofing_suspected": "spoof_",
    "silence": ("silence_", "legal_speed_", "dead_zone_"),
    "late_risk": ("break_", "day_", "lane_"),
    "non_arrival": "enquiry_",
}
"""Rules with thresholds, by the beginnings of their names."""


def rules_of(name: str) -> list[str]:
    """The codes of the rules that a threshold belongs to."""
    return [code for code, beginnings in RULES_WITH.items() if name.startswith(beginnings)]


def bounds_of(name: str) -> tuple[float, float, str]:
    """(least, most, unit) of a threshold."""
    if name in OF_THEIR_OWN:
        return OF_THEIR_OWN[name]
    return next((found for end, found in BOUNDS.items() if name.endswith(end)), OTHERWISE)


def checked(values: Mapping[str, Any], base: Limits | None = None) -> dict[str, Any]:
    """Values that are fit to be stored as settings: names, types, ranges, and each with the others.

    Args:
        values: names of `Limits` with their values; None takes an earlier setting back.
        base: what holds where they say nothing, by default the published thresholds.

    Raises:
        Invalid: naming each field with what is wrong and what would be right.
    """
    errors = [*_unfit(values)]
    if not values:
        errors.append(FieldError(("values",), "is empty; name at least one threshold"))
    if not errors:
        errors += _disordered(values, base or Limits())
    if errors:
        raise Invalid("; ".join(f"{e.loc[-1]}: {e.msg}" for e in errors[:5]), errors)
    types = {field.name: field.type for field in msgspec.structs.fields(Limits)}
    return {
        name: value if value is None or types[name] is int else float(value)
        for name, value in values.items()
    }


def _unfit(values: Mapping[str, Any]) -> list[FieldError]:
    types = {field.name: field.type for field in msgspec.structs.fields(Limits)}
    errors = []
    for name, value in values.items():
        if name not in types:
            near = get_close_matches(name, types, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "docs/rules.md lists all"
            errors.append(FieldError(("values", name), f"is no threshold; {hint}"))
        elif value is not None:
            wrong = _wrong(value, *bounds_of(name), whole=types[name] is int)
            errors += [FieldError(("values", name), wrong)] if wrong else []
    return errors


def _wrong(value: object, least: float, most: float, unit: str, *, whole: bool) -> str | None:
    room = f"from {least:g} to {most:g} {unit}".rstrip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number {room}, or null to take a setting back"
    if whole and not isinstance(value, int):
        return f"must be a whole number {room}"
    if not least <= value <= most:  # not a number is in no range
        return f"{value:g} is out of range: give a number {room}"
    return None


def _disordered(values: Mapping[str, Any], base: Limits) -> list[FieldError]:
    after = {**msgspec.to_builtins(base), **{n: v for n, v in values.items() if v is not None}}
    return [
        FieldError(
            ("values", small if small in values else large),
            f"{small} ({after[small]:g})"
            f" must be less than {large} ({after[large]:g}); change one of them",
        )
        for small, large in IN_ORDER
        if after[small] >= after[large] and (small in values or large in values)
    ]


class DatedSettings(Struct, frozen=True, kw_only=True):
    """Thresholds that differ from the defaults, from a time on, for all that a scope covers.

    ``values``: names of `Limits` with their values; a value of None takes an earlier setting of the
    same scope back.
    """

    scope: str
    from_ms: int
    values: dict[str, Any]


SCOPES = ("national", "post", "lane", "delivery")
"""From the widest to the narrowest: what is set for a narrower scope counts."""


class LimitsInForce(Struct, frozen=True, kw_only=True):
    """The thresholds of one delivery over time: ``first``, and others, each from a time on."""

    first: Limits = Limits()
    later: tuple[tuple[int, Limits], ...] = ()

    def at(self, t_ms: int | None) -> Limits:
        """The thresholds in force at a time; None: before all times."""
        limits = self.first
        if t_ms is not None:
            for from_ms, changed in self.later:
                if t_ms < from_ms:
                    break
                limits = changed
        return limits

    @property
    def version(self) -> str:
        """A name for exactly these thresholds, recorded with each finding."""
        if not self.later:
            return version_of(self.first)
        digest = sha256(msgspec.json.encode(self, order="sorted")).hexdigest()
        return f"limits-{digest[:12]}"


def in_force(base: Limits, settings: Sequence[DatedSettings]) -> LimitsInForce:
    """The thresholds of a delivery over time: national → post → lane → delivery, each dated.

    Raises:
        msgspec.ValidationError: a value that its threshold cannot have; settings are checked by
            `checked` before they are stored.
    """
    if not settings:
        return LimitsInForce(first=base)
    times = sorted({setting.from_ms for setting in settings})
    later = [(t_ms, _merged(base, [s for s in settings if s.from_ms <= t_ms])) for t_ms in times]
    return LimitsInForce(first=base, later=tuple(later))


def _merged(base: Limits, settings: Sequence[DatedSettings]) -> Limits:
    values: dict[str, Any] = {}
    for scope in SCOPES:
        of_scope: dict[str, Any] = {}
        for setting in settings:
            if setting.scope == scope:
                of_scope |= setting.values
        values |= {name: value for name, value in of_scope.items() if value is not None}
    return msgspec.convert({**msgspec.to_builtins(base), **values}, Limits)


def overridden(limits: LimitsInForce, values: Mapping[str, Any]) -> LimitsInForce:
    """Thresholds with some of them at other values at all times: for what would be if.

    Raises:
        Invalid: a name that is no threshold, or a value that it cannot have.
    """
    known = set(Limits.__struct_fields__)
    unknown = [
        FieldError((name,), "is no threshold; docs/rules.md lists all")
        for name in values
        if name not in known
    ]
    if unknown:
        raise Invalid("the thresholds cannot be used", unknown)
    try:
        return LimitsInForce(
            first=_with(limits.first, values),
            later=tuple((t_ms, _with(changed, values)) for t_ms, changed in limits.later),
        )
    except msgspec.ValidationError as exc:
        raise Invalid("the thresholds cannot be used", [FieldError((), str(exc))]) from exc


def _with(limits: Limits, values: Mapping[str, Any]) -> Limits:
    return msgspec.convert({**msgspec.to_builtins(limits), **values}, Limits)


@cache
def version_of(limits: Limits) -> str:
    """A name for exactly these thresholds, recorded with each finding."""
    digest = sha256(msgspec.json.encode(limits, order="sorted")).hexdigest()
    return f"limits-{digest[:12]}"
