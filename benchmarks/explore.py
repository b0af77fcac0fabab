"""Explore: bytes, server time and browser time of each interaction at 5,000, 100,000 and 1,000,000 points, beside the
authors' Dash wrapper; and the search box at 40,000 features.

Bytes are those of the requests' bodies and the answers to /api, scripts left out (the wrapper's: of its layout and its
callbacks). Server time is the wall time of the same requests asked again from here, one after the other; the wrapper is
asked inside its own process, so its answers do not even cross a socket. Browser time runs from the call to the painted
frame in Chromium, which paints WebGL without a graphics card. ``SPATIALMETA_BENCH_POINTS=5000,100000``: other sizes;
``SPATIALMETA_BENCH_WRAPPER_S``: how long the wrapper may take (it says why where it gives up).
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from playwright.sync_api import Page, Response, sync_playwright
from scipy import ndimage, sparse

from benchmarks import peers
from benchmarks.timing import ask, median_s
from core import io, keys
from spatialmeta_app.config import Settings
from spatialmeta_app.services import explore
from spatialmeta_app.workspace import Workspace, overview
from spatialmeta_app.workspace.viewing import write_view
from spatialmeta_app.workspace.views import View, counts
from tests.e2e.browser import launch
from tests.e2e.serving import Server, running
from tests.e2e.test_explore import READY

SIZES = "5000,100000,1000000"
GENES = 20
REPEATS = 5
WRAPPER_S = "600"
SEARCH = ("gene1234", "798.5", "metabolite 77", "ensg0000", "e", "zzzz")
PITCH = 100.0
WAIT_MS = 300_000
NOTED_MS = 1000  # answers are told to this process a moment after the page has them
AIM_BYTES, AIM_TIME, AIM_SEARCH_MS = 20, 10, 100
AIMS_MS = {5_000: 150, 100_000: 500, 1_000_000: 1000}  # of a recolour, and at a million of a selection, to the paint

#: until the views have painted what was asked for; `before` counts the server's pictures until then
PAINTED = """async (before) => { const p = SpatialMetaExplore.page, frame = () => new Promise(requestAnimationFrame);
  while (p.meta.raster && (p.rasters[0].painted || 0) <= before) await frame();
  do await frame(); while (!p.spatial.idle); }"""
RECOLOUR = f"""async (name) => {{ const p = SpatialMetaExplore.page, hit = (await p.search(name))[0];
  const before = p.rasters[0].painted || 0, start = performance.now();
  await p.colourBy(hit); await ({PAINTED})(before); return performance.now() - start; }}"""
PAN = """async () => { const p = SpatialMetaExplore.page, times = [], frame = () => new Promise(requestAnimationFrame);
  await frame();
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    p.spatial.panBy(i % 2 ? 6 : -6, 3);
    await frame();
    await frame();
    times.push((performance.now() - start) / 2);
  }
  return times.sort((a, b) => a - b)[10]; }"""
ZOOM = f"""async () => {{ const p = SpatialMetaExplore.page, before = p.rasters[0].painted || 0;
  p.zoom(2); await ({PAINTED})(before); await new Promise((done) => setTimeout(done, 800)); }}"""
SELECT = """async () => { const p = SpatialMetaExplore.page, [x0, y0, x1, y1] = p.spatial.extent, s = 0.32;
  const [a, b] = [x0 + s * (x1 - x0), y0 + s * (y1 - y0)], [c, d] = [x1 - s * (x1 - x0), y1 - s * (y1 - y0)];
  const before = p.rasters[0].painted || 0, start = performance.now();
  p.findings.summary = null;
  const ring = [[a, b], [c, b], [c, d], [a, d], [a, b]];
  p.findings.select({ op: "set", space: "spatial", geometry: { type: "Polygon", coordinates: [ring] } });
  while (!p.findings.summary) await new Promise(requestAnimationFrame);
  await (PAINTED)(before); return performance.now() - start; }""".replace("PAINTED", PAINTED)


def main() -> None:
    sizes = [int(n) for n in os.environ.get("SPATIALMETA_BENCH_POINTS", SIZES).split(",")]
    _search()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; other work makes every time longer")
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", demo="0", min_free_bytes="0") as server,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        for n in sizes:
            adata = section(n)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            ours = interactions(page, server, store(server, adata))
            page.close()
            _print(n, ours)
            _compare(ours, wrapper(adata, Path(folder)))


@dataclass
class Cost:
    """Bytes that travelled, seconds of the server, milliseconds from the call to the picture."""

    bytes: int = 0
    server_s: float = 0.0
    browser_ms: float | None = None


@dataclass
class Traffic:
    """The data requests of a page, polls left out."""

    seen: list[tuple[str, str, bytes | None]] = field(default_factory=list)

    def note(self, response: Response) -> None:
        request = response.request
        if "/api/view/" not in request.url and "/api/image/" not in request.url:
            return
        self.seen.append((request.url, request.method, request.post_data_buffer))

    def cost(self, browser_ms: float | None, repeats: int = REPEATS) -> Cost:
        """What was seen since the last time, and how long the server takes for it."""
        seen, self.seen = self.seen, []
        bytes_ = sum(len(ask(*each)) + len(each[2] or b"") for each in seen)
        return Cost(bytes_, sum(median_s(lambda each=each: ask(*each), repeats) for each in seen), browser_ms)


def interactions(page: Page, server: Server, path: str) -> dict[str, Cost]:
    """Cost of each interaction with the section at *path*."""
    page.set_default_timeout(WAIT_MS)
    traffic, found = Traffic(), {}
    page.on("response", traffic.note)
    start = time.perf_counter()
    page.goto(server.url + path)
    page.wait_for_function("window.SpatialMetaExplore?.page", timeout=WAIT_MS)
    found["the frame"] = Cost(0, 0.0, 1e3 * (time.perf_counter() - start))  # of the page, before it asks for data
    page.wait_for_function(READY, timeout=WAIT_MS)
    page.evaluate(f"({PAINTED})(0)")
    first = 1e3 * (time.perf_counter() - start)
    page.wait_for_timeout(1000)
    found["first view"] = traffic.cost(first, 2)
    times = []
    for i in range(1, REPEATS + 1):
        traffic.seen.clear()
        times.append(page.evaluate(RECOLOUR, f"Gene{i}"))
        page.wait_for_timeout(NOTED_MS)
        traffic.seen = [s for s in traffic.seen if "/search" not in s[0]]
    found["recolour"] = traffic.cost(statistics.median(times))
    ms = page.evaluate(SELECT)
    page.wait_for_timeout(NOTED_MS)
    found["selection"] = traffic.cost(ms)
    page.evaluate("SpatialMetaExplore.page.findings.clearSelection()")
    page.wait_for_timeout(1000)
    traffic.seen.clear()
    page.evaluate(ZOOM)
    page.wait_for_timeout(NOTED_MS)
    found["zoom"] = traffic.cost(None)
    found["pan, a frame"] = Cost(0, 0.0, page.evaluate(PAN))
    return found


def section(n: int) -> anndata.AnnData:
    """*n* spots on a square raster, a few genes, and a smooth histology of 2,000 x 2,000 pixels."""
    rng = np.random.default_rng(0)
    values = sparse.random(n, GENES, density=0.2, format="csr", dtype=np.float32, rng=rng)
    adata = anndata.AnnData(values)
    adata.var_names = [f"Gene{i}" for i in range(GENES)]
    adata.var[keys.TYPE] = keys.ST
    adata.layers[keys.NORMALIZED] = values.copy()
    side = int(np.ceil(np.sqrt(n)))
    adata.obsm[keys.SPATIAL] = np.stack(np.divmod(np.arange(n), side)[::-1], axis=1).astype(float) * PITCH
    adata.uns[keys.UNS] = {keys.UM_PER_PX: 1.0, keys.UM_PER_PX_SOURCE: "benchmark"}
    picture = ndimage.gaussian_filter(rng.random((2000, 2000, 3)), (8, 8, 0))
    picture = (255 * (picture - picture.min()) / np.ptp(picture)).astype(np.uint8)
    factors = {"tissue_hires_scalef": 2000 / (side * PITCH), "spot_diameter_fullres": 55.0}
    adata.uns[keys.UNS_SPATIAL] = {"section": {"images": {"hires": picture}, "scalefactors": factors}}
    return adata


def store(server: Server, adata: anndata.AnnData) -> str:
    """Put the section into the application's data; its path on Explore."""
    workspace = Workspace(Settings(data=Path(server.data), min_free_bytes=0, demo=False))
    project = workspace.create_project("Benchmark", "nobody")
    sample = workspace.create_sample(project, f"{adata.n_obs} spots")

    def write(folder: Path) -> dict[str, Any]:
        write_view(adata, folder / "view")
        overview.write_histology(adata, folder / "image")
        return counts(adata)

    workspace.add_result(sample, "st", writer=write, config={}, inputs={})
    return f"/p/{project.id}/{sample.id}/explore?colour=feature:Gene0"


def wrapper(adata: anndata.AnnData, folder: Path) -> dict[str, Cost] | None:
    """The same of the authors' wrapper; None where it is not installed."""
    if peers.python() is None:
        print("  the authors' wrapper is not installed here: `make peers`")
        return None
    path = folder / "section.h5ad"
    io.write_h5ad(adata, path)
    limit = float(os.environ.get("SPATIALMETA_BENCH_WRAPPER_S", WRAPPER_S))
    try:
        found = peers.run("wrapper.py", path, "Gene0", "Gene1", str(REPEATS), timeout_s=limit)
    except RuntimeError as error:
        print(f"  the wrapper gives nothing at this size: {str(error).strip().splitlines()[-1][:200]}")
        return None
    names = {"first": "first view", "recolour": "recolour", "selection": "selection"}
    return {ours: Cost(int(found[its][1]), found[its][0]) for its, ours in names.items()}


def _print(n: int, found: dict[str, Cost]) -> None:
    print(f"{n:,} points")
    for name, cost in found.items():
        browser = "" if cost.browser_ms is None else f"   browser {cost.browser_ms:8.0f} ms"
        if n in AIMS_MS and (name == "recolour" or (name == "selection" and n == max(AIMS_MS))):
            browser += f" (aim {AIMS_MS[n]})"
        print(f"  {name:14} {cost.bytes / 1e3:10,.1f} kB   server {1e3 * cost.server_s:8.1f} ms{browser}")


def _compare(ours: dict[str, Cost], theirs: dict[str, Cost] | None) -> None:
    for name, cost in (theirs or {}).items():
        fewer, faster = cost.bytes / max(ours[name].bytes, 1), cost.server_s / max(ours[name].server_s, 1e-9)
        aim = f" (aim at 5,000: {AIM_BYTES} and {AIM_TIME})" if name == "recolour" else ""
        print(
            f"  wrapper {name:14} {cost.bytes / 1e3:10,.1f} kB   server {1e3 * cost.server_s:8.1f} ms"
            f"   ours: {fewer:,.0f} times fewer bytes, {faster:,.1f} times less time{aim}"
        )


def _search(features: int = 40_000) -> None:
    """Names, symbols, m/z and annotations as people type them, over a table of 40,000 features."""
    rng = np.random.default_rng(0)
    half = features // 2
    names = [f"ENSG{n:011d}" for n in rng.choice(10**7, half, replace=False)] + [f"mz-{n:.4f}" for n in range(half)]
    adata = anndata.AnnData(np.zeros((2, features), dtype=np.float32))
    adata.var_names = names
    mz = np.r_[np.full(half, np.nan), np.sort(rng.uniform(50, 1500, half))]
    symbols = [f"Gene{n}" for n in range(half)] + [""] * half
    notes = [""] * half + [f"Metabolite {n} [M+H]+" for n in range(half)]
    adata.var = pd.DataFrame(
        {keys.TYPE: [keys.ST] * half + [keys.SM] * half, keys.MZ: mz, keys.SYMBOL: symbols, keys.ANNOTATION: notes},
        index=names,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_view(adata, Path(folder) / "view")
        view = View(Path(folder) / "view")
        explore.search(view, "warm")
        for query in SEARCH:
            ms = 1e3 * median_s(lambda q=query: explore.search(view, q), REPEATS)
            print(f"search {features:,} features for {query!r}: {ms:.1f} ms (aim: {AIM_SEARCH_MS} ms)")


if __name__ == "__main__":
    main()
