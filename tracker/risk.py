"""The risk block: how likely is non-delivery, and what is lost if it happens? Pure.

`assess` adds up weights of evidence into a probability, multiplies it by the consequence and names
level, corridor and profiles, each with the reasons that a person can read. Weights, goods classes
and corridors are tables of their own in `tracker.riskblock`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from tracker.riskblock.consequence import GoodsFacts, Level, consequence_kzt, goods_class, level_of
from tracker.riskblock.corridor import PROFILES, Corridor, CorridorName, Profile, corridor_for
from tracker.riskblock.facts import FindingFacts, JourneyFacts, SubjectFacts, counts
from tracker.riskblock.indicators import EXPERT, Family, Indicator, Ramp, WeightSet
from tracker.riskblock.journey import DARK_S
from tracker.riskblock.journey import indicators as indicators_of_journey
from tracker.riskblock.readings import numbers, words

__all__ = [
    "DARK_S",
    "EXPERT",
    "PROFILES",
    "Assessment",
    "Corridor",
    "FindingFacts",
    "GoodsFacts",
    "Indicator",
    "JourneyFacts",
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

#: Within a family the strongest indicator counts whole, the next ½, then ¼ …: correlated evidence
#: is not counted twice, and no family weighs more than about twice its strongest indicator.
DISCOUNT: Final = 0.5
#: The same indicator again is mostly the same thing again: the seal and the vehicle's unit see one
#: and the same stop. So it adds a tenth, a hundredth …, and its strongest finding speaks for it.
REPEAT: Final = 0.1
#: Beyond the third of one indicator less than a thousandth is left: not worth a line.
REPEATS_MAX: Final = 3
#: All findings together weigh at most this (odds times 160,000). More families than that repeat
#: one story, and no estimate of this kind is surer. The reasons are then shrunk in proportion.
FINDINGS_MAX: Final = 12.0

#: What is known before the journey; it sets the prior and is not bounded with the findings.
PRIOR_FAMILIES: Final = frozenset({"subject", "goods"})

#: Evidence of layers that lower a severity: `tracker.detectors.layers`.
LAYERS: Final = ("dead_zone", "area_jamming")


class Reason(Struct, frozen=True, kw_only=True):
    """One summand of the logit. ``params`` are the facts that its text names."""

    indicator: str
    family: Family
    weight: float
    contribution: float
    anomaly_id: str | None = None
    params: dict[str, float] = {}


class Assessment(Struct, frozen=True, kw_only=True):
    """An assessment. ``logit`` = sum of all contributions, the base rate's among them."""

    probability: float
    logit: float
    consequence_kzt: int
    expected_loss_kzt: int
    level: Level
    corridor: CorridorName
    measures: tuple[str, ...]
    profiles: tuple[str, ...]
    reasons: tuple[Reason, ...]
    weights_version: str


def assess(
    *,
    subject: SubjectFacts,
    goods: Sequence[GoodsFacts],
    findings: Sequence[FindingFacts],
    journey: JourneyFacts | None = None,
    weights: WeightSet = EXPERT,
) -> Assessment:
    """Assess a delivery: how likely is non-delivery, and what is lost then.

    The order of ``findings`` and ``goods`` does not matter. Without a ``journey`` nothing is known
    of it but its findings. Reasons come with the base rate first
    and then by their weight, the strongest first.
    """
    known = [_plain(weights.indicators[code]) for code in _known_codes(subject, goods)]
    counting = [finding for finding in findings if counts(finding)]
    found = [_of_finding(finding, weights) for finding in counting]
    told = _of_journey(counting, journey, weights) if journey else ()
    discounted = _discounted([*known, *found, *told])
    prior = [_base(weights), *(r for r in discounted if r.family in PRIOR_FAMILIES)]
    raw = [r for r in discounted if r.family not in PRIOR_FAMILIES]
    evidence = math.fsum(r.contribution for r in raw)
    logit = math.fsum(r.contribution for r in prior) + min(evidence, FINDINGS_MAX)
    reasons = _ordered(prior + _shrunk(raw, evidence))
    probability = 1.0 / (1.0 + math.exp(-logit))
    consequence = consequence_kzt(goods)
    level = level_of(probability, consequence)
    corridor = corridor_for(level, frozenset(r.indicator for r in reasons))
    return Assessment(
        probability=probability,
        logit=logit,
        consequence_kzt=consequence,
        expected_loss_kzt=round(probability * consequence),
        level=level,
        corridor=corridor.name,
        measures=corridor.measures,
        profiles=corridor.profiles,
        reasons=reasons,
        weights_version=weights.version,
    )


# ---------------------------------------------------------------- the summands


def _base(weights: WeightSet) -> Reason:
    base = weights.indicators["base_rate"]
    return Reason(
        indicator=base.code,
        family=base.family,
        weight=weights.base_logit,
        contribution=weights.base_logit,
    )


def _known_codes(subject: SubjectFacts, goods: Sequence[GoodsFacts]) -> list[str]:
    """Indicators of what is known before the journey; the medium category has none."""
    parties = {"carrier": subject.carrier, "declarant": subject.declarant}
    codes = [f"{who}_{level}" for who, level in parties.items() if level != "medium"]
    return codes + sorted(set(_goods_codes(goods)))


def _goods_codes(goods: Sequence[GoodsFacts]) -> Iterable[str]:
    for line in goods:
        kind = goods_class(line.hs_code)
        if kind != "plain":
            yield f"goods_{kind}"
        if sum(c.isdigit() for c in line.hs_code) < 6:
            yield "hs_code_incomplete"


def _plain(indicator: Indicator) -> Reason:
    return Reason(
        indicator=indicator.code,
        family=indicator.family,
        weight=indicator.weight,
        contribution=indicator.weight,
    )


def _of_finding(finding: FindingFacts, weights: WeightSet) -> Reason:
    indicator = weights.of_finding(finding.code)
    facts = numbers(finding)
    contribution = max(0.0, indicator.weight * _scale(indicator, finding, facts))
    params = {name: facts[name] for name in _shown(indicator) if name in facts}
    return Reason(
        indicator=indicator.code,
        family=indicator.family,
        weight=indicator.weight,
        contribution=contribution,
        anomaly_id=finding.anomaly_id,
        params=params | _tempered(indicator, finding, contribution),
    )


def _of_journey(
    counting: Sequence[FindingFacts], journey: JourneyFacts, weights: WeightSet
) -> Iterable[Reason]:
    """What the findings say together, and what the journey says against non-delivery."""
    for code, facts in indicators_of_journey(counting, journey):
        indicator = weights.indicators.get(code)
        if indicator is not None:
            ramp = indicator.ramp
            factor = ramp.factor(facts.get(ramp.fact)) if ramp else 1.0
            yield _with(_plain(indicator), indicator.weight * factor)


def _tempered(indicator: Indicator, finding: FindingFacts, contribution: float) -> dict[str, float]:
    """What knowledge of the place has taken off a contribution, by the layer that says so."""
    steps = 0 if indicator.severity is None else indicator.severity.order - finding.severity.order
    layer = next((name for name in LAYERS if name in finding.evidence), None)
    if layer is None or steps <= 0:
        return {}
    return {layer: round(contribution - contribution * 2**steps, 2)}


def _scale(indicator: Indicator, finding: FindingFacts, facts: Mapping[str, float]) -> float:
    """The evidence's factor.

    Severity only lowers: where it is above the usual one, that follows from the same evidence
    that the ramp already weighs; where it is below, a known dead zone or area jamming says so.
    """
    scale = indicator.ramp.factor(facts.get(indicator.ramp.fact)) if indicator.ramp else 1.0
    said = [indicator.readings[word] for word in words(finding) if word in indicator.readings]
    scale *= max(said, default=1.0)
    if indicator.severity is not None:
        scale *= 0.5 ** max(0, indicator.severity.order - finding.severity.order)
    return scale * indicator.closed_factor if finding.status == "closed" else scale


# ---------------------------------------------------------------- adding up


def _discounted(reasons: Iterable[Reason]) -> list[Reason]:
    """Each family's indicators, strongest first, discounted by their place; repeats within each."""
    families: dict[str, dict[str, list[Reason]]] = defaultdict(lambda: defaultdict(list))
    for reason in reasons:
        families[reason.family][reason.indicator].append(reason)
    return [
        _with(reason, reason.contribution * DISCOUNT**place)
        for family in families.values()
        for place, one in enumerate(sorted(map(_repeated, family.values()), key=_together))
        for reason in one
    ]


def _repeated(reasons: list[Reason]) -> list[Reason]:
    """The reasons of one indicator, strongest first, each further one a tenth of the one before."""
    strongest = sorted(reasons, key=_strength)[:REPEATS_MAX]
    return [_again(reason, place) for place, reason in enumerate(strongest)]


def _again(reason: Reason, place: int) -> Reason:
    """A reason for what stronger ones have said; its text tells why it weighs little."""
    if place == 0:
        return reason
    return structs.replace(
        reason,
        contribution=reason.contribution * REPEAT**place,
        params={**reason.params, "again": float(place)},
    )


def _together(reasons: list[Reason]) -> tuple[float, str]:
    """Strongest first: what the reasons of an indicator weigh together."""
    return (-abs(math.fsum(r.contribution for r in reasons)), reasons[0].indicator)


def _strength(reason: Reason) -> tuple[float, str, str, str]:
    """Strongest first; ties in an order that does not depend on the input's."""
    return (
        -abs(reason.contribution),
        reason.indicator,
        reason.anomaly_id or "",
        repr(sorted(reason.params.items())),
    )


def _shrunk(reasons: list[Reason], total: float) -> list[Reason]:
    if total <= FINDINGS_MAX:
        return reasons
    return [_with(reason, reason.contribution * (FINDINGS_MAX / total)) for reason in reasons]


def _ordered(reasons: list[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda r: (r.indicator != "base_rate", *_strength(r))))


def _with(reason: Reason, contribution: float) -> Reason:
    return structs.replace(reason, contribution=contribution)


# ---------------------------------------------------------------- words

#: The facts that a reason's text names, in this order, as (divisor, ru, kk, en).
_FACTS: Final[dict[str, tuple[float, str, str, str]]] = {
    "again": (1, "ещё раз", "тағы да", "once more"),
    "max_offset_m": (1000, "до {} км в стороне", "{} км-ге дейін шетке", "up to {} km off"),
    "distance_m": (1000, "{} км друг от друга", "бір-бірінен {} км", "{} km apart"),
    "lowest_pct": (1, "{} %", "{} %", "{} %"),
    "duration_s": (60, "{} мин", "{} мин", "{} min"),
    "slack_min": (1, "из них {} мин в запасе", "оның {} мин артық", "{} min of it to spare"),
    "dead_zone": (
        1,
        "известная зона без связи {}",
        "белгілі байланыссыз аймақ {}",
        "known dead zone {}",
    ),
    "area_jamming": (1, "глушение в районе {}", "аудандағы бәсеңдету {}", "area jamming {}"),
}
_COLUMN: Final = {"ru": 1, "kk": 2, "en": 3}
#: Families in which it matters how long it lasted; a seal that was cut stays cut.
_LASTING: Final = frozenset({"route", "stop", "communication", "time"})


def _shown(indicator: Indicator) -> list[str]:
    """The facts that the text of an indicator names."""
    names = {"slack_min"} | ({"duration_s"} if indicator.family in _LASTING else set())
    if indicator.ramp:
        names.add(indicator.ramp.fact)
    return [name for name in _FACTS if name in names]


def render_reason(reason: Reason, locale: str = "en", weights: WeightSet = EXPERT) -> str:
    """A reason in words: ru, kk or en (any other locale: en)."""
    locale = locale if locale in _COLUMN else "en"
    title = str(getattr(_indicator(reason, weights), locale))
    details = [
        str(words[_COLUMN[locale]]).format(_short(reason.params[name] / words[0], locale))
        for name, words in _FACTS.items()
        if name in reason.params
    ]
    return ", ".join([title, *details])


def _indicator(reason: Reason, weights: WeightSet) -> Indicator:
    """The reason's indicator; one that a later weight set dropped is still shown."""
    return weights.indicators.get(reason.indicator) or weights.indicators["other_finding"]


def _short(value: float, locale: str) -> str:
    """A number as a person writes it: one decimal below ten, none above."""
    text = f"{value:.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.1f}"
    return text if locale == "en" else text.replace(".", ",")
