"""Profiles (area + indicators + measures) and the corridor that follows from their measures.

The built-in profiles are the expert's, as data with a plain condition; profiles that analysts
write, approve and try in shadow mode will stand beside them in the same shape.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from tracker.riskblock.consequence import Level

CorridorName = Literal["green", "blue", "yellow", "red"]

PHYSICAL: Final = frozenset(
    {
        "full_inspection",
        "partial_inspection",
        "random_inspection",
        "visual_inspection",
        "scan",
        "weigh",
        "expertise",
    }
)
DOCUMENT: Final = frozenset({"document_check"})
POST_RELEASE: Final = frozenset({"post_entry_audit"})


class Profile(Struct, frozen=True, kw_only=True):
    """A built-in profile. It hits if any of the conditions that it states is met.

    ``indicators``: one of them counts · ``levels``: the level is one of them. The measures take
    effect on the way (mobile group, call) and at arrival (inspection, documents).
    """

    code: str
    area: str
    measures: tuple[str, ...]
    indicators: frozenset[str] = frozenset()
    levels: frozenset[Level] = frozenset()

    def hits(self, level: Level, indicators: frozenset[str]) -> bool:
        """Whether the profile applies."""
        return level in self.levels or bool(self.indicators & indicators)


class Corridor(Struct, frozen=True, kw_only=True):
    """The corridor, what is to be done, and the profiles that ask for it."""

    name: CorridorName
    measures: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


PROFILES: Final = (
    Profile(
        code="KZ-ND-01",
        area="integrity of the seal",
        indicators=frozenset(
            {
                "seal_cut",
                "seal_body_open",
                "unauthorised_unlock",
                "separation",
                "seal_state_conflict",
                "unloading_signature",
            }
        ),
        measures=("call_driver", "dispatch_mobile_group", "full_inspection", "weigh"),
    ),
    Profile(
        code="KZ-ND-02",
        area="whereabouts of the goods",
        indicators=frozenset(
            {"border_exit", "non_arrival", "identity_conflict", "arrival_mismatch"}
        ),
        measures=("call_driver", "dispatch_mobile_group", "partial_inspection"),
    ),
    Profile(
        code="KZ-ND-03",
        area="high level of risk",
        levels=frozenset({"high"}),
        measures=("call_driver", "recall_seal_data", "scan", "partial_inspection"),
    ),
    Profile(
        code="KZ-ND-04",
        area="medium level of risk",
        levels=frozenset({"medium"}),
        measures=("notify_carrier", "document_check"),
    ),
    Profile(
        code="KZ-ND-05",
        area="category of the subject",
        indicators=frozenset({"carrier_high", "declarant_high"}),
        measures=("post_entry_audit",),
    ),
)


def corridor_for(level: Level, indicators: frozenset[str]) -> Corridor:
    """The corridor for a level and the set of indicators that count.

    Red where any profile that hits asks for a physical measure, else yellow for documents, else
    blue for post-release control, else green.
    """
    hits = [profile for profile in PROFILES if profile.hits(level, indicators)]
    measures = tuple(dict.fromkeys(m for profile in hits for m in profile.measures))
    return Corridor(
        name=_name(frozenset(measures)), measures=measures, profiles=tuple(p.code for p in hits)
    )


def _name(measures: frozenset[str]) -> CorridorName:
    if measures & PHYSICAL:
        return "red"
    if measures & DOCUMENT:
        return "yellow"
    return "blue" if measures & POST_RELEASE else "green"
