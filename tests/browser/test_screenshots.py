"""Every page with a fleet on it, at a desk's and a phone's size: pictures to be looked at.

They are kept in ``var/screenshots``; ``make screenshot`` puts the map's into the README.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page

from tests.browser.people import SIZES
from tests.support.customs import Customs, rfc3339
from tests.support.stack import STOP_S, Stack, start_stack
from tracker.embedded import children
from tracker.reference import load_reference

PICTURES = Path(__file__).parents[2] / "var" / "screenshots"
SLOW_MS = 60_000
PLOTS: list[Any] = [
    "honest",
    {"name": "diversion", "params": {"at": 0.06, "km": 30, "returns": False}},
    {"name": "rope_cut", "params": {"at": 0.06}},
    {"name": "unauthorised_stop", "params": {"at": 0.06, "minutes": 40}},
    "honest",
    "honest",
]


@dataclass(frozen=True)
class Fleet:
    """A stack with reference data and lorries under way; the delivery with the most to tell."""

    stack: Stack
    delivery: str


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("pictures")
    stack = start_stack(home / "data")
    customs = Customs(stack, "KZ")
    load_reference(stack.http, stack.token())
    routes = customs.get("/routes", limit=100)["items"][: len(PLOTS)]
    start = datetime.now(UTC) - timedelta(hours=3)
    vehicles, deliveries = [], []
    for n, (route, plot) in enumerate(zip(routes, PLOTS, strict=True)):
        line = [tuple(point) for point in route["geometry"]["coordinates"]]
        devices = [customs.device(f"{kind}{n}", kind) for kind in ("seal", "gps")]
        deliveries.append(
            customs.delivery(
                line,
                devices,
                departure=start,
                deadline=start + timedelta(days=3),
                corridor_m=20_000,
            )
        )
        vehicles.append(
            {
                "vehicle": f"lorry-{n}",
                "devices": [
                    {"id": id_, "kind": kind}
                    for id_, kind in zip(devices, ("seal", "gps"), strict=True)
                ],
                "route": [list(point) for point in line],
                "start": rfc3339(start),
                "plot": plot,
                "seed": n,
            }
        )
    plan = home / "plan.yaml"
    plan.write_text(yaml.safe_dump({"vehicles": vehicles}))
    simulator = children.start(
        customs.simulator_command("fleet", str(plan), "--flat-out"), stdout=None, stderr=None
    )
    for delivery in deliveries:
        customs.wait_for_position(delivery, since=start + timedelta(minutes=150))
    customs.settle(deliveries[1])
    yield Fleet(stack=stack, delivery=deliveries[1])
    children.end(simulator, timeout_s=STOP_S)
    children.end(stack.process, timeout_s=STOP_S)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pictures_of_every_page(fleet: Fleet, browser: Browser, width: int, height: int) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
    context.set_default_timeout(SLOW_MS)
    page = context.new_page()
    page.goto(f"{fleet.stack.http}/login?lang=en")
    _take(page, "login", width)
    admin = fleet.stack.info["admin"]
    page.get_by_label("User name").fill(admin["username"])
    page.get_by_label("Password").fill(admin["password"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#map[data-still]")
    page.wait_for_selector(".alert")
    _take(page, "map", width)
    for name, path in {
        "deliveries": "/deliveries",
        "delivery": f"/deliveries/{fleet.delivery}",
        "arrivals": "/arrivals",
        "carrier": "/carrier",
        "settings": "/settings",
        "zones": "/zones",
        "zone": "/zones?zone=Z-AISHABIBI",
    }.items():
        page.goto(fleet.stack.http + path)
        page.wait_for_load_state("networkidle" if name != "delivery" else "load")
        if name == "delivery":
            page.wait_for_selector(".case")
            page.wait_for_selector("#map[data-ready]")
        if name == "zone":
            page.wait_for_selector("#history li")
        if name.startswith("zone"):
            page.wait_for_selector("#map[data-ready][data-still]")
        _take(page, name, width)
    page.locator("#change").click()
    page.wait_for_selector("#form")
    page.wait_for_selector("#map[data-still]")
    _take(page, "zone-form", width)
    context.close()


def _take(page: Page, name: str, width: int) -> None:
    path = PICTURES / f"{name}-{width}.jpg"
    page.screenshot(path=path, type="jpeg", quality=70)
    # An empty page compresses to almost nothing.
    assert path.stat().st_size > 8_000, path
