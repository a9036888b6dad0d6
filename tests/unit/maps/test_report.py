"""The map report: everything is on it, nothing on it reaches out, no text can become script."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import folium
import pytest
from shapely.geometry import LineString, mapping

from maps.report import delivery_report, safe
from maps.report_values import (
    DeliveryReport,
    ReportAnomaly,
    ReportPoint,
    ReportPost,
    ReportReason,
    ReportTrack,
    ReportZone,
)

T0 = datetime(2026, 3, 1, 4, tzinfo=UTC)
LINE = LineString([(80.3852, 44.2234), (80.0074, 44.1662), (79.4658, 43.5381), (76.9115, 43.2525)])
HOSTILE = "</script><img src=x onerror=alert(1)>`${alert(2)}`\\"


def report(text: str = "rope cut by event") -> DeliveryReport:
    places = [LINE.interpolate(n / 300, normalized=True) for n in range(300)]
    points = tuple(
        ReportPoint(t=T0 + timedelta(minutes=n), lon=p.x, lat=p.y, speed_kmh=60.0)
        for n, p in enumerate(places)
    )
    return DeliveryReport(
        title=f"55301/010326/1 {text}",
        facts=(("Vehicle", f"123 ABC 02 {text}"),),
        generated_at=T0,
        route=mapping(LINE),
        corridor=mapping(LINE.buffer(0.05)),
        tracks=(ReportTrack(device_id="GPS-1", kind="gps", points=points),),
        anomalies=(
            ReportAnomaly(
                title="Seal cable cut",
                text=text,
                severity="critical",
                severity_name="Critical",
                start=T0,
                geometry={"type": "Point", "coordinates": [79.5, 43.6]},
            ),
        ),
        zones=(ReportZone(name=f"Rest {text}", kind="rest", geometry=mapping(LINE.buffer(0.01))),),
        posts=(ReportPost(name=f"Almaty {text}", lon=76.9, lat=43.2, role="destination"),),
        reasons=(
            ReportReason(text="Base rate", contribution=-5.25),
            ReportReason(text="Seal cut", contribution=3.7),
        ),
    )


class _Addresses(HTMLParser):
    """Every address that a browser would fetch for the page, and every element's name."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "srcset", "data", "poster")]
        if tag == "link":
            self.fetched += [v or "" for k, v in attrs if k == "href"]

    @property
    def outside(self) -> list[str]:
        """Those that the page does not carry itself."""
        return [address for address in self.fetched if not address.startswith("data:")]


def parsed(html: str) -> _Addresses:
    parser = _Addresses()
    parser.feed(html)
    return parser


def test_with_a_base_every_file_comes_from_there() -> None:
    page = delivery_report(report(), locale="en", static_base="/static/vendor")
    found = parsed(page).outside
    assert "/static/vendor/leaflet/leaflet.js" in found
    assert all(address.startswith("/static/vendor/") for address in found)
    assert "://" not in page


def test_without_a_base_the_page_fetches_nothing() -> None:
    page = delivery_report(report(), locale="en", static_base=None)
    assert parsed(page).outside == []
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.S))
    assert not re.findall(r"url\((?!data:|#)[^)]*\)|@import", styles)


def test_folium_itself_is_left_as_it_was() -> None:
    before = list(folium.Map.default_js), list(folium.Map.default_css)
    delivery_report(report(), locale="en", static_base=None)
    assert (folium.Map.default_js, folium.Map.default_css) == before
    assert "cdn" in folium.Map().get_root().render()


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("ru", ("Основания оценки риска", "Алматы")),
        ("kk", ("Тәуекелді бағалау негіздері", "Қонаев")),
        ("en", ("Reasons for the risk", "Konayev")),
    ],
)
def test_it_speaks_the_language(locale: str, words: tuple[str, ...]) -> None:
    page = delivery_report(report(), locale=locale, static_base="/s")
    assert f"lang='{locale}'" in page
    assert [word for word in words if word not in page] == []


def test_times_are_those_of_kazakhstan_and_reasons_are_summed() -> None:
    page = delivery_report(report(), locale="en", static_base="/s")
    assert "01.03.2026 09:00:00" in page
    assert "−1.55" in page


def test_all_layers_are_there() -> None:
    page = delivery_report(report(), locale="en", static_base="/s")
    for name in ("Declared route", "Zones", "Posts", "Track of the vehicle GPS-1", "Anomalies"):
        assert name in page


def test_hostile_text_stays_text() -> None:
    plain = parsed(delivery_report(report(), locale="en", static_base="/s"))
    hostile = delivery_report(report(HOSTILE), locale="en", static_base="/s")
    found = parsed(hostile)
    assert sorted(found.names) == sorted(plain.names)
    assert found.fetched == plain.fetched
    scripts = "".join(re.findall(r"<script>(.*?)</script>", hostile, re.S))
    assert "${alert" not in scripts


def test_safe_leaves_nothing_to_a_template_literal() -> None:
    assert not set(safe(HOSTILE)) & set("`$\\<>\"'")


def test_an_empty_delivery_still_has_a_report() -> None:
    bare = DeliveryReport(title="N", facts=(), generated_at=T0)
    assert "No anomalies." in delivery_report(bare, locale="en", static_base="/s")
