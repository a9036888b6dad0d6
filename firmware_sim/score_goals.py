"""The goals of the detection contract beside what was measured. Pure.

A goal is met or not by the measured figure itself; the interval beside it says how sure that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from firmware_sim.score import Figures, Judgement, Share, tally
from firmware_sim.score_match import Wanted
from firmware_sim.score_stats import rate

INJECTED: dict[str, tuple[str, ...]] = {
    "diversions": ("route_deviation",),
    "unloadings": ("unloading_signature",),
    "cuts": ("seal_cut", "seal_body_open"),
    "swaps": ("separation", "identity_conflict", "rendezvous"),
    "jams": ("jamming",),
}
"""What the contract wants found, and by which codes it shows."""

QUEUES = frozenset({"border_queue", "queue", "honest_jam"})
"""Happenings that hold up an honest vehicle."""

_RECALL = 0.99
_DELAY_REPORTS, _DELAY_S = 2, 30.0
_FALSE_CODES = ("route_deviation", "separation", "spoofing_suspected")
_FALSE_RATE = 1.0
_FALSE_STOPS = 1.0
_TOP = 0.95
NO_GOAL = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One line of the contract. `met` None: nothing of the kind was in the run. `wanted` `NO_GOAL`:
    a figure to be read beside the goals, which has none.
    """

    what: str
    wanted: str
    measured: str
    met: bool | None


def goals(figures: Figures) -> list[Goal]:
    """All goals, in the contract's order."""
    return [
        *_recalls(figures),
        _delay(figures),
        *_false_alarms(figures),
        _false_stops(figures),
        *_ranking(figures),
    ]


def _recalls(figures: Figures) -> Iterator[Goal]:
    for what, codes in INJECTED.items():
        share = tally(figures.judgements, *codes).recall
        yield Goal(
            what=f"recall of injected {what}",
            wanted=f"≥ {_RECALL}",
            measured=text(share),
            met=None if share.value is None else share.value >= _RECALL,
        )


def _delay(figures: Figures) -> Goal:
    delays = [
        wanted.delay for wanted in _wanted(figures.judgements, "route_deviation") if wanted.delay
    ]
    hits = sum(d.reports <= _DELAY_REPORTS or d.seconds <= _DELAY_S for d in delays)
    share = Share(hits=hits, n=len(delays))
    return Goal(
        what="anomaly within 2 reports or 30 s of the first off-route fix, share",
        wanted="1.0",
        measured=text(share),
        met=None if share.value is None else share.hits == share.n,
    )


def _false_alarms(figures: Figures) -> Iterator[Goal]:
    clean = [judgement for judgement in figures.judgements if judgement.clean]
    for code in _FALSE_CODES:
        counts = tally(clean, code)
        found = rate(counts.false, counts.km, 10_000.0)
        measured = "–"
        if found is not None:
            value, (low, high) = found
            measured = f"{value:.2f} ({low:.2f}–{high:.2f}) on {counts.km:,.0f} km"
        yield Goal(
            what=f"false {code} per 10,000 km of clean noisy tracks",
            wanted=f"≤ {_FALSE_RATE:g}",
            measured=measured,
            met=None if found is None else found[0] <= _FALSE_RATE,
        )


def _false_stops(figures: Figures) -> Goal:
    queues = [found for judgement in figures.judgements for found in _stops_in_queues(judgement)]
    count = sum(queues)
    found = rate(count, len(queues), 100)
    measured = "–"
    if found is not None:
        value, (low, high) = found
        measured = f"{value:.2f} ({low:.2f}–{high:.2f}), {len(queues)} queues"
    return Goal(
        what="false unauthorised_stop per 100 queues and jams with zones set",
        wanted=f"≤ {_FALSE_STOPS:g}",
        measured=measured,
        met=None if found is None else found[0] <= _FALSE_STOPS,
    )


def _stops_in_queues(judgement: Judgement) -> Iterator[int]:
    """For each queue within a zone: how many unauthorised stops were found in it."""
    story = judgement.story
    for happening, zoned in zip(story.happenings, story.zoned, strict=True):
        if zoned and happening.name in QUEUES and story.truth.honest:
            yield sum(
                finding.code == "unauthorised_stop"
                and finding.start_ms <= happening.end_ms
                and (finding.end_ms is None or finding.end_ms >= happening.start_ms)
                for finding in judgement.found.findings
            )


def _ranking(figures: Figures) -> Iterator[Goal]:
    """Risk is the likelihood of non-compliance (seed 001). The order of interceptions is another:
    by expected loss a cheap load that is surely lost comes after a dear one in doubt."""
    share = figures.top
    yield Goal(
        what="non-deliveries in the top 10 % by risk (likelihood), of those that fit there",
        wanted=f"≥ {_TOP} (WCO DATE: 0.80)",
        measured=text(share),
        met=None if share.value is None else share.value >= _TOP,
    )
    yield Goal(
        what="the same by expected loss, the order of alerts and interceptions",
        wanted=NO_GOAL,
        measured=text(figures.top_by_loss),
        met=None,
    )
    covered = figures.loss_covered
    yield Goal(
        what="of the loss by non-deliveries, in the top 10 % by expected loss, of what fits there",
        wanted=NO_GOAL,
        measured="–" if covered is None else f"{covered:.3f}",
        met=None,
    )


def text(share: Share) -> str:
    """A share with its interval and what it is of."""
    value, interval = share.value, share.interval
    if value is None or interval is None:
        return "–"
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f}) of {share.n}"


def _wanted(judgements: Iterable[Judgement], code: str) -> Iterator[Wanted]:
    for judgement in judgements:
        yield from (w for w in judgement.compared.wanted if w.code == code)
