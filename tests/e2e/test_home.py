"""The start page of a fresh server: the demonstration is made, opens by itself, and can be walked through."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.serving import Server, running

DEMO_MS = 240_000  # of a busy machine; it takes less than a minute on a free one

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app_server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the demonstration, as at the first start."""
    with running(tmp_path_factory.mktemp("first") / "data", min_free_bytes="0") as server:
        yield server


def test_a_newcomer_sees_the_progress_then_the_finished_demonstration(page: Page, person) -> None:
    page.goto("/")
    expect(page.get_by_role("progressbar", name="Demonstration").first).to_be_visible()
    expect(page.get_by_text("It is being computed")).to_be_visible()
    busy = person()
    busy.goto("/")
    busy.get_by_label("Name").fill("My own")  # who has begun something is not taken away from it

    page.wait_for_url(re.compile(r"/p/demo/[0-9a-f]+/explore"), timeout=DEMO_MS)
    expect(page.locator(".sm-stepper .bi-check2")).to_have_count(6)
    expect(busy.get_by_role("link", name="Explore it")).to_be_visible()
    assert busy.get_by_label("Name").input_value() == "My own"


def test_the_demonstration_is_walked_through_in_a_copy(page: Page, app_server: Server, axe) -> None:
    page.goto("/")
    expect(page.get_by_role("link", name="Explore it")).to_be_visible(timeout=DEMO_MS)
    axe(page)
    page.get_by_role("button", name="Walk through the steps").click()
    page.wait_for_url(re.compile(r"/p/(?!demo/)[0-9a-f]+/[0-9a-f]+/data"))
    expect(page.locator(".sm-project .dropdown-toggle")).to_contain_text("Demonstration, my copy")
    expect(page.locator("canvas[data-drawn='1']")).to_have_count(2)
    expect(page.get_by_role("link", name="Next: Align")).to_be_visible()
    expect(page.locator(".sm-stepper .bi-check2")).to_have_count(6)
