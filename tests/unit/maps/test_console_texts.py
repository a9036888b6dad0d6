"""The console says everything in three languages, and its pages hold no inline script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2.ext import babel_extract

from tracker.console.catalogs import DEFAULT, LOCALES, choose_locale, texts
from tracker.console.pages import TEMPLATES

SCRIPTS = TEMPLATES.parent / "static" / "js"
CALL = re.compile(r"""\bt\(\s*"((?:[^"\\]|\\.)+)\"""")


def _used() -> set[str]:
    used = {m for path in SCRIPTS.glob("*.js") for m in CALL.findall(path.read_text("utf-8"))}
    for path in TEMPLATES.glob("*.html"):
        with path.open("rb") as file:
            found = babel_extract(file, ("_",), [], {"trimmed": "true"})
            used |= {str(message) for _, _, message, _ in found}
    return used


def test_texts_are_found_in_scripts_and_pages() -> None:
    assert {"Acknowledge", "New alert", "Live map", "{distance} from the route"} <= _used()


@pytest.mark.parametrize("locale", LOCALES)
def test_every_text_is_there(locale: str) -> None:
    assert sorted(_used() - set(texts(locale))) == []


@pytest.mark.parametrize("locale", LOCALES)
def test_no_text_is_left_over(locale: str) -> None:
    words = {key for key in texts(locale) if not re.match(r"^[a-z]+\.[a-z_]+$", key)}
    assert sorted(words - _used()) == []


@pytest.mark.parametrize("locale", LOCALES)
def test_placeholders_survive_translation(locale: str) -> None:
    def holes(text: str) -> list[str]:
        return sorted(re.findall(r"\{(\w+)\}", text))

    assert [k for k, text in texts(locale).items() if holes(k) != holes(text)] == []


def test_the_languages_have_the_same_codes() -> None:
    assert set(texts("ru")) == set(texts("kk")) == set(texts("en"))


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (("kk", "ru", "en"), "kk"),
        ((None, "en", "ru"), "en"),
        (("xx", None, "de-DE,kk;q=0.9,en;q=0.8"), "kk"),
        ((None, None, None), DEFAULT),
        (("../../etc/passwd", "", "en-GB"), "en"),
    ],
)
def test_the_language_is_the_first_wish_we_speak(wishes: tuple[str], expected: str) -> None:
    assert choose_locale(*wishes) == expected


@pytest.mark.parametrize("page", sorted(TEMPLATES.glob("*.html")), ids=lambda p: Path(p).name)
def test_pages_hold_no_inline_script_or_style(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style|javascript:", text) == []
