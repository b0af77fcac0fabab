"""The browser that drives the pages: Debian's chromium, or whatever Chromium or Chrome there is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright

VARIABLE = "SPATIALMETA_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
MISSING = f"no Chromium or Chrome found (looked for {', '.join(NAMES)}); install one or set {VARIABLE} to its path"


def find() -> str | None:
    """Path of the browser; None where there is none."""
    given = os.environ.get(VARIABLE)
    return given or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launch(playwright: Playwright) -> Iterator[Browser]:
    """A running browser without a window, closed at the end."""
    path = find()
    if path is None:
        raise RuntimeError(MISSING)
    browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
    try:
        yield browser
    finally:
        browser.close()
