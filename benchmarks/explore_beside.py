"""Explore beside the authors' Dash wrapper: what an interaction sends, costs the server, and takes in Chromium.

The wrapper runs with its own code and callbacks, where the peers' environment has it.

Bytes are those of the requests' bodies and the answers to /api, scripts left out (the wrapper's: of its layout and its
callbacks). Server time is the wall time of the same requests asked again from here, one after the other; the wrapper is
asked inside its own process, so its answers do not even cross a socket. ``SPATIALMETA_BENCH_POINTS`` sets other sizes.
Aim: 20 times fewer bytes and 10 times less time per recolour than the wrapper at 5,000 spots.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from playwright.sync_api import Page, Response, sync_playwright
from scipy import ndimage, sparse

from benchmarks import peers
from core import io, keys
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Workspace, overview
from spatialmeta_app.workspace.viewing import write_view
from spatialmeta_app.workspace.views import counts
from tests.e2e.browser import launch
from tests.e2e.serving import Server, running
from tests.e2e.test_explore import READY

SIZES = "5000,100000,1000000"
GENES = 20
REPEATS = 5
WRAPPER_UP_TO = 100_000  # it takes minutes to begin with more
PITCH = 100.0
WAIT_MS = 300_000
NOTED_MS = 1000  # answers are told to this process a moment after the page has them
AIM_BYTES, AIM_TIME = 20, 10

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
  const start = performance.now();
  p.findings.summary = null;
  const ring = [[a, b], [c, b], [c, d], [a, d], [a, b]];
  p.findings.select({ op: "set", space: "spatial", geometry: { type: "Polygon", coordinates: [ring] } });
  while (!p.findings.summary) await new Promise(requestAnimationFrame);
  return performance.now() - start; }"""


def main() -> None:
    sizes = [int(n) for n in os.environ.get("SPATIALMETA_BENCH_POINTS", SIZES).split(",")]
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
            if n <= WRAPPER_UP_TO:
                _compare(ours, wrapper(adata, Path(folder)))
            else:
                print("  the wrapper is not run at this size")


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
        self.seen.append((request.method, request.url, request.post_data_buffer))

    def cost(self, browser_ms: float | None, repeats: int = REPEATS) -> Cost:
        """What was seen since the last time, and how long the server takes for it."""
        seen, self.seen = self.seen, []
        bytes_ = sum(_ask(*each) + len(each[2] or b"") for each in seen)
        return Cost(bytes_, sum(_median(lambda each=each: _ask(*each), repeats) for each in seen), browser_ms)


def interactions(page: Page, server: Server, path: str) -> dict[str, Cost]:
    """Cost of each interaction with the section at *path*."""
    page.set_default_timeout(WAIT_MS)
    traffic, found = Traffic(), {}
    page.on("response", traffic.note)
    start = time.perf_counter()
    page.goto(server.url + path)
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
        traffic.seen = [s for s in traffic.seen if "/search" not in s[1]]
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
    found = peers.run("wrapper.py", path, "Gene0", "Gene1", str(REPEATS))
    names = {"first": "first view", "recolour": "recolour", "selection": "selection"}
    return {ours: Cost(int(found[its][1]), found[its][0]) for its, ours in names.items()}


def _print(n: int, found: dict[str, Cost]) -> None:
    print(f"{n:,} points")
    for name, cost in found.items():
        browser = "" if cost.browser_ms is None else f"   browser {cost.browser_ms:8.0f} ms"
        print(f"  {name:14} {cost.bytes / 1e3:10,.1f} kB   server {1e3 * cost.server_s:8.1f} ms{browser}")


def _compare(ours: dict[str, Cost], theirs: dict[str, Cost] | None) -> None:
    for name, cost in (theirs or {}).items():
        fewer, faster = cost.bytes / max(ours[name].bytes, 1), cost.server_s / max(ours[name].server_s, 1e-9)
        aim = f" (aim at 5,000: {AIM_BYTES} and {AIM_TIME})" if name == "recolour" else ""
        print(
            f"  wrapper {name:14} {cost.bytes / 1e3:10,.1f} kB   server {1e3 * cost.server_s:8.1f} ms"
            f"   ours: {fewer:,.0f} times fewer bytes, {faster:,.1f} times less time{aim}"
        )


def _ask(method: str, url: str, body: bytes | None) -> int:
    """Bytes of the answer."""
    headers = {"X-SpatialMETA": "1", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers)) as answer:
        return len(answer.read())


def _median(call: Callable[[], object], repeats: int) -> float:
    def timed() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return statistics.median(timed() for _ in range(repeats))


if __name__ == "__main__":
    main()
