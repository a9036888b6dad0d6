# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The manners of the console: its language, the keyboard's place, sessions that end."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import People
from tests.browser.test_pages import Visit, people, visit

TOO_OLD = "2019-01-01T00:00"
TOO_LATE = "2098-01-01T00:00"


@pytest.mark.parametrize(
    ("language", "field", "old", "late", "reason"),
    [
        ("ru", "Когда это было:", "Давность больше", "Время в будущем", "трос пломбы"),
        ("kk", "Қашан болды:", "күннен көп бұрын", "болашақтағы", "пломба"),
        ("en", "When it happened:", "days back", "in the future", "seal rope cut"),
    ],
)
def test_refusals_and_reasons_are_in_the_language_of_the_page(
    visit: Visit, people: People, language: str, field: str, old: str, late: str, reason: str
) -> None:
    scene = people.scene()
    scene.cut_seal()
    visit.log_in(people.officer)
    page = visit.page(f"/deliveries/{scene.delivery}?lang={language}")
    # The browser itself wants English.
    expect(page.locator("#risk")).to_contain_text(reason)
    page.locator("#actions button:not(.primary)").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=text]").fill("?")
    told = dialog.get_by_role("alert")
    for at, words in ((TOO_OLD, old), (TOO_LATE, late)):
        dialog.locator("[name=at]").fill(at)
        dialog.locator("[type=submit]").click()
        expect(told).to_contain_text(field)
        expect(told).to_contain_text(words)
        expect(told).not_to_contain_text("body.")
    assert scene.customs.get(f"/deliveries/{scene.delivery}/incidents")["items"] == []


def test_the_keyboard_keeps_its_place_and_blanks_are_no_words(visit: Visit, people: People) -> None:
    scene = people.scene()
    scene.cut_seal()
    visit.log_in(people.monitor)
    page = visit.page(f"/deliveries/{scene.delivery}?lang=en")
    case = page.locator(".case[data-code=seal_cut]")
    case.get_by_role("button", name="Acknowledge").press("Enter")
    expect(case).to_have_attribute("data-status", "acknowledged")
    expect(case.get_by_role("button", name="Resolve")).to_be_focused()
    comment = case.get_by_role("button", name="Comment")
    comment.press("Enter")
    words = page.get_by_role("dialog").get_by_label("In words")
    words.fill("   ")
    page.get_by_role("dialog").get_by_role("button", name="Add").press("Enter")
    assert words.evaluate("field => field.validationMessage") == "Fill this in."
    words.fill("w" * 400)
    page.get_by_role("dialog").get_by_role("button", name="Add").press("Enter")
    expect(case).to_contain_text("www")
    expect(comment).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    history = scene.alert("seal_cut")["history"]
    said = [line["text"] for line in history if line["who"] == people.monitor]
    assert [text for text in said if text] == ["w" * 400]
    assert visit.faults == []


def test_an_officer_names_a_seal_that_is_not_the_deliverys(visit: Visit, people: People) -> None:
    scene, next_one = people.scene(), people.scene()
    visit.log_in(people.officer)
    page = visit.page("/arrivals?lang=en")
    row = page.locator("tr", has_text=scene.number)
    row.get_by_role("button", name="Confirm the arrival").press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("missing").check()
    dialog.get_by_label("Another seal is on it").fill("SEAL-OTHER")
    dialog.get_by_role("button", name="Confirm the arrival").press("Enter")
    expect(dialog).to_contain_text("not on this delivery")
    dialog.get_by_role("button", name="Close").press("Enter")
    expect(row).to_have_count(0)
    # The row has gone: the keyboard is on the nearest one, not at the top of the page.
    expect(page.locator("#list tbody button:focus")).to_have_count(1)
    expect(page.locator("tr", has_text=next_one.number)).to_have_count(1)
    page.goto(f"{visit.base}/deliveries/{scene.delivery}")
    expect(page.locator("#anomalies")).to_contain_text("SEAL-OTHER · intact")
    expect(page.locator("#anomalies")).not_to_contain_text("{")


def _ends_at_the_log_in(page: Page, way: str) -> None:
    page.wait_for_url(f"**/login?next={way}")
    expect(page.get_by_label("User name")).to_be_visible()


def test_an_ended_session_leads_to_the_log_in_and_back(visit: Visit, people: People) -> None:
    visit.log_in(people.monitor)
    page = visit.page("/deliveries?lang=en&status=overdue")
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    visit.context.clear_cookies()
    page.get_by_label("Search").fill(" 1 ")
    _ends_at_the_log_in(page, "%2Fdeliveries%3Fq%3D1%26status%3Doverdue")

    # The stream, which is refused without a word of why, leads there too.
    visit.log_in(people.monitor)
    visit.context.route("**/api/v1/stream*", lambda route: route.abort())
    page.goto(visit.base + "/?lang=en")
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    visit.context.clear_cookies()
    visit.context.unroute("**/api/v1/stream*")
    _ends_at_the_log_in(page, "%2F%3Flang%3Den")

    # And there is nothing to log out of.
    visit.log_in(people.monitor)
    page.goto(visit.base + "/deliveries?lang=en")
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    visit.context.clear_cookies()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
