"""The risk block on hand-made deliveries: figures that a person can check by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest

from tracker.model import BoundDevice, Periods, Severity
from tracker.risk import (
    DARK_S,
    EXPERT,
    FindingFacts,
    GoodsFacts,
    JourneyFacts,
    Reason,
    SubjectFacts,
    assess,
    corridor_for,
    render_reason,
)
from tracker.riskblock.consequence import MINIMUM_KZT, consequence_kzt, goods_class, level_of

PLAIN = GoodsFacts(hs_code="940360", value_kzt=30_000_000, payments_at_stake_kzt=6_000_000)
CUT = FindingFacts(code="seal_cut", severity=Severity.CRITICAL, anomaly_id="a1")
STOP = FindingFacts(code="unauthorised_stop", severity=Severity.MEDIUM, duration_s=900)

#: Codes of the detection contract; every one must have a weight of its own.
CODES = [
    "route_deviation",
    "wrong_direction",
    "checkpoint_missed",
    "restricted_zone",
    "border_exit",
    "unauthorised_stop",
    "overstay",
    "rendezvous",
    "seal_cut",
    "seal_body_open",
    "seal_fault",
    "battery_low",
    "silence",
    "unauthorised_unlock",
    "seal_state_conflict",
    "separation",
    "jamming",
    "spoofing_suspected",
    "power_cut",
    "sequence_gap",
    "clock_fault",
    "identity_conflict",
    "late_risk",
    "overdue",
    "non_arrival",
    "arrival_mismatch",
    "unloading_signature",
]


def mismatch(stated: str | None, *codes: str) -> dict[str, object]:
    """A seal that was broken when the arrival was confirmed, and what the officer stated."""
    return {"kind": "seal_not_intact", "stated": stated, "findings": list(codes)}


def of(*findings: FindingFacts, goods: tuple[GoodsFacts, ...] = (PLAIN,)):
    return assess(subject=SubjectFacts(), goods=goods, findings=findings)


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_contract_has_its_own_reasoned_weight(code: str) -> None:
    indicator = EXPERT.of_finding(code)
    assert indicator.code == code
    assert indicator.weight > 0
    assert indicator.severity is not None


@pytest.mark.parametrize("indicator", EXPERT.indicators.values(), ids=lambda i: i.code)
def test_only_what_is_no_finding_may_speak_for_delivery(indicator) -> None:
    assert indicator.weight >= 0 or indicator.severity is None
    assert all(factor >= 0 for factor in indicator.readings.values())


@pytest.mark.parametrize("indicator", EXPERT.indicators.values(), ids=lambda i: i.code)
def test_every_indicator_has_a_reason_and_a_name_in_three_languages(indicator) -> None:
    assert len(indicator.why) > 20
    assert re.search("[а-я]", indicator.ru)
    assert re.search("[а-яәғқңөұүһі]", indicator.kk)
    assert re.search("[a-z]", indicator.en)
    assert len({indicator.ru, indicator.kk, indicator.en}) == 3


def test_an_honest_delivery_stands_at_the_base_rate_and_is_green() -> None:
    result = of()
    assert result.probability == pytest.approx(1 / 200)
    assert result.expected_loss_kzt == 30_000
    assert (result.level, result.corridor, result.measures) == ("low", "green", ())
    assert [r.indicator for r in result.reasons] == ["base_rate"]


def test_a_cut_seal_adds_its_weight_and_is_red_and_high() -> None:
    result = of(CUT)
    assert result.logit == pytest.approx(EXPERT.base_logit + 3.7)
    assert result.probability == pytest.approx(1 / (1 + math.exp(-EXPERT.base_logit - 3.7)))
    assert result.level == "high"
    assert result.corridor == "red"
    assert "full_inspection" in result.measures
    assert result.reasons[1].anomaly_id == "a1"


def test_the_second_of_a_family_counts_half_and_another_family_whole() -> None:
    opened = FindingFacts(code="seal_body_open", severity=Severity.CRITICAL)
    overdue = FindingFacts(code="overdue", severity=Severity.HIGH)
    by_code = {r.indicator: r for r in of(CUT, opened, overdue).reasons}
    assert by_code["seal_cut"].contribution == 3.7
    assert by_code["seal_body_open"].contribution == pytest.approx(3.4 / 2)
    assert by_code["seal_body_open"].weight == 3.4
    assert by_code["overdue"].contribution == 1.9


@pytest.mark.parametrize("finding", ["explained", "technical", "false"])
def test_a_dismissed_alert_stops_counting(finding: str) -> None:
    dismissed = FindingFacts(code="seal_cut", severity=Severity.CRITICAL, finding_of_alert=finding)
    assert of(dismissed) == of()


def test_confirmed_counts_on_and_retracted_does_not() -> None:
    confirmed = FindingFacts(
        code="seal_cut", severity=Severity.CRITICAL, finding_of_alert="confirmed"
    )
    retracted = FindingFacts(code="seal_cut", severity=Severity.CRITICAL, status="retracted")
    assert of(confirmed).logit == of(CUT).logit
    assert of(retracted) == of()


def test_evidence_scales_a_weight() -> None:
    def contribution(duration_s: float) -> float:
        stop = FindingFacts(
            code="unauthorised_stop", severity=Severity.MEDIUM, duration_s=duration_s
        )
        return of(stop).reasons[-1].contribution

    assert contribution(900) == pytest.approx(1.3 * 0.8)
    assert contribution(7_200) == contribution(90_000) == pytest.approx(1.3 * 1.5)
    assert contribution(900) < contribution(3_600) < contribution(7_200)


def test_a_severity_lowered_by_a_dead_zone_halves_the_weight() -> None:
    usual = of(FindingFacts(code="silence", severity=Severity.MEDIUM)).reasons[-1]
    dead_zone = of(FindingFacts(code="silence", severity=Severity.LOW)).reasons[-1]
    assert dead_zone.contribution == usual.contribution / 2


def test_an_unknown_code_still_counts() -> None:
    odd = of(FindingFacts(code="brand_new_detector", severity=Severity.MEDIUM))
    assert odd.probability > of().probability
    assert odd.reasons[-1].indicator == "other_finding"


def test_categories_move_the_prior() -> None:
    def probability(carrier, declarant) -> float:
        subject = SubjectFacts(carrier=carrier, declarant=declarant)
        return assess(subject=subject, goods=[PLAIN], findings=[]).probability

    assert probability("low", "low") < probability("medium", "medium") == pytest.approx(1 / 200)
    assert probability("high", "medium") > probability("medium", "high") > 1 / 200


def test_a_high_category_alone_is_blue() -> None:
    result = assess(subject=SubjectFacts(carrier="high"), goods=[PLAIN], findings=[])
    assert (result.level, result.corridor) == ("low", "blue")
    assert result.measures == ("post_entry_audit",)


@pytest.mark.parametrize(
    ("hs_code", "expected"),
    [
        ("2402209000", "excisable"),
        ("2202100000", "plain"),
        ("2710 12", "excisable"),
        ("2711", "plain"),
        ("8703231940", "excisable"),
        ("8704", "plain"),
        ("30", "licensed"),
        ("6403", "consumer"),
        ("", "plain"),
    ],
)
def test_goods_classes(hs_code: str, expected: str) -> None:
    assert goods_class(hs_code) == expected


def test_consequence_adds_lines_by_class_and_falls_back_on_value() -> None:
    tobacco = GoodsFacts(hs_code="240220", value_kzt=1, payments_at_stake_kzt=2_000_000)
    unstated = GoodsFacts(hs_code="940360", value_kzt=50_000_000)
    assert consequence_kzt([PLAIN]) == 6_000_000
    assert consequence_kzt([PLAIN, tobacco]) == 6_000_000 + 3_000_000
    assert consequence_kzt([unstated]) == 5_000_000
    assert consequence_kzt([]) == MINIMUM_KZT


def test_the_matrix_at_its_bounds() -> None:
    assert level_of(0.0199, 10**9) == "low"
    assert level_of(0.02, 999_999) == "low"
    assert level_of(0.02, 1_000_000) == "medium"
    assert level_of(0.10, 1_000_000) == "high"
    assert level_of(0.40, 0) == "high"


def test_corridors_follow_the_measures() -> None:
    assert corridor_for("low", frozenset()).name == "green"
    assert corridor_for("medium", frozenset({"carrier_high"})).name == "yellow"
    assert corridor_for("high", frozenset()).name == "red"
    assert corridor_for("low", frozenset({"border_exit"})).profiles == ("KZ-ND-02",)


def test_reasons_in_words() -> None:
    deviation = Reason(
        indicator="route_deviation",
        family="route",
        weight=2.6,
        contribution=2.0,
        params={"max_offset_m": 3_200.0, "duration_s": 720.0},
    )
    assert render_reason(deviation, "en") == "off the declared route, up to 3.2 km off, 12 min"
    assert render_reason(deviation, "ru") == ("отклонение от маршрута, до 3,2 км в стороне, 12 мин")
    assert render_reason(deviation, "kk").startswith("маршруттан ауытқу, ")
    assert render_reason(deviation, "fr") == render_reason(deviation, "en")


def test_a_seal_does_not_name_how_long_it_has_been_cut() -> None:
    cut = FindingFacts(code="seal_cut", severity=Severity.CRITICAL, duration_s=99_999)
    assert render_reason(of(cut).reasons[-1], "en") == "seal rope cut"


def test_the_same_indicator_again_adds_a_tenth() -> None:
    """Two devices of one vehicle see one stop: its evidence counts once and a little."""
    seal, unit = (msgspec.structs.replace(STOP, anomaly_id=id_) for id_ in ("s", "u"))
    stops = [r for r in of(seal, unit).reasons if r.indicator == "unauthorised_stop"]
    assert [r.contribution for r in stops] == pytest.approx([1.04, 0.104])
    assert len([r for r in of(*[STOP] * 9).reasons if r.indicator == "unauthorised_stop"]) == 3


@pytest.mark.parametrize(
    ("code", "evidence", "expected"),
    [
        ("unauthorised_unlock", {"why": ["place"]}, 3.3),
        ("unauthorised_unlock", {"why": ["pins"]}, 1.65),
        ("unauthorised_unlock", {"why": ["illegal_card", "place"]}, 3.3),
        ("unauthorised_unlock", {"why": ["a later word"]}, 3.3),
        ("arrival_mismatch", {"contradictions": [{"kind": "elsewhere"}]}, 2.7 * 1.6),
        ("arrival_mismatch", {"contradictions": [mismatch("cut", "seal_cut")]}, 2.7 * 0.2),
        ("arrival_mismatch", {"contradictions": [mismatch("intact", "seal_cut")]}, 2.7 * 0.6),
        ("arrival_mismatch", {"contradictions": [mismatch(None, "seal_cut")]}, 2.7 * 0.6),
        (
            "arrival_mismatch",
            {"contradictions": [mismatch("intact", "unauthorised_unlock")]},
            2.7 * 0.2,
        ),
        ("spoofing_suspected", {"signs": ["jump"]}, 2.4 * 0.7),
        ("spoofing_suspected", {"signs": ["path"], "path_m": 10_000, "odometer_m": 0}, 3.6),
        ("spoofing_suspected", {"signs": ["path"], "path_m": 10_000, "odometer_m": 9_000}, 1.68),
        ("wrong_direction", {"driven_back_m": 60_000}, 3.2),
    ],
)
def test_words_and_figures_of_the_evidence_scale_a_weight(code, evidence, expected) -> None:
    usual = EXPERT.of_finding(code).severity
    found = of(FindingFacts(code=code, severity=usual, evidence=evidence))
    assert found.reasons[-1].contribution == pytest.approx(expected)


def journey(**facts) -> JourneyFacts:
    periods = Periods(moving_s=60, parked_s=1800)
    devices = (
        BoundDevice(id="S", kind="seal", periods=periods, from_ms=0),
        BoundDevice(id="G", kind="gps", periods=periods, from_ms=0),
    )
    return JourneyFacts(devices=devices, **facts)


def on(way: JourneyFacts, *findings: FindingFacts) -> dict[str, float]:
    found = assess(subject=SubjectFacts(), goods=(PLAIN,), findings=findings, journey=way)
    return {r.indicator: r.contribution for r in found.reasons}


def test_an_arrival_that_nothing_contradicts_speaks_for_delivery() -> None:
    arrived = journey(arrived=True, seals_intact=True)
    assert on(arrived) == {
        "base_rate": EXPERT.base_logit, "arrived_whole": -1.6, "arrived_directly": -1.0,
    }  # fmt: skip
    assert "arrived_whole" not in on(journey(arrived=True))
    assert on(journey(seals_intact=True)) == {"base_rate": EXPERT.base_logit}
    assert "arrived_directly" in on(arrived, CUT)
    assert "arrived_whole" not in on(arrived, CUT)
    assert "arrived_directly" not in on(arrived, STOP)


def test_a_gap_without_time_to_spare_leaves_no_room_for_unloading() -> None:
    arrived = journey(arrived=True)
    for slack_min, directly in ((14.9, True), (15, False), (None, False)):
        evidence = {} if slack_min is None else {"slack_min": slack_min}
        jam = FindingFacts(code="jamming", severity=Severity.HIGH, evidence=evidence)
        assert ("arrived_directly" in on(arrived, jam)) is directly


def test_an_arrival_elsewhere_speaks_for_nothing() -> None:
    elsewhere = FindingFacts(
        code="arrival_mismatch",
        severity=Severity.HIGH,
        evidence={"contradictions": [{"kind": "zone_not_entered"}]},
    )
    assert on(journey(arrived=True, seals_intact=True), elsewhere).keys() == {
        "base_rate", "arrival_mismatch",
    }  # fmt: skip


def test_a_stop_that_the_seal_did_not_see() -> None:
    def stop(device: str) -> FindingFacts:
        return msgspec.structs.replace(
            STOP, status="closed", device=device, from_ms=1_000, to_ms=901_000
        )

    heard = journey(heard_ms={"S": 1_000_000}, arrived=True, seals_intact=True)
    seen = on(heard, stop("G"))
    assert seen["stop_unseen_by_seal"] == 2.4
    assert "arrived_whole" not in seen
    assert "stop_unseen_by_seal" not in on(heard, stop("G"), stop("S"))
    assert "stop_unseen_by_seal" not in on(heard, stop("S"))
    # A seal that has told nothing since may still tell of it.
    assert "stop_unseen_by_seal" not in on(journey(heard_ms={"S": 901_000}), stop("G"))
    later = BoundDevice(
        id="S", kind="seal", periods=Periods(moving_s=60, parked_s=60), from_ms=2_000
    )
    bound_later = msgspec.structs.replace(heard, devices=(later, heard.devices[1]))
    assert "stop_unseen_by_seal" not in on(bound_later, stop("G"))


def test_all_devices_silent_for_long() -> None:
    def silent(device: str, lasted_s: float = DARK_S, **more) -> FindingFacts:
        return FindingFacts(
            code="silence", severity=Severity.HIGH, device=device, lasted_s=lasted_s, **more
        )

    assert on(journey(), silent("S"), silent("G"))["all_silent"] == 3.6
    assert "all_silent" not in on(journey(), silent("S"))
    assert "all_silent" not in on(journey(), silent("S"), silent("G", DARK_S - 1))
    explained = silent("G", finding_of_alert="explained")
    assert "all_silent" not in on(journey(), silent("S"), explained)
    alone = JourneyFacts(devices=journey().devices[:1])
    assert on(alone, silent("S"))["all_silent"] == pytest.approx(3.6 * 0.6)


def test_what_was_said_before_says_that_it_is_once_more() -> None:
    first, again = (r for r in of(STOP, STOP).reasons if r.indicator == "unauthorised_stop")
    assert again.contribution < first.contribution
    assert "again" not in first.params
    for locale, words in {"en": "once more", "ru": "ещё раз", "kk": "тағы да"}.items():
        assert words in render_reason(again, locale)
        assert words not in render_reason(first, locale)


def test_evidence_that_is_no_number_is_left_out() -> None:
    odd = FindingFacts(
        code="route_deviation",
        severity=Severity.HIGH,
        evidence={"max_offset_m": None, "note": "x", "jam": True, "n": math.nan},
    )
    assert of(odd).reasons[-1].contribution == pytest.approx(2.6)


def test_no_indicator_is_named_twice_in_the_source() -> None:
    source = Path(__file__).parents[2] / "tracker/riskblock/indicators.py"
    codes = re.findall(r'code="(\w+)"', source.read_text())
    assert len(codes) == len(set(codes)) == len(EXPERT.indicators)
