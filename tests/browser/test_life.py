# ruff: noqa: F401, F811 - fixtures are imported, and named again where they are used
"""The life cycle in the browser: what carrier, officer and administrator record."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from tests.browser.people import People, Scene
from tests.browser.test_pages import Visit, people, visit


def test_a_carrier_reports_an_incident_and_reads_what_telemetry_says(
    visit: Visit, people: People
) -> None:
    scene = people.scene()
    scene.report_position()
    visit.log_in(people.carrier_of(scene))
    page = visit.page("/carrier?lang=en")
    row = page.get_by_role("row", name=scene.number)
    row.get_by_role("button", name="Report an incident").click()
    page.get_by_role("dialog").locator("[name=code]").select_option("2")
    page.get_by_label("In words").fill("the rope was cut at night")
    page.get_by_role("button", name="Send", exact=True).click()
    told = page.get_by_role("dialog")
    expect(told).to_contain_text("contradicts")
    told.get_by_role("button", name="Close the window").click()
    (incident,) = scene.customs.get(f"/deliveries/{scene.delivery}/incidents")["items"]
    assert (incident["code"], incident["agrees"]) == (2, False)
    assert visit.faults == []


def test_an_officer_reseals_controls_and_ends_the_control(visit: Visit, people: People) -> None:
    scene = people.scene()
    other = people.customs.device(f"other-{scene.seal[-6:]}", "seal")
    visit.log_in(people.officer)
    page = visit.page(f"/deliveries/{scene.delivery}?lang=en")
    page.get_by_role("button", name="Reseal").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(scene.seal).check()
    dialog.get_by_label("Devices that are put on").fill(other)
    dialog.get_by_label("Reason").fill("cut")
    dialog.get_by_role("button", name="Record").click()
    expect(page.locator("#acts")).to_contain_text(f"+ {other}")

    scene.arrive()
    page.get_by_role("button", name="Record a control").click()
    dialog.get_by_label("clean").check()
    dialog.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="End the control").click()
    dialog.get_by_role("button", name="End the control").click()
    expect(page.locator("#badges")).to_contain_text("Completed")
    assert scene.read()["status"] == "completed"
    assert visit.faults == []


def test_an_officer_sends_the_picture_of_a_scan(visit: Visit, people: People) -> None:
    scene = people.scene()
    scene.arrive()
    visit.log_in(people.officer)
    page = visit.page(f"/deliveries/{scene.delivery}?lang=en")
    page.get_by_role("button", name="Record a scan").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("suspicious").check()
    picture = b"\x89PNG\r\n\x1a\n" + bytes(1_000_000)
    file = dialog.get_by_label("File, at most 5 MB")
    bar = dialog.locator("progress")
    expect(bar).to_be_hidden()
    file.set_input_files({"name": "scan.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"})
    dialog.get_by_role("button", name="Record").click()
    expect(dialog.get_by_role("alert")).to_contain_text("File: Files of this kind are not taken")
    expect(bar).to_be_hidden()
    stood: list[bool] = []

    def sent(route: Route) -> None:
        # The bar stands as long as the server has not answered.
        expect(bar).to_be_visible()
        stood.append(True)
        route.continue_()

    page.route("**/scans", sent)
    file.set_input_files({"name": "scan.png", "mimeType": "image/png", "buffer": picture})
    dialog.get_by_role("button", name="Record").click()
    expect(dialog).to_be_hidden()
    assert stood == [True]
    (scan,) = scene.customs.get(f"/deliveries/{scene.delivery}/scans")["items"]
    assert (scan["result"], scan["file"]["name"]) == ("suspicious", "scan.png")
    assert scan["file"]["size_bytes"] == len(picture)
    (refused,) = visit.faults  # what the browser says of a refusal
    assert "422" in refused


def test_an_administrator_sets_a_threshold(visit: Visit, people: People) -> None:
    scene: Scene = people.scene()
    visit.log_in(people.admin())
    page = visit.page("/settings?lang=en")
    page.locator("[name=scope]").select_option("delivery")
    page.get_by_label("Post, lane FROM>TO or delivery").fill(scene.delivery)
    page.locator("[name=name]").select_option("stop_s")
    page.get_by_label("Value; empty takes it back").fill("1800")
    page.get_by_label("Reason").fill("road works")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("judged again: 1")
    expect(page.locator("#list")).to_contain_text("stop_s = 1,800")
    known = scene.customs.get(f"/deliveries/{scene.delivery}/limits")
    assert known["values"]["stop_s"] == 1800
    assert visit.faults == []
