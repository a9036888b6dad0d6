"""What set-up fetches is pinned by hash and names no registry; what it copies is there."""

from __future__ import annotations

import json
import re

from maps import npm
from maps.build import FILES, VENDOR, main


def test_the_lock_file_has_a_hash_for_all_and_an_address_for_none() -> None:
    lock = json.loads((npm.ASSETS / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_every_direct_package_is_pinned_to_one_version() -> None:
    manifest = json.loads((npm.ASSETS / "package.json").read_text(encoding="utf-8"))
    assert set(FILES) <= set(manifest["dependencies"])
    assert all(re.fullmatch(r"[\d.]+", wanted) for wanted in manifest["dependencies"].values())


def test_building_again_changes_nothing() -> None:
    script = VENDOR / "maplibre-gl" / "maplibre-gl.mjs"
    before = script.stat().st_mtime_ns
    assert main() == 0
    assert script.stat().st_mtime_ns == before


def test_fonts_cover_the_kazakh_letters() -> None:
    sheet = (VENDOR / "noto-sans" / "fonts.css").read_text(encoding="utf-8")
    spans = [
        tuple(int(end, 16) for end in (span.split("-") * 2)[:2])
        for span in re.findall(r"U\+([0-9A-F]+(?:-[0-9A-F]+)?)", sheet)
    ]
    missing = [c for c in "ҚқҒғӨөӘәҢңҰұҮүҺһІі₸–№" if not any(a <= ord(c) <= b for a, b in spans)]
    assert missing == []
    for name in re.findall(r"url\(([^)]+)\)", sheet):
        assert (VENDOR / "noto-sans" / name).is_file(), name
