"""A histology of 20,000 x 20,000 pixels: what its pyramid takes to build, and what of it the page fetches.

The image is read and its pictures are written by a process of its own, as an import does it; then Chromium opens
Explore, looks at the whole section and at three places at the sharpness of the image. ``SPATIALMETA_BENCH_SIDE``:
another side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from scipy import ndimage

from core import io, keys
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Workspace, views
from tests.e2e.browser import launch
from tests.e2e.serving import Server, running
from tests.e2e.test_explore import READY

SIDE = 20_000
SPOTS = 70  # along a side
PLACES = (0.3, 0.5, 0.7)
CHILD = """
import json, resource, sys, time
from core import io
from spatialmeta_app.workspace import overview, viewing
from pathlib import Path
st, image, folder = map(Path, sys.argv[1:])
start = time.process_time()
adata = io.read_st(st, image=image, image_scale=1.0)
read = time.process_time() - start
viewing.write_view(adata, folder / "view")
start = time.process_time()
overview.write_histology(adata, folder / "image", image)
built = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({"read_s": read, "built_s": built, "peak_mb": peak}))
"""


def main() -> None:
    side = int(os.environ.get("SPATIALMETA_BENCH_SIDE", SIDE))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        st, image = _section(folder, side)
        print(f"{side:,} x {side:,} pixels, {image.stat().st_size / 1e6:.0f} MB as JPEG")
        with running(folder / "data", demo="0", min_free_bytes="0") as server:
            _browser(server, _store(server, st, image), side)


def _section(folder: Path, side: int) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    small = ndimage.gaussian_filter(rng.random((side // 10, side // 10, 3)), (4, 4, 0))
    small = (255 * (small - small.min()) / np.ptp(small)).astype(np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR).save(folder / "he.jpg", quality=85)
    adata = anndata.AnnData(rng.poisson(3.0, (SPOTS**2, 5)).astype(np.float32))
    adata.var_names = [f"Gene{i}" for i in range(5)]
    adata.obsm[keys.SPATIAL] = (np.stack(np.divmod(np.arange(SPOTS**2), SPOTS), axis=1) + 0.5) * side / SPOTS
    adata.uns[keys.UNS] = {keys.UM_PER_PX: 0.5, keys.UM_PER_PX_SOURCE: "benchmark"}
    io.write_h5ad(adata, folder / "st.h5ad")
    return folder / "st.h5ad", folder / "he.jpg"


def _store(server: Server, st: Path, image: Path) -> str:
    workspace = Workspace(Settings(data=Path(server.data), min_free_bytes=0, demo=False))
    project = workspace.create_project("Benchmark", "nobody")
    sample = workspace.create_sample(project, "histology")

    def write(folder: Path) -> dict[str, Any]:
        child = [sys.executable, "-c", CHILD, st, image, folder]
        cost = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
        tiles = [path.stat().st_size for path in (folder / "image").rglob("tiles/*/*.jpg")]
        print(
            f"read in {cost['read_s']:.1f} s, pyramid built in {cost['built_s']:.1f} s of CPU, at most "
            f"{cost['peak_mb']:.0f} MB; {len(tiles):,} tiles, {sum(tiles) / 1e6:.0f} MB"
        )
        return views.counts(anndata.read_h5ad(st))

    workspace.add_result(sample, "st", writer=write, config={}, inputs={})
    return f"/p/{project.id}/{sample.id}/explore?spots=30"


def _browser(server: Server, path: str, side: int) -> None:
    fetched: list[tuple[str, int]] = []
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("response", lambda r: "/api/image/" in r.url and fetched.append((r.url, len(r.body()))))
        page.goto(server.url + path)
        page.wait_for_function(READY, timeout=120_000)
        for share in (None, *PLACES):
            if share is not None:
                page.evaluate("at => SpatialMetaExplore.page.spatial.place([at, at], 1)", share * side)
            page.wait_for_timeout(1500)
            where = "the whole section" if share is None else f"pixel for pixel at {share:.0%}"
            print(f"  {where}: {len(fetched)} pictures, {sum(size for _, size in fetched) / 1e6:.2f} MB")
            fetched.clear()


if __name__ == "__main__":
    main()
