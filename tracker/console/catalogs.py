"""Texts of the console in Russian, Kazakh and English, from the .po files beside this module."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LOCALES: Final = ("ru", "kk", "en")
DEFAULT: Final = "ru"
FOLDER = Path(__file__).parent / "locales"


def choose_locale(*wishes: str | None) -> str:
    """The first of the wishes (query, cookie, Accept-Language …) that the product speaks."""
    for wish in wishes:
        for part in (wish or "").split(","):
            code = part.split(";")[0].strip().lower()[:2]
            if code in LOCALES:
                return code
    return DEFAULT


@cache
def catalog(locale: str) -> Catalog:
    """The catalog of a locale as Babel reads it. Raises FileNotFoundError for a foreign one."""
    with (FOLDER / f"{locale}.po").open("rb") as file:
        return read_po(file, locale=locale)


@cache
def translations(locale: str) -> Translations:
    """The catalog in the form that templates use."""
    compiled = BytesIO()
    write_mo(compiled, catalog(locale))
    compiled.seek(0)
    return Translations(compiled)


@cache
def texts(locale: str) -> dict[str, str]:
    """All texts of a locale by message id, for the scripts of the pages."""
    return {str(m.id): str(m.string) for m in catalog(locale) if m.id and m.string}
