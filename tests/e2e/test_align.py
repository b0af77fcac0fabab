"""The Align page: what is set by hand is what the core calculates; a fit is followed, kept, cancelled, compared;
landmarks mend a bad start; the overlay is looked at in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from core import keys
from core.pipeline import run_step
from core.registration import AlignConfig, manual_transform
from core.registration.landmarks import COLUMNS, from_text
from tests.e2e.seeding import Seeded, keep, seed
from tests.e2e.serving import Server

STEP_MS = 240_000  # two cores, shared with the browser
PIXELS = [0, 7, 100, 250]
STATE = "() => SpatialMeta.align.state()"


@pytest.fixture(scope="module")
def seeded(app_server: Server) -> Seeded:
    return seed(app_server, genes=200, metabolites=50)  # an outline that tells its orientation


@pytest.fixture
def stage(page: Page, seeded: Seeded) -> Page:
    """The page with its overlay drawn, moved by hand."""
    visit(page, seeded)
    page.locator('[data-tab="hand"]').click()
    return page


def visit(page: Page, seeded: Seeded) -> None:
    page.goto(seeded.path("align"))
    page.wait_for_function("() => document.getElementById('align-legend')?.hidden === false", timeout=STEP_MS)


def set_number(page: Page, name: str, value: float) -> None:
    page.locator(f'[data-param="{name}"] input[type="number"]').fill(str(value))


def overlay(page: Page, mode: str = "manual") -> np.ndarray:
    page.wait_for_function("mode => SpatialMeta.align.state().mode === mode", arg=mode)
    return np.array(page.evaluate("index => SpatialMeta.align.xy(index)", PIXELS))


def inside(page: Page, seeded: Seeded) -> bool:
    """Whether all of the aligned section is in view."""
    overlay(page, "result")
    view = page.evaluate(STATE)["view"]
    stage = page.locator("#align-stage").bounding_box()
    at = np.asarray(seeded.read("align").obsm[keys.SPATIAL]) * view[0] + view[4:]
    return bool((at > 0).all() and (at < [stage["width"], stage["height"]]).all())


def expected(seeded: Seeded, **values) -> np.ndarray:
    raw = np.asarray(seeded.pair.sm.obsm[keys.SPATIAL])
    transform = manual_transform(np.asarray(seeded.pair.st.obsm[keys.SPATIAL]), raw, **values)
    return transform.forward(raw[PIXELS])


def expected_centre(seeded: Seeded) -> np.ndarray:
    xy = np.asarray(seeded.pair.st.obsm[keys.SPATIAL])
    return (xy.min(axis=0) + xy.max(axis=0)) / 2


def miss(seeded: Seeded) -> float:
    """Median distance of the pixels from where they truly lie, in the alignment in use; µm."""
    away = seeded.read("align").obsm[keys.SPATIAL] - seeded.pair.truth.true_st_xy
    return float(np.median(np.linalg.norm(away, axis=1))) * um_per_px(seeded)


def um_per_px(seeded: Seeded) -> float:
    return float(seeded.read("st").uns[keys.UNS][keys.UM_PER_PX])


def close(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, atol=0.01)  # full-resolution pixels; coordinates travel as float32


def test_controls_move_the_overlay_as_the_core_says(stage: Page, seeded: Seeded, axe) -> None:
    close(overlay(stage), expected(seeded))
    stage.get_by_role("button", name="Flip", exact=True).click()
    close(overlay(stage), expected(seeded, flip=True))
    stage.get_by_role("button", name="Quarter turn right").click()
    set_number(stage, "angle", 12.5)
    set_number(stage, "scale_x", 1.2)
    set_number(stage, "scale_y", 0.9)
    set_number(stage, "shift_x", 150)
    set_number(stage, "shift_y", -80)
    um = um_per_px(seeded)
    values = {"flip": True, "rotation_deg": 102.5, "scale_x": 1.2, "scale_y": 0.9, "shift_px": (150 / um, -80 / um)}
    close(overlay(stage), expected(seeded, **values))
    stage.get_by_role("button", name="Undo", exact=True).click()
    close(overlay(stage), expected(seeded, **{**values, "shift_px": (150 / um, 0)}))
    stage.get_by_role("button", name="Redo", exact=True).click()
    close(overlay(stage), expected(seeded, **values))
    stage.get_by_role("button", name="Undo", exact=True).click()
    stage.reload()  # the values are still there
    stage.wait_for_function("() => document.getElementById('align-legend')?.hidden === false", timeout=STEP_MS)
    stage.locator('[data-tab="hand"]').click()
    close(overlay(stage), expected(seeded, **{**values, "shift_px": (150 / um, 0)}))
    stage.get_by_role("button", name="Reset", exact=True).click()
    close(overlay(stage), expected(seeded))
    axe(stage)


def test_keys_and_the_mouse_move_it_too(stage: Page, seeded: Seeded) -> None:
    stage.get_by_role("button", name="Reset", exact=True).click()
    stage.locator("#align-stage").focus()
    for key in ("f", "q", "r", "r", "Shift+R", "ArrowRight", "ArrowDown", "+"):
        stage.keyboard.press(key)
    params = stage.evaluate(STATE)["params"]
    assert (params["flip"], params["quarter_turns"], params["angle"]) == (True, 1, 1)
    assert params["scale_x"] == params["scale_y"] == pytest.approx(1.01)
    assert params["shift_x"] == params["shift_y"] > 0

    before, view = overlay(stage), stage.evaluate(STATE)["view"]
    box = stage.locator("#align-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    stage.mouse.move(x, y)
    stage.mouse.down()
    stage.mouse.move(x + 60, y - 35, steps=5)
    stage.mouse.up()
    close(overlay(stage), before + np.array([60, -35]) / view[0])

    stage.get_by_role("button", name="Reset", exact=True).click()
    x0, y0 = np.array([view[0], view[3]]) * expected_centre(seeded) + view[4:]  # Shift turns about the centre
    stage.mouse.move(box["x"] + x0 + 100, box["y"] + y0)
    stage.keyboard.down("Shift")
    stage.mouse.down()
    stage.mouse.move(box["x"] + x0, box["y"] + y0 + 100, steps=4)
    stage.mouse.up()
    stage.keyboard.up("Shift")
    assert stage.evaluate(STATE)["params"]["angle"] == pytest.approx(90, abs=0.5)
    stage.keyboard.press("Control+z")
    assert stage.evaluate(STATE)["params"]["angle"] == 0
    stage.keyboard.press("Control+Shift+z")
    assert stage.evaluate(STATE)["params"]["angle"] == pytest.approx(90, abs=0.5)


def test_panning_and_zooming_leave_the_alignment_alone(stage: Page) -> None:
    stage.get_by_role("button", name="Drag moves the view").click()
    before = overlay(stage)
    box = stage.locator("#align-stage").bounding_box()
    stage.mouse.move(box["x"] + 200, box["y"] + 200)
    stage.mouse.down()
    stage.mouse.move(box["x"] + 260, box["y"] + 230)
    stage.mouse.up()
    stage.mouse.wheel(0, -300)
    stage.wait_for_timeout(100)
    np.testing.assert_array_equal(overlay(stage), before)


def test_no_request_is_made_while_the_overlay_moves(stage: Page) -> None:
    stage.wait_for_load_state("networkidle")
    stage.get_by_role("button", name="Reset", exact=True).click()
    stage.wait_for_timeout(2000)
    asked: list[str] = []
    stage.on("request", lambda r: asked.append(r.url))
    drawn = stage.evaluate(STATE)["frames"]
    slider = stage.locator('[data-param="angle"] input[type="range"]')
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
        stage.evaluate("() => new Promise(requestAnimationFrame)")
    assert stage.evaluate(STATE)["params"]["angle"] == pytest.approx(5.0)
    assert stage.evaluate(STATE)["frames"] - drawn >= 5
    assert not [url for url in asked if "/api/view" in url or "/api/image" in url]


def runs(page: Page, number: int) -> None:
    expect(page.locator(".sm-version")).to_have_count(number, timeout=STEP_MS)


def test_one_click_aligns_a_turned_and_mirrored_pair(page: Page, seeded: Seeded, person) -> None:
    visit(page, seeded)
    page.get_by_role("button", name="Align", exact=True).click()
    expect(page.locator(".sm-progress")).to_be_visible()
    second = person()  # another person with the link sees the same job
    visit(second, seeded)
    runs(page, 1)
    quality = page.locator("#align-quality")
    expect(quality).to_contain_text("Dice")
    expect(quality).to_contain_text("mirrored")
    expect(quality).to_contain_text("Confidence of the orientation")
    close(overlay(page, "result"), np.asarray(seeded.read("align").obsm[keys.SPATIAL])[PIXELS])
    assert miss(seeded) < 100  # a spot distance
    runs(second, 1)
    assert inside(second, seeded)

    page.locator('[data-tab="hand"]').click()  # by hand one goes on from what is aligned, without its deformation
    aligned = np.asarray(seeded.read("align").obsm[keys.SPATIAL])[PIXELS]
    assert np.linalg.norm(overlay(page) - aligned, axis=1).max() < 50  # a quarter of a spot distance


def test_a_position_set_by_hand_is_kept_and_another_run_restored(stage: Page, seeded: Seeded) -> None:
    """Later steps become stale with the run that is not in use any more, and fresh again with the one that is."""
    keep(seeded, "reassign", run_step("reassign", {"st": seeded.pair.st, "sm": seeded.read("align")}))
    assert seeded.workspace.status(seeded.sample)["reassign"] == "done"
    stage.get_by_role("button", name="Reset", exact=True).click()
    stage.get_by_role("button", name="Flip", exact=True).click()
    stage.wait_for_timeout(400)
    stage.get_by_role("button", name="Save this", exact=True).click()
    runs(stage, 2)
    expect(stage.locator("#align-quality")).to_contain_text("set by hand")
    kept = seeded.chosen("align")
    assert (kept.config["mode"], kept.config["flip"]) == ("manual", True)
    np.testing.assert_allclose(seeded.read("align").obsm[keys.SPATIAL][PIXELS], expected(seeded, flip=True), atol=1e-3)
    assert seeded.workspace.status(seeded.sample)["reassign"] == "stale"

    table = stage.locator("#align-compare-table")
    expect(table).to_contain_text("Outline distance, mean")
    expect(table).to_contain_text("automatic")
    expect(table).to_contain_text("manual")
    stage.get_by_role("button", name="Side by side").click()
    expect(stage.locator("#align-second")).to_be_visible()
    expect(stage.locator(".sm-pane-name")).to_have_text(["A · Run 1", "B · Run 2"])
    stage.wait_for_function("() => SpatialMeta.align.state().mode === 'compare'")
    assert painted(stage, 0) != painted(stage, 1)
    stage.get_by_role("button", name="Flicker").click()
    expect(stage.locator("#align-second")).to_be_hidden()
    first = stage.locator(".sm-pane-name").first
    expect(first).to_have_text("B · Run 2")
    expect(first).to_have_text("A · Run 1")

    stage.get_by_role("button", name="Use run 1 of Align").click()
    expect(stage.locator('.sm-version[data-chosen="true"]')).to_contain_text("Run 1")
    assert seeded.chosen("align").config["mode"] == "automatic"
    assert seeded.workspace.status(seeded.sample)["reassign"] == "done"


def test_previews_arrive_while_it_runs_and_cancel_keeps_the_best(page: Page, seeded: Seeded) -> None:
    before = len(seeded.workspace.results(seeded.sample, "align"))
    creep(page, seeded)
    expect(page.locator("[data-live='terms']")).to_contain_text("µm")
    expect(page.locator("[data-live='stage']")).not_to_have_text("starting")
    page.get_by_role("button", name="Cancel Align").click()
    runs(page, before + 1)
    expect(page.locator("#align-quality")).to_contain_text("cancelled, best kept")
    close(overlay(page, "result"), np.asarray(seeded.read("align").obsm[keys.SPATIAL])[PIXELS])
    noted = seeded.read("align").uns[keys.UNS][keys.ALIGNMENT]
    # However far it came (the stage it was stopped in may have made a single step): the best so far, and an advance.
    assert noted["history"][-1] == min(noted["history"])
    begun = run_step("align", {"st": seeded.pair.st, "sm": seeded.pair.sm}, AlignConfig(mode="manual"))
    outline = [float(note["quality"]["outline_mean_um"]) for note in (begun.uns[keys.UNS][keys.ALIGNMENT], noted)]
    assert outline[1] < outline[0]


def creep(page: Page, seeded: Seeded) -> list[float]:
    """Start a run that goes on until it is told to stop; ms at which its previews came, once there are twelve."""
    visit(page, seeded)
    page.locator("summary", has_text="Advanced").click()
    field(page, "orientation").select_option("given")
    for option, value in (("step", "0.001"), ("tolerance", "0"), ("max_steps", "10000")):
        field(page, option).fill(value)
    page.get_by_role("button", name="Align", exact=True).click()
    page.wait_for_function("() => SpatialMeta.align.state().arrivals.length >= 12", timeout=STEP_MS)
    return page.evaluate(STATE)["arrivals"]


def field(page: Page, option: str):
    return page.locator(f"""[id='{{"form":"align","option":"{option}"}}']""")


def test_landmarks_mend_a_bad_start(page: Page, seeded: Seeded, tmp_path: Path, axe) -> None:
    """The pairs are clicked in both views; the run that takes them is right, where the one by hand was wrong."""
    visit(page, seeded)
    page.locator('[data-tab="hand"]').click()
    page.get_by_role("button", name="Reset", exact=True).click()
    number = page.locator(".sm-version").count()
    page.wait_for_timeout(400)
    page.get_by_role("button", name="Save this", exact=True).click()
    runs(page, number + 1)
    wrong = miss(seeded)
    assert wrong > 1000  # neither turned nor mirrored

    page.locator('[data-tab="landmarks"]').click()
    expect(page.locator("#align-second")).to_be_visible()
    page.wait_for_function("() => SpatialMeta.align.state().mode === 'pairs' && SpatialMeta.align.state().view")
    raw, true = np.asarray(seeded.pair.sm.obsm[keys.SPATIAL]), np.asarray(seeded.pair.truth.true_st_xy)
    chosen = corners(true)
    for i in chosen:
        click_at(page, 0, transform_by_hand(seeded, raw[[i]])[0])
        click_at(page, 1, true[i])
    rows = page.locator("[data-marks='rows'] tr")
    expect(rows).to_have_count(len(chosen))
    expect(page.locator("[data-marks='said']")).to_contain_text("each left out")
    state = page.evaluate(STATE)
    pixel = um_per_px(seeded) / state["view"][0]  # µm of a CSS pixel, to which one clicks
    assert max(state["marked"]["um"]) < 4 * pixel
    np.testing.assert_allclose(np.array(state["marks"])[:, 2:], true[chosen], atol=1.5 / state["view"][0])
    axe(page)

    with page.expect_download() as download:
        page.get_by_role("button", name="Export the landmarks as CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    page.get_by_role("button", name="Delete landmark 2").click()
    expect(rows).to_have_count(len(chosen) - 1)
    page.get_by_role("button", name="Undo the last landmark").click()
    expect(rows).to_have_count(len(chosen))
    page.get_by_role("button", name="Delete all landmarks").click()
    expect(page.locator("[data-marks='table']")).to_be_hidden()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import a landmark CSV").click()
    chooser.value.set_files([{"name": "marks.csv", "mimeType": "text/csv", "buffer": text.encode()}])
    expect(rows).to_have_count(len(chosen))

    page.get_by_role("button", name="Align with them").click()
    runs(page, number + 2)
    assert miss(seeded) < min(100, wrong / 10)
    kept = from_text(seeded.chosen("align").config["landmarks"])
    np.testing.assert_allclose(kept.rows, state["marks"], rtol=1e-6)
    expect(page.locator("#align-quality")).to_contain_text("Landmarks, mean distance")
    page.get_by_role("button", name="Save this fit").click()
    runs(page, number + 3)
    expect(page.locator("#align-quality")).to_contain_text("fitted to the landmarks")
    assert miss(seeded) < 100


def corners(xy: np.ndarray) -> list[int]:
    """The points that reach furthest in four directions."""
    return [int((xy @ np.array(d)).argmax()) for d in ((1, 0.2), (-1, 0.3), (0.1, 1), (-0.2, -1))]


def transform_by_hand(seeded: Seeded, raw: np.ndarray) -> np.ndarray:
    st, sm = (np.asarray(a.obsm[keys.SPATIAL]) for a in (seeded.pair.st, seeded.pair.sm))
    return manual_transform(st, sm).forward(raw)


def click_at(page: Page, pane: int, full: Iterable[float]) -> None:
    """Click where a pane shows the full-resolution pixel *full*."""
    view = page.evaluate(STATE)["view"]
    box = page.locator("#align-stage, #align-second").nth(pane).bounding_box()
    x, y = np.array([view[0], view[3]]) * np.asarray(full) + view[4:]
    page.mouse.click(box["x"] + x, box["y"] + y)


def test_a_file_that_holds_no_landmarks_is_refused_in_one_message(page: Page, seeded: Seeded) -> None:
    visit(page, seeded)
    page.locator('[data-tab="landmarks"]').click()
    before = page.evaluate(STATE)["marks"]
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import a landmark CSV").click()
    chooser.value.set_files([{"name": "x.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"}])
    expect(page.get_by_text(re.compile("landmark CSV with the columns"))).to_be_visible()
    assert page.evaluate(STATE)["marks"] == before


def painted(page: Page, pane: int = 0) -> str:
    """What the overlay of a pane shows."""
    page.wait_for_timeout(150)
    return page.locator(".sm-overlay").nth(pane).evaluate("canvas => canvas.toDataURL()")


OPAQUE = """canvas => {
  const { width, height } = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  const found = [0, 0];
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
    if (pixels[4 * (y * width + x) + 3]) found[x < width / 2 ? 0 : 1] += 1;
  }
  return found;
}"""


def test_swipe_and_checkerboard_leave_parts_of_sm_out(stage: Page) -> None:
    canvas = stage.locator(".sm-overlay").first
    stage.get_by_role("button", name="Fit the view").click()
    painted(stage)
    left, right = canvas.evaluate(OPAQUE)
    assert min(left, right) > 1000
    stage.get_by_role("button", name="Swipe").click()
    painted(stage)
    assert canvas.evaluate(OPAQUE) == [left, 0]
    stage.locator(".sm-swipe").focus()
    for _ in range(10):
        stage.keyboard.press("ArrowRight")
    painted(stage)
    assert 0 < canvas.evaluate(OPAQUE)[1] < right
    stage.get_by_role("button", name="Checkerboard").click()
    painted(stage)
    shown = sum(canvas.evaluate(OPAQUE)) / (left + right)
    assert 0.35 < shown < 0.65
    stage.get_by_role("button", name="Blend").click()
    painted(stage)
    assert canvas.evaluate(OPAQUE) == [left, right]


def test_sm_is_coloured_by_outline_and_components(stage: Page) -> None:
    seen = {painted(stage)}
    for name in ("Outline", "First component", "Three components (RGB)", "One colour"):
        stage.get_by_label("Colour of the SM pixels").fill(name)
        stage.wait_for_timeout(1200)
        seen.add(painted(stage))
    assert len(seen) == 5


def test_colours_are_found_by_name(stage: Page, seeded: Seeded) -> None:
    name = str(seeded.pair.sm.var_names[3])
    stage.get_by_label("Colour of the SM pixels").fill(name)
    expect(stage.locator("#align-legend [data-label]")).to_have_text(name)


def test_the_command_line_follows_the_form(stage: Page) -> None:
    stage.locator('[data-tab="automatic"]').click()
    stage.locator("summary", has_text="Command line").click()
    stage.locator("""[id='{"form":"align","option":"transform"}']""").select_option("affine")
    code = stage.locator("""[id='{"form":"align","part":"command"}']""")
    start = r"^python -m core align --st ST\.h5ad --sm SM\.h5ad --out SM_ALIGNED\.h5ad "
    expect(code).to_have_text(re.compile(start + "(.* )?--transform=affine( |$)"))
