"""Figures of a whole run: recall, precision, delay, false alarms, ranks, with intervals. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from firmware_sim.score_match import Compared, Delay, Finding, compare
from firmware_sim.score_stats import Interval, quantile, rate, wilson
from firmware_sim.truthfile import Story, TruthFile

PER_KM = 10_000.0
TOP_SHARE = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the server says of one delivery: how likely non-delivery is, and the loss expected."""

    findings: tuple[Finding, ...] = ()
    loss_kzt: float | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Hits of n, and the interval."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's."""
        return wilson(self.hits, self.n)


@dataclass(slots=True)
class Tally:
    """Counts of one code, one plot, or one of each."""

    wanted: int = 0
    found: int = 0
    right: int = 0
    false: int = 0
    deliveries: int = 0
    km: float = 0.0
    delays: list[Delay] = field(default_factory=list)

    @property
    def recall(self) -> Share:
        """Of what had to be found, what was."""
        return Share(hits=self.found, n=self.wanted)

    @property
    def precision(self) -> Share:
        """Of what was found, what was right."""
        return Share(hits=self.right, n=self.right + self.false)

    @property
    def false_rate(self) -> tuple[float, Interval] | None:
        """False ones per 10,000 km."""
        return rate(self.false, self.km, PER_KM)

    def delay_reports(self, share: float) -> float | None:
        """Delay in reports that this share does not exceed."""
        return quantile([delay.reports for delay in self.delays], share)

    def delay_minutes(self, share: float) -> float | None:
        """The same in minutes."""
        return quantile([delay.seconds / 60 for delay in self.delays], share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A delivery with its truth and what it was compared with."""

    story: Story
    compared: Compared
    found: Found

    @property
    def plot(self) -> str:
        """Its plots in one word."""
        return "+".join(self.story.truth.plots) or "honest"

    @property
    def clean(self) -> bool:
        """Nobody meant harm, and nothing had to be found."""
        return self.story.truth.honest and not self.compared.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All figures of a run."""

    run: Mapping[str, object]
    judgements: tuple[Judgement, ...]
    codes: Mapping[str, Tally]
    plots: Mapping[str, Tally]
    pairs: Mapping[tuple[str, str], Tally]
    top: Share
    top_by_loss: Share
    loss_covered: float | None
    missing: int

    @property
    def km(self) -> float:
        """Driven by all."""
        return sum(judgement.story.km for judgement in self.judgements)


def score(truth: TruthFile, found: Mapping[str, Found], *, tolerance_s: float) -> Figures:
    """Compare a server's findings, by registration number, with the truth."""
    judgements = tuple(
        Judgement(
            story=story,
            compared=compare(story, found[story.registration].findings, tolerance_s=tolerance_s),
            found=found[story.registration],
        )
        for story in truth.stories
        if story.registration in found
    )
    return Figures(
        run=truth.run,
        judgements=judgements,
        codes=by_code(judgements),
        plots=by_plot(judgements),
        pairs=by_pair(judgements),
        top=top_recall(judgements, [j.found.probability for j in judgements]),
        top_by_loss=top_recall(judgements, [j.found.loss_kzt for j in judgements]),
        loss_covered=loss_covered(judgements),
        missing=len(truth.stories) - len(judgements),
    )


def by_code(judgements: Sequence[Judgement]) -> dict[str, Tally]:
    """Counts of each code; each with all kilometres, for every delivery might raise it."""
    codes = {code for judgement in judgements for code in _codes(judgement)}
    return {code: tally(judgements, code) for code in sorted(codes)}


def by_plot(judgements: Sequence[Judgement]) -> dict[str, Tally]:
    """Counts of the deliveries of each plot, all codes together."""
    return {plot: tally(group, None) for plot, group in _grouped(judgements).items()}


def by_pair(judgements: Sequence[Judgement]) -> dict[tuple[str, str], Tally]:
    """Counts of each plot and each code that was wanted or found on it."""
    return {
        (plot, code): tally(group, code)
        for plot, group in _grouped(judgements).items()
        for code in sorted({code for judgement in group for code in _codes(judgement)})
    }


def tally(judgements: Iterable[Judgement], *codes: str | None) -> Tally:
    """Counts over these deliveries of these codes; None: of all codes."""
    counts = Tally()
    for judgement in judgements:
        counts.deliveries += 1
        counts.km += judgement.story.km
        for wanted in judgement.compared.wanted:
            if None in codes or wanted.code in codes:
                counts.wanted += 1
                counts.found += wanted.found
                counts.delays += [wanted.delay] if wanted.delay else []
        for judged in judgement.compared.judged:
            if None in codes or judged.code in codes:
                counts.right += judged.verdict == "right"
                counts.false += judged.verdict == "false"
    return counts


def top_recall(judgements: Sequence[Judgement], values: Sequence[float | None]) -> Share:
    """Non-deliveries among the top tenth by a value, of as many as fit there.

    Those without a value come last. Of equal values the one that is no non-delivery comes first:
    the figure never gains by chance.
    """
    first = _first(judgements, values)
    lost = sum(_lost(judgement) for judgement in judgements)
    places = math.ceil(TOP_SHARE * len(judgements))
    return Share(hits=sum(map(_lost, first)), n=min(lost, places))


def loss_covered(judgements: Sequence[Judgement]) -> float | None:
    """Of what non-deliveries cost, the share that the top tenth by expected loss holds, against the
    most that as many places can hold. None where nothing was lost.

    What is lost with a delivery is its consequence: the expected loss over the probability.
    """
    first = _first(judgements, [j.found.loss_kzt for j in judgements])
    costs = sorted((_cost(j) for j in judgements if _lost(j)), reverse=True)
    most = math.fsum(costs[: math.ceil(TOP_SHARE * len(judgements))])
    held = math.fsum(_cost(j) for j in first if _lost(j))
    return held / most if most > 0 else None


def _cost(judgement: Judgement) -> float:
    found = judgement.found
    return found.loss_kzt / found.probability if found.loss_kzt and found.probability else 0.0


def _first(judgements: Sequence[Judgement], values: Sequence[float | None]) -> list[Judgement]:
    """The top tenth by a value, the highest first."""
    order = sorted(
        zip(judgements, values, strict=True),
        key=lambda pair: (-(pair[1] if pair[1] is not None else -math.inf), _lost(pair[0])),
    )
    return [judgement for judgement, _ in order[: math.ceil(TOP_SHARE * len(order))]]


def _lost(judgement: Judgement) -> bool:
    return judgement.story.truth.nondelivery


def _codes(judgement: Judgement) -> set[str]:
    compared = judgement.compared
    judged = {one.code for one in compared.judged if one.verdict != "left_out"}
    return {wanted.code for wanted in compared.wanted} | judged


def _grouped(judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    groups: dict[str, list[Judgement]] = {}
    for judgement in sorted(judgements, key=lambda j: j.plot):
        groups.setdefault(judgement.plot, []).append(judgement)
    return groups
