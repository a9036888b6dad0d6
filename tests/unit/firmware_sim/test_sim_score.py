"""Scoring: the matching rule, the counts, the intervals and the goals, by hand and by property."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from firmware_sim.score import Found, Share, score, tally, top_recall
from firmware_sim.score_goals import goals
from firmware_sim.score_match import Delay, Finding, compare
from firmware_sim.score_stats import poisson, quantile, rate, wilson
from firmware_sim.score_table import as_json, as_markdown, show
from firmware_sim.truth import CODES, DeliveryTruth
from firmware_sim.truthfile import Story, TruthFile
from tests.unit.firmware_sim.scenes import expect, finding, happening, minute, story

TOLERANCE_S = 60.0


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # R: prop.test(hits, n, correct = FALSE)$conf.int
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1000, 0.0002, 0.0056),
    ],
)
def test_wilsons_interval(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # R: poisson.test(count)$conf.int
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904), (1000, 938.973, 1063.952)],
)
def test_the_exact_poisson_interval(count: int, low: float, high: float) -> None:
    assert poisson(count) == pytest.approx((low, high), abs=1e-3)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_shares_interval_holds_it_and_stays_a_share(case: tuple[int, int]) -> None:
    hits, n = case
    found = wilson(hits, n)
    assert found is not None
    low, high = found
    assert 0 <= low <= hits / n <= high <= 1
    assert low < high


@given(st.integers(0, 200_000))
def test_a_counts_interval_holds_it(count: int) -> None:
    low, high = poisson(count)
    assert 0 <= low <= count < high
    assert (low > 0) == (count > 0)
    # It is about as wide as the normal approximation says, once that is any good.
    if count > 100:
        assert (high - low) / (2 * 1.96 * math.sqrt(count)) == pytest.approx(1, abs=0.06)


@given(st.integers(0, 1000), st.floats(1, 1e6), st.floats(1, 1e5))
def test_a_rate_lies_in_its_interval(count: int, exposure: float, per: float) -> None:
    found = rate(count, exposure, per)
    assert found is not None
    value, (low, high) = found
    assert low <= value * (1 + 1e-12)
    assert value <= high
    assert value == pytest.approx(count / exposure * per)


def test_of_nothing_there_is_no_share_rate_or_quantile() -> None:
    assert wilson(0, 0) is None
    assert rate(0, 0, 10_000) is None
    assert quantile([], 0.5) is None
    for hits, n in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="hits are at least 0"):
            wilson(hits, n)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_lies_among_the_values(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found is not None
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= found <= max(values) + slack


# ---------------------------------------------------------------- matching


@pytest.mark.parametrize(
    ("found", "verdict", "recall"),
    [
        (finding("jamming", 35, 40), "right", 1),
        (finding("jamming", 10, None), "right", 1),
        (finding("jamming", 10, 28.5), "false", 0),  # before the window and its tolerance
        (finding("jamming", 10, 29.5), "right", 1),  # within the tolerance
        (finding("jamming", 60.5, 70), "right", 1),
        (finding("jamming", 61.5, 70), "false", 0),
        (finding("jamming", 35, 40, device="s1"), "false", 0),  # another device
        (finding("silence", 35, 40), "false", 0),  # another code
    ],
)
def test_the_matching_rule(found: Finding, verdict: str, recall: int) -> None:
    told = story(happening(expect("jamming", "must", "gps", 30, 60)))
    compared = compare(told, [found], tolerance_s=TOLERANCE_S)
    assert [one.verdict for one in compared.judged] == [verdict]
    assert sum(wanted.found for wanted in compared.wanted) == recall


def test_what_may_be_found_is_right_and_what_must_not_is_false() -> None:
    told = story(
        happening(expect("silence", "may", "gps", 0, 50)),
        happening(expect("silence", "must_not", "any", 0, 120)),
        happening(expect("route_deviation", "must_not")),
    )
    cases = [
        (finding("silence", 5, 10), "right"),
        (finding("silence", 5, 10, device="s1"), "false"),
        (finding("silence", 80, 90), "false"),
        (finding("route_deviation", 5, 10), "false"),
    ]
    for found, verdict in cases:
        (judged,) = compare(told, [found], tolerance_s=0).judged
        assert judged.verdict == verdict


@pytest.mark.parametrize("kind", ["must", "may"])
def test_what_one_thing_explains_is_right_though_another_would_not(kind: str) -> None:
    told = story(
        happening(expect("jamming", "must_not")), happening(expect("jamming", kind, "any", 30, 60))
    )
    (judged,) = compare(told, [finding("jamming", 40, 45)], tolerance_s=0).judged
    assert judged.verdict == "right"


def test_silence_after_the_last_record_counts_for_nothing_unless_it_was_wanted() -> None:
    last = finding("silence", 120, None)
    assert compare(story(), [last], tolerance_s=0).judged[0].verdict == "left_out"
    wanted = story(happening(expect("silence", "must", "any", 100, 130)))
    assert compare(wanted, [last], tolerance_s=0).judged[0].verdict == "right"
    assert compare(story(), [finding("silence", 60, None)], tolerance_s=0).judged[0].verdict == (
        "false"
    )


def test_what_the_server_dates_by_reception_matches_at_any_time() -> None:
    told = story(happening(expect("identity_conflict", "must", "gps", 30, 60)))
    later = finding("identity_conflict", 90_000, None)
    assert compare(told, [later], tolerance_s=0).judged[0].verdict == "right"
    other = finding("identity_conflict", 90_000, None, device="s1")
    assert compare(told, [other], tolerance_s=0).judged[0].verdict == "false"


def test_a_delivery_as_a_whole_may_be_meant() -> None:
    told = story(happening(expect("overdue", "must", None)))
    compared = compare(told, [finding("overdue", 500, None, device=None)], tolerance_s=0)
    assert compared.wanted[0].found
    assert compared.wanted[0].delay is None


@pytest.mark.parametrize(
    ("code", "changes", "found_at", "delay"),
    [
        # From the beginning at minute 30.
        ("seal_fault", {}, 33, Delay(reports=3, seconds=180)),
        ("seal_fault", {}, 30, Delay(reports=0, seconds=0)),
        ("seal_fault", {}, 20, Delay(reports=0, seconds=0)),
        # From the first record off the road.
        ("route_deviation", {"off_road_ms": (minute(38.5),)}, 41, Delay(reports=2, seconds=120)),
        ("route_deviation", {"off_road_ms": (minute(80),)}, 41, Delay(reports=11, seconds=660)),
        # A stop counts after a quarter of an hour of standing.
        (
            "unauthorised_stop",
            {"stood_ms": ((minute(34), minute(55)),)},
            50,
            Delay(reports=1, seconds=60),
        ),
        ("unauthorised_stop", {}, 50, Delay(reports=5, seconds=300)),
    ],
)
def test_a_delay_counts_from_the_first_record_that_shows_it(
    code: str, changes: dict[str, object], found_at: int, delay: Delay
) -> None:
    told = story(happening(expect(code, "must", "any", 20, 70)), **changes)
    (wanted,) = compare(told, [finding(code, 40, 50, found=found_at)], tolerance_s=0).wanted
    assert wanted.delay == delay


def test_an_event_of_the_device_shows_it_at_its_own_time() -> None:
    told = story(happening(expect("seal_cut", "must", "seal", 20, 70)))
    seal = told.reports["s1"]
    events = (("rope_cut", minute(10)), ("rope_cut", minute(44)))
    told = replace(told, reports={**told.reports, "s1": replace(seal, events=events)})
    # The seal's records come every five minutes: that of minute 55 is its twelfth.
    by = {"device": "s1", "found_device": "s1", "found_seq": 12}
    (wanted,) = compare(told, [finding("seal_cut", 44, None, **by)], tolerance_s=0).wanted
    assert wanted.delay == Delay(reports=2, seconds=600)


@pytest.mark.parametrize(
    "by", [{"found_gen": 2}, {"found_seq": 999}, {"found_seq": 0}, {"found_device": "x"}]
)
def test_what_was_found_by_no_record_of_ours_has_no_delay(by: dict[str, object]) -> None:
    told = story(happening(expect("jamming")))
    one = finding("jamming", 40, 50, found=41, **{k: v for k, v in by.items() if k != "found_seq"})
    if "found_seq" in by:
        one = finding("jamming", 40, 50, **by)
    (wanted,) = compare(told, [one], tolerance_s=0).wanted
    assert wanted.found
    assert wanted.delay is None


windows = st.tuples(st.integers(0, 120), st.integers(0, 120)).map(sorted)
expectations = st.builds(
    lambda code, kind, device, span: expect(code, kind, device, *span),
    st.sampled_from(sorted(CODES)[:4]),
    st.sampled_from(["must", "may", "must_not"]),
    st.sampled_from(["any", "seal", "gps", None]),
    windows,
)
findings = st.builds(
    lambda code, device, span, open_: finding(
        code, span[0], None if open_ else span[1], device=device
    ),
    st.sampled_from(sorted(CODES)[:4]),
    st.sampled_from(["g1", "s1"]),
    windows,
    st.booleans(),
)


@given(st.lists(expectations, max_size=5), st.lists(findings, max_size=8), st.floats(0, 600))
def test_shares_stay_shares_whatever_is_expected_and_found(
    expects: list[object], found: list[Finding], tolerance_s: float
) -> None:
    told = story(*(happening(e) for e in expects))  # type: ignore[arg-type]
    figures = score(
        TruthFile(run={"format": 1}, stories=(told,)),
        {"r1": Found(findings=tuple(found))},
        tolerance_s=tolerance_s,
    )
    for counts in (*figures.codes.values(), *figures.plots.values(), *figures.pairs.values()):
        assert counts.found <= counts.wanted
        for share in (counts.recall, counts.precision):
            if share.value is not None and share.interval is not None:
                assert 0 <= share.interval[0] <= share.value <= share.interval[1] <= 1
    assert sum(c.wanted for c in figures.codes.values()) == sum(e.kind == "must" for e in expects)  # type: ignore[attr-defined]


@given(st.lists(expectations, max_size=4), st.lists(findings, min_size=1, max_size=6))
def test_a_wider_tolerance_finds_no_less(expects: list[object], found: list[Finding]) -> None:
    told = story(*(happening(e) for e in expects))  # type: ignore[arg-type]
    narrow = compare(told, found, tolerance_s=0)
    wide = compare(told, found, tolerance_s=300)
    assert all(w.found or not n.found for n, w in zip(narrow.wanted, wide.wanted, strict=True))


# ---------------------------------------------------------------- whole runs


def scored(*stories: Story, **found: Found) -> object:
    return score(TruthFile(run={"format": 1}, stories=stories), found, tolerance_s=TOLERANCE_S)


def test_a_run_by_hand() -> None:
    honest = DeliveryTruth(vehicle="B", plots=("honest",))
    stories = (
        story(happening(expect("jamming", "must", "any", 30, 60)), registration="a"),
        story(happening(expect("jamming", "must", "any", 30, 60)), registration="b"),
        story(registration="c", truth=honest, km=300.0),
    )
    figures = scored(
        *stories,
        a=Found(findings=(finding("jamming", 35, 40, found=37),)),
        b=Found(),
        c=Found(findings=(finding("jamming", 5, 9), finding("route_deviation", 5, 9))),
    )
    jamming = figures.codes["jamming"]
    assert (jamming.recall.value, jamming.precision.value) == (0.5, 0.5)
    assert jamming.km == 500.0
    assert jamming.false_rate is not None
    assert jamming.false_rate[0] == pytest.approx(20.0)
    assert jamming.delay_reports(0.5) == 7
    assert figures.plots["deed"].recall.value == 0.5
    assert figures.plots["honest"].false == 2
    assert figures.pairs["honest", "jamming"].false == 1
    assert figures.pairs["deed", "jamming"].false == 0
    by_goal = {goal.what: goal for goal in goals(figures)}
    assert by_goal["recall of injected jams"].met is False
    assert by_goal["recall of injected cuts"].met is None
    false = by_goal["false route_deviation per 10,000 km of clean noisy tracks"]
    assert false.met is False
    assert false.measured.startswith("33.33 (")


def test_deliveries_that_the_server_lacks_are_told() -> None:
    figures = scored(story(registration="a"), story(registration="b"), a=Found())
    assert (len(figures.judgements), figures.missing) == (1, 1)


def lost(name: str, *, nondelivery: bool) -> Story:
    return story(
        registration=name,
        truth=DeliveryTruth(vehicle=name, nondelivery=nondelivery, honest=not nondelivery),
    )


def test_the_top_tenth_has_room_for_so_many() -> None:
    stories = [lost(f"n{i:02d}", nondelivery=i < 3) for i in range(20)]
    values = {f"n{i:02d}": Found(probability=1.0 - i / 100) for i in range(20)}
    assert scored(*stories, **values).top == Share(hits=2, n=2)
    values["n00"] = Found(probability=None)
    assert scored(*stories, **values).top == Share(hits=2, n=2)
    values["n01"] = Found(probability=0.01)
    assert scored(*stories, **values).top == Share(hits=1, n=2)


def test_of_equal_values_the_honest_come_first() -> None:
    stories = [lost(f"n{i}", nondelivery=i == 0) for i in range(10)]
    assert scored(*stories, **{f"n{i}": Found(probability=0.5) for i in range(10)}).top.hits == 0


@given(st.lists(st.tuples(st.booleans(), st.none() | st.floats(0, 1)), max_size=60))
def test_the_top_tenths_recall_is_a_share(cases: list[tuple[bool, float | None]]) -> None:
    stories = [lost(f"n{i}", nondelivery=gone) for i, (gone, _) in enumerate(cases)]
    found = {f"n{i}": Found(probability=value) for i, (_, value) in enumerate(cases)}
    figures = scored(*stories, **found)
    assert 0 <= figures.top.hits <= figures.top.n
    again = top_recall(figures.judgements, [j.found.probability for j in figures.judgements])
    assert again == figures.top


def test_likelihood_and_expected_loss_are_two_orders() -> None:
    """A cheap load that is surely lost comes before a dear one in doubt only by likelihood."""
    stories = [lost(f"n{i:02d}", nondelivery=i == 0) for i in range(10)]
    found = {f"n{i:02d}": Found(probability=0.1, loss_kzt=1e6) for i in range(10)}
    found["n00"] = Found(probability=0.9, loss_kzt=9e5)
    figures = scored(*stories, **found)
    assert figures.top == Share(hits=1, n=1)
    assert figures.top_by_loss == Share(hits=0, n=1)
    rows = {goal.what: goal for goal in goals(figures)}
    (ranking,) = [g for what, g in rows.items() if "by risk (likelihood)" in what]
    assert ranking.met is True
    assert rows["the same by expected loss, the order of alerts and interceptions"].met is None


def test_the_loss_held_by_the_top_tenth_is_counted_by_what_it_costs() -> None:
    stories = [lost(f"n{i:02d}", nondelivery=i < 3) for i in range(20)]
    found = {f"n{i:02d}": Found(probability=0.5, loss_kzt=1.0) for i in range(20)}
    assert scored(*stories, **found).loss_covered == 0.0
    found |= {
        "n00": Found(probability=0.5, loss_kzt=300.0),
        "n01": Found(probability=0.1, loss_kzt=10.0),
        "n09": Found(probability=0.9, loss_kzt=50.0),
    }
    # It holds the 600 of the first; as many places could hold the 100 of the second too.
    assert scored(*stories, **found).loss_covered == pytest.approx(600 / 700)
    honest = [lost(f"n{i:02d}", nondelivery=False) for i in range(20)]
    assert scored(*honest, **found).loss_covered is None


def test_stops_in_queues_with_zones_count_against_their_goal() -> None:
    queue = happening(expect("unauthorised_stop", "may"), name="border_queue")
    honest = DeliveryTruth(vehicle="B", plots=("border_queue",))
    stop = Found(findings=(finding("unauthorised_stop", 40, 70),))
    zoned = story(queue, registration="a", truth=honest, zoned=(True,))
    open_road = story(queue, registration="b", truth=honest)
    figures = scored(zoned, open_road, a=stop, b=stop)
    (goal,) = [g for g in goals(figures) if "queues" in g.what]
    assert goal.met is False
    assert goal.measured.endswith("1 queues")


def test_every_figure_is_shown_and_written() -> None:
    told = story(happening(expect("jamming", "must", "any", 30, 60)), registration="a")
    figures = scored(told, a=Found(findings=(finding("jamming", 35, 40, found=37),), loss_kzt=3.0))
    plain = json.loads(json.dumps(as_json(figures)))
    row = plain["codes"]["jamming"]
    for name in ("n", "recall", "precision", "delay_reports_p50", "false_per_10000_km"):
        assert row[name] is not None, name
    assert plain["codes_by_plot"][0]["plot"] == "deed"
    assert "nondelivery_top10_recall" in plain
    page = as_markdown(figures)
    assert "| jamming | 1 | 1.000 (0.207–1.000) |" in page
    console = Console(record=True, width=200)
    show(figures, console)
    assert tally(figures.judgements, "jamming").found == 1
