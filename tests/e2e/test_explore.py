"""Explore with a real mouse: what is drawn at known places chooses the spots that shapely chooses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from playwright.sync_api import Page, expect

from core.errors import StorageError
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Annotations, Workspace
from tests.app.explored import PITCH_PX, UM_PER_PX, Explored, make_sample
from tests.e2e.serving import Server

READY = """() => { const p = window.SpatialMetaExplore?.page;
  return p && p.opened && p.spatial.painted && p.spatial.idle && p.annotations.timer; }"""
LOAD_MS = 120_000  # WebGL without a graphics card, on a busy machine
RING = np.array([[2010, 1910], [4100, 1890], [4700, 3200], [3390, 4310], [1890, 3390]], dtype=float)


@pytest.fixture
def workspace(app_server: Server) -> Workspace:
    return Workspace(Settings(data=Path(app_server.data), min_free_bytes=0, demo=False))


@pytest.fixture
def sample(workspace: Workspace) -> Explored:
    try:
        return make_sample(workspace)
    except StorageError:  # the runner that has just started swept the half written folder away
        return make_sample(workspace)


@pytest.fixture
def head(workspace: Workspace, sample: Explored):
    """The newest revision on disk."""
    return lambda: Annotations(workspace).head(sample.sample)


def visit(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_function(READY, timeout=LOAD_MS)


def at(page: Page, point, view: str = "spatial") -> list[float]:
    """Window coordinates of a place in the data."""
    return page.evaluate(f"p => SpatialMetaExplore.page.{view}.clientXY(p)", list(point))


def stroke(page: Page, points, *, view: str = "spatial", closed: bool = False, hold: str | None = None) -> None:
    """Drag the pressed mouse through places in the data."""
    places = [at(page, p, view) for p in [*points, *([points[0]] if closed else [])]]
    if hold:
        page.keyboard.down(hold)
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=12)
    page.mouse.up()
    if hold:
        page.keyboard.up(hold)


def tool(page: Page, name: str) -> None:
    page.locator(f'#explore-toolbar [data-tool="{name}"]').click()


def settled(page: Page) -> None:
    """Until all changes are saved and painted; two frames first, in which what was done just now is noticed."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function(
        "() => !SpatialMetaExplore.page.annotations.pending && SpatialMetaExplore.page.spatial.idle",
        timeout=LOAD_MS,
    )


def selected(page: Page) -> np.ndarray:
    """Rows that are selected, once the server has answered about them."""
    answered = "() => { const f = SpatialMetaExplore.page.findings; return f.summary && !f.asking; }"
    page.wait_for_function(answered, timeout=LOAD_MS)
    mask = page.evaluate("() => Array.from(SpatialMetaExplore.page.findings.mask)")
    return np.flatnonzero(mask)


def inside(sample: Explored, ring) -> np.ndarray:
    return np.flatnonzero(shapely.contains_xy(shapely.Polygon(ring), sample.xy))


def draw_region(page: Page, ring=RING, name: str | None = None) -> None:
    tool(page, "region")
    stroke(page, ring, closed=True)
    if name:
        page.keyboard.type(name)
    page.keyboard.press("Enter")
    settled(page)


def test_a_freeform_region_holds_the_spots_that_shapely_finds(page: Page, sample: Explored, head) -> None:
    visit(page, sample.path)
    draw_region(page, name="Intact striatum")
    (feature,) = head().document["features"]
    assert feature["properties"]["name"] == "Intact striatum"
    drawn = shapely.Polygon(feature["geometry"]["coordinates"][0])
    reach = 3 / page.evaluate("SpatialMetaExplore.page.spatial.scale")  # whole pixels, and a line made straight
    assert drawn.hausdorff_distance(shapely.Polygon(RING)) < reach
    expected = inside(sample, drawn)
    assert set(inside(sample, RING)) == set(expected)  # no spot lies within reach of the line: the test is sharp
    np.testing.assert_array_equal(selected(page), expected)
    line = page.locator(".ex-item", has_text="Intact striatum")
    expect(line).to_contain_text(f"{len(expected)} spots")
    area = drawn.area * UM_PER_PX**2 / 1e6
    expect(line).to_contain_text(f"{area:.2f}".rstrip("0") + " mm²")


@pytest.mark.parametrize("tool_name", ["lasso", "box"])
def test_selections_after_zoom_and_pan_match_shapely(page: Page, sample: Explored, tool_name: str) -> None:
    visit(page, sample.path)
    page.mouse.move(*at(page, (3500, 3000)))
    for _ in range(2):
        page.mouse.wheel(0, -240)
    settled(page)
    stroke(page, [(3500, 3000), (3600, 3150)])  # pan with the select tool
    settled(page)
    tool(page, tool_name)
    ring = [(2910, 2310), (3890, 2310), (3890, 3390), (2910, 3390)]
    if tool_name == "box":
        stroke(page, [ring[0], ring[2]])
    else:
        stroke(page, ring, closed=True)
    np.testing.assert_array_equal(selected(page), inside(sample, ring))


def test_shift_adds_alt_subtracts_escape_clears(page: Page, sample: Explored) -> None:
    visit(page, sample.path)
    tool(page, "box")
    first, more, less = [(1910, 2090), (3090, 3090)], [(3290, 2090), (4290, 3090)], [(2510, 2410), (3690, 2790)]
    stroke(page, first)
    stroke(page, more, hold="Shift")
    stroke(page, less, hold="Alt")
    boxes = [set(inside(sample, shapely.box(*a, *b).exterior.coords)) for a, b in (first, more, less)]
    expected = sorted((boxes[0] | boxes[1]) - boxes[2])
    page.wait_for_function(f"() => SpatialMetaExplore.page.findings.summary?.spots === {len(expected)}")
    np.testing.assert_array_equal(selected(page), expected)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#explore-selection")).to_be_hidden()


def test_a_lasso_in_the_umap_selects_in_the_tissue(page: Page, sample: Explored) -> None:
    visit(page, sample.path)
    tool(page, "lasso")
    umap = np.asarray(sample.joint.obsm["X_umap"], dtype=float)
    ring = [(2.0, 1.9), (6.0, 1.9), (6.0, 6.1), (2.0, 6.1)]
    stroke(page, ring, view="umap", closed=True)
    chosen = selected(page)
    reach = 3 / page.evaluate("SpatialMetaExplore.page.umap.scale")
    sure = np.flatnonzero(shapely.contains_xy(shapely.Polygon(ring).buffer(-reach), umap))
    possible = np.flatnonzero(shapely.contains_xy(shapely.Polygon(ring).buffer(reach), umap))
    assert set(sure) <= set(chosen) <= set(possible)
    assert page.evaluate("SpatialMetaExplore.page.spatial.selected.reduce((n, v) => n + v, 0)") == len(chosen)


def test_a_path_has_the_length_it_was_drawn_with(page: Page, sample: Explored, head) -> None:
    visit(page, sample.path)
    tool(page, "trajectory")
    corners = [(1900, 2000), (3900, 2000), (3900, 3500)]
    for corner in corners:
        page.mouse.click(*at(page, corner))
    page.keyboard.press("Enter")
    page.keyboard.type("Midline")
    page.keyboard.press("Enter")
    settled(page)
    (feature,) = head().document["features"]
    pixel = 1 / page.evaluate("SpatialMetaExplore.page.spatial.scale")
    np.testing.assert_allclose(feature["geometry"]["coordinates"], corners, atol=pixel)
    expect(page.locator(".ex-item", has_text="Midline")).to_contain_text("1.75 mm")  # 3,500 px of 0.5 µm
    expect(page.locator("#explore-saved")).to_contain_text("obs['toi_midline_position_um']")
    expect(page.locator("#explore-profile .xtitle")).to_have_text("position (mm)")
    start = "document.querySelector('#explore-profile .js-plotly-plot').calcdata.at(-1)[0].y"
    before = page.evaluate(start)
    page.get_by_role("button", name="Reverse").click()
    settled(page)
    np.testing.assert_allclose(head().document["features"][0]["geometry"]["coordinates"], corners[::-1], atol=pixel)
    page.wait_for_function(f"() => Math.abs({start} - {before}) > 0.01")


def test_editing_undo_redo_and_reload(page: Page, sample: Explored, head) -> None:
    visit(page, sample.path)
    tool(page, "polygon")
    for corner in RING:
        page.mouse.click(*at(page, corner))
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # keep the name it was given
    settled(page)
    drawn = head().document["features"][0]["geometry"]["coordinates"][0]
    corner = drawn[0]
    stroke(page, [corner, (1210, 1510)])  # drag a vertex
    settled(page)
    edited = head().document["features"][0]["geometry"]["coordinates"][0]
    assert edited[1:-1] == drawn[1:-1]
    np.testing.assert_allclose(edited[0], (1210, 1510), atol=20)
    np.testing.assert_array_equal(selected(page), inside(sample, edited))
    stroke(page, [(3200, 3000), (3200 + 2 * PITCH_PX, 3000)])  # move the whole region
    settled(page)
    moved = np.array(head().document["features"][0]["geometry"]["coordinates"][0])
    np.testing.assert_allclose(moved - edited, [[2 * PITCH_PX, 0]] * len(edited), atol=20)
    for key, expected in [("Control+z", edited), ("Control+z", drawn), ("Control+y", edited)]:
        page.focus("#explore-stage")
        page.keyboard.press(key)
        settled(page)
        assert head().document["features"][0]["geometry"]["coordinates"][0] == expected
    page.reload()
    page.wait_for_function(READY, timeout=LOAD_MS)
    np.testing.assert_array_equal(selected(page), inside(sample, edited))  # the address remembers the shape
    page.focus("#explore-stage")
    page.keyboard.press("Delete")
    settled(page)
    assert head().document["features"] == []
    assert head().can_undo


def test_two_people_see_each_other_and_lose_nothing(person, sample: Explored, head, watch) -> None:
    watch.allow("409 (CONFLICT)")  # the answer to whoever saves second
    ada, ben = person(), person()
    for page in (ada, ben):
        visit(page, sample.path)
    ben.evaluate(POLLS)
    draw_region(ada, name="By Ada")
    polled = ben.evaluate("window.polls")
    expect(ben.locator(".ex-item", has_text="By Ada")).to_be_visible()
    assert ben.evaluate("window.seen") <= polled + 1  # the first poll that began after it was saved brings it
    assert ben.evaluate("window.beat") <= 1000  # milliseconds between two polls
    ben.evaluate("SpatialMetaExplore.page.annotations.stop()")  # ben's page does not hear of the next change
    draw_region(ada, RING + np.array([300, 300]), name="Ada again")
    draw_region(ben, RING + np.array([-300, 300]), name="By Ben")
    names = sorted(f["properties"]["name"] for f in head().document["features"])
    assert names == ["Ada again", "By Ada", "By Ben"]
    expect(ben.locator(".ex-item")).to_have_count(3)


# counts the polls that begin, and notes how many there were when somebody else's change was taken up
POLLS = """() => { const a = SpatialMetaExplore.page.annotations, poll = a.poll.bind(a), adopt = a.adopt.bind(a);
  const every = window.setInterval; window.polls = 0;
  a.poll = () => { if (!a.asking) window.polls++; return poll(); };
  a.adopt = (revision, why) => { if (why === 'others') window.seen = window.polls; adopt(revision, why); };
  a.stop(); window.setInterval = (work, ms) => { window.beat = ms; return every(work, ms); };
  return a.load().then(() => { window.setInterval = every; }); }"""
MERGES = [  # base, mine, theirs -> what stands afterwards; a letter is an id, a digit its state
    ("A1", "A1 B1", "A1 C1", "A1 B1 C1"),
    ("A1 B1", "B1", "A1 B2", "B2"),
    ("A1", "", "A2", "A2"),
    ("A1", "A2", "", "A2"),
    ("A1", "A2", "A1 B1", "A2 B1"),
    ("A1", "A2", "A3", "A3 *2"),
    ("A1", "A2", "A2", "A2"),
]


@pytest.mark.parametrize(("base", "mine", "theirs", "expected"), MERGES)
def test_merging_keeps_both_sides(page: Page, base: str, mine: str, theirs: str, expected: str) -> None:
    """Changed on both sides: theirs keeps its id, mine stands beside it under a new one (written as *)."""
    page.goto("/")

    def document(text: str) -> dict:
        features = [{"id": t[0], "properties": {"name": t[0]}, "state": t[1]} for t in text.split()]
        return {"type": "FeatureCollection", "features": features}

    merged = page.evaluate(
        "docs => SpatialMetaExplore.merge(...docs).document", [document(d) for d in (base, mine, theirs)]
    )
    known = {"A", "B", "C"}
    found = sorted((f["id"] if f["id"] in known else "*") + f["state"] for f in merged["features"])
    assert found == sorted(expected.split())


def test_a_category_becomes_a_region_by_keyboard_alone(page: Page, sample: Explored, head, axe) -> None:
    visit(page, f"{sample.path}?colour=obs:region")
    page.locator('[data-key="select-1"]').focus()
    page.keyboard.press("Enter")
    expected = np.flatnonzero(sample.joint.obs["region"].cat.codes == 1)
    np.testing.assert_array_equal(selected(page), expected)
    axe(page)
    name = page.get_by_label("Name of the new region")
    name.focus()
    name.fill("Septum")
    page.keyboard.press("Enter")
    expect(page.locator(".ex-item", has_text="Septum")).to_be_visible()
    settled(page)
    (feature,) = head().document["features"]
    np.testing.assert_array_equal(inside(sample, feature["geometry"]["coordinates"][0]), expected)
    axe(page)


def test_search_finds_by_mz_and_annotation_and_the_link_opens_the_same_view(page: Page, person, sample) -> None:
    visit(page, sample.path)
    box = page.get_by_role("combobox", name="Colour by gene, metabolite or column")
    box.click()
    page.keyboard.type("421.19")
    expect(page.locator("#explore-search-list [role=option]").first).to_contain_text("mz-421.1910")
    page.keyboard.press("Escape")
    box.click()
    page.keyboard.type("dopamine")
    expect(page.locator("#explore-search-list [role=option]").first).to_contain_text("mz-674.2789")
    page.keyboard.press("Enter")
    page.wait_for_function("() => SpatialMetaExplore.page.state.colour.name === 'mz-674.2789'")
    page.locator("#explore-scale").select_option("magma")
    page.mouse.move(*at(page, (3500, 3000)))
    page.mouse.wheel(0, -480)
    page.wait_for_function("() => location.search.includes('at=') && location.search.includes('magma')")
    settled(page)
    view = "() => { const s = SpatialMetaExplore.page.spatial; return [...s.centre, s.scale]; }"
    other = person()
    visit(other, page.url)
    expect(other.locator("#explore-search input")).to_have_value("mz-674.2789")
    expect(other.locator("#explore-scale")).to_have_value("magma")
    np.testing.assert_allclose(other.evaluate(view), page.evaluate(view), rtol=1e-3)
    colours = "() => Array.from(SpatialMetaExplore.page.spatial.points.arrays.code)"
    assert other.evaluate(colours) == page.evaluate(colours)


def test_the_histology_stays_under_the_spots(page: Page, sample: Explored) -> None:
    """Its corners lie where its place in full-resolution pixels says, after zoom, pan, recolour and resize."""
    visit(page, sample.path)
    page.mouse.move(*at(page, (3500, 3000)))
    page.mouse.wheel(0, 300)
    settled(page)
    stroke(page, [(3500, 3000), (3600, 3150)])
    page.evaluate("async () => { const p = SpatialMetaExplore.page; await p.colourBy((await p.search('tau'))[0]); }")
    page.set_viewport_size({"width": 1360, "height": 860})
    settled(page)
    box = page.locator("#explore-spatial img").first.bounding_box()
    (x0, y0), (x1, y1) = at(page, (0, 0)), at(page, (7000, 6000))
    found = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
    assert found == pytest.approx([x0, y0, x1, y1], abs=1.5)


def test_scale_bar_is_right_after_zoom_and_resize(page: Page, sample: Explored) -> None:
    visit(page, sample.path)
    page.mouse.move(*at(page, (3500, 3000)))
    for delta in (0, -400, 700):
        page.mouse.wheel(0, delta)
        page.set_viewport_size({"width": 1440 - abs(delta) // 4, "height": 900})
        settled(page)
        length = page.locator(".sm-scale-line").bounding_box()["width"]
        number, unit = page.locator(".sm-scale-text").inner_text().split()
        um = float(number) * (1000 if unit == "mm" else 1)
        (x0, _), (x1, _) = at(page, (0, 0)), at(page, (um / UM_PER_PX, 0))
        assert length == pytest.approx(x1 - x0, abs=1)


def test_hidden_categories_are_not_drawn(page: Page, sample: Explored) -> None:
    visit(page, f"{sample.path}?colour=obs:region")
    drawn = "() => SpatialMetaExplore.page.spatial.points.arrays.state.filter((s) => !(s & 1)).length"
    counts = sample.joint.obs["region"].value_counts()
    page.get_by_role("button", name="Show Cortex").click()
    settled(page)
    assert page.evaluate(drawn) == counts.sum() - counts["Cortex"]
    page.locator('[data-key="only-2"]').focus()
    page.keyboard.press("Enter")
    settled(page)
    assert page.evaluate(drawn) == counts["Striatum"]


def test_saved_work_survives_a_killed_server(page: Page, sample: Explored, app_server: Server, watch) -> None:
    watch.allow("ERR_CONNECTION_REFUSED", "Failed to load resource")
    visit(page, sample.path)
    draw_region(page, name="Kept")
    app_server.kill()
    tool(page, "region")
    stroke(page, RING + np.array([400, 0]), closed=True)
    page.keyboard.press("Enter")
    expect(page.locator("#explore-saved")).to_contain_text("Not saved")
    app_server.start()
    settled(page)
    expect(page.locator("#explore-saved")).to_contain_text("revision")
    page.reload()
    page.wait_for_function(READY, timeout=LOAD_MS)
    expect(page.locator(".ex-item")).to_have_count(2)
    expect(page.locator(".ex-item", has_text="Kept")).to_be_visible()


def test_nothing_to_explore_says_what_to_do(page: Page, workspace: Workspace, axe) -> None:
    project = workspace.create_project("Empty", "0" * 32)
    sample = workspace.create_sample(project, "nothing yet")
    page.goto(f"/p/{project.id}/{sample.id}/explore")
    expect(page.get_by_role("link", name="Add data")).to_be_visible()
    axe(page)
