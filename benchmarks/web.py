"""How the web application feels: start, page changes, recolouring, memory, beside the aims of the design.

The recolour is measured at 5,000 and 100,000 spots: the server's part (one GET of a feature) and the bytes sent, beside
the bytes that the same colours take as JSON numbers, which is what a figure sent whole would carry.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright
from scipy import sparse

from benchmarks.timing import ask, median_s
from core import keys
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Workspace
from spatialmeta_app.workspace.viewing import write_view
from tests.e2e.serving import Server, running

PAGES = ("data", "align", "reassign", "features", "integrate", "explore", "export")
REPEATS = 15


def main() -> None:
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", demo="0", min_free_bytes="0") as server,
    ):
        print(f"ready after {time.perf_counter() - start:.1f} s (aim: 10 s)")
        for spots in (5_000, 100_000):
            _recolour(server, spots)
        _pages(server)
        _previews(server)
        memory = psutil.Process(server.process.pid).memory_info().rss / 1e6
        print(f"web process {memory:.0f} MB after that (aim: below 400 MB)")


def _recolour(server: Server, spots: int, genes: int = 1000) -> None:
    project, sample, result = _section(server.data, spots, genes)
    get = f"{server.url}/api/view/{result}/feature/"
    order = iter(np.random.default_rng(0).permutation(genes))
    sent = len(ask(get + "0"))
    seconds = median_s(lambda: ask(get + str(next(order))), REPEATS)
    as_json = len(json.dumps(np.random.default_rng(0).random(spots).tolist()))
    print(
        f"recolour {spots:>7,} spots: {1e3 * seconds:6.1f} ms on the server, {sent / 1e3:7.1f} kB "
        f"({as_json / sent:.1f} times fewer than as JSON numbers)"
    )
    server_sections[spots] = (project, sample)


server_sections: dict[int, tuple[str, str]] = {}


def _pages(server: Server) -> None:
    """From the click on a step until its page is drawn, in a real browser with 5,000 spots."""
    from tests.e2e.browser import launch

    project, sample = server_sections[5_000]
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{server.url}/p/{project}/{sample}/data")
        page.wait_for_selector("main h1, main .sm-panel")
        for name in (*PAGES, "data"):
            _settle(page)
            start = time.perf_counter()
            page.click(f"nav a[href$='/{name}']")
            page.wait_for_url(f"**/{name}*")
            page.wait_for_selector("main .sm-panel, main .sm-empty")
            page.wait_for_function("document.title !== 'Updating...'")
            print(f"page {name:10} {time.perf_counter() - start:5.2f} s (aim: 1 s)")


def _settle(page: Page) -> None:
    """Wait until the open page is drawn, its maps too, which would count for the next page: until timers have come in
    time for half a second."""
    page.evaluate(
        """async () => { for (let quiet = 0; quiet < 10;) {
          const began = performance.now();
          await new Promise((resolve) => setTimeout(resolve, 50));
          const late = performance.now() - began > 75 || document.title === 'Updating...';
          quiet = late ? 0 : quiet + 1; } }"""
    )


def _previews(server: Server) -> None:
    """How often a running alignment moves its overlay in a real browser, beside an empty request of the same page."""
    from tests.e2e.browser import launch
    from tests.e2e.seeding import seed
    from tests.e2e.test_align import creep

    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900}).new_page()
        arrived = creep(page, seed(server, genes=200, metabolites=50))[2:]  # it is busy with the first signs till then
        gap = (arrived[-1] - arrived[0]) / (len(arrived) - 1)
        empty = page.evaluate(
            "async () => { const began = performance.now(); for (let i = 0; i < 5; i += 1) await fetch('/healthz');"
            " return (performance.now() - began) / 5; }"
        )
        page.get_by_role("button", name="Cancel Align").click()
    print(f"previews   every {gap:.0f} ms, {gap / empty:.0f} times an empty request (aim: 500 ms)")


def _section(data: Path, spots: int, genes: int) -> tuple[str, str, str]:
    rng = np.random.default_rng(0)
    counts = sparse.random(spots, genes, density=0.2, format="csr", dtype=np.float32, rng=rng)
    counts.data = np.ceil(counts.data * 20)
    adata = anndata.AnnData(counts)
    adata.var[keys.TYPE] = keys.ST
    side = int(np.ceil(np.sqrt(spots)))
    adata.obsm[keys.SPATIAL] = np.stack(np.divmod(np.arange(spots), side), axis=1).astype(float) * 100
    adata.uns[keys.UNS] = {keys.UM_PER_PX: 1.0, keys.UM_PER_PX_SOURCE: "benchmark"}
    workspace = Workspace(Settings(data=data))
    project = workspace.create_project("Benchmark", "nobody")
    sample = workspace.create_sample(project, f"{spots} spots")

    def write(folder: Path) -> dict:
        write_view(adata, folder / "view")
        return {"n_obs": spots}

    result = workspace.add_result(sample, "st", writer=write, config={}, inputs={})
    return project.id, sample.id, result.id


if __name__ == "__main__":
    main()
