"""``late_risk``: the destination can't be reached before the deadline at legal speed with rest."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.detectors.trips import at, episodes, findings, ms, scenery, seconds, zone
from tracker.anomalies import Fold, Limits, fold, present, whole
from tracker.detectors.eta import FRESH, Hours, earliest_arrival, journey_s, reachable_until
from tracker.model import (
    Around,
    Basis,
    DeclaredRoute,
    LaneHistory,
    Observation,
    PlanPost,
    Severity,
)

LIMITS = Limits()
H = 3600.0
KM_PER_H = 90_000.0
ROUTE = DeclaredRoute(route_id=1, length_m=4 * KM_PER_H)  # four hours at legal speed
DEADLINE_S = 5 * H


def late(
    trip: list[Observation], now_s: float, **more: Any
) -> list[tuple[float | None, float | None]]:
    plan: dict[str, Any] = {"deadline_s": DEADLINE_S, "routes": (ROUTE,)} | more
    return episodes(trip, code="late_risk", now_s=now_s, **plan)


# ---------------------------------------------------------------- the reckoning


@pytest.mark.parametrize(
    ("driving_h", "journey_h"),
    [
        (0, 0),
        (1, 1),
        (4.5, 4.5),  # the break is due, but he is there
        (4.6, 4.6 + 0.75),
        (9, 9 + 0.75),  # 9 h in all: the day is full, and he is there
        (9.5, 9.5 + 0.75 + 11),  # the daily rest counts as the second break
        (13.5, 13.5 + 0.75 + 11),
        (14, 14 + 0.75 + 11 + 0.75),
        (18.5, 18.5 + 2 * 0.75 + 2 * 11),
    ],
)
def test_a_break_after_4_5_h_and_a_rest_after_9_h(driving_h: float, journey_h: float) -> None:
    assert journey_s(driving_h * KM_PER_H, FRESH, LIMITS) == pytest.approx(journey_h * H)


@pytest.mark.parametrize(
    ("hours", "journey_h"),
    [
        (Hours(since_break_s=4 * H, today_s=4 * H), 1.75),
        (Hours(since_break_s=4.5 * H, today_s=4.5 * H), 1.75),
        (Hours(since_break_s=0, today_s=8.5 * H), 12.0),
        (Hours(since_break_s=4.5 * H, today_s=9 * H), 12.0),
    ],
)
def test_what_was_driven_before_counts(hours: Hours, journey_h: float) -> None:
    assert journey_s(KM_PER_H, hours, LIMITS) == pytest.approx(journey_h * H)


def test_a_rest_that_has_begun_may_be_ended_first() -> None:
    tired = Hours(since_break_s=4.5 * H, today_s=4.5 * H, resting_ms=ms(0))
    soonest_ms = earliest_arrival(KM_PER_H, ms(1800), tired, LIMITS)
    assert seconds(soonest_ms) == 45 * 60 + H
    assert seconds(reachable_until(KM_PER_H, ms(45 * 60 + H), tired, LIMITS)) == 45 * 60


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(("now_s", "opens"), [(H, False), (H + 0.001, True)])
def test_without_a_position_the_whole_route_is_still_to_go(now_s: float, opens: bool) -> None:
    assert late([], now_s) == [(H + 0.001, None)] * opens


def test_a_deadline_that_never_could_be_kept_opens_with_the_release() -> None:
    assert late([], 1.0, deadline_s=4 * H - 1) == [(0.0, None)]


def test_the_clock_wakes_at_the_first_moment_at_which_it_is_too_late() -> None:
    scene = scenery(deadline_s=DEADLINE_S, routes=(ROUTE,))
    judged = whole(scene, present(Fold(), scene), (), Around())
    assert seconds(judged.clocks[0]) == H + 0.001

    state, _ = fold(Fold(), [at(100, KM_PER_H)], scene)
    silent = replace(scene, now_ms=ms(1.5 * H))
    judged = whole(silent, present(state, silent), (), Around())
    assert seconds(judged.clocks[0]) == 2 * H + 0.001


def test_it_is_found_at_the_fix_from_which_it_is_too_far() -> None:
    trip = [at(100, 0, moving=True), at(H + 100, 0.5 * KM_PER_H), at(2 * H, KM_PER_H)]
    assert late(trip, 2 * H) == []
    trip.append(at(2 * H + 60, KM_PER_H))
    assert late(trip, 2 * H + 60) == [(2 * H + 0.001, None)]


def test_what_is_found_by_the_clock_stays_when_the_next_fix_confirms_it() -> None:
    trip = [at(100, 0)]
    assert late(trip, 2 * H) == [(H + 0.001, None)]
    trip.append(at(2 * H, 10_000))
    assert late(trip, 2 * H) == [(H + 0.001, None)]


def test_it_ends_when_the_destination_is_reachable_again() -> None:
    fast = [at(0, 0), at(2 * H, 10_000), at(3 * H, 2.5 * KM_PER_H)]
    assert late(fast, 3 * H) == [(H + 0.001, 3 * H)]


def test_a_clock_alone_that_was_wrong_leaves_nothing() -> None:
    """He drove while nothing was heard of him: nothing shows that he ever was late."""
    assert late([at(100, 0), at(2 * H, 2 * KM_PER_H)], 2 * H) == []


def test_it_ends_with_the_arrival() -> None:
    assert late([], 9 * H, arrived_ms=ms(2 * H)) == [(H + 0.001, 2 * H)]
    assert late([], 9 * H, arrived_ms=ms(H)) == []


def test_who_stands_in_the_destinations_zone_is_there() -> None:
    post = PlanPost(code="P", kind="inland", zone="Z-post", lon=77.0, lat=43.5)
    trip = [at(DEADLINE_S - 1, 3.9 * KM_PER_H, zones=[zone("post")])]
    assert late(trip, 9 * H, destination=post) == []
    assert late(trip, 9 * H) != []


def test_who_leaves_the_destination_after_the_deadline_was_there_until_then() -> None:
    post = PlanPost(code="P", kind="inland", zone="Z-post", lon=77.0, lat=43.5)
    trip = [
        at(4.9 * H, KM_PER_H),
        at(6 * H, 4 * KM_PER_H, zones=[zone("post")]),
        at(7 * H, 3.5 * KM_PER_H),
    ]
    found = late(trip, 7 * H, destination=post)
    assert found == [(H + 0.001, 6 * H), (6 * H, None)]


@pytest.mark.parametrize("plan", [{"released_ms": None}, {"cancelled": True}, {"routes": ()}])
def test_what_does_not_move_or_has_no_route_is_not_at_risk(plan: dict[str, Any]) -> None:
    assert late([], 9 * H, **plan) == []


def test_hours_of_rest_are_counted_from_the_records() -> None:
    """4.5 h driven without a stop, 45 min of standing: then he may go on, and not before."""
    route = DeclaredRoute(route_id=1, length_m=6 * KM_PER_H)
    drive = [at(s, s * 25.0, moving=True) for s in range(0, int(4.5 * H) + 1, 600)]
    plan: dict[str, Any] = {"deadline_s": 6.75 * H, "routes": (route,)}
    assert late(drive, 4.5 * H, **plan) == []
    (found,) = findings(drive, code="late_risk", now_s=6 * H, **plan)
    assert seconds(found.start_ms) == 5.25 * H + 0.001
    assert found.evidence["driven_since_break_s"] == 4.5 * H

    stand = [at(4.5 * H + s, 4.5 * KM_PER_H, moving=False) for s in (1, 1200, 2702)]
    plan["deadline_s"] += 60
    assert late([*drive, *stand], 5.2 * H, **plan) == []
    (found,) = findings([*drive, *stand], code="late_risk", now_s=5.3 * H, **plan)
    assert found.evidence["driven_since_break_s"] == 0
    assert found.evidence["driven_today_s"] == pytest.approx(4.5 * H, abs=2)


def test_the_evidence_says_what_would_still_have_made_it() -> None:
    (found,) = findings(
        [at(100, KM_PER_H), at(3 * H, KM_PER_H)],
        code="late_risk",
        deadline_s=DEADLINE_S,
        routes=(ROUTE,),
        now_s=3 * H,
        around=Around(lane=LaneHistory(deliveries=20, median_kmh=45.0)),
    )
    assert (found.severity, found.basis, found.provisional) == (Severity.MEDIUM, Basis.CLOCK, True)
    assert found.device is None
    assert found.evidence["remaining_m"] == 3 * KM_PER_H
    assert seconds(found.evidence["latest_departure_ms"]) == 2 * H
    assert seconds(found.evidence["earliest_arrival_ms"]) == 6 * H
    assert found.evidence["lane_median_kmh"] == 45.0
    assert seconds(found.evidence["usual_arrival_ms"]) == 9 * H


def test_few_arrivals_of_a_lane_say_nothing() -> None:
    few = Around(lane=LaneHistory(deliveries=19, median_kmh=45.0))
    (found,) = findings([], code="late_risk", deadline_s=H, routes=(ROUTE,), now_s=1.0, around=few)
    assert "lane_median_kmh" not in found.evidence


def test_another_route_is_reckoned_by_its_own_length() -> None:
    routes = (ROUTE, DeclaredRoute(route_id=2, length_m=KM_PER_H, from_ms=ms(100)))
    seen = at(2 * H, 0)
    assert seen.fix is not None
    moved = replace(seen, fix=replace(seen.fix, route=1))
    assert late([at(10, 0), moved], 2 * H, routes=routes) == []
    assert late([at(10, 0), seen], 2 * H, routes=routes) == [(H + 0.001, None)]
