"""Laws of dated settings: national → post → lane → delivery, each from a time on."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.detectors.limits import (
    IN_ORDER,
    SCOPES,
    DatedSettings,
    Limits,
    LimitsInForce,
    bounds_of,
    checked,
    in_force,
)
from tracker.errors import Invalid

NAMES = ("stop_s", "deviation_s", "battery_low_pct", "silence_periods")
times = st.integers(0, 20)
settings = st.lists(
    st.builds(
        DatedSettings,
        scope=st.sampled_from(SCOPES),
        from_ms=times,
        values=st.dictionaries(st.sampled_from(NAMES), st.none() | st.floats(1, 9), min_size=1),
    ),
    max_size=8,
)


def plain(dated: list[DatedSettings], name: str, t_ms: int) -> float:
    """Read off the rule: of the narrowest scope that says something, the newest word."""
    value = getattr(Limits(), name)
    for scope in SCOPES:
        said = None
        for one in sorted(dated, key=lambda s: s.from_ms):
            if one.scope == scope and one.from_ms <= t_ms and name in one.values:
                said = one.values[name]
        if said is not None:
            value = said
    return float(value)


def in_order(dated: list[DatedSettings]) -> list[DatedSettings]:
    return sorted(dated, key=lambda s: s.from_ms)


@given(settings, times)
def test_the_newest_word_of_the_narrowest_scope_counts(
    dated: list[DatedSettings], t_ms: int
) -> None:
    limits = in_force(Limits(), in_order(dated)).at(t_ms)
    for name in NAMES:
        assert getattr(limits, name) == plain(dated, name, t_ms)
    untouched = set(Limits.__struct_fields__) - set(NAMES)
    assert all(getattr(limits, name) == getattr(Limits(), name) for name in untouched)


@given(settings, times)
def test_what_comes_later_changes_nothing_before(dated: list[DatedSettings], t_ms: int) -> None:
    past = [one for one in dated if one.from_ms <= t_ms]
    assert in_force(Limits(), in_order(dated)).at(t_ms) == in_force(Limits(), in_order(past)).at(
        t_ms
    )


@given(settings)
def test_before_all_settings_the_base_holds(dated: list[DatedSettings]) -> None:
    known = in_force(Limits(), in_order(dated))
    assert known.at(-1) == known.at(None) == Limits()


@given(settings, st.sampled_from(NAMES), times)
def test_taking_back_gives_the_wider_scope(
    dated: list[DatedSettings], name: str, t_ms: int
) -> None:
    wider = [one for one in dated if one.scope != "delivery"]
    back = DatedSettings(scope="delivery", from_ms=t_ms, values={name: None})
    kept = [one for one in dated if one.from_ms <= t_ms]
    after = in_force(Limits(), in_order([*kept, back])).at(t_ms)
    before = in_force(Limits(), in_order([one for one in wider if one.from_ms <= t_ms])).at(t_ms)
    assert getattr(after, name) == getattr(before, name)


@given(settings)
def test_a_version_names_exactly_these_thresholds(dated: list[DatedSettings]) -> None:
    known = in_force(Limits(), in_order(dated))
    again = msgspec.convert(msgspec.to_builtins(known), LimitsInForce)
    assert again == known
    assert again.version == known.version
    assert known.version.startswith("limits-")


# ---------------------------------------------------------------- what may be set


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_every_published_value_is_one_that_may_be_set(name: str) -> None:
    least, most, _ = bounds_of(name)
    assert least <= getattr(Limits(), name) <= most
    assert checked({name: getattr(Limits(), name)}) == {name: getattr(Limits(), name)}


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({}, "values", "at least one"),
        ({"stop": 5}, "stop", "did you mean 'stop_s'"),
        ({"nonsense": 5}, "nonsense", "docs/rules.md"),
        ({"stop_s": "5"}, "stop_s", "a number from 0"),
        ({"stop_s": True}, "stop_s", "must be a number"),
        ({"stop_s": -1}, "stop_s", "out of range"),
        ({"stop_s": float("nan")}, "stop_s", "out of range"),
        ({"stop_s": float("inf")}, "stop_s", "out of range"),
        ({"stop_radius_m": 50_001}, "stop_radius_m", "50000 m"),
        ({"deviation_fixes": 2.5}, "deviation_fixes", "whole number"),
        ({"battery_low_pct": 101}, "battery_low_pct", "0 to 100 %"),
        ({"battery_low_pct": 25}, "battery_low_pct", "less than battery_ok_pct"),
        ({"battery_ok_pct": 10}, "battery_ok_pct", "battery_low_pct (15) must be less"),
    ],
)
def test_what_may_not_be_set_names_field_and_remedy(
    values: dict[str, object], field: str, words: str
) -> None:
    with pytest.raises(Invalid) as told:
        checked(values)
    (error,) = told.value.errors
    assert error.loc[-1] == field
    assert words in error.msg


def test_order_is_kept_against_what_holds_already() -> None:
    low = Limits(battery_low_pct=10.0)
    assert checked({"battery_ok_pct": 12}, low) == {"battery_ok_pct": 12.0}
    assert checked({"battery_low_pct": None, "battery_ok_pct": 30}) == {
        "battery_low_pct": None,
        "battery_ok_pct": 30.0,
    }


@given(st.dictionaries(st.sampled_from(Limits.__struct_fields__), st.none() | st.floats()))
def test_what_is_accepted_makes_thresholds_in_order(values: dict[str, float | None]) -> None:
    try:
        fit = checked(values)
    except Invalid:
        return
    limits = in_force(Limits(), [DatedSettings(scope="national", from_ms=0, values=fit)]).at(0)
    for small, large in IN_ORDER:
        if small in fit or large in fit:
            assert getattr(limits, small) < getattr(limits, large)
