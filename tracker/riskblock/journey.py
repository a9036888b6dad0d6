"""What several findings say together with the journey, for and against non-delivery. Pure.

These are indicators as any other, but no single anomaly is behind them. Each is a function of the
findings that count, so what a person has explained away stops counting here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tracker.model import BoundDevice
from tracker.riskblock.facts import FindingFacts, JourneyFacts

#: A device is gone, not out of reach: twice the longest known dead zone at lorry's speed, and
#: longer than a parked seal's reporting period many times over.
DARK_S: Final = 6 * 3600.0

#: Time to spare in a gap from which on goods can have been handed over (contract, silence).
SLACK_MIN: Final = 15.0

STOP: Final = "unauthorised_stop"
SILENCE: Final = "silence"

#: With any of these nobody can say that the seal was whole, and watched, all the way.
NOT_WHOLE: Final = frozenset(
    {
        *("seal_cut", "seal_body_open", "unauthorised_unlock", "seal_state_conflict"),
        *("separation", "identity_conflict", "spoofing_suspected", "unloading_signature"),
        *("arrival_mismatch", "border_exit", SILENCE),
    }
)

#: Each of these leaves room for unloading, or hides whether there was any.
OPPORTUNITIES: Final = frozenset(
    {
        *("route_deviation", "wrong_direction", "checkpoint_missed", "restricted_zone"),
        *("border_exit", STOP, "overstay", "rendezvous", "unloading_signature", "separation"),
        *("identity_conflict", "spoofing_suspected"),
    }
)

#: These do where there was time to spare in them; how much is in their evidence.
GAPS: Final = frozenset({SILENCE, "jamming"})

#: Findings of the arrival itself by which it is not one at the right place.
_PLACES: Final = frozenset({"zone_not_entered", "elsewhere"})


def indicators(
    counting: Sequence[FindingFacts], journey: JourneyFacts
) -> Iterator[tuple[str, dict[str, float]]]:
    """Codes of the indicators that the findings and the journey give, each with its facts."""
    dark = _all_silent(counting, journey)
    if dark:
        yield "all_silent", {"devices": float(dark)}
    stops = [finding for finding in counting if finding.code == STOP]
    unseen = any(_unseen_by_seal(stop, stops, journey) for stop in stops)
    if unseen:
        yield "stop_unseen_by_seal", {}
    if journey.arrived and not any(_elsewhere(finding) for finding in counting):
        codes = {finding.code for finding in counting}
        if journey.seals_intact and not unseen and not codes & NOT_WHOLE:
            yield "arrived_whole", {}
        if not any(_opportunity(finding) for finding in counting):
            yield "arrived_directly", {}


def _all_silent(counting: Iterable[FindingFacts], journey: JourneyFacts) -> int:
    """How many devices are bound, if none of them has been heard of for long; else 0."""
    bound = {device.id for device in journey.devices if device.to_ms is None}
    dark = {
        finding.device
        for finding in counting
        if finding.code == SILENCE and finding.status == "open" and finding.lasted_s >= DARK_S
    }
    return len(bound) if not journey.arrived and bound and bound <= dark else 0


def _unseen_by_seal(
    stop: FindingFacts, stops: Iterable[FindingFacts], journey: JourneyFacts
) -> bool:
    """Whether the vehicle's unit saw a stop that no seal saw which was bound, and heard of since.

    A seal without any sight of the sky (a bag, a box) or elsewhere does not see it.
    """
    kinds = {device.id: device.kind for device in journey.devices}
    if kinds.get(stop.device or "") != "gps" or stop.from_ms is None or stop.to_ms is None:
        return False
    span = (stop.from_ms, stop.to_ms)
    seals = [d for d in journey.devices if d.kind == "seal" and _watched(d, span, journey)]
    witnesses = [other for other in stops if kinds.get(other.device or "") == "seal"]
    return bool(seals) and not any(_overlap(stop, other) for other in witnesses)


def _watched(seal: BoundDevice, span: tuple[int, int], journey: JourneyFacts) -> bool:
    """Whether a seal was bound throughout a span and has told where it was after it."""
    bound = seal.from_ms <= span[0] and (seal.to_ms is None or seal.to_ms >= span[1])
    return bound and journey.heard_ms.get(seal.id, 0) > span[1]


def _overlap(one: FindingFacts, other: FindingFacts) -> bool:
    if one.from_ms is None or other.from_ms is None:
        return True
    starts_in_time = one.to_ms is None or other.from_ms <= one.to_ms
    return starts_in_time and (other.to_ms is None or other.to_ms >= one.from_ms)


def _elsewhere(finding: FindingFacts) -> bool:
    """Whether telemetry puts the arrival at another place than the post."""
    if finding.code != "arrival_mismatch":
        return False
    return any(one.get("kind") in _PLACES for one in finding.evidence.get("contradictions") or ())


def _opportunity(finding: FindingFacts) -> bool:
    if finding.code not in GAPS:
        return finding.code in OPPORTUNITIES
    slack = finding.evidence.get("slack_min")
    return not isinstance(slack, int | float) or slack >= SLACK_MIN
