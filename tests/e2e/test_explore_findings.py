"""Trajectories, markers and figures of the Explore page, driven by mouse and keys, against shapely and closed forms."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import shapely
from PIL import Image
from playwright.sync_api import Download, Page, expect
from scipy.interpolate import BSpline

from core.analysis.annotations import write_annotations
from tests.app.explored import UM_PER_PX, Explored
from tests.e2e.test_explore import (  # noqa: F401
    LOAD_MS,
    RING,
    at,
    draw_region,
    head,
    sample,
    selected,
    settled,
    tool,
    visit,
    workspace,
)

SVG = "{http://www.w3.org/2000/svg}"
CORNERS = [(1500, 2000), (4000, 2000), (4000, 4500), (5500, 4500)]


def draw_path(page: Page, corners=CORNERS, name: str = "Midline") -> None:
    tool(page, "trajectory")
    for corner in corners:
        page.mouse.click(*at(page, corner))
    page.keyboard.press("Enter")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    settled(page)
    page.focus("#explore-stage")


def saved_as(page: Page, button: str) -> tuple[Download, bytes]:
    with page.expect_download() as waiting:
        page.locator("#explore-figure").get_by_role("button", name=button, exact=True).click()
    return waiting.value, Path(waiting.value.path()).read_bytes()


def test_positions_direction_corridor_and_curve_of_a_path(page: Page, sample: Explored, head) -> None:  # noqa: F811
    visit(page, sample.path)
    draw_path(page)
    feature = head().document["features"][0]
    line = shapely.LineString(feature["geometry"]["coordinates"])
    expected = shapely.LineString(CORNERS)
    assert line.hausdorff_distance(expected) < 3 / page.evaluate("SpatialMetaExplore.page.spatial.scale")
    expect(page.locator(".ex-item", has_text="Midline")).to_contain_text("3.25 mm")  # 6,500 px of 0.5 µm

    # what a saved file would hold, against shapely, for all three segments
    spots = shapely.points(sample.xy)
    obs = write_annotations(sample.joint, head().document).obs
    inside = obs["toi_midline_position_um"].notna().to_numpy()
    distance = shapely.distance(line, spots) * UM_PER_PX
    np.testing.assert_array_equal(inside, distance <= feature["properties"]["width_um"] / 2)
    position = shapely.line_locate_point(line, spots) * UM_PER_PX
    np.testing.assert_allclose(obs["toi_midline_position_um"][inside], position[inside], atol=1e-2)
    assert position[inside].max() > 3000  # spots of the last segment

    # the corridor follows the slider, and is saved when it rests
    page.locator("#explore-width").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    width = feature["properties"]["width_um"] + 50
    count = int((distance <= width / 2).sum())
    expect(page.locator(".ex-item", has_text="Midline")).to_contain_text(f"{count} spots")
    saved = "w => SpatialMetaExplore.page.annotations.head.document.features[0].properties.width_um === w"
    page.wait_for_function(saved, arg=width)
    assert head().document["features"][0]["properties"]["width_um"] == width

    # the other way round, by key; the arrows turn with it
    arrows = "Array.from(document.querySelectorAll('.ex-arrow'), (a) => a.getAttribute('transform'))"
    before = page.evaluate(arrows)
    assert len(before) > 2
    page.focus("#explore-stage")
    page.keyboard.press("d")
    settled(page)
    turned = head().document["features"][0]["geometry"]["coordinates"]
    assert turned == feature["geometry"]["coordinates"][::-1]
    assert page.evaluate(arrows) != before
    page.keyboard.press("d")
    settled(page)

    # smooth: near the quadratic B-spline of the corners, between the middles of the first and the last side
    page.keyboard.press("s")
    settled(page)
    curve = np.array(head().document["features"][0]["geometry"]["coordinates"])
    corners = np.array(feature["geometry"]["coordinates"])
    spline = BSpline(np.arange(len(corners) + 3), corners, 2)(np.linspace(2, len(corners), 500))
    far = shapely.distance(shapely.LineString(curve), shapely.points(spline)).max()
    assert far < line.length / 500
    assert far < shapely.distance(line, shapely.points(spline)).max() / 10
    expect(page.locator("#explore-smooth")).to_have_attribute("aria-pressed", "true")
    length = shapely.LineString(curve).length * UM_PER_PX / 1e3
    expect(page.locator(".ex-item", has_text="Midline")).to_contain_text(f"{length:.2f}".rstrip("0") + " mm")
    page.keyboard.press("s")
    settled(page)
    assert head().document["features"][0]["geometry"]["coordinates"] == feature["geometry"]["coordinates"]


def test_what_changes_along_the_path_recolours_the_view(page: Page, sample: Explored, axe) -> None:  # noqa: F811
    visit(page, f"{sample.path}?colour=feature:Gnas")
    draw_path(page, [(1100, 3000), (5900, 3000)])
    page.keyboard.press("h")
    rows = page.locator("#explore-along li")
    expect(rows).to_have_count(5, timeout=LOAD_MS)
    expect(rows.first).to_contain_text("Pcp4")  # the feature that grows with x
    expect(page.locator("#explore-rank-note")).to_contain_text("5 features tested")
    axe(page)
    rows.first.get_by_role("button").click()
    page.wait_for_function("() => SpatialMetaExplore.page.state.colour.name === 'Pcp4'")
    expect(page.locator("#explore-announce")).to_have_text("Coloured by Pcp4")
    page.locator("#explore-rank-kind").select_option("SM")
    expect(rows).to_have_count(3)
    page.locator("#explore-rank-kind").select_option("list")
    page.locator("#explore-rank-list").fill("Gnas, dopamine; unheard of")
    page.keyboard.press("Tab")
    expect(rows).to_have_count(2)
    expect(page.locator("#explore-rank-note")).to_contain_text("Not found: unheard of")


def test_markers_of_a_region_with_p_values_of_random_places(page: Page, sample: Explored, axe, watch) -> None:  # noqa: F811
    visit(page, sample.path)
    draw_region(page, [(1100, 1600), (2200, 1600), (2200, 5300), (1100, 5300)], name="Left")
    draw_region(page, RING, name="Middle")
    page.focus("#explore-stage")
    page.keyboard.press("m")
    panel = page.locator("#explore-markers")
    expect(panel).to_contain_text("Neighbouring spots are not independent")
    panel.get_by_label("Compare with").select_option(label="against Left")
    first = panel.locator("tbody tr").first
    expect(first).to_contain_text("Pcp4", timeout=LOAD_MS)  # grows with x: the middle has more than the left
    auc = float(first.locator("td").nth(2).inner_text())
    middle, left = (
        shapely.contains_xy(shapely.Polygon(r), sample.xy)
        for r in (RING, [(1100, 1600), (2200, 1600), (2200, 5300), (1100, 5300)])
    )
    left &= ~middle
    x = np.asarray(sample.joint.X)[:, 0]
    wins = (x[middle][:, None] > x[left]).mean() + 0.5 * (x[middle][:, None] == x[left]).mean()
    assert abs(auc - wins) < 0.02
    watch.allow("503")  # the server is away for a moment while the job runs
    page.route("**/api/jobs/*", lambda route: route.fulfill(status=503), times=1)
    panel.get_by_role("button", name="p from random places").click()
    expect(panel.locator("thead")).to_contain_text("p (places)", timeout=LOAD_MS)
    assert any("503" in text for text in watch.found)
    p = float(first.locator("td").nth(4).inner_text())
    assert 0 < p <= 1
    axe(page)
    with page.expect_download() as waiting:
        panel.get_by_role("button", name="Save the markers as CSV").click()
    table = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert {row["feature"] for row in table} == set(sample.joint.var_names)
    assert all(2 / 1000 <= float(row["p_spatial"]) <= 1 for row in table)
    first.get_by_role("button").click()
    page.wait_for_function("() => SpatialMetaExplore.page.state.colour.name === 'Pcp4'")


def test_figures_and_the_numbers_behind_them(page: Page, sample: Explored, axe) -> None:  # noqa: F811
    visit(page, f"{sample.path}?colour=feature:Pcp4")
    draw_region(page)
    draw_path(page, [(1100, 3000), (5900, 3000)])
    page.keyboard.press("h")
    expect(page.locator("#explore-along li")).to_have_count(5, timeout=LOAD_MS)
    page.focus("#explore-stage")
    page.keyboard.press("f")
    panel = page.locator("#explore-figure")
    panel.get_by_label("Width").fill("80")
    panel.get_by_label("Resolution").fill("150")
    page.keyboard.press("Tab")
    axe(page)

    for what, inside in {
        "spatial": ".//*[@class='scale-bar']",
        "umap": ".//*[@class='spots']",
        "profile": ".//*[@class='band']",
        "heat": ".//*[@class='row']",
    }.items():
        panel.get_by_label("What the figure shows").select_option(what)
        _, data = saved_as(page, "SVG")
        svg = ElementTree.fromstring(data)
        assert svg.get("width") == "80mm"
        assert svg.find(inside) is not None
        height = float(svg.get("height").removesuffix("mm"))
        _, data = saved_as(page, "PNG")
        picture = Image.open(io.BytesIO(data))
        assert picture.size == (round(80 / 25.4 * 150), round(height / 25.4 * 150))
        assert np.allclose(picture.info["dpi"], 150, atol=0.1)
        assert (
            len(np.unique(np.asarray(picture.convert("RGB").resize((80, 60))).reshape(-1, 3), axis=0)) > 10
        )  # something is painted
        _, data = saved_as(page, "CSV")
        check_table(what, list(csv.DictReader(io.StringIO(data.decode()))), sample)
        if what == "spatial":
            check_spatial(svg, page)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def check_spatial(svg: ElementTree.Element, page: Page) -> None:
    """Every spot where the view has it, in millimetres; histology, region, path with arrows, scale bar, colour bar."""
    places = page.evaluate(
        "() => { const v = SpatialMetaExplore.page.spatial, k = 80 / v.width;"
        " return Array.from({ length: v.xy.length / 2 },"
        " (_, i) => v.toScreen([v.xy[2 * i], v.xy[2 * i + 1]]).map((c) => c * k)); }"
    )
    circles = svg.findall(f".//{SVG}g[@class='spots']//{SVG}circle")
    drawn = np.array(sorted((float(c.get("cx")), float(c.get("cy"))) for c in circles))
    np.testing.assert_allclose(drawn, sorted(map(tuple, places)), atol=2e-3)
    assert svg.find(f".//{SVG}image").get("href").startswith("data:image/jpeg;base64,")
    assert len(svg.findall(".//*[@class='region']")) == 1
    assert len(svg.findall(".//*[@class='trajectory']")) == 1
    assert svg.find(".//*[@class='colour-bar']") is not None
    bar = svg.find(".//*[@class='scale-bar']")
    number, unit = bar.find(f"{SVG}text").text.split()
    um = float(number) * (1000 if unit == "mm" else 1)
    mm_per_px = page.evaluate("SpatialMetaExplore.page.spatial.scale * 80 / SpatialMetaExplore.page.spatial.width")
    assert abs(float(bar.findall(f"{SVG}rect")[1].get("width")) - um / UM_PER_PX * mm_per_px) < 2e-3


def check_table(what: str, rows: list[dict[str, str]], sample: Explored) -> None:  # noqa: F811
    numbers = {
        name: np.array([float(r[name] or "nan") for r in rows])
        for name in rows[0]
        if name not in ("spot", "feature", "type")
    }
    if what in ("spatial", "umap"):
        assert [r["spot"] for r in rows] == list(sample.joint.obs_names)
        np.testing.assert_allclose(numbers["Pcp4"], sample.joint.layers["normalized"][:, 0], rtol=1e-5)
        axes = [numbers[n] for n in (("x_px", "y_px") if what == "spatial" else ("umap_1", "umap_2"))]
        expected = sample.joint.obsm["spatial" if what == "spatial" else "X_umap"]
        np.testing.assert_allclose(np.column_stack(axes), expected, rtol=1e-5)
    elif what == "profile":
        assert abs(numbers["position_mm"][-1] - 2.4) < 0.01
        assert (numbers["Pcp4 low"] <= numbers["Pcp4"]).all()
        assert (numbers["Pcp4"] <= numbers["Pcp4 high"]).all()
    else:
        assert {r["feature"] for r in rows} == set(sample.joint.var_names)
        assert (np.diff(numbers["f"]) <= 0).all()
        assert sum(bool(re.fullmatch(r"\d+ um", name)) for name in rows[0]) == 60


def test_every_panel_is_accessible_in_the_dark_theme(person, sample: Explored, axe) -> None:  # noqa: F811
    page = person(color_scheme="dark")
    visit(page, f"{sample.path}?colour=feature:Pcp4&second=Gnas&beside=feature:tau")
    assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    draw_region(page, RING, name="Core")
    page.keyboard.press("m")
    expect(page.locator("#explore-markers")).to_contain_text("mz-674.2789")
    axe(page)  # bivariate legend, side by side, selection, region with its class, markers
    page.keyboard.press("Escape")
    draw_path(page)
    page.keyboard.press("h")
    expect(page.locator("#explore-along")).to_contain_text("Pcp4")
    page.keyboard.press("f")
    expect(page.locator("#explore-figure")).to_be_visible()
    page.locator("#explore-search input").fill("nothing like this")
    expect(page.locator("#explore-search-list")).to_contain_text("Nothing by this name")
    axe(page)  # path, profile, ranking, figure, an empty search
