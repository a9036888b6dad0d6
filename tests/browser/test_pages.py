"""The console in a real browser, on the real stack: what a person sees and can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.browser.people import SIZES, People, Scene
from tests.support.stack import Stack
from tests.support.waiting import wait_until

READY = "#map[data-ready]"
SLOW_MS = 60_000
"""WebGL in software on a busy machine; a person's graphics card takes a second."""
TELLING = """() => {
  window.told = [];
  const note = mutation => mutation.addedNodes.forEach(node => told.push(node.data));
  new MutationObserver(found => found.forEach(note)).observe(
    document.getElementById("news"), { childList: true });
}"""
"""Keeps all that is read out: the next news, of another delivery, takes the place of the last."""


@dataclass
class Visit:
    """A browser of its own with everything it asked for and complained of."""

    context: BrowserContext
    base: str
    outside: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def page(self, path: str) -> Page:
        """Open a page and keep an eye on it."""
        page = self.context.new_page()
        page.on("request", self._watch)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.faults.append(said.text))
        page.goto(self.base + path)
        return page

    def log_in(self, username: str) -> None:
        """Log in through the form, as people do."""
        page = self.page("/login?lang=en")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(People.PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(self.base + "/")
        page.close()

    def _watch(self, request: Request) -> None:
        if not request.url.startswith((self.base, "blob:", "data:")):
            self.outside.append(request.url)


@pytest.fixture(scope="module")
def people(stack: Stack) -> People:
    return People(stack)


@pytest.fixture(scope="module")
def scene(people: People) -> Scene:
    return people.scene()


@pytest.fixture
def visit(stack: Stack, browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(SLOW_MS)
    expect.set_options(timeout=SLOW_MS)
    visit = Visit(context=context, base=stack.http)
    yield visit
    context.close()
    assert visit.outside == []


def test_a_wrong_password_is_told_and_lets_nobody_in(visit: Visit, people: People) -> None:
    page = visit.page("/deliveries?lang=en")
    assert page.url.endswith("/login?next=/deliveries%3Flang%3Den")
    page.get_by_label("User name").fill(people.monitor)
    page.get_by_label("Password").fill("something else")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    assert visit.context.cookies(visit.base) == [] or "tracker_session" not in {
        cookie["name"] for cookie in visit.context.cookies(visit.base)
    }


def test_the_log_in_leads_to_the_page_that_was_wanted(visit: Visit, people: People) -> None:
    page = visit.page("/deliveries?lang=en&status=overdue")
    page.get_by_label("User name").fill(people.monitor)
    page.get_by_label("Password").fill(People.PASSWORD)
    # The page itself then keeps only its filter in the address.
    with page.expect_request(visit.base + "/deliveries?lang=en&status=overdue"):
        page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Deliveries")
    expect(page.get_by_label("Status")).to_have_value("overdue")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login*")
    page.goto(visit.base + "/")
    assert "/login" in page.url


@pytest.mark.parametrize(
    ("language", "title"), [("ru", "Тревоги"), ("kk", "Дабылдар"), ("en", "Alerts")]
)
def test_the_language_is_switched_and_kept(
    visit: Visit, people: People, language: str, title: str
) -> None:
    visit.log_in(people.monitor)
    page = visit.page("/")
    page.locator(f".languages [lang={language}]").click()
    expect(page.locator("html")).to_have_attribute("lang", language)
    page.goto(visit.base + "/")
    expect(page.get_by_role("heading", level=2)).to_have_text(title)


def test_a_new_alert_appears_by_itself_and_is_acknowledged_by_keyboard(
    visit: Visit, people: People
) -> None:
    scene = people.scene()
    visit.log_in(people.monitor)
    page = visit.page("/")
    page.wait_for_selector(READY)
    page.evaluate("window.sameDocument = true")
    page.evaluate(TELLING)
    card = page.locator(".alert[data-code=seal_cut]", has_text=scene.number)
    expect(card).to_have_count(0)
    scene.cut_seal()
    expect(card).to_be_visible()
    expect(card).to_contain_text("Critical")
    wait_until(lambda: _told(page, scene.number), 60, "the news of the alert")
    card.focus()
    page.keyboard.press("a")
    wait_until(lambda: _told(page, "Acknowledged"), 60, "the news that it is acknowledged")
    expect(card).to_have_count(0)
    assert scene.alert("seal_cut")["status"] == "acknowledged"
    page.get_by_role("button", name="All unresolved").click()
    expect(card).to_contain_text("Acknowledged")
    assert page.evaluate("window.sameDocument") is True
    assert visit.faults == []


def _told(page: Page, words: str) -> bool:
    return bool(page.evaluate("words => told.some(one => one.includes(words))", words))


def test_the_vehicle_is_on_the_map_and_leads_to_its_delivery(visit: Visit, people: People) -> None:
    scene = people.scene()
    scene.report_position()
    visit.log_in(people.monitor)
    page = visit.page("/")
    page.wait_for_selector(READY)
    assert int(page.locator("#count-devices").inner_text()) >= 1
    scene.cut_seal()
    card = page.locator(".alert", has_text=scene.number)
    card.get_by_role("button", name="On the map").click()
    # It has begun to move with the click itself.
    page.wait_for_selector("#map[data-still]")
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url(f"**/deliveries/{scene.delivery}")


def test_the_delivery_page_tells_all_and_resolves_an_alert(visit: Visit, people: People) -> None:
    scene = people.scene()
    scene.cut_seal()
    visit.log_in(people.monitor)
    page = visit.page(f"/deliveries/{scene.delivery}")
    expect(page.get_by_role("heading", level=1)).to_have_text(scene.number)
    expect(page.locator("#anomalies")).to_contain_text("Seal cable cut")
    expect(page.locator("#anomalies")).to_contain_text("an event of the seal")
    expect(page.locator("#risk")).to_contain_text("Sum (log odds)")
    expect(page.locator("#times")).to_contain_text("left")
    alert = page.locator(".case[data-code=seal_cut]")
    alert.get_by_role("button", name="Resolve").click()
    page.get_by_label("Confirmed").check()
    page.get_by_label("What was found").fill("the cable is cut through")
    page.get_by_role("button", name="Resolve", exact=True).click()
    expect(alert).to_have_attribute("data-status", "resolved")
    expect(alert).to_contain_text("the cable is cut through")
    assert scene.alert("seal_cut")["finding"] == "confirmed"
    assert visit.faults == []


def test_another_route_is_declared_on_the_delivery_page(visit: Visit, people: People) -> None:
    scene = people.scene()
    detour = {"type": "LineString", "coordinates": [[76.9, 43.25], [77.2, 43.1], [77.4, 43.4]]}
    code = f"DETOUR-{scene.seal}"
    people.customs.post("/routes", {"code": code, "name": "By the south", "geometry": detour})
    visit.log_in(people.monitor)
    page = visit.page(f"/deliveries/{scene.delivery}")
    page.get_by_role("button", name="Declare another route").click()
    page.locator("dialog select[name=route_code]").select_option(code)
    page.get_by_label("Reason").fill("the road is closed by snow")
    page.locator("dialog").get_by_role("button", name="Record").click()
    expect(page.locator("dialog")).to_be_hidden()
    wait_until(lambda: scene.read()["route_code"] == code, 30, "the route in force")
    declared = people.customs.get(f"/deliveries/{scene.delivery}/route")["routes"]
    assert [route["code"] for route in declared][1:] == [code]
    assert visit.faults == []


def test_an_officer_confirms_an_arrival(visit: Visit, people: People) -> None:
    scene = people.scene()
    scene.cut_seal()
    visit.log_in(people.officer)
    page = visit.page("/arrivals")
    row = page.locator("tr", has_text=scene.number)
    row.get_by_role("button", name="Confirm the arrival").click()
    page.get_by_role("radio", name="intact").check()
    page.locator("dialog").get_by_role("button", name="Confirm the arrival").click()
    decision = page.locator("dialog")
    expect(decision).to_contain_text("red")
    expect(decision).to_contain_text("as confirmed and as reported by it differ")
    decision.get_by_role("button", name="Close").click()
    expect(row).to_have_count(0)
    assert scene.read()["status"] == "arrived"


def test_a_refusal_is_shown_in_the_dialog(visit: Visit, people: People) -> None:
    scene = people.scene()
    visit.log_in(people.officer)
    page = visit.page("/arrivals")
    row = page.locator("tr", has_text=scene.number)
    row.get_by_role("button", name="Confirm the arrival").click()
    page.get_by_role("radio", name="intact").check()
    scene.arrive()
    page.locator("dialog").get_by_role("button", name="Confirm the arrival").click()
    expect(page.locator("dialog").get_by_role("alert")).to_be_visible()


def test_a_carrier_notifies_and_sees_no_scores(visit: Visit, people: People) -> None:
    scene = people.scene()
    scene.cut_seal()
    visit.log_in(people.carrier_of(scene))
    page = visit.page("/carrier")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.get_by_label("Delivery").select_option(scene.delivery)
    page.get_by_role("button", name="Send the notification").click()
    expect(page.locator(".form-state")).to_have_text("Customs has been notified.")
    page.goto(f"{visit.base}/deliveries/{scene.delivery}")
    expect(page.locator("#risk")).to_contain_text("seal")
    expect(page.locator("#risk")).not_to_contain_text("Probability")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.goto(visit.base + "/deliveries/00000000-0000-4000-8000-000000000000")
    expect(page.get_by_role("alert")).to_contain_text("not yours to see")


def test_a_lost_connection_is_told_and_mends_itself(visit: Visit, people: People) -> None:
    visit.log_in(people.monitor)
    visit.context.route("**/api/v1/stream*", lambda route: route.abort())
    page = visit.page("/")
    banner = page.locator("#connection")
    expect(banner).to_contain_text("Connection lost")
    visit.context.unroute("**/api/v1/stream*")
    expect(banner).to_be_hidden()


def test_an_error_of_the_api_can_be_tried_again(visit: Visit, people: People) -> None:
    visit.log_in(people.monitor)
    visit.context.route("**/api/v1/deliveries?*", lambda route: route.abort())
    page = visit.page("/deliveries")
    expect(page.locator("#list").get_by_role("alert")).to_contain_text("No connection")
    visit.context.unroute("**/api/v1/deliveries?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#list [role=alert]")).to_have_count(0)


def test_the_list_is_filtered_and_says_when_nothing_fits(
    visit: Visit, people: People, scene: Scene
) -> None:
    visit.log_in(people.monitor)
    page = visit.page("/deliveries")
    page.get_by_label("Search").fill(scene.number)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(re.escape(f"q={scene.number}")))
    page.get_by_label("Search").fill("no such number")
    expect(page.locator("#list")).to_contain_text("No delivery fits")


def test_the_map_report_opens_and_asks_for_nothing_outside(
    visit: Visit, people: People, scene: Scene
) -> None:
    scene.report_position()
    visit.log_in(people.monitor)
    page = visit.page(f"/api/v1/deliveries/{scene.delivery}/map?lang=en")
    expect(page.locator(".leaflet-container path[stroke='#6b4aa0']").first).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(scene.number)
    assert visit.faults == []


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_page_scrolls_sideways(
    visit: Visit, people: People, scene: Scene, size: tuple[int, int]
) -> None:
    visit.log_in(people.admin())
    for path in (
        "/",
        "/deliveries",
        f"/deliveries/{scene.delivery}",
        "/arrivals",
        "/carrier",
        "/zones",
    ):
        page = visit.page(path)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, f"{path} is {width} px too wide"
        page.close()
    assert visit.faults == []


def test_times_are_kazakhstans_and_hover_shows_utc(
    visit: Visit, people: People, scene: Scene
) -> None:
    visit.log_in(people.monitor)
    page = visit.page(f"/deliveries/{scene.delivery}")
    shown = page.locator("#times time").first
    utc, local = shown.get_attribute("title"), shown.inner_text()
    assert utc is not None
    assert utc.endswith("UTC")
    there, here = int(utc[11:13]), int(local.split(", ")[1][:2])
    assert (there + 5) % 24 == here
