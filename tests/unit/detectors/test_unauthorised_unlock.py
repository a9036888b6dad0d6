"""``unauthorised_unlock``, word by word (contract detection.md)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.unit.detectors.trips import act, at, episodes, findings, record, reseal, zone
from tracker.model import ActKind, Finding, Observation, PlanPost, Severity

unlocks = partial(episodes, code="unauthorised_unlock")
HOME = PlanPost(code="A", kind="border", zone="Z-A", lon=76.0, lat=43.5)
AWAY = PlanPost(code="B", kind="inland", zone="Z-B", lon=78.0, lat=43.5)
ROAD = {"departure": HOME, "destination": AWAY}
EVENTS = ["unlock_ok", "unsealed"]
each = pytest.mark.parametrize("event", EVENTS)


def seal(at_s: float, **fields: Any) -> Observation:
    return record(at_s, kind="seal", **fields)


def there(at_s: float, *zones: tuple[str, str], **fields: Any) -> Observation:
    return at(at_s, at_s * 20, kind="seal", zones=[zone(k, c) for k, c in zones], **fields)


def only(trip: list[Observation], **more: Any) -> Finding:
    (found,) = findings(trip, code="unauthorised_unlock", **more)
    return found


# ---------------------------------------------------------------- the place


@each
def test_on_the_road(event: str) -> None:
    trip = [there(0), there(60, event=event), there(120)]
    assert unlocks(trip, **ROAD) == [(60, None)]
    assert only(trip, **ROAD).severity is Severity.CRITICAL


@each
@pytest.mark.parametrize(
    ("kind", "code", "allowed"),
    [
        ("rest", "Z-A", True),  # the post's own zone, whatever it is called
        ("post", "Z-B", True),
        ("post", "Z-other", True),
        ("border", "Z-other", True),
        ("terminal", "Z-other", True),
        ("parking", "Z-other", False),
        ("rest", "Z-other", False),
        ("fuel", "Z-other", False),
        ("restricted", "Z-other", False),
    ],
)
def test_only_under_customs_control(event: str, kind: str, code: str, allowed: bool) -> None:
    trip = [there(0), there(60, (kind, code), event=event)]
    assert unlocks(trip, **ROAD) == [(60, None)] * (not allowed)


@each
def test_without_a_fix_of_its_own_the_newest_valid_one_tells(event: str) -> None:
    inside = [there(0, ("post", "Z-A")), seal(30), seal(60, event=event)]
    assert unlocks(inside, **ROAD) == []
    left = [there(0, ("post", "Z-A")), there(30), seal(60, event=event)]
    assert unlocks(left, **ROAD) == [(60, None)]


@each
def test_at_a_place_that_is_not_known(event: str) -> None:
    found = only([seal(60, event=event)], **ROAD)
    assert found.geometry is None
    assert found.evidence["openings"][0]["position"] is None


def test_a_denied_unlock_is_none() -> None:
    assert unlocks([there(0, event="unlock_denied"), there(60, event="sealed")], **ROAD) == []


@pytest.mark.parametrize("auth", ["ble", "remote", "rfid", "pin"])
def test_any_way_of_opening_is_right_in_the_zone(auth: str) -> None:
    trip = [there(60, ("post", "Z-B"), event="unlock_ok", auth=auth, card="c")]
    assert unlocks(trip, **ROAD) == []


# ---------------------------------------------------------------- by state


@pytest.mark.parametrize(
    ("before", "after"),
    [({"lock": "locked"}, {"lock": "open"}), ({"armed": True}, {"armed": False})],
)
def test_a_lock_that_is_open_without_an_event(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    trip = [there(0, **before), there(60, **after), there(120, **after)]
    assert unlocks(trip, **ROAD) == [(60, None)]
    assert only(trip, **ROAD).evidence["count"] == 1
    assert unlocks([there(0, **after), there(60, **after)], **ROAD) == []
    inside = [there(0, **before), there(60, ("post", "Z-B"), **after)]
    assert unlocks(inside, **ROAD) == []


def test_a_lock_opened_in_the_zone_and_read_as_open_on_the_road() -> None:
    trip = [
        there(0, ("post", "Z-A"), lock="locked"),
        there(60, ("post", "Z-A"), lock="locked", event="unlock_ok"),
        there(120, lock="open"),
    ]
    assert unlocks(trip, **ROAD) == []


def test_an_event_and_its_reading_are_one_opening() -> None:
    trip = [there(0, lock="locked"), there(60, event="unlock_ok"), there(120, lock="open")]
    assert only(trip, **ROAD).evidence["count"] == 1


@pytest.mark.parametrize("broken", [{"rope": "cut"}, {"event": "rope_cut"}, {"case": "open"}])
def test_a_seal_that_was_broken_open_was_not_unlocked(broken: dict[str, Any]) -> None:
    trip = [there(0, lock="locked", armed=True), there(60, lock="open", armed=False, **broken)]
    assert unlocks(trip, **ROAD) == []


def test_a_stuck_lock_is_not_open() -> None:
    trip = [there(0, lock="locked"), there(60, lock="stuck"), there(120, lock="locked")]
    assert unlocks(trip, **ROAD) == []


# ---------------------------------------------------------------- cards


def test_an_illegal_card_anywhere() -> None:
    trip = [there(60, ("post", "Z-A"), event="card_illegal", card="x")]
    assert unlocks(trip, **ROAD) == [(60, None)]


def test_where_cards_are_named_no_other_may() -> None:
    def opened(card: str | None) -> list[Observation]:
        return [there(60, ("post", "Z-B"), event="unlock_ok", auth="rfid", card=card)]

    named = [act(ActKind.RELEASE, 0, cards=["a", "b"])]
    assert unlocks(opened("a"), acts=named, **ROAD) == []
    assert unlocks(opened(None), acts=named, **ROAD) == []
    assert unlocks(opened("c"), acts=named, **ROAD) == [(60, None)]
    assert unlocks(opened("c"), acts=[act(ActKind.RELEASE, 0)], **ROAD) == []
    later = [*named, act(ActKind.RESEAL, 50, cards=["c"])]
    assert unlocks(opened("c"), acts=later, **ROAD) == []
    assert unlocks(
        opened("c"), acts=[*named, act(ActKind.RESEAL, 70, cards=["c"])], now_s=65, **ROAD
    )


def test_a_known_card_does_not_open_on_the_road() -> None:
    trip = [there(60, event="unlock_ok", auth="rfid", card="a")]
    found = only(trip, acts=[act(ActKind.RELEASE, 0, cards=["a"])], **ROAD)
    assert found.evidence["why"] == ["place"]


# ---------------------------------------------------------------- PINs


def test_more_than_five_wrong_pins() -> None:
    wrong = [there(n * 60, ("post", "Z-A"), event="pin_wrong") for n in range(1, 7)]
    assert unlocks(wrong[:5], **ROAD) == []
    assert unlocks(wrong, **ROAD) == [(60, None)]
    found = only(wrong, **ROAD)
    assert found.evidence["why"] == ["pins"]
    assert found.found_by is not None
    assert found.found_by.seq == wrong[-1].seq


@pytest.mark.parametrize(("n", "opens"), [(5, False), (6, True)])
def test_a_seal_that_counts_them_itself(n: int, opens: bool) -> None:
    assert unlocks([there(60, event="pin_wrong", count=n)], **ROAD) == [(60, None)] * opens


@pytest.mark.parametrize("between", [{"event": "sealed"}, {"event": "unlock_ok"}])
def test_a_right_one_ends_the_row(between: dict[str, Any]) -> None:
    trip = [there(n, ("post", "Z-A"), event="pin_wrong") for n in (1, 2, 3, 5, 6, 7)]
    trip.append(there(4, ("post", "Z-A"), **between))
    assert unlocks(trip, **ROAD) == []


def test_so_does_an_officer() -> None:
    wrong = [there(n * 60, event="pin_wrong") for n in range(1, 7)]
    assert unlocks(wrong, acts=[reseal(100)], **ROAD) == []


# ---------------------------------------------------------------- episodes


def test_it_lasts_until_an_officer_reseals_and_counts_what_follows() -> None:
    trip = [there(60, event="unlock_ok"), there(120, event="unsealed"), there(300)]
    found = only(trip, acts=[reseal(200)], **ROAD)
    assert (found.evidence["count"], len(found.evidence["openings"])) == (2, 2)
    assert unlocks(trip, acts=[reseal(200)], **ROAD) == [(60, 200)]
    again = [*trip, there(400, event="unlock_ok")]
    assert unlocks(again, acts=[reseal(200)], **ROAD) == [(60, 200), (400, None)]


def test_a_flood_is_counted_not_listed() -> None:
    found = only([there(n, event="card_illegal") for n in range(1, 100)], **ROAD)
    assert (found.evidence["count"], len(found.evidence["openings"])) == (99, 16)
