"""The risk block: how likely is non-delivery, and what is lost if it happens?

Pure. `assess` adds up weights of evidence into a probability, multiplies it by the consequence
and names level, corridor and profiles, each with the reasons that a person can read.
"""

from tracker.risk.assess import (
    Assessment,
    FindingFacts,
    Reason,
    SubjectFacts,
    assess,
    counts,
    render_reason,
)
from tracker.risk.consequence import GoodsFacts, Level, consequence_kzt, level_of
from tracker.risk.corridor import PROFILES, Corridor, Profile, corridor_for
from tracker.risk.indicators import EXPERT, Indicator, Ramp, WeightSet

__all__ = [
    "EXPERT",
    "PROFILES",
    "Assessment",
    "Corridor",
    "FindingFacts",
    "GoodsFacts",
    "Indicator",
    "Level",
    "Profile",
    "Ramp",
    "Reason",
    "SubjectFacts",
    "WeightSet",
    "assess",
    "consequence_kzt",
    "corridor_for",
    "counts",
    "level_of",
    "render_reason",
]
