"""What Explore shows: colours, categories, several pictures at once, very many spots, large histology, links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anndata
import numpy as np
import pandas as pd
import plotly.colors
import pytest
import shapely
from PIL import Image
from playwright.sync_api import Page, expect

from core import keys
from core.io.notes import note
from spatialmeta_app.figures.palettes import SCALES
from spatialmeta_app.workspace import overview, viewing, views
from tests.app.explored import UM_PER_PX, Explored
from tests.e2e.test_explore import head, inside, sample, selected, settled, stroke, tool, visit, workspace

__all__ = ["head", "sample", "workspace"]  # fixtures

SIDE = 500  # 250,000 pixels: above what is sent to a browser
PIXEL_PX = 20.0


def codes(page: Page, view: str = "spatial") -> np.ndarray:
    return np.array(page.evaluate(f"() => Array.from(SpatialMetaExplore.page.{view}.points.arrays.code)"))


def painted(page: Page, point, view: str = "spatial") -> list[int]:
    """Red, green, blue and opacity of the canvas at a place in the data."""
    script = """([view, point]) => { const v = eval(`SpatialMetaExplore.page.${view}`), [x, y] = v.toScreen(point);
      const r = devicePixelRatio; v.paint();
      return Array.from(v.canvas.getContext('2d').getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data); }"""
    return page.evaluate(script, [view, list(point)])


def steps_of(values, span) -> np.ndarray:
    return np.clip(np.floor((values - span[0]) / (span[1] - span[0]) * 128), 0, 127)


def colour_of(scale: str, share: float) -> np.ndarray:
    return np.array(plotly.colors.unlabel_rgb(plotly.colors.sample_colorscale(list(SCALES[scale]), share)[0]))


def pick(page: Page, name: str, box: str = "explore-search") -> None:
    """Find a feature by typing its name."""
    field = page.locator(f"#{box} input")
    field.click()
    field.fill(name)
    expect(page.locator(f"#{box}-list [role=option]").first).to_contain_text(name)
    field.press("Enter")


def opaque(path: str) -> str:
    return f"{path}?spots=100&colour=feature:tau&scale=magma"


def test_a_recolour_paints_every_spot_by_its_percentile(page: Page, sample: Explored) -> None:
    """Codes against numpy's percentiles, the canvas against plotly's scale; normalised, then raw, then its log."""
    visit(page, opaque(sample.path))
    pick(page, "Pcp4")
    page.wait_for_function("() => SpatialMetaExplore.page.state.colour.name === 'Pcp4'")
    for layer, log in [("normalized", False), ("counts", False), ("counts", True)]:
        page.locator("#explore-layer").select_option(layer)
        if log:
            page.get_by_label("log", exact=True).check()
        shown = np.asarray(sample.joint.layers[layer])[:, 0]
        shown = np.log1p(shown) if log else shown
        expected = steps_of(shown, np.percentile(shown, (2, 98)))
        page.wait_for_function(
            "want => { const c = SpatialMetaExplore.page.spatial.points.arrays.code; return c[300] === want; }",
            arg=int(expected[300]),
        )
        found = codes(page)
        assert (found != expected).mean() < 0.01  # float32 there, float64 here: a spot on a step may fall beside it
        assert np.abs(found - expected).max() <= 1
    settled(page)
    for spot in (300, 12):
        pixel = painted(page, sample.xy[spot])
        assert np.abs(np.array(pixel[:3]) - colour_of("magma", found[spot] / 127)).max() <= 2
        assert pixel[3] == 255


def test_categories_are_recoloured_and_renamed_for_everybody(page: Page, person, sample: Explored, head) -> None:
    visit(page, f"{sample.path}?colour=obs:region&spots=100")
    row = page.locator(".ex-category", has_text="Septum")
    row.hover()
    row.get_by_label("Colour of Septum").fill("#12ab34")
    row.get_by_label("Colour of Septum").dispatch_event("change")
    settled(page)
    spot = int(np.flatnonzero(sample.joint.obs["region"] == "Septum")[40])
    assert painted(page, sample.xy[spot])[:3] == [0x12, 0xAB, 0x34]
    row.get_by_role("button", name="Select").or_(row.locator(".ex-name")).first.focus()
    page.keyboard.press("F2")
    page.keyboard.type("Lateral septum")
    page.keyboard.press("Enter")
    settled(page)
    assert head().document["categories"] == {"region": {"Septum": {"name": "Lateral septum", "color": "#12ab34"}}}
    expect(page.locator("#explore-legend")).to_contain_text("Lateral septum")
    other = person()
    visit(other, f"{sample.path}?colour=obs:region&spots=100")
    expect(other.locator(".ex-category", has_text="Lateral septum")).to_be_visible()
    assert painted(other, sample.xy[spot])[:3] == [0x12, 0xAB, 0x34]
    page.focus("#explore-stage")
    page.keyboard.press("Control+z")
    expect(other.locator(".ex-category", has_text="Lateral septum")).to_have_count(0)
    expect(other.locator(".ex-category", has_text="Septum")).to_be_visible()


def test_categories_that_get_one_name_become_one_and_can_be_split(page: Page, sample: Explored, head, axe) -> None:
    visit(page, f"{sample.path}?colour=obs:region&spots=100")
    region, rows = sample.joint.obs["region"].to_numpy(), page.locator(".ex-category")
    septum, striatum = (int(np.flatnonzero(region == name)[40]) for name in ("Septum", "Striatum"))
    before = [painted(page, sample.xy[spot]) for spot in (septum, striatum)]

    def rename() -> None:
        rows.filter(has_text="Septum").locator(".ex-name").focus()
        page.keyboard.press("F2")
        page.keyboard.type("Striatum")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Septum and Striatum become one")

    rename()
    axe(page)
    page.keyboard.press("Escape")
    settled(page)
    assert "categories" not in head().document
    expect(rows).to_have_count(3)
    rename()
    page.get_by_role("button", name="Merge").click()
    settled(page)
    expect(rows).to_have_count(2)
    expect(page.locator("#explore-legend li")).to_have_count(2)
    both = np.isin(region, ["Septum", "Striatum"])
    expect(rows.filter(has_text="Striatum")).to_contain_text(str(both.sum()))
    assert [painted(page, sample.xy[spot]) for spot in (septum, striatum)] == [before[1]] * 2
    rows.filter(has_text="Striatum").locator(".ex-name").click()
    settled(page)
    np.testing.assert_array_equal(selected(page), np.flatnonzero(both))
    page.get_by_label("Regions from a column of obs").select_option("region")
    settled(page)
    drawn = {f["properties"]["name"]: shapely.geometry.shape(f["geometry"]) for f in head().document["features"]}
    assert set(drawn) == {"Cortex", "Striatum"}
    np.testing.assert_array_equal(shapely.contains_xy(drawn["Striatum"], sample.xy), both)
    rows.filter(has_text="Striatum").hover()
    page.get_by_role("button", name="Split Striatum into Septum, Striatum").click()
    settled(page)
    expect(rows).to_have_count(3)
    assert "categories" not in head().document
    assert [painted(page, sample.xy[spot]) for spot in (septum, striatum)] != [before[1]] * 2


LOOKS = [  # names of a category: base, mine, theirs -> what stands
    ({"a": "x"}, {"a": "x", "b": "y"}, {"a": "z"}, {"a": "z", "b": "y"}),
    ({"a": "x"}, {}, {"a": "x", "b": "y"}, {"b": "y"}),
    ({}, {"a": "mine"}, {"a": "theirs"}, {"a": "mine"}),
]


def test_names_of_categories_are_merged_one_by_one(page: Page) -> None:
    page.goto("/")

    def document(names: dict[str, str]) -> dict:
        return {
            "type": "FeatureCollection",
            "features": [],
            "categories": {"region": {k: {"name": v} for k, v in names.items()}},
        }

    for *three, expected in LOOKS:
        merged = page.evaluate("docs => SpatialMetaExplore.merge(...docs).document", [document(d) for d in three])
        assert {k: v["name"] for k, v in merged["categories"]["region"].items()} == expected


def test_four_features_side_by_side_move_together(page: Page, sample: Explored, axe) -> None:
    visit(page, opaque(sample.path))
    for name in ("Pcp4", "Gnas", "mz-674.2789"):
        pick(page, name, "explore-beside")
    page.wait_for_function("() => SpatialMetaExplore.page.panes.panes.length === 3")
    page.wait_for_function(
        """() => { const { panes, spatial } = SpatialMetaExplore.page;
          return panes.panes.every((pane) => pane.painting && Math.abs(pane.view.height - spatial.height) <= 1); }"""
    )
    settled(page)
    stages = page.locator("#explore-panes .ex-stage")
    boxes = [stages.nth(i).bounding_box() for i in range(4)]
    assert np.ptp([[b["width"], b["height"]] for b in boxes], axis=0).max() <= 1  # a pixel of rounding
    place = page.evaluate("p => SpatialMetaExplore.page.panes.panes[2].view.clientXY(p)", [3000, 3000])
    page.mouse.move(*place)
    page.mouse.wheel(0, -500)
    settled(page)
    where = "(v) => [...v.centre, v.scale]"
    views_ = "[SpatialMetaExplore.page.spatial, ...SpatialMetaExplore.page.panes.panes.map((p) => p.view)]"
    found = np.array(page.evaluate(f"() => {views_}.map({where})"))
    np.testing.assert_allclose(found, np.tile(found[0], (4, 1)))
    under = page.evaluate("p => SpatialMetaExplore.page.panes.panes[2].view.clientXY(p)", [3000, 3000])
    np.testing.assert_allclose(under, place, atol=2)  # zoomed about the pointer; columns differ by a pixel
    for k, feature in [(0, 0), (1, 1), (2, 2)]:
        shown = np.asarray(sample.joint.layers[keys.NORMALIZED])[:, feature]
        low, high = np.percentile(shown, (2, 98))
        expected = steps_of(shown, (low, high if high > low else shown.max()))
        assert np.abs(codes(page, f"panes.panes[{k}].view") - expected).max() <= 1
    page.locator("#explore-stage").focus()
    tool(page, "lasso")
    ring = [(2650, 2625), (3350, 2625), (3350, 3320), (2650, 3320)]
    stroke(page, ring, view="panes.panes[1].view", closed=True)
    np.testing.assert_array_equal(selected(page), inside(sample, ring))
    dimmed = "() => SpatialMetaExplore.page.panes.panes[0].view.points.arrays.state.filter((s) => s & 2).length"
    assert page.evaluate(dimmed) == sample.joint.n_obs - len(inside(sample, ring))
    axe(page)
    page.get_by_role("button", name="Take Gnas away").click()
    page.wait_for_function("() => SpatialMetaExplore.page.panes.panes.length === 2")
    page.wait_for_function("() => !location.search.includes('Gnas') && location.search.includes('beside=')")


@dataclass(frozen=True)
class Large:
    path: str
    values: np.ndarray  # (n, 2)
    xy: np.ndarray


@pytest.fixture
def added(workspace, sample: Explored) -> Callable[..., str]:
    """Adds a section to the project as a new sample; returns the address of its page."""

    def add(name: str, adata: anndata.AnnData, source: Path | None = None, step: str = "st") -> str:
        made = workspace.create_sample(sample.project, name)

        def write(directory: Path) -> dict:
            viewing.write_view(adata, directory / "view")
            overview.write_histology(adata, directory / "image", source)
            return views.counts(adata)

        workspace.add_result(made, step, writer=write, config={}, inputs={})
        return f"/p/{sample.project.id}/{made.id}/explore"

    return add


def test_a_grid_of_samples_has_one_scale(page: Page, sample: Explored, added) -> None:
    brighter = sample.joint.copy()
    brighter.layers[keys.COUNTS] = brighter.layers[keys.COUNTS] * 3
    added("brighter", brighter)
    visit(page, f"{sample.path}?colour=feature:Pcp4&layer=counts")
    page.get_by_label("All samples of the project").check()
    expect(page.locator(".ex-title", has_text="brighter")).to_be_visible()
    page.wait_for_function("() => SpatialMetaExplore.page.panes.panes[0]?.painting")
    settled(page)
    one, two = (np.asarray(a.layers[keys.COUNTS])[:, 0] for a in (sample.joint, brighter))
    span = np.percentile(np.concatenate([one, two]), (2, 98))
    assert np.abs(codes(page) - steps_of(one, span)).max() <= 1
    assert np.abs(codes(page, "panes.panes[0].view") - steps_of(two, span)).max() <= 1
    expect(page.locator("#explore-grid-note")).to_be_hidden()
    page.locator(".ex-title a", has_text="brighter").click()
    page.wait_for_function("() => window.SpatialMetaExplore?.page?.result?.meta.step === 'st'")  # a new document


def test_clusters_of_samples_clustered_apart_are_not_taken_for_the_same(page: Page, sample: Explored, added) -> None:
    clustered = sample.joint.copy()
    clustered.obs[keys.LEIDEN] = pd.Categorical(np.where(np.arange(clustered.n_obs) % 2, "0", "1"))
    paths = [added(name, clustered, step="cluster") for name in ("first", "second")]
    visit(page, f"{paths[0]}?colour=obs:leiden&grid=1")
    note = page.locator("#explore-grid-note")
    expect(note).to_contain_text("clustered by itself")
    page.get_by_label("All samples of the project").uncheck()
    expect(note).to_be_hidden()


def large_section() -> anndata.AnnData:
    """250,000 pixels of two features; some pixels of the second are brighter in one quarter."""
    r, c = np.divmod(np.arange(SIDE * SIDE), SIDE)
    rng = np.random.default_rng(3)
    values = np.column_stack([c / SIDE, rng.random(SIDE * SIDE) + (c < SIDE / 2) * (r < SIDE / 2)]).astype(np.float32)
    adata = anndata.AnnData(
        values,
        obs=pd.DataFrame(index=pd.RangeIndex(SIDE * SIDE).astype(str)),
        var=pd.DataFrame({keys.TYPE: [keys.SM, keys.SM]}, index=["ramp", "quarter"]),
    )
    adata.obsm[keys.SPATIAL] = (np.column_stack([c, r]) + 0.5) * PIXEL_PX
    adata.uns[keys.UNS] = {keys.UM_PER_PX: UM_PER_PX, keys.UM_PER_PX_SOURCE: "test"}
    return adata


def test_very_many_pixels_are_pictures_that_sharpen(page: Page, added) -> None:
    section = large_section()
    path = added("large", section)
    asked: list[dict[str, list[str]]] = []
    arrays: list[str] = []

    def note(request) -> None:
        parts = urlsplit(request.url)
        if parts.path.endswith("/raster"):
            asked.append(parse_qs(parts.query))
        elif any(word in parts.path for word in ("/obsm/", "/feature/")):
            arrays.append(request.url)

    page.on("request", note)
    visit(page, f"{path}?colour=feature:ramp&spots=100&size=300")
    page.wait_for_function("() => SpatialMetaExplore.page.rasters[0].painted")
    assert not arrays  # neither places nor values of 250,000 pixels travel
    first = np.array(asked[-1]["box"][0].split(","), dtype=float)
    span = np.percentile(section.X[:, 0], (2, 98))
    for column in (40, 333):
        share = steps_of((column + 0.5) / SIDE, span) / 127
        near = painted(page, ((column + 0.5) * PIXEL_PX, 5000))
        assert np.abs(np.array(near[:3]) - colour_of("viridis", share)).max() <= 8  # the mean of neighbours
    page.mouse.move(*page.evaluate("SpatialMetaExplore.page.spatial.clientXY([5010, 5010])"))
    expect(page.locator("#explore-tip")).to_have_text("ramp: 0.5")  # the pixel of column 250
    before = page.evaluate("SpatialMetaExplore.page.rasters[0].painted")
    page.mouse.move(*page.evaluate("SpatialMetaExplore.page.spatial.clientXY([5000, 5000])"))
    for _ in range(4):
        page.mouse.wheel(0, -600)
    page.wait_for_function(f"() => SpatialMetaExplore.page.rasters[0].painted > {before}")
    page.wait_for_function(
        "() => { const s = SpatialMetaExplore.page.spatial; return String(s.raster.box) === String(s.box()); }"
    )
    second = np.array(asked[-1]["box"][0].split(","), dtype=float)
    assert second[2] - second[0] < 0.2 * (first[2] - first[0])
    column, row = 251, 249
    pixel = painted(page, ((column + 0.5) * PIXEL_PX, (row + 0.5) * PIXEL_PX))
    value = (section.X[row * SIDE + column - 1 : row * SIDE + column + 2, 0], span)  # spots of 300 % overlap
    shares = steps_of(*value) / 127
    assert min(np.abs(np.array(pixel[:3]) - colour_of("viridis", share)).max() for share in shares) <= 2
    pick(page, "quarter")
    page.wait_for_function("() => SpatialMetaExplore.page.state.colour.name === 'quarter'")
    page.keyboard.press("Escape")
    tool(page, "box")
    ring = shapely.box(4901, 4901, 5099, 5099)
    stroke(page, [(4901, 4901), (5099, 5099)])
    chosen = selected(page)
    xy = np.asarray(section.obsm[keys.SPATIAL])
    np.testing.assert_array_equal(chosen, np.flatnonzero(shapely.contains_xy(ring, xy)))
    mean = section.X[chosen, 1].mean()
    expect(page.locator("#explore-selection")).to_contain_text(f"{mean:.3f}".rstrip("0"))
    page.wait_for_function("() => SpatialMetaExplore.page.rasters[0].what.steps")
    assert not arrays
    brighter = section[: SIDE * SIDE // 2].copy()  # painted by the browser, beside the other on one scale
    brighter.X = brighter.X * 4
    added("brighter", brighter)
    visit(page, f"{path}?colour=feature:quarter&layer=counts&grid=1")
    both = np.percentile(np.concatenate([section.X[:, 1], brighter.X[:, 1]]), (2, 98))
    pane = "SpatialMetaExplore.page.panes.panes.find((p) => p.hit && !p.result.meta.raster)?.painting?.limits"
    page.wait_for_function(f"() => SpatialMetaExplore.page.rasters[0].what?.limits && {pane}")
    server, browser = page.evaluate(f"[SpatialMetaExplore.page.rasters[0].what.limits, {pane}]")
    np.testing.assert_allclose(np.array(server.split(","), dtype=float), both, rtol=1e-5)
    np.testing.assert_allclose(browser, both, rtol=1e-5)


def test_only_the_tiles_that_are_seen_are_fetched(page: Page, sample: Explored, added, tmp_path: Path) -> None:
    """Histology of 4,900 x 4,200 pixels, 0.7 a full-resolution pixel: 10 x 9 tiles, each in a colour of its own."""
    columns, rows = np.meshgrid(np.arange(4900) // 512, np.arange(4200) // 512)
    pixels = np.stack([columns * 25, rows * 28, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "he.png")
    section = sample.joint.copy()
    note(section, image_scale=0.7)
    fetched: list[str] = []
    page.on("request", lambda r: "/tiles/" in r.url and fetched.append(r.url.partition("/tiles/")[2]))
    visit(page, f"{added('histology', section, tmp_path / 'he.png')}?spots=0")
    settled(page)
    assert fetched == []  # the whole section: the overview is sharp enough
    page.evaluate("SpatialMetaExplore.page.spatial.place([3000, 2600], 0.69)")
    page.wait_for_function(
        """() => { const all = [...document.querySelectorAll('#explore-spatial img')];
        return all.length > 1 && all.every((img) => img.complete); }"""
    )
    width, height = page.evaluate("[SpatialMetaExplore.page.spatial.width, SpatialMetaExplore.page.spatial.height]")
    x = ((3000 + np.array([-1, 1]) * width / 2 / 0.69) * 0.7 // 512).astype(int)
    y = ((2600 + np.array([-1, 1]) * height / 2 / 0.69) * 0.7 // 512).astype(int)
    expected = {f"0/{c}_{r}.jpg" for c in range(x[0], x[1] + 1) for r in range(y[0], y[1] + 1)}
    assert sorted(fetched) == sorted(expected)
    assert len(fetched) < 25  # of 90
    boxes = page.evaluate("""() => [...document.querySelectorAll('#explore-spatial img')].slice(1).map((img) => {
      const b = img.getBoundingClientRect(); return [img.src.split('/tiles/')[1], b.left, b.top, b.width]; })""")
    for name, left, top, wide in boxes:
        column, row = map(int, name.removesuffix(".jpg").split("/")[1].split("_"))
        corner = page.evaluate(
            "p => SpatialMetaExplore.page.spatial.clientXY(p)", [column * 512 / 0.7, row * 512 / 0.7]
        )
        np.testing.assert_allclose([left, top], corner, atol=1.5)
        assert wide == pytest.approx(512 / 0.7 * 0.69, abs=1.5) or column == 9


def test_a_link_restores_selection_and_marks_for_another_person(page: Page, person, sample: Explored) -> None:
    visit(page, f"{sample.path}?colour=obs:region")
    tool(page, "lasso")
    around = [(3000 + 1300 * np.cos(a), 3200 + 1100 * np.sin(a)) for a in np.linspace(0, 6.1, 40)]
    stroke(page, around, closed=True)
    stroke(page, [(2810, 2810), (3590, 2810), (3590, 3390), (2810, 3390)], closed=True, hold="Alt")
    page.wait_for_function("() => SpatialMetaExplore.page.findings.steps.length === 2")
    page.get_by_label("Unit of the dot size").select_option("px")
    page.get_by_label("Dot size in pixels").fill("9")
    page.wait_for_function("() => location.hash.includes('select=') && location.search.includes('dot=9')")
    chosen = selected(page)
    assert 50 < len(chosen) < sample.joint.n_obs
    other = person()
    visit(other, page.url)
    np.testing.assert_array_equal(selected(other), chosen)
    assert other.evaluate("SpatialMetaExplore.page.spatial.size") == 9
    other.get_by_label("Unit of the dot size").select_option("um")
    other.wait_for_function("() => SpatialMetaExplore.page.spatial.size !== 9")
    scale = other.evaluate("SpatialMetaExplore.page.spatial.scale")
    assert other.evaluate("SpatialMetaExplore.page.spatial.size") == pytest.approx(55 / UM_PER_PX * scale, rel=1e-6)
    cut = person()
    visit(cut, page.url[:-30])  # a link that was cut still opens the rest
    assert cut.evaluate("SpatialMetaExplore.page.state.colour.name") == "region"
