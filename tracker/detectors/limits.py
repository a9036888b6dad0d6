"""The thresholds of detection, each with its reason. Settings: national values by default."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import msgspec
from msgspec import Struct


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


@cache
def version_of(limits: Limits) -> str:
    """A name for exactly these thresholds, recorded with each finding."""
    digest = sha256(msgspec.json.encode(limits, order="sorted")).hexdigest()
    return f"limits-{digest[:12]}"
