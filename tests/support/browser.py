"""A headless Chromium, the machine's own or the one that set-up unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from playwright.sync_api import Browser, sync_playwright

from tracker.embedded.browser import find_browser


@contextmanager
def launched_browser() -> Iterator[Browser]:
    """A running Chromium; close your pages and contexts, the rest is ended here."""
    found = find_browser()
    env = {**os.environ, **found.env}
    with patch.dict(os.environ, env), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.program, args=list(found.args), env=env
        )
        try:
            yield browser
        finally:
            browser.close()
