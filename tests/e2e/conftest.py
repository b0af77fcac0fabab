"""Fixtures of the browser tests: a browser, the application, people with a page each, and what a page must never do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e import browser as browsers
from tests.e2e.serving import Server, running

WINDOW = {"width": 1440, "height": 900}
TIMEOUT_MS = 30_000
expect.set_options(timeout=TIMEOUT_MS)  # two busy cores draw WebGL in software: 5 s are no sign of a fault


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none the tests are skipped, but fail with CI=true: there it has to be."""
    if browsers.find() is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(browsers.MISSING)
        pytest.skip(browsers.MISSING)
    with sync_playwright() as playwright, browsers.launch(playwright) as launched:
        yield launched


@pytest.fixture(scope="module")
def app_server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``python app.py`` in a fresh data folder, without the demonstration; one for each test module."""
    folder = tmp_path_factory.mktemp("served")
    with running(folder / "data", demo="0", min_free_bytes="0") as server:
        yield server


@dataclass
class Watch:
    """What went wrong in the pages of a test. ``allow`` takes parts of messages that the test provokes on purpose."""

    host: str
    found: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, *parts: str) -> None:
        self.allowed += parts

    def follow(self, context: BrowserContext) -> None:
        """Listen to every page of *context*: requests to other hosts, console errors, uncaught errors."""
        context.on("request", lambda r: self._request(r.url))
        context.on("console", lambda m: m.type == "error" and self.found.append(f"console: {m.text}"))
        context.on("weberror", lambda e: self.found.append(f"page error: {e.error.stack or e.error}"))

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self.host:
            self.found.append(f"request to another host: {url}")

    def wrong(self) -> list[str]:
        return [text for text in self.found if not any(part in text for part in self.allowed)]


@pytest.fixture
def watch(app_server: Server) -> Iterator[Watch]:
    """Fails the test at its end when a page asked another host or wrote an error."""
    watching = Watch(urlsplit(app_server.url).netloc)
    yield watching
    assert not watching.wrong()


Person = Callable[..., Page]


@pytest.fixture
def person(browser: Browser, app_server: Server, watch: Watch) -> Iterator[Person]:
    """``person()`` is a page of somebody new: own cookies, own storage. Options go to ``Browser.new_context``."""
    contexts: list[BrowserContext] = []

    def new(**options: object) -> Page:
        context = browser.new_context(base_url=app_server.url, viewport=WINDOW, **options)
        context.set_default_timeout(TIMEOUT_MS)
        watch.follow(context)
        contexts.append(context)
        return context.new_page()

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def page(person: Person) -> Page:
    """The page of one person."""
    return person()


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], None]:
    """``axe(page)`` asserts that axe-core finds nothing serious or critical, with colours that have arrived where their
    transitions lead."""
    engine = Axe()

    def check(page: Page) -> None:
        page.emulate_media(reduced_motion="reduce")
        violations = engine.run(page).response["violations"]
        page.emulate_media(reduced_motion="no-preference")
        grave = [v for v in violations if v["impact"] in ("serious", "critical")]
        assert not grave, "\n".join(_told(v) for v in grave)

    return check


def _told(violation: dict) -> str:
    places = "; ".join(n["html"][:160] + " " + n.get("failureSummary", "")[:200] for n in violation["nodes"][:4])
    return f"{violation['impact']} {violation['id']}: {violation['help']} at {places}"
