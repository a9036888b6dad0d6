"""Laws of the risk block for any findings."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tracker.model import Severity
from tracker.risk import EXPERT, FindingFacts, GoodsFacts, SubjectFacts, assess, counts
from tracker.riskblock.consequence import level_of

LEVELS = ("low", "medium", "high")
CODES = sorted(code for code, i in EXPERT.indicators.items() if i.severity)
numbers = st.floats(-1e6, 1e9, allow_nan=False) | st.integers(-5, 10**7)
findings = st.builds(
    FindingFacts,
    code=st.sampled_from([*CODES, "not_known"]),
    severity=st.sampled_from(list(Severity)),
    status=st.sampled_from(["open", "closed", "retracted"]),
    evidence=st.dictionaries(
        st.sampled_from(["max_offset_m", "slack_min", "distance_m", "lowest_pct", "x"]), numbers
    ),
    duration_s=st.none() | st.floats(0, 1e7),
    finding_of_alert=st.sampled_from([None, "confirmed", "explained", "false", "technical"]),
    anomaly_id=st.none() | st.uuids().map(str),
)
subjects = st.builds(
    SubjectFacts, carrier=st.sampled_from(LEVELS), declarant=st.sampled_from(LEVELS)
)
goods = st.builds(
    GoodsFacts,
    hs_code=st.sampled_from(["240220", "940360", "30", "", "6403990000", "930200"]),
    value_kzt=st.integers(0, 10**12),
    payments_at_stake_kzt=st.integers(0, 10**11),
)
loads = st.lists(goods, max_size=4)
many = st.lists(findings, max_size=40)


@given(subjects, loads, many)
def test_probability_is_the_sum_of_the_reasons(subject, load, found) -> None:
    result = assess(subject=subject, goods=load, findings=found)
    assert 0 < result.probability < 1
    total = math.fsum(r.contribution for r in result.reasons)
    assert abs(total - math.log(result.probability / (1 - result.probability))) < 1e-9
    assert result.expected_loss_kzt == round(result.probability * result.consequence_kzt)


@given(subjects, loads, many, findings)
def test_one_more_finding_never_lowers_anything(subject, load, found, further) -> None:
    before = assess(subject=subject, goods=load, findings=found)
    after = assess(subject=subject, goods=load, findings=[*found, further])
    assert after.probability >= before.probability
    assert after.expected_loss_kzt >= before.expected_loss_kzt
    assert LEVELS.index(after.level) >= LEVELS.index(before.level)
    if not counts(further):
        assert after == before


@given(subjects, loads, many, st.randoms(use_true_random=False))
def test_order_does_not_matter(subject, load, found, random) -> None:
    shuffled, load_shuffled = list(found), list(load)
    random.shuffle(shuffled)
    random.shuffle(load_shuffled)
    one = assess(subject=subject, goods=load, findings=found)
    other = assess(subject=subject, goods=load_shuffled, findings=shuffled)
    assert one == other


@given(subjects, goods, many, st.integers(0, 10**11))
def test_expected_loss_grows_with_payments(subject, line, found, more) -> None:
    dearer = GoodsFacts(
        hs_code=line.hs_code,
        value_kzt=line.value_kzt,
        payments_at_stake_kzt=line.payments_at_stake_kzt + more,
    )
    cheap = assess(subject=subject, goods=[line], findings=found)
    dear = assess(subject=subject, goods=[dearer], findings=found)
    assert dear.expected_loss_kzt >= cheap.expected_loss_kzt
    assert LEVELS.index(dear.level) >= LEVELS.index(cheap.level)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_matrix_is_monotone(p, q, c, d) -> None:
    low = level_of(min(p, q), min(c, d))
    high = level_of(max(p, q), max(c, d))
    assert LEVELS.index(low) <= LEVELS.index(high)
