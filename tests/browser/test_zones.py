# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The page of zones in the browser: drawing, refusals, versions, ends, and who only looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import SIZES, People
from tests.browser.test_pages import Visit, people, visit
from tests.support.customs import names, rfc3339
from tests.support.waiting import wait_until

SQUARE = [[76.0, 43.0], [76.1, 43.0], [76.1, 43.1], [76.0, 43.1], [76.0, 43.0]]
MAP = "#map[data-ready][data-still]"
CORNERS = ((0.3, 0.4), (0.6, 0.35), (0.65, 0.7), (0.35, 0.75))
"""Places on the map, parts of its width and height."""


def _zone(people: People, name: str, **more: Any) -> str:
    code = people.customs.code(name)
    square = {"type": "Polygon", "coordinates": [SQUARE]}
    body = {"code": code, "name": names(f"{name} {code}"), "kind": "parking", "geometry": square}
    people.customs.post("/zones", body | more)
    return code


def _changing(visit: Visit, people: People, code: str) -> Page:
    """The form of a change of a zone, as an administrator opens it."""
    visit.log_in(people.admin())
    page = visit.page(f"/zones?lang=en&zone={code}")
    page.wait_for_selector(MAP)
    page.get_by_role("button", name="Change").click()
    return page


def _versions(people: People, code: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = people.customs.get(f"/zones/{code}/versions")["items"]
    return found


def _at(page: Page, place: tuple[float, float]) -> tuple[float, float]:
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * place[0], box["y"] + box["height"] * place[1]


def _fill(page: Page, code: str, name: str) -> None:
    for language in ("Русский", "Қазақша", "English"):
        page.get_by_label(language).fill(name)
    page.get_by_label("Code", exact=False).last.fill(code)


def _type_outline(page: Page, corners: list[list[float]]) -> None:
    page.get_by_text("Enter or paste coordinates").click()
    page.locator("[name=geometry]").fill("\n".join(f"{lon}, {lat}" for lon, lat in corners))


def test_a_zone_is_drawn_mended_and_saved(visit: Visit, people: People) -> None:
    visit.log_in(people.monitor)
    page = visit.page("/zones?lang=en")
    page.wait_for_selector(MAP)
    page.keyboard.press("n")
    page.get_by_role("button", name="Draw on the map").click()
    hint = page.locator("#draw-hint")
    for n, place in enumerate((*CORNERS, (0.2, 0.2), (0.25, 0.2)), start=1):
        page.mouse.click(*_at(page, place))
        expect(hint).to_contain_text(f"Corners: {n}.")
    page.keyboard.press("Backspace")
    expect(hint).to_contain_text("Corners: 5.")
    page.keyboard.press("Control+z")
    expect(hint).to_contain_text("Corners: 4.")
    page.keyboard.press("Enter")
    expect(page.locator("#draw-bar")).to_be_hidden()
    expect(page.locator("#outline-state")).to_contain_text("Corners: 4")
    drawn = page.locator("[name=geometry]").input_value()

    canvas = page.locator("#map canvas")

    def holds_a_corner() -> bool:
        page.mouse.move(*_at(page, (0.5, 0.55)))
        page.mouse.move(*_at(page, CORNERS[0]))
        return bool(canvas.evaluate("it => it.style.cursor") == "grab")

    # The corners are on the map some frames later, and only a movement asks what it is over.
    wait_until(holds_a_corner, 60, "a corner under the mouse")
    page.mouse.down()
    page.mouse.move(*_at(page, (0.2, 0.25)), steps=4)
    page.mouse.up()
    expect(page.locator("[name=geometry]")).not_to_have_value(drawn)
    code = people.customs.code("drawn")
    _fill(page, code, "Drawn by hand")
    page.get_by_label("Longest stop, minutes").fill("90")
    page.locator("#form [name=kind]").select_option("rest")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.locator("#zone-title")).to_have_text("Drawn by hand")
    expect(page.locator("#history")).to_contain_text(people.monitor)
    (made,) = _versions(people, code)
    (ring,) = made["geometry"]["coordinates"]
    assert (made["kind"], made["max_dwell_s"], made["valid_from"]) == ("rest", 5400, None)
    assert (len(ring), ring[0]) == (5, ring[-1])
    assert ring[0][0] < min(lon for lon, _ in ring[1:-1]), "the dragged corner is the west one"
    assert visit.faults == []


def test_escape_gives_a_drawing_up_and_then_the_form(visit: Visit, people: People) -> None:
    visit.log_in(people.monitor)
    page = visit.page("/zones?lang=en")
    page.wait_for_selector(MAP)
    page.get_by_role("button", name="New zone").click()
    page.get_by_role("button", name="Draw on the map").click()
    page.mouse.click(*_at(page, CORNERS[0]))
    page.keyboard.press("Space")
    expect(page.locator("#draw-hint")).to_contain_text("Corners: 2.")
    page.keyboard.press("Enter")
    expect(page.locator("#draw-hint")).to_contain_text("Three at least")
    page.keyboard.press("Escape")
    expect(page.locator("#draw-bar")).to_be_hidden()
    expect(page.locator("#outline-state")).to_have_text("Not drawn yet.")
    page.get_by_label("English").fill("half done")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_label("English")).to_have_value("half done")
    page.locator("#form-cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(page.locator("#view-list")).to_be_visible()


def test_what_the_api_refuses_is_told_at_the_fields(visit: Visit, people: People) -> None:
    taken = _zone(people, "taken")
    visit.log_in(people.monitor)
    page = visit.page("/zones?lang=en")
    page.wait_for_selector(MAP)
    page.get_by_role("button", name="New zone").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-error='name.kk']")).to_have_text("Fill this in.")
    expect(page.locator("[data-error=geometry]")).to_have_text("Fill this in.")
    expect(page.locator("#form-state")).to_contain_text("Fields to correct: 5")

    _type_outline(page, [[76.0, 43.0], [76.1, 43.1], [76.1, 43.0], [76.0, 43.1]])
    _fill(page, "with space", "Refused")
    page.locator("[name=valid_from]").fill("2026-03-02T08:00")
    page.locator("[name=valid_to]").fill("2026-03-01T08:00")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-error=code]")).to_contain_text("Without spaces")

    page.locator("[name=code]").fill(taken)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-error=valid_to]")).to_have_text("It must lie after the start.")
    page.locator("[name=valid_to]").fill("")
    expect(page.locator("[data-error=valid_to]")).to_be_hidden()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-error=geometry]")).to_contain_text("crosses itself")

    page.locator("[name=geometry]").fill("76.0, 43.0\n76.1\n")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-error=geometry]")).to_contain_text("Line 2")
    page.locator("[name=geometry]").fill(f'{{"type": "Polygon", "coordinates": [{SQUARE}]}}')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-error=code]")).to_contain_text("taken")
    assert len(_versions(people, taken)) == 1


NO_WEBGL = """
const own = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind.startsWith("webgl") ? null : own.call(this, kind, ...more);
};
"""


def test_without_a_map_a_zone_is_entered_by_its_coordinates(visit: Visit, people: People) -> None:
    visit.context.add_init_script(NO_WEBGL)
    visit.log_in(people.monitor)
    page = visit.page("/zones?lang=en")
    expect(page.locator("#map-state").get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="New zone").click()
    expect(page.get_by_role("button", name="Draw on the map")).to_be_disabled()
    page.locator("[name=geometry]").fill("\n".join(f"{lon}; {lat}" for lon, lat in SQUARE[:4]))
    code = people.customs.code("typed")
    _fill(page, code, "Typed")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#zone-title")).to_have_text("Typed")
    (made,) = _versions(people, code)
    assert made["geometry"]["coordinates"] == [SQUARE]


def test_a_zone_is_changed_from_a_time_on_and_the_history_tells(
    visit: Visit, people: People
) -> None:
    code = _zone(people, "changed")
    page = _changing(visit, people, code)
    _type_outline(page, [[76.0, 43.0], [76.2, 43.0], [76.2, 43.2], [76.0, 43.2]])
    expect(page.locator("#outline-state")).to_contain_text("km²")
    page.locator("#form [name=kind]").select_option("restricted")
    page.locator("[name=valid_from]").fill("2026-03-01T08:00")
    page.get_by_role("button", name="Save", exact=True).click()
    newest = page.locator("#history [data-version='2']")
    expect(newest).to_contain_text("outline, kind: Parking → Restricted")
    expect(newest).to_contain_text("from 01/03/2026, 08:00:00")
    first, second = _versions(people, code)
    assert first["valid_to"] == second["valid_from"] == "2026-03-01T03:00:00.000Z"
    assert second["geometry"]["coordinates"][0][2] == [76.2, 43.2]
    page.locator("#history [data-version='1']").get_by_role("button").click()
    expect(page.locator("#history [aria-pressed=true]")).to_have_count(1)
    assert visit.faults == []


def test_a_change_that_came_between_is_told_and_nothing_is_lost(
    visit: Visit, people: People
) -> None:
    code = _zone(people, "contested")
    page = _changing(visit, people, code)
    page.get_by_label("Longest stop, minutes").fill("30")
    other = {
        "name": names("Theirs"),
        "kind": "fuel",
        "geometry": _versions(people, code)[0]["geometry"],
    }
    answer = people.customs.http.put(f"/api/v1/zones/{code}", json=other)
    assert answer.is_success, answer.text
    page.get_by_role("button", name="Save", exact=True).click()
    lost = page.locator("#lost")
    expect(lost).to_contain_text("has changed this zone in the meantime: version 2")
    expect(page.get_by_label("Longest stop, minutes")).to_have_value("30")
    assert len(_versions(people, code)) == 2
    lost.get_by_role("button", name="Save mine after it").click()
    expect(page.locator("#history li")).to_have_count(3)
    assert _versions(people, code)[-1]["max_dwell_s"] == 1800


def test_a_zone_is_ended_and_the_end_is_taken_back(visit: Visit, people: People) -> None:
    code = _zone(people, "ended", max_dwell_s=600)
    visit.log_in(people.admin())
    page = visit.page(f"/zones?lang=en&zone={code}")
    page.wait_for_selector(MAP)
    page.get_by_role("button", name="End…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It stays in the history")
    dialog.get_by_role("button", name="Cancel").click()
    assert _versions(people, code)[0]["valid_to"] is None
    page.get_by_role("button", name="End…").click()
    dialog.get_by_role("button", name="End the zone").click()
    expect(page.locator("#view-zone .badge", has_text="over")).to_be_visible()
    (ended,) = _versions(people, code)
    assert ended["valid_to"] is not None
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator("#history li")).to_have_count(2)
    _, again = _versions(people, code)
    assert (again["valid_from"], again["valid_to"]) == (ended["valid_to"], None)
    assert again["max_dwell_s"] == 600
    assert visit.faults == []


def test_the_zone_of_a_post_is_not_offered_to_be_ended(visit: Visit, people: People) -> None:
    visit.log_in(people.admin())
    page = visit.page(f"/zones?lang=en&zone=post:{people.ends[0]}")
    expect(page.locator("#view-zone")).to_contain_text("cannot be ended, only changed")
    expect(page.get_by_role("button", name="Change")).to_be_visible()
    expect(page.get_by_role("button", name="End…")).to_have_count(0)


@pytest.mark.parametrize("role", ["officer", "carrier"])
def test_who_may_only_look_sees_no_form(visit: Visit, people: People, role: str) -> None:
    code = _zone(people, f"seen-{role}")
    visit.log_in(people.officer if role == "officer" else people.carrier_of(people.scene()))
    page = visit.page(f"/zones?lang=en&zone={code}")
    expect(page.locator("#history li")).to_have_count(1)
    expect(page.get_by_role("button", name="Show on the map")).to_be_visible()
    for name in ("Change", "End…", "New zone"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.locator("#form, #new")).to_have_count(0)
    known_author = page.locator("#history", has_text="admin")
    expect(known_author).to_have_count(1 if role == "officer" else 0)
    assert visit.faults == []


def test_the_list_is_searched_filtered_and_gone_through_by_key(
    visit: Visit, people: People
) -> None:
    past = rfc3339(datetime.now(UTC) - timedelta(days=1))
    here = _zone(people, "Findme", kind="fuel")
    over = _zone(people, "Findme-over", kind="fuel", valid_to=past)
    visit.log_in(people.monitor)
    page = visit.page("/zones?lang=en")
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    page.keyboard.press("/")
    page.keyboard.type("findme")
    expect(page.locator("#list [data-code]")).to_have_count(1)
    page.locator("#filter [name=state]").select_option("over")
    expect(page.locator(f"#list [data-code='{over}']")).to_contain_text("over")
    expect(page.locator("#list [data-code]")).to_have_count(1)
    page.locator("#filter [name=state]").select_option("all")
    expect(page.locator("#list [data-code]")).to_have_count(2)
    page.locator("#filter [name=kind]").select_option("rest")
    expect(page.locator("#list")).to_contain_text("No zone fits this filter.")
    page.get_by_role("button", name="Clear the filter").click()
    page.get_by_label("Search").fill(here)
    expect(page.locator("#list [data-code]")).to_have_count(1)
    page.get_by_label("Search").press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#zone-title")).to_contain_text("Findme")
    assert f"zone={here}" in page.url
    page.keyboard.press("Escape")
    expect(page.locator(f"#list [data-code='{here}']")).to_be_focused()
    page.go_back()
    expect(page.locator("#zone-title")).to_be_visible()
    assert visit.faults == []


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("language", ["ru", "kk", "en"])
def test_the_form_fits_its_pane(
    visit: Visit, people: People, size: tuple[int, int], language: str
) -> None:
    code = _zone(people, f"fits-{language}-{size[0]}")
    visit.log_in(people.admin())
    page = visit.page(f"/zones?lang={language}&zone={code}")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.locator("#change").click()
    for part in ("document.documentElement", "document.querySelector('#form > .scroll')"):
        assert page.evaluate(f"{part}.scrollWidth - {part}.clientWidth") <= 0, part
    assert visit.faults == []
