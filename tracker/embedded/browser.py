"""Finds a Chromium for the browser tests: the machine's own, else what set-up unpacked."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tracker.embedded.parts import PRIVATE_ROOT, private_env
from tracker.errors import SetupError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SYSTEM_FONTS = Path("/usr/share/fonts")

FONT_CONFIG = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{private}</dir>
  <dir>{system}</dir>
  <cachedir>{cache}</cachedir>
</fontconfig>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """A Chromium: its program, the arguments it needs without a screen, its environment."""

    program: str
    args: tuple[str, ...]
    env: dict[str, str]


def find_browser(private_root: Path = PRIVATE_ROOT) -> Browser:
    """The Chromium of this machine, with a font that has the Kazakh letters.

    Raises:
        SetupError: there is no Chromium, no such font, or a library of the driver is missing.
    """
    # Software rendering: the machines that run tests have no graphics card.
    args = ("--no-sandbox", "--disable-dev-shm-usage")
    own = next((path for path in map(shutil.which, NAMES) if path), None)
    unpacked = private_root / "usr/lib/chromium/chromium"
    if not own and not os.access(unpacked, os.X_OK):
        raise SetupError("Chromium is missing: run `make setup-browser`")
    if not _has_kazakh_font(private_root):
        raise SetupError("a font with Kazakh letters is missing: run `make setup-browser`")
    if not _has_driver_library(private_root):
        raise SetupError("libatomic is missing: run `make setup-browser`")
    env = private_env(private_root) if private_root.is_dir() else {}
    if (private_root / "usr/share/fonts").is_dir():
        env["FONTCONFIG_FILE"] = str(_font_config(private_root))
    return Browser(program=own or str(unpacked), args=args, env=env)


def _font_config(private_root: Path) -> Path:
    path = private_root / "fonts.conf"
    path.write_text(
        FONT_CONFIG.format(
            private=private_root / "usr/share/fonts",
            system=SYSTEM_FONTS,
            cache=private_root / ".fontconfig",
        )
    )
    return path


def _has_driver_library(private_root: Path) -> bool:
    """Whether Playwright's own Node, which the wheel brings without it, finds libatomic."""
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        return any((private_root / "usr/lib").rglob("libatomic.so.1"))
    return True


def _has_kazakh_font(private_root: Path) -> bool:
    if any((private_root / "usr/share/fonts").rglob("DejaVuSans.ttf")):
        return True
    if shutil.which("fc-list"):
        fonts = subprocess.run(["fc-list", ":lang=kk"], capture_output=True, text=True, check=False)
        return bool(fonts.stdout.strip())
    return any(SYSTEM_FONTS.rglob("DejaVuSans.ttf"))
