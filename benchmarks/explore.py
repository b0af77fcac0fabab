"""Explore: bytes and server time of each interaction at 5,000, 100,000 and 1,000,000 spots, browser time of a recolour,
and the search box at 40,000 features.

Beside them stands what a page sends that returns a whole Plotly figure at each click, as the authors' wrapper does: all
coordinates, all colours, and the histology inside the figure.
"""

from __future__ import annotations

import base64
import io
import json
import statistics
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from PIL import Image

from core import keys
from spatialmeta_app.config import Settings
from spatialmeta_app.services import explore
from spatialmeta_app.workspace import Workspace
from spatialmeta_app.workspace.viewing import write_view
from spatialmeta_app.workspace.views import View
from tests.e2e.serving import running

SIZES = (5_000, 100_000, 1_000_000)
AIMS_MS = {5_000: 150, 100_000: 500, 1_000_000: 1000}
REPEATS = 7
WIDTH, HEIGHT = 750, 780  # of the picture in the middle at 1440 x 900


@dataclass(frozen=True)
class Section:
    page: str
    api: str
    spots: int
    extent: float


def main() -> None:
    _search()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder) / "data", demo="0", min_free_bytes="0") as server,
    ):
        sections = [_section(server.data, spots) for spots in SIZES]
        for section in sections:
            _server(server.url, section)
        for spots in SIZES[:2]:
            _whole_figure(spots)
        _browser(server.url, sections)


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
        for query in ("gene1234", "798.5", "metabolite 77", "ensg0000", "e", "zzzz"):
            seconds = _median(lambda q=query: explore.search(view, q))
            print(f"search {features:,} features for {query!r}: {1e3 * seconds:.1f} ms (aim: 100 ms)")


def _section(data: Path, spots: int) -> Section:
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(spots)))
    row, column = np.divmod(np.arange(spots), side)
    values = np.stack([np.sin(column / side * k) + rng.random(spots) for k in range(1, 9)], axis=1).astype(np.float32)
    adata = anndata.AnnData(values, obs=pd.DataFrame(index=pd.RangeIndex(spots).astype(str)))
    adata.var_names = [f"feature{k}" for k in range(8)]
    adata.var[keys.TYPE] = keys.ST
    adata.obsm[keys.SPATIAL] = np.stack([column, row], axis=1).astype(float) * 100
    adata.uns[keys.UNS] = {keys.UM_PER_PX: 1.0, keys.UM_PER_PX_SOURCE: "benchmark"}
    workspace = Workspace(Settings(data=data))
    project = workspace.create_project("Benchmark", "nobody")
    sample = workspace.create_sample(project, f"{spots} spots")

    def write(folder: Path) -> dict:
        write_view(adata, folder / "view")
        return {"n_obs": spots}

    result = workspace.add_result(sample, "st", writer=write, config={}, inputs={})
    page = f"/p/{project.id}/{sample.id}/explore"
    return Section(page, f"/api/view/{result.id}", spots, side * 100.0)


def _server(url: str, section: Section) -> None:
    raster = section.spots > explore.RASTER_FROM

    def picture(feature: int, share: float) -> str:
        box = f"0,0,{section.extent * share:.0f},{section.extent * share:.0f}"
        query = {"feature": feature, "box": box, "size": f"{WIDTH},{HEIGHT}", "diameter": 55, "round": 1}
        return f"{section.api}/raster?{urllib.parse.urlencode(query)}"

    ring = [[0, 0], [section.extent / 2, 0], [section.extent / 2, section.extent / 2], [0, 0]]
    step = {"op": "set", "space": "spatial", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    body = json.dumps({"steps": [step], "value": {"index": 0, "layer": "counts"}, "column": None}).encode()
    first = [f"{section.api}/meta", *([picture(0, 1.0)] if raster else [f"{section.api}/obsm/spatial"])]
    calls = {
        "first view": [(path, None) for path in first],
        "recolour": [(picture(1, 1.0) if raster else f"{section.api}/feature/1", None)],
        "zoom": [(picture(1, 0.1), None)] if raster else [],
        "selection": [(f"{section.api}/selection", body)],
    }
    for name, requests in calls.items():
        sent = sum(len(_ask(url + path, data)) for path, data in requests)
        if not requests:
            print(f"{section.spots:>9,} spots, {name:10}: nothing is asked")
            continue
        seconds = _median(lambda r=requests: [_ask(url + path, data) for path, data in r])
        print(f"{section.spots:>9,} spots, {name:10}: {1e3 * seconds:7.1f} ms on the server, {sent / 1e3:9.1f} kB")


def _whole_figure(spots: int) -> None:
    """A recolour where the figure is sent again: made and written as JSON, with a picture of 600 pixels inside."""
    import plotly.graph_objects as go

    rng = np.random.default_rng(0)
    xy, image = rng.random((2, spots)).tolist(), rng.integers(0, 255, (600, 600, 3), dtype=np.uint8)

    def make() -> int:
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        source = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
        marker = {"color": rng.random(spots).tolist(), "colorscale": "Viridis"}
        figure = go.Figure(go.Scattergl(x=xy[0], y=xy[1], mode="markers", marker=marker))
        figure.add_layout_image(source=source, xref="x", yref="y", x=0, y=1, sizex=1, sizey=1)
        return len(figure.to_json())

    seconds, sent = _median(make), make()
    print(f"{spots:>9,} spots, whole figure again: {1e3 * seconds:7.1f} ms on the server, {sent / 1e3:9.1f} kB")


CLOCK = """async () => { const p = SpatialMetaExplore.page, times = [];
  const hits = (await p.search('feature')).filter((hit) => hit.kind === 'feature');
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  for (const hit of hits.slice(1, 6)) {
    const start = performance.now(), before = p.rasters[0].painted || 0;
    await p.colourBy(hit);
    while (p.meta.raster && !((p.rasters[0].painted || 0) > before)) await frame();
    await frame();
    times.push(performance.now() - start);
  }
  const pan = performance.now();
  for (let i = 0; i < 20; i++) { p.spatial.panBy(3, 2); await frame(); }
  times.sort((a, b) => a - b);
  return [times[2], (performance.now() - pan) / 20]; }"""


def _browser(url: str, sections: list[Section]) -> None:
    """From the click to the painted frame, in a real browser that paints WebGL without a graphics card."""
    from playwright.sync_api import sync_playwright

    from tests.e2e.browser import launch

    with sync_playwright() as playwright, launch(playwright) as browser:
        for section in sections:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            start = time.perf_counter()
            page.goto(url + section.page)
            page.wait_for_function("() => window.SpatialMetaExplore?.page?.opened", timeout=120_000)
            opened = time.perf_counter() - start
            recolour, pan = page.evaluate(CLOCK)
            print(
                f"{section.spots:>9,} spots in the browser: open {opened:.1f} s, recolour {recolour:.0f} ms "
                f"(aim: {AIMS_MS[section.spots]} ms), a step of a pan {pan:.0f} ms"
            )
            page.close()


def _ask(url: str, data: bytes | None = None) -> bytes:
    headers = {"X-SpatialMETA": "1", "Content-Type": "application/json"} if data else {}
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers)) as answer:
        return answer.read()


def _median(call: Callable[[], object]) -> float:
    def timed() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return statistics.median(timed() for _ in range(REPEATS))


if __name__ == "__main__":
    main()
