"""Every tool of Explore with a real mouse, at known places: the spots it chooses are those that shapely chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from playwright.sync_api import Page, expect

from core.registration import Affine, Quality, RegistrationResult
from spatialmeta_app.workspace import Annotations, Workspace
from tests.app.explored import UM_PER_PX, Explored, add_result, make_sample
from tests.e2e.test_explore import (
    LOAD_MS,
    POLLS,
    READY,
    at,
    draw_region,
    inside,
    sample,
    selected,
    settled,
    stroke,
    tool,
    visit,
)
from tests.e2e.test_explore import head as newest
from tests.e2e.test_explore import workspace as workspace_of_server

head, workspace, _ = newest, workspace_of_server, sample

RING = np.array([[2010, 1910], [4100, 1890], [4700, 3200], [3390, 4310], [1890, 3390]], dtype=float)
SMALL = np.array([[2610, 2310], [3690, 2310], [3690, 3290], [2610, 3290]], dtype=float)
Draw = Callable[[Page], shapely.Geometry]


def shape_of(feature: dict) -> shapely.Geometry:
    return shapely.geometry.shape(feature["geometry"])


def reach(page: Page) -> float:
    """Three pixels of the screen, in the data."""
    return 3 / page.evaluate("SpatialMetaExplore.page.spatial.scale")


def chosen_by(sample: Explored, geometry: shapely.Geometry) -> np.ndarray:
    return np.flatnonzero(shapely.contains_xy(geometry, sample.xy))


def same_spots(page: Page, sample: Explored, geometry: shapely.Geometry, meant: shapely.Geometry) -> None:
    """The spots of the drawn geometry; and those of the meant one, but for spots under the line itself."""
    chosen = selected(page)
    np.testing.assert_array_equal(chosen, chosen_by(sample, geometry))
    slack = reach(page)
    assert set(chosen_by(sample, meant.buffer(-slack))) <= set(chosen) <= set(chosen_by(sample, meant.buffer(slack)))


def click_through(page: Page, corners) -> None:
    for corner in corners:
        page.mouse.click(*at(page, corner))
    page.keyboard.press("Enter")


def draw(page: Page, name: str, ring: np.ndarray) -> shapely.Geometry:
    """Draw with one of the tools; gives what was meant."""
    tool(page, name)
    if name == "box":
        stroke(page, [ring[0], ring[2]])
        return shapely.box(*ring[0], *ring[2])
    if name == "polygon":
        click_through(page, ring)
    elif name == "brush":
        radius = page.evaluate("SpatialMetaExplore.page.tools.radius / SpatialMetaExplore.page.spatial.scale")
        stroke(page, ring)
        settled(page)
        return shapely.LineString(ring).buffer(radius)
    else:
        stroke(page, ring, closed=True)
    if name in ("region", "polygon"):
        settled(page)
        page.keyboard.press("Enter")  # keep the name it was given
    return shapely.Polygon(ring)


def test_every_tool_after_zoom_pan_and_resize(page: Page, sample: Explored, head) -> None:
    visit(page, sample.path)
    page.mouse.move(*at(page, (3500, 3000)))
    page.mouse.wheel(0, -200)
    stroke(page, [(3500, 3000), (3560, 3080)])  # pan with the select tool
    page.set_viewport_size({"width": 1300, "height": 840})
    settled(page)
    for number, name in enumerate(("box", "lasso", "region", "polygon", "brush")):
        ring = SMALL + np.array([20.0, 30.0]) * number
        meant = draw(page, name, ring)
        settled(page)
        if name in ("box", "lasso"):
            steps = page.evaluate("SpatialMetaExplore.page.findings.steps")
            drawn = shapely.geometry.shape(steps[-1]["geometry"])
        else:
            drawn = shape_of(head().document["features"][-1])
            assert drawn.is_valid
        same_spots(page, sample, drawn, meant)
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
    assert [f["geometry"]["type"] for f in head().document["features"]] == ["Polygon"] * 3


def test_keys_and_buttons_add_subtract_and_intersect(page: Page, sample: Explored) -> None:
    visit(page, sample.path)
    first, more = shapely.box(1910, 2090, 3090, 3090), shapely.box(3290, 2090, 4290, 3090)
    less, both = shapely.box(2510, 2410, 3690, 2790), shapely.box(1710, 2190, 4090, 2990)
    page.keyboard.press("b")
    expect(page.locator('#explore-toolbar [data-tool="box"]')).to_have_attribute("aria-pressed", "true")

    def drag(box: shapely.Geometry, hold: tuple[str, ...] = ()) -> None:
        x0, y0, x1, y1 = box.bounds
        for key in hold:
            page.keyboard.down(key)
        stroke(page, [(x0, y0), (x1, y1)])
        for key in hold:
            page.keyboard.up(key)

    def expected(geometry: shapely.Geometry) -> None:
        rows = chosen_by(sample, geometry)
        page.wait_for_function(
            f"() => SpatialMetaExplore.page.findings.summary?.spots === {len(rows)}", timeout=LOAD_MS
        )
        np.testing.assert_array_equal(selected(page), rows)

    drag(first)
    drag(more, ("Shift",))
    expected(first | more)
    drag(less, ("Alt",))
    expected((first | more) - less)
    drag(both, ("Shift", "Alt"))
    expected(((first | more) - less) & both)
    page.locator('[data-op="add"]').click()  # the same by buttons
    drag(less)
    expected((((first | more) - less) & both) | less)
    page.keyboard.press("4")
    expect(page.locator('[data-op="intersect"]')).to_have_attribute("aria-pressed", "true")
    drag(first)
    expected(((((first | more) - less) & both) | less) & first)


def test_a_region_grows_is_cut_and_painted(page: Page, sample: Explored, head) -> None:
    visit(page, sample.path)
    draw_region(page, RING, name="Grown")
    before = shape_of(head().document["features"][0])
    hole = np.array([[2790, 2590], [3510, 2590], [3510, 3190], [2790, 3190]], dtype=float)
    tool(page, "region")
    stroke(page, hole, closed=True, hold="Alt")  # a hole
    settled(page)
    (feature,) = head().document["features"]
    assert len(feature["geometry"]["coordinates"]) == 2
    same_spots(page, sample, shape_of(feature), before - shapely.Polygon(hole))
    tool(page, "region")
    island = np.array([[5010, 4510], [5890, 4510], [5890, 5190], [5010, 5190]], dtype=float)
    stroke(page, island, closed=True, hold="Shift")  # a second part
    settled(page)
    (feature,) = head().document["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    meant = (before - shapely.Polygon(hole)) | shapely.Polygon(island)
    same_spots(page, sample, shape_of(feature), meant)
    area, slack = shape_of(feature).area * UM_PER_PX**2 / 1e6, reach(page)
    assert area == pytest.approx(meant.area * UM_PER_PX**2 / 1e6, abs=slack * meant.length * UM_PER_PX**2 / 1e6)
    expect(page.locator(".ex-item", has_text="Grown")).to_contain_text(f"{area:.2f}".rstrip("0") + " mm²")
    tool(page, "brush")
    radius = page.evaluate("SpatialMetaExplore.page.tools.radius / SpatialMetaExplore.page.spatial.scale")
    way = [(5450, 4850), (5450, 3000)]  # from inside: it grows
    stroke(page, way)
    settled(page)
    (feature,) = head().document["features"]
    same_spots(page, sample, shape_of(feature), meant | shapely.LineString(way).buffer(radius))
    stroke(page, [(2200, 2600), (2200, 3600)], hold="Alt")  # erase
    settled(page)
    erased = shapely.LineString([(2200, 2600), (2200, 3600)]).buffer(radius)
    grown = meant | shapely.LineString(way).buffer(radius)
    same_spots(page, sample, shape_of(head().document["features"][0]), grown - erased)
    for geometry in (grown, meant):  # undo, to the geometry before
        page.focus("#explore-stage")
        page.keyboard.press("Control+z")
        settled(page)
        same_spots(page, sample, shape_of(head().document["features"][0]), geometry)
    page.keyboard.press("Control+Shift+Z")
    settled(page)
    same_spots(page, sample, shape_of(head().document["features"][0]), grown)


def test_vertices_lock_duplicate_and_what_a_second_browser_sees(page: Page, person, sample: Explored, head) -> None:
    visit(page, sample.path)
    draw(page, "polygon", RING)
    drawn = head().document["features"][0]["geometry"]["coordinates"][0]
    a, b = np.array(drawn[0]), np.array(drawn[1])
    page.mouse.dblclick(*at(page, (a + b) / 2))  # a vertex more …
    settled(page)
    assert len(head().document["features"][0]["geometry"]["coordinates"][0]) == len(drawn) + 1
    stroke(page, [(a + b) / 2, (3010, 1610)])  # … moved up
    settled(page)
    edited = shape_of(head().document["features"][0])
    same_spots(page, sample, edited, shapely.Polygon([RING[0], (3010, 1610), *RING[1:]]))
    page.keyboard.down("Alt")
    page.mouse.click(*at(page, (3010, 1610)))  # … and gone
    page.keyboard.up("Alt")
    settled(page)
    assert shape_of(head().document["features"][0]).equals(shapely.Polygon(drawn))
    item = page.locator(".ex-item", has_text="Region 1")
    item.get_by_role("button", name="Lock Region 1").click()
    settled(page)
    assert head().document["features"][0]["properties"]["locked"] is True
    stroke(page, [drawn[0], (1210, 1510)])  # no handle any more: the view moves instead
    page.keyboard.press("Delete")
    settled(page)
    assert shape_of(head().document["features"][0]).equals(shapely.Polygon(drawn))
    item.get_by_role("button", name="Duplicate Region 1").click()
    settled(page)
    first, copy = head().document["features"]
    assert "locked" not in copy["properties"]
    moved = np.subtract(copy["geometry"]["coordinates"], first["geometry"]["coordinates"])
    assert np.ptp(moved.reshape(-1, 2), axis=0) == pytest.approx([0, 0], abs=0.02)
    other = person()
    visit(other, sample.path)
    other.locator(f'[data-key="shape-{copy["id"]}"]').click()
    np.testing.assert_array_equal(selected(other), chosen_by(sample, shape_of(copy)))
    other.evaluate(POLLS)
    for colour in ("#112233", "#445566", "#778899"):
        page.locator(f'[data-key="colour-{copy["id"]}"]').fill(colour)
        settled(page)
        polled = other.evaluate("window.polls")
        other.wait_for_function(
            f"() => SpatialMetaExplore.page.annotations.feature('{copy['id']}').properties.color === '{colour}'"
        )
        assert other.evaluate("window.seen") <= polled + 1  # a poll a second: the first one after it was saved
    page.reload()
    page.wait_for_function(READY, timeout=LOAD_MS)
    page.locator(f'[data-key="shape-{first["id"]}"]').click()
    np.testing.assert_array_equal(selected(page), chosen_by(sample, shape_of(first)))


def test_a_flipped_axis_chooses_the_same(page: Page, sample: Explored) -> None:
    """The UMAP's y grows upwards: a box in its lower half chooses small values."""
    visit(page, sample.path)
    umap = np.asarray(sample.joint.obsm["X_umap"], dtype=float)
    for name, ring in (
        ("box", [(1.93, 0.5), (6.07, 0.5), (6.07, 3.13), (1.93, 3.13)]),
        ("lasso", [(2, 4.1), (7, 4.6), (4, 7.6)]),
    ):
        tool(page, name)
        stroke(page, [ring[0], ring[2]] if name == "box" else ring, view="umap", closed=name == "lasso")
        geometry = shapely.geometry.shape(page.evaluate("SpatialMetaExplore.page.findings.steps.at(-1).geometry"))
        np.testing.assert_array_equal(selected(page), np.flatnonzero(shapely.contains_xy(geometry, umap.astype("f4"))))
        slack = 3 / page.evaluate("SpatialMetaExplore.page.umap.scale")
        assert geometry.hausdorff_distance(shapely.Polygon(ring)) < slack
        assert umap[selected(page), 1].max() < 8


@pytest.fixture
def mirrored(workspace: Workspace) -> tuple[Explored, RegistrationResult]:
    """A sample whose SM section was measured as a mirror image, turned, in its own pixels, with its alignment."""
    made = make_sample(workspace, steps=("st",))
    matrix = np.array([[12.0, -90.0], [-95.0, -8.0]])  # determinant below zero: a mirror image
    found = RegistrationResult(Affine.of(matrix, np.array([6900.0, 5800.0])), UM_PER_PX, Quality(1.0, 1.0, 1.0, 1.0))
    raw, aligned = made.joint.copy(), made.joint.copy()
    raw.obsm["spatial"] = found.inverse(np.asarray(made.joint.obsm["spatial"], dtype=float))
    raw.obs = raw.obs.drop(columns="region")
    del raw.layers["normalized"]
    raw_um = UM_PER_PX * np.sqrt(abs(np.linalg.det(matrix)))
    raw.uns["spatialmeta"] = dict(raw.uns["spatialmeta"]) | {"um_per_px": raw_um}
    aligned.uns["spatialmeta"] = dict(aligned.uns["spatialmeta"]) | {"alignment": found.to_dict()}
    sm = add_result(workspace, made.sample, "sm", raw, {})
    add_result(workspace, made.sample, "align", aligned, {"st": made.results["st"].id, "sm": sm.id})
    made.results["sm"] = sm
    return made, found


def test_a_region_is_carried_through_the_alignment(page: Page, mirrored, workspace: Workspace) -> None:
    """On a section as measured, a mirror image: what is drawn chooses its pixels, and is kept in the ST frame."""
    sample, found = mirrored
    raw = found.inverse(sample.xy)
    visit(page, f"{sample.path}?result={sample.results['sm'].id}")
    ring = found.inverse(SMALL + np.array([400.0, 200.0]))  # the same place of the tissue, as this frame has it
    tool(page, "polygon")
    click_through(page, ring)
    settled(page)
    page.keyboard.press("Enter")
    chosen = selected(page)
    (feature,) = Annotations(workspace).head(sample.sample).document["features"]
    slack = 100 * reach(page)  # one unit of this frame is about 95 px of the image
    assert shape_of(feature).hausdorff_distance(shapely.Polygon(SMALL + np.array([400.0, 200.0]))) < slack
    np.testing.assert_array_equal(chosen, chosen_by(sample, shape_of(feature)))
    np.testing.assert_array_equal(chosen, np.flatnonzero(shapely.contains_xy(shapely.Polygon(ring), raw)))
    # a corner is moved here, and taken back
    corner = found.inverse(np.array([[2310.0, 2010.0]]))[0]
    stroke(page, [ring[0], corner])
    settled(page)
    moved = Annotations(workspace).head(sample.sample).document["features"][0]
    meant = shapely.Polygon([(2310, 2010), *(SMALL + np.array([400.0, 200.0]))[1:]])
    assert shape_of(moved).hausdorff_distance(meant) < slack
    np.testing.assert_array_equal(selected(page), chosen_by(sample, shape_of(moved)))
    page.focus("#explore-stage")
    page.keyboard.press("Control+z")
    settled(page)
    page.wait_for_function(f"() => SpatialMetaExplore.page.findings.summary?.spots === {len(chosen)}")
    np.testing.assert_array_equal(selected(page), chosen)
    # the whole region is moved here, and taken back
    middle = np.array(shape_of(feature).centroid.coords[0])
    stroke(page, found.inverse(np.array([middle, np.add(middle, (300.0, -200.0))])))
    settled(page)
    moved = Annotations(workspace).head(sample.sample).document["features"][0]
    assert shape_of(moved).hausdorff_distance(shapely.Polygon(SMALL + np.array([700.0, 0.0]))) < slack
    np.testing.assert_array_equal(selected(page), chosen_by(sample, shape_of(moved)))
    page.focus("#explore-stage")
    page.keyboard.press("Control+z")
    settled(page)
    page.wait_for_function(f"() => SpatialMetaExplore.page.findings.summary?.spots === {len(chosen)}")
    np.testing.assert_array_equal(selected(page), chosen)
    page.locator("#explore-result").select_option(sample.results["st"].id)
    page.wait_for_function("() => SpatialMetaExplore.page.meta?.frame === 'st'")
    settled(page)
    page.locator(".ex-item .ex-name").click()
    np.testing.assert_array_equal(selected(page), chosen)


def test_a_path_on_the_section_as_measured_has_its_profile(page: Page, mirrored, workspace: Workspace) -> None:
    """Drawn in the raw frame, measured in µm of the ST image; its corridor holds the spots that shapely finds."""
    sample, found = mirrored
    line = np.array([[1700.0, 2500.0], [3800.0, 2600.0], [5200.0, 4300.0]])
    visit(page, f"{sample.path}?result={sample.results['st'].id}&colour=obs:region")
    page.locator("#explore-result").select_option(sample.results["sm"].id)  # has no such column, and another layer
    page.wait_for_function("() => SpatialMetaExplore.page.meta?.frame === 'sm'")
    settled(page)
    tool(page, "trajectory")
    click_through(page, found.inverse(line))
    settled(page)
    page.keyboard.press("Enter")
    (feature,) = Annotations(workspace).head(sample.sample).document["features"]
    kept = shapely.LineString(feature["geometry"]["coordinates"])
    expect(page.locator("#explore-profile .xtitle")).to_have_text("position (mm)")
    drawn = "() => Math.max(...document.querySelector('#explore-profile .js-plotly-plot')._fullData[0].x)"
    assert page.evaluate(drawn) == pytest.approx(kept.length * UM_PER_PX / 1000, rel=1e-3)
    page.keyboard.press("h")
    expect(page.locator("#explore-along li").first).to_be_visible()
    width = feature["properties"]["width_um"] / UM_PER_PX
    near = int((shapely.distance(kept, shapely.points(sample.xy)) <= width / 2).sum())
    expect(page.locator("#explore-rank-note")).to_contain_text(f"tested in {near} spots")
    page.locator("#explore-along .ex-name").first.click()
    settled(page)


def test_groups_classes_and_combinations(page: Page, sample: Explored, head, axe) -> None:
    visit(page, sample.path)
    draw_region(page, RING, name="left")
    draw_region(page, SMALL + np.array([1500.0, 300.0]), name="right")
    for name in ("left", "right"):
        page.locator(".ex-item .ex-name", has_text=name).click()
        page.get_by_label("Class of the chosen regions").fill("striatum")
        page.keyboard.press("Enter")
        settled(page)
    features = head().document["features"]
    assert [f["properties"]["class"] for f in features] == ["striatum", "striatum"]
    assert len({f["properties"]["color"] for f in features}) == 1
    page.locator('[data-key="class-regions-striatum"]').focus()
    page.keyboard.press("F2")
    page.keyboard.type("CP")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_label("Colour of class CP").fill("#0a7cff")
    settled(page)
    page.get_by_label("Group of the chosen regions").fill("anatomy")
    page.keyboard.press("Enter")
    settled(page)
    left, right = (f["properties"] for f in head().document["features"])
    assert (left["class"], right["class"], right["group"], left["group"]) == ("CP", "CP", "anatomy", "regions")
    assert left["color"] == right["color"] == "#0a7cff"
    axe(page)
    shapes = [shape_of(f) for f in head().document["features"]]
    page.locator(".ex-item .ex-name", has_text="left").click(modifiers=["Control"])
    page.get_by_role("button", name="Difference").click()
    settled(page)
    kept = head().document["features"]
    assert len(kept) == 2
    assert shape_of(kept[0]).symmetric_difference(shapes[0] - shapes[1]).area < 100
    page.focus("#explore-stage")
    page.keyboard.press("Control+z")
    settled(page)
    page.locator(".ex-item .ex-name", has_text="right").click()
    page.locator(".ex-item .ex-name", has_text="left").click(modifiers=["Control"])
    page.get_by_role("button", name="Union").click()
    settled(page)
    (joined,) = head().document["features"]
    assert shape_of(joined).symmetric_difference(shapes[0] | shapes[1]).area < 100
    np.testing.assert_array_equal(selected(page), chosen_by(sample, shape_of(joined)))


def test_geojson_of_qupath_in_and_out(page: Page, sample: Explored, head, tmp_path) -> None:
    visit(page, sample.path)
    ring = [[2010, 1910], [4100.5, 1890], [4700, 3200], [2010, 1910]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    given = [
        {"type": "Feature", "id": "0a4b5c6d-1111-4222-8333-944455566677", "geometry": polygon,
         "properties": {"objectType": "annotation", "name": "From QuPath", "isLocked": True,
                        "classification": {"name": "Tumor", "color": [200, 0, 0]}}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}},
    ]  # fmt: skip
    (tmp_path / "q.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": given}))
    page.locator("#explore-shape-tools input[type=file]").set_input_files(tmp_path / "q.geojson")
    expect(page.locator("#explore-shape-report")).to_contain_text("1 added, 1 skipped")
    expect(page.locator("#explore-shape-report")).to_contain_text("feature 2")
    settled(page)
    (feature,) = head().document["features"]
    assert feature["geometry"]["coordinates"] == [ring]
    assert (feature["properties"]["class"], feature["properties"]["color"]) == ("Tumor", "#c80000")
    page.locator(".ex-item .ex-name", has_text="From QuPath").click()
    np.testing.assert_array_equal(selected(page), inside(sample, ring))
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    written = json.loads(Path(download.value.path()).read_text())["features"][0]
    assert written["geometry"] == given[0]["geometry"]
    for key in ("objectType", "name", "isLocked", "classification"):
        assert written["properties"][key] == given[0]["properties"][key]
    page.locator("#explore-shape-tools input[type=file]").set_input_files(download.value.path())
    expect(page.locator("#explore-shape-report")).to_contain_text("0 added, 1 updated")
    assert head().document["features"] == [feature]


def test_regions_of_a_column_and_the_slots_of_the_file(page: Page, sample: Explored, head) -> None:
    visit(page, sample.path)
    page.get_by_label("Regions from a column of obs").select_option("region")
    expect(page.locator(".ex-item")).to_have_count(3)
    settled(page)
    truth = sample.joint.obs["region"]
    for feature in head().document["features"]:
        rows = np.flatnonzero(truth == feature["properties"]["name"])
        np.testing.assert_array_equal(chosen_by(sample, shape_of(feature)), rows)
    page.get_by_role("button", name="Save to AnnData").click()
    report = page.locator("#explore-shape-report")
    expect(report).to_contain_text("obs['roi_region']")
    expect(report).to_contain_text("uns['spatialmeta']['regions']")


def test_a_thousand_regions_stay_usable(page: Page, person, sample: Explored, workspace: Workspace, head) -> None:
    """What one does to a region touches its own picture, its own row and one revision, and no other."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)]) * 60
    features = []
    for i in range(1000):
        ring = np.add(circle, (1100 + 150 * (i % 34), 1500 + 130 * (i // 34))).round(2).tolist()
        properties = {"kind": "region", "name": f"R{i}", "group": "regions", "color": "#e69f00"}
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "id": f"r{i}", "properties": properties, "geometry": geometry})
    Annotations(workspace).commit(
        sample.sample, {"type": "FeatureCollection", "features": features}, base=0, user="ada"
    )
    visit(page, sample.path)
    other = person()
    visit(other, sample.path)
    told: list[int] = []
    for one in (page, other):
        expect(one.locator(".ex-item")).to_have_count(1000)
        one.on("response", lambda r: "/api/annotations/" in r.url and r.status == 200 and told.append(len(r.body())))
    expect(page.locator(".ex-item").last).to_contain_text("spots")  # all are measured
    page.locator('[data-key="shape-r500"]').click()
    settled(page)
    np.testing.assert_array_equal(selected(page), chosen_by(sample, shape_of(features[500])))
    page.evaluate(
        """() => { const touched = (window.touched = new Set()); window.moves = 0;
        const watch = (host, word, options) => new MutationObserver((all) => all.forEach((m) =>
          [...m.addedNodes, ...m.removedNodes].forEach((n) => n.dataset?.id && touched.add(word + n.dataset.id))))
          .observe(host, options);
        const { tools } = SpatialMetaExplore.page;
        watch(tools.world, '', { childList: true, subtree: true });
        watch(document.querySelector('#explore-shapes'), 'row ', { childList: true });
        tools.root.addEventListener('pointermove', () => window.moves++); }"""
    )
    start = features[500]["geometry"]["coordinates"][0][6]
    sent: list[int] = []
    page.on("request", lambda r: r.method == "POST" and "/api/" in r.url and sent.append(len(r.post_data or "")))
    stroke(page, [start, (start[0] + 40, start[1] + 90)])
    settled(page)
    assert page.evaluate("window.moves") > 5
    assert 0 < max(sent) < 2000  # bytes: one region travels, the document has half a million
    assert {"r500"} <= set(page.evaluate("[...window.touched]")) <= {"r500", "row r500"}
    changed = head().document["features"]
    assert [f["id"] for f, g in zip(changed, features, strict=True) if f["geometry"] != g["geometry"]] == ["r500"]
    np.testing.assert_array_equal(selected(page), chosen_by(sample, shape_of(changed[500])))
    page.focus("#explore-stage")
    page.keyboard.press("Control+z")
    settled(page)
    assert head().document["features"] == features
    assert set(page.evaluate("[...window.touched]")) <= {"r500", "row r500"}
    seen = "() => JSON.stringify(SpatialMetaExplore.page.annotations.document.features)"
    other.wait_for_function("n => SpatialMetaExplore.page.annotations.head.number === n", arg=head().number)
    assert json.loads(other.evaluate(seen)) == json.loads(page.evaluate(seen)) == features
    assert 0 < max(told) < 5000  # bytes of an undo, and of what others did


def test_two_people_on_one_region_are_asked(person, sample: Explored, head, watch) -> None:
    watch.allow("409 (CONFLICT)")
    ada, ben = person(), person()
    visit(ada, sample.path)
    draw_region(ada, name="Shared")
    visit(ben, sample.path)
    ben.locator(".ex-item .ex-name", has_text="Shared").click()
    ben.evaluate("SpatialMetaExplore.page.annotations.stop()")
    corner = head().document["features"][0]["geometry"]["coordinates"][0][0]
    stroke(ada, [corner, (1410, 1610)])
    settled(ada)
    theirs = head().document["features"][0]["geometry"]
    stroke(ben, [corner, (1610, 2410)])
    expect(ben.get_by_role("dialog")).to_be_visible()
    settled(ben)
    assert len(head().document["features"]) == 2  # both are on disk before anybody is asked
    ben.get_by_label("Only mine").check()
    ben.get_by_role("button", name="Done").click()
    settled(ben)
    (feature,) = head().document["features"]
    assert feature["properties"]["name"] == "Shared"
    assert feature["geometry"] != theirs
    np.testing.assert_allclose(feature["geometry"]["coordinates"][0][0], (1610, 2410), atol=30)
    ben.focus("#explore-stage")
    ben.keyboard.press("Control+z")
    settled(ben)
    assert theirs in [f["geometry"] for f in head().document["features"]]
