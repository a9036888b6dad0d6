"""Categories by the seed's rules, and the tax number's check digit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.participants import (
    FLAGS,
    NUMBERS,
    category,
    kz_check_digit,
    kz_tax_id_valid,
    tax_id_warning,
)

FACTS = st.fixed_dictionaries(
    {},
    optional={name: st.booleans() for name in FLAGS}
    | {name: st.floats(0, 1e9, allow_nan=False) for name in NUMBERS},
)


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({}, "medium"),
        ({"diplomatic_mission": True}, "low"),
        ({"authorised_operator": True}, "low"),
        ({"domestic_manufacturer": True}, "low"),
        ({"investor": True}, "low"),
        ({"large_taxpayer": True, "years_in_fea": 3}, "low"),
        ({"large_taxpayer": True, "years_in_fea": 2}, "medium"),
        ({"large_taxpayer": True}, "medium"),
        ({"tax_debt_kzt": 1}, "high"),
        ({"tax_debt_kzt": 0}, "medium"),
        ({"violations_12m": 1}, "high"),
        ({"criminal_violations_12m": 1}, "high"),
        ({"years_in_fea": 0.5}, "high"),
        ({"years_in_fea": 0}, "high"),
        ({"years_in_fea": 1}, "medium"),
        ({"authorised_operator": True, "tax_debt_kzt": 1}, "high"),
        ({"diplomatic_mission": True, "years_in_fea": 0}, "low"),
    ],
)
def test_category_follows_the_seed(facts: dict[str, object], level: str) -> None:
    assert category(facts).level == level


def test_every_rule_that_holds_is_named_in_three_languages() -> None:
    result = category({"tax_debt_kzt": 5, "violations_12m": 2, "investor": True})
    assert [(r.rule, r.fact, r.value) for r in result.reasons] == [
        ("tax_debt", "tax_debt_kzt", 5),
        ("violations", "violations_12m", 2),
    ]
    assert all(set(r.text) == {"ru", "kk", "en"} and all(r.text.values()) for r in result.reasons)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shoe_size", 43),
        ("tax_debt_kzt", "much"),
        ("tax_debt_kzt", -1),
        ("years_in_fea", float("nan")),
        ("violations_12m", True),
        ("investor", "yes"),
        ("investor", None),
    ],
)
def test_a_fact_that_cannot_be_used_is_a_warning(name: str, value: object) -> None:
    result = category({"authorised_operator": True, name: value})
    assert result.level == "low"
    assert [w.loc for w in result.warnings] == [("facts", name)]


@given(FACTS)
def test_a_wrong_never_improves_the_category(facts: dict[str, object]) -> None:
    rank = {"low": 0, "medium": 1, "high": 2}
    worse = category({**facts, "tax_debt_kzt": 1_000_000})
    assert rank[worse.level] >= rank[category(facts).level]
    assert worse.level == ("low" if facts.get("diplomatic_mission") else "high")


@given(FACTS)
def test_reasons_explain_every_category_but_medium(facts: dict[str, object]) -> None:
    result = category(facts)
    assert bool(result.reasons) == (result.level != "medium")
    assert all(facts[reason.fact] == reason.value for reason in result.reasons)


@given(st.text(st.sampled_from("0123456789"), min_size=11, max_size=11), st.integers(0, 11))
def test_one_wrong_digit_is_noticed(stem: str, place: int) -> None:
    digit = kz_check_digit(stem)
    if digit is None:
        assert not any(kz_tax_id_valid(f"{stem}{d}") for d in range(10))
        return
    whole = f"{stem}{digit}"
    assert kz_tax_id_valid(whole)
    if place == 11:  # any other check digit must fail
        assert not kz_tax_id_valid(f"{stem}{(digit + 1) % 10}")


def test_check_digit_by_hand() -> None:
    # 1·1+2·2+…+9·9 = 285, +0·10+1·11 = 296; 296 mod 11 = 10, so the second row of weights counts:
    # 1·3+2·4+3·5+4·6+5·7+6·8+7·9+8·10+9·11+0·1+1·2 = 377; 377 mod 11 = 3.
    assert kz_check_digit("12345678901") == 3
    assert kz_check_digit("00000000001") is not None
    assert kz_check_digit("10000000000") == 1


@pytest.mark.parametrize(
    ("tax_id", "country", "warned"),
    [
        ("123456789013", "KZ", False),
        ("123456789014", "KZ", True),
        ("12345678901", "KZ", True),
        ("1234567890١3", "KZ", True),
        ("", "KZ", True),
        ("91650000DEMO00001X", "CN", False),
    ],
)
def test_tax_id_warning(tax_id: str, country: str, warned: bool) -> None:
    warning = tax_id_warning(tax_id, country)
    assert (warning is not None) == warned
    assert warning is None or warning.loc == ("tax_id",)
