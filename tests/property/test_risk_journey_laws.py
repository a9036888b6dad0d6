"""Laws of what findings and journey say together, for any findings and journeys."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tracker.model import BoundDevice, Periods, Severity
from tracker.risk import (
    DARK_S,
    EXPERT,
    FindingFacts,
    GoodsFacts,
    JourneyFacts,
    SubjectFacts,
    assess,
    counts,
)

SEAL, UNIT = "S1", "G1"
PERIODS = Periods(moving_s=60, parked_s=1800)
LOAD = (GoodsFacts(hs_code="940360", payments_at_stake_kzt=6_000_000),)
TOGETHER = ("all_silent", "stop_unseen_by_seal", "arrived_whole", "arrived_directly")
CODES = sorted(code for code, i in EXPERT.indicators.items() if i.severity)
times = st.integers(0, 10_000_000)
contradictions = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["seal_not_intact", "zone_not_entered", "seal_state", "x"])},
        optional={
            "stated": st.sampled_from([None, "intact", "cut"]),
            "findings": st.just(["seal_cut"]),
        },
    ),
    max_size=3,
)
evidence = st.fixed_dictionaries(
    {},
    optional={
        "contradictions": contradictions,
        "why": st.lists(st.sampled_from(["place", "pins", "illegal_card", "?"]), max_size=2),
        "signs": st.lists(st.sampled_from(["jump", "path", "frozen"]), max_size=2),
        "path_m": st.floats(-1, 1e6),
        "odometer_m": st.floats(-1, 1e6),
        "slack_min": st.floats(0, 600),
    },
)


ANY = st.sampled_from(CODES)


@st.composite
def findings(draw: st.DrawFn, code: st.SearchStrategy[str] = ANY):
    start, status = draw(times), draw(st.sampled_from(["open", "closed", "retracted"]))
    lasted = draw(st.integers(0, 100_000))
    return FindingFacts(
        code=draw(code),
        severity=draw(st.sampled_from(list(Severity))),
        status=status,
        evidence=draw(evidence),
        duration_s=None if status == "open" else float(lasted),
        finding_of_alert=draw(st.sampled_from([None, "confirmed", "explained", "technical"])),
        device=draw(st.sampled_from([SEAL, UNIT, None])),
        from_ms=start,
        to_ms=None if status == "open" else start + lasted * 1000,
        lasted_s=float(lasted) if status == "open" else 0.0,
    )


bound = st.sampled_from(
    [
        (),
        (BoundDevice(id=SEAL, kind="seal", periods=PERIODS, from_ms=0),),
        (
            BoundDevice(id=SEAL, kind="seal", periods=PERIODS, from_ms=0),
            BoundDevice(id=UNIT, kind="gps", periods=PERIODS, from_ms=0),
        ),
    ]
)
journeys = st.builds(
    JourneyFacts,
    devices=bound,
    heard_ms=st.dictionaries(st.sampled_from([SEAL, UNIT]), st.integers(0, 2 * 10**8)),
    arrived=st.booleans(),
    seals_intact=st.booleans(),
)
many = st.lists(findings(), max_size=12)


def weighed(found, journey):
    return assess(subject=SubjectFacts(), goods=LOAD, findings=found, journey=journey)


def said(result) -> set[str]:
    return {r.indicator for r in result.reasons} & set(TOGETHER)


@given(many, journeys)
def test_the_sum_of_the_reasons_is_the_logit_with_a_journey_too(found, journey) -> None:
    result = weighed(found, journey)
    total = math.fsum(r.contribution for r in result.reasons)
    assert math.isclose(total, result.logit, abs_tol=1e-9)
    assert 0 < result.probability < 1


@given(many, journeys)
def test_what_was_dismissed_or_retracted_says_nothing_together_either(found, journey) -> None:
    assert weighed(found, journey) == weighed([f for f in found if counts(f)], journey)


@given(many, journeys, st.randoms(use_true_random=False))
def test_order_does_not_matter(found, journey, random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert weighed(found, journey) == weighed(shuffled, journey)


@given(many, journeys)
def test_only_a_confirmed_arrival_speaks_for_delivery(found, journey) -> None:
    result = weighed(found, journey)
    against = {r.indicator for r in result.reasons if r.contribution < 0} - {"base_rate"}
    if not journey.arrived:
        assert not against
        assert result.logit >= assess(subject=SubjectFacts(), goods=LOAD, findings=found).logit
    assert against <= {"arrived_whole", "arrived_directly"}
    if not journey.seals_intact:
        assert "arrived_whole" not in against


@given(many, journeys, findings(st.sampled_from([c for c in CODES if c != "unauthorised_stop"])))
def test_no_further_finding_lowers_the_risk_with_a_journey(found, journey, further) -> None:
    """A stop is the exception: one that the seal saw too is an open one."""
    before, after = weighed(found, journey), weighed([*found, further], journey)
    assert after.logit >= before.logit - 1e-9


@given(many, journeys)
def test_a_confirmed_arrival_never_raises_the_risk(found, journey) -> None:
    arrived = msgspec.structs.replace(journey, arrived=True)
    on_the_way = msgspec.structs.replace(journey, arrived=False)
    assert weighed(found, arrived).logit <= weighed(found, on_the_way).logit + 1e-9


@dataclass
class Gone:
    """Both devices silent, one of them for this long."""

    lasted_s: float

    def findings(self) -> list[FindingFacts]:
        return [
            FindingFacts(
                code="silence", severity=Severity.HIGH, device=device, lasted_s=lasted, from_ms=0
            )
            for device, lasted in ((SEAL, DARK_S), (UNIT, self.lasted_s))
        ]


@given(st.floats(0, 2 * DARK_S))
def test_all_are_silent_only_when_the_last_of_them_has_been_for_long(lasted_s: float) -> None:
    devices = (
        BoundDevice(id=SEAL, kind="seal", periods=PERIODS, from_ms=0),
        BoundDevice(id=UNIT, kind="gps", periods=PERIODS, from_ms=0),
    )
    result = weighed(Gone(lasted_s).findings(), JourneyFacts(devices=devices))
    assert (said(result) == {"all_silent"}) == (lasted_s >= DARK_S)


@given(findings())
def test_the_same_finding_of_a_second_device_adds_at_most_a_tenth(one) -> None:
    """What one thing weighs does not depend on how many devices saw it."""
    alone = assess(subject=SubjectFacts(), goods=LOAD, findings=[one])
    twice = assess(subject=SubjectFacts(), goods=LOAD, findings=[one, one])
    gained = alone.logit - EXPERT.base_logit
    assert twice.logit - EXPERT.base_logit <= 1.1 * gained + 1e-9
