"""The thresholds of detection, each with its reason. Settings: national values by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    stop_radius_m: float = 150.0
    """A lorry park's length, and ten times the noise of a parked receiver."""
    stop_s: float = 15 * 60.0
    """Enough to open a container and hand goods over; longer than signals and level crossings."""

    battery_low_pct: float = 15.0
    """EAEU emergency code 05."""
    battery_high_pct: float = 5.0
    """Below this a seal dies within the hour in frost."""
    battery_ok_pct: float = 20.0
    """Charged again, and not a reading that flickers around 15."""

    silence_periods: float = 2.0
    """EAEU emergency code 06: no messages for two consecutive periods."""
    silence_grace_s: float = 60.0
    """Fix, radio and broker take up to a minute."""
    silence_slack_high_s: float = 15 * 60.0
    """Unaccounted time in which a container can be opened, as for a stop."""
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
