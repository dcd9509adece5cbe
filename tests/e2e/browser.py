"""One way to have a browser: Debian's Chromium, else Playwright's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

# Options of axe-core. Structure is the same in both colours: where one was looked at whole, the other needs no more.
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
KNOWN_BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def browser_path() -> str | None:
    """CHROMIUM, else a browser of the system; None lets Playwright take its own."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for path in KNOWN_BROWSERS if Path(path).exists()), None)


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Chromium without its sandbox, which root may not use; the test is skipped where there is none."""
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"No browser: install Chromium or set CHROMIUM ({str(error).splitlines()[0]})")
        try:
            yield browser
        finally:
            browser.close()


def fits_a_phone(page: Page) -> None:
    """In a window as narrow as a phone's nothing sticks out, once the charts are drawn anew; the window stays so."""
    page.set_viewport_size({"width": 375, "height": 740})
    for _ in range(200):
        width = page.evaluate("document.documentElement.scrollWidth")
        if width <= 375:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{page.url} is {width} wide on a phone.")
