"""Pictures of every page, light and dark, for the documentation: ``make screenshots``.

A real pair (``vicari_B1``) is taken through the main job by the same clicks as in the tests, then each page is
photographed.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import anndata
from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.conftest import VARIABLE, real_data
from tests.e2e.browser import launch
from tests.e2e.conftest import WINDOW
from tests.e2e.serving import Server, running
from tests.e2e.test_data import choose
from tests.e2e.test_explore import READY, settled, visit
from tests.e2e.test_main_job import STEP_MS, done, draw_on_the_striatum, fill, go, press
from tests.e2e.test_shell import new_project

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGES = ("data", "align", "reassign", "features", "integrate", "explore", "export")
SETTLE_MS = 3_000  # fonts, figures and tiles after the last request
DRAWN = """() => !document.querySelector('#align-stage:not([data-mode])')
  && [...document.querySelectorAll('.dash-graph')].every((graph) => {
    const plot = graph.querySelector('.js-plotly-plot');
    return !graph.checkVisibility() || plot?.data?.length || plot?.layout?.annotations?.length; })"""


def main() -> int:
    data = real_data()
    if data is None:
        print(f"no real data; set {VARIABLE}", file=sys.stderr)
        return 1
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", min_free_bytes="0", workers="2") as server,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        context = browser.new_context(base_url=server.url, viewport=WINDOW)
        context.set_default_timeout(STEP_MS)
        address = work(context.new_page(), data / "vicari_B1")
        for theme in ("light", "dark"):
            photograph(context, server, address, theme)
    return 0


def work(page: Page, pair: Path) -> str:
    """The main job on *pair*; returns the address of the sample."""
    page.goto("/")
    new_project(page, "Striatum 6-OHDA")
    address = page.url.rsplit("/", 1)[0]
    choose(page, "st", pair / "st.h5ad")
    choose(page, "sm", pair / "sm.h5ad")
    page.locator(".sm-tile-head", has_text="3,005 pixels").wait_for()
    page.get_by_label("Coordinates").select_option("spatial_grid")
    page.locator(".sm-check", has_text="x 0 to ").wait_for()
    done(page, "Data")
    for step, verb in (("Align", "Align"), ("Reassign", "Reassign"), ("Features", "Select features")):
        go(page, step)
        press(page, verb)
        done(page, step)
    go(page, "Integrate")
    fill(page, "integrate", "epochs", 64)
    press(page, "Train")
    done(page, "Explore")
    go(page, "Explore")
    visit(page, page.url)
    draw_on_the_striatum(page, anndata.read_h5ad(pair / "st.h5ad"))
    search = page.locator("#explore-search input")
    search.fill("dopamine")
    page.get_by_role("option", name="Dopamine").first.click()
    settled(page)
    page.wait_for_timeout(SETTLE_MS)
    explore = page.url
    page.close()
    return f"{address}|{explore}"


def photograph(context: BrowserContext, server: Server, addresses: str, theme: str) -> None:
    address, explore = addresses.split("|")
    page = context.new_page()
    page.emulate_media(color_scheme=theme)
    places = {name: f"{address}/{name}" for name in PAGES} | {
        "explore": explore,
        "home": server.url,
        "jobs": address.rsplit("/", 1)[0] + "/jobs",
        "help": f"{server.url}/help",
    }
    for name, place in places.items():
        page.goto(place)
        if name == "explore":
            page.wait_for_function(READY, timeout=STEP_MS)
            page.locator("#explore-profile .xtitle").wait_for()
        page.locator(".sm-columns, .sm-home, .sm-help-grid").first.wait_for()
        page.wait_for_load_state("networkidle")
        page.wait_for_function(DRAWN, timeout=STEP_MS)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(SETTLE_MS)
        path = IMAGES / f"{name}-{theme}.webp"  # a tenth of a PNG's bytes
        Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=92, method=6)
        print(path.relative_to(IMAGES.parents[1]), f"{path.stat().st_size / 1e3:.0f} kB")
    page.close()


if __name__ == "__main__":
    sys.exit(main())
