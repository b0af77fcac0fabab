"""What was drawn and renamed goes into the file, and comes out of it in a new project."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import shapely
from anndata import read_h5ad
from playwright.sync_api import Page, expect

from core.reassignment import reassign
from spatialmeta_app.workspace import Annotations
from tests.e2e.conftest import Watch
from tests.e2e.seeding import keep, seed
from tests.e2e.serving import Server
from tests.e2e.test_data import IMPORT_MS, choose
from tests.e2e.test_explore import LOAD_MS, draw_region, selected, settled, visit
from tests.e2e.test_explore_findings import draw_path
from tests.e2e.test_shell import new_project


def test_a_new_project_restores_what_the_file_holds(
    page: Page, app_server: Server, axe, watch: Watch, tmp_path: Path
) -> None:
    seeded = seed(app_server, aligned=True)
    joint = reassign(seeded.read("st"), seeded.read("align"))
    xy = np.asarray(joint.obsm["spatial"], dtype=float)
    (x0, y0), (x1, y1) = xy.min(axis=0), xy.max(axis=0)
    place = lambda u, v: (x0 + u * (x1 - x0), y0 + v * (y1 - y0))  # noqa: E731
    joint.obs["area"] = pd.Categorical(np.where(xy[:, 0] < place(0.4, 0)[0], "left", "right"))
    keep(seeded, "reassign", joint)
    annotations = Annotations(seeded.workspace)

    visit(page, f"{seeded.path('explore')}?colour=obs:area")
    draw_region(page, [place(0.22, 0.24), place(0.61, 0.27), place(0.58, 0.71), place(0.27, 0.66)], name="Core")
    draw_path(page, [place(0.1, 0.5), place(0.5, 0.5), place(0.9, 0.7)], name="Across")
    page.get_by_label("Class of the chosen paths").fill("radial")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_label("Colour of class radial").fill("#ffcc00")
    settled(page)
    page.locator(".ex-category", has_text="right").locator(".ex-name").focus()
    page.keyboard.press("F2")
    page.keyboard.type("Cortex")
    page.keyboard.press("Enter")
    settled(page)
    axe(page)
    document = annotations.head(seeded.sample).document
    region, path = document["features"]
    assert (path["properties"]["class"], path["properties"]["color"]) == ("radial", "#ffcc00")
    watch.allow("503")  # the server is away for a moment while the file is written
    page.route("**/api/jobs/*", lambda route: route.fulfill(status=503), times=1)
    page.get_by_role("button", name="Save to AnnData").click()
    report = page.locator("#explore-shape-report")
    expect(report).to_contain_text("obs['area']")
    expect(report.get_by_role("link")).to_be_visible(timeout=LOAD_MS)
    assert any("503" in text for text in watch.found)
    with page.expect_download() as waiting:
        report.get_by_role("link").click()
    file = tmp_path / "saved.h5ad"
    file.write_bytes(Path(waiting.value.path()).read_bytes())

    saved = read_h5ad(file)
    drawn = shapely.geometry.shape(region["geometry"])
    np.testing.assert_array_equal(saved.obs["roi_regions"].notna(), shapely.contains_xy(drawn, xy))
    along = shapely.line_locate_point(shapely.geometry.shape(path["geometry"]), shapely.points(xy))
    inside = saved.obs["toi_across_position_um"].notna().to_numpy()
    um = saved.uns["spatialmeta"]["um_per_px"]
    np.testing.assert_allclose(saved.obs["toi_across_position_um"][inside], along[inside] * um, atol=1e-2)
    assert list(saved.obs["area"].cat.categories) == ["left", "Cortex"]

    new_project(page, "Again")
    project, sample = urlsplit(page.url).path.split("/")[2:4]
    choose(page, "st", file)
    expect(page.locator("body")).to_contain_text("2 restored from the file", timeout=IMPORT_MS)
    assert annotations.head(sample).document == document
    visit(page, f"/p/{project}/{sample}/explore?colour=obs:area")
    expect(page.locator(".ex-category", has_text="Cortex")).to_be_visible()
    for name in ("Core", "Across"):
        expect(page.locator(".ex-item", has_text=name)).to_be_visible()
    page.locator(".ex-item .ex-name", has_text="Core").click()
    np.testing.assert_array_equal(selected(page), np.flatnonzero(shapely.contains_xy(drawn, xy)))
    again = page.locator(".ex-category", has_text="Cortex").locator(".ex-name")
    again.focus()
    page.keyboard.press("F2")
    page.keyboard.type("right")  # what it was called before is known in the new project too
    page.keyboard.press("Enter")
    settled(page)
    assert "categories" not in annotations.head(sample).document
