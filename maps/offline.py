"""folium without any outside address: its scripts from our own files, or inside the page itself.

folium's elements name their scripts at public hosts. Only the map itself is used here that needs
any (Leaflet, and jQuery for popups); a subclass names ours, so folium stays as it is for others.
"""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import folium
from branca.element import CssLink, Element, Figure, JavascriptLink
from jinja2 import Template

VENDOR = Path(__file__).parent.parent / "tracker" / "console" / "static" / "vendor"
SCRIPTS: Final = ("leaflet/leaflet.js", "jquery/jquery.min.js")
STYLES: Final = ("leaflet/leaflet.css",)


class OfflineMap(folium.Map):
    """A folium map that brings no script or style of its own: see `add_scripts`."""

    default_js: list[tuple[str, str]] = []  # noqa: RUF012  folium's own form
    default_css: list[tuple[str, str]] = []  # noqa: RUF012


class _Raw(Element):
    """Text put into the page as it is; as a template, braces in a script would be executed."""

    _template = Template("{{ this.text }}")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def raw(text: str) -> Any:
    """An element of a page that holds exactly this HTML; the caller has escaped it."""
    return _Raw(text)


def add_scripts(figure: Figure, static_base: str | None) -> None:
    """Give the page Leaflet and jQuery: from ``static_base``, or with None in the page itself.

    Raises:
        RuntimeError: the files to put in have not been built.
    """
    for name in STYLES:
        link = raw(f"<style>{_css(name)}</style>") if static_base is None else None
        figure.header.add_child(link or CssLink(f"{static_base}/{name}"), name=name)
    for name in SCRIPTS:
        script = raw(f"<script>{_script(name)}</script>") if static_base is None else None
        figure.header.add_child(script or JavascriptLink(f"{static_base}/{name}"), name=name)


def _read(name: str) -> bytes:
    try:
        return (VENDOR / name).read_bytes()
    except FileNotFoundError:
        raise RuntimeError(f"{name} has not been built: run `make assets`") from None


@cache
def _script(name: str) -> str:
    text = _read(name).decode("utf-8").replace("</script", "<\\/script")
    return re.sub(r"//# sourceMappingURL=\S+", "", text)


@cache
def _css(name: str) -> str:
    """The style sheet with its images inside."""
    folder = name.rpartition("/")[0]

    def inside(match: re.Match[str]) -> str:
        image = base64.b64encode(_read(f"{folder}/{match[1]}")).decode("ascii")
        return f"url(data:image/png;base64,{image})"

    return re.sub(r"url\((images/[\w-]+\.png)\)", inside, _read(name).decode("utf-8"))
