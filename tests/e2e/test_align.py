"""The Align page: what is set by hand is what the core calculates; a fit is followed, kept, cancelled, compared."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from core import keys
from core.registration import manual_transform
from tests.e2e.seeding import Seeded, seed
from tests.e2e.serving import Server

STEP_MS = 240_000  # two cores, shared with the browser
PIXELS = [0, 7, 100, 250]
STATE = "() => SpatialMeta.align.state()"


@pytest.fixture(scope="module")
def seeded(app_server: Server) -> Seeded:
    return seed(app_server)


@pytest.fixture
def stage(page: Page, seeded: Seeded) -> Page:
    """The page with its overlay drawn."""
    visit(page, seeded)
    return page


def visit(page: Page, seeded: Seeded) -> None:
    page.goto(seeded.path("align"))
    page.wait_for_function("() => document.getElementById('align-legend')?.hidden === false", timeout=STEP_MS)


def set_number(page: Page, name: str, value: float) -> None:
    page.locator(f'[data-param="{name}"] input[type="number"]').fill(str(value))


def overlay(page: Page, mode: str = "manual") -> np.ndarray:
    page.wait_for_function("mode => SpatialMeta.align.state().mode === mode", arg=mode)
    return np.array(page.evaluate("index => SpatialMeta.align.xy(index)", PIXELS))


def expected(seeded: Seeded, **values) -> np.ndarray:
    raw = np.asarray(seeded.pair.sm.obsm[keys.SPATIAL])
    transform = manual_transform(np.asarray(seeded.pair.st.obsm[keys.SPATIAL]), raw, **values)
    return transform.forward(raw[PIXELS])


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
    stage.reload()  # the values are still there
    stage.wait_for_function("() => document.getElementById('align-legend')?.hidden === false", timeout=STEP_MS)
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


def test_panning_and_zooming_leave_the_alignment_alone(stage: Page) -> None:
    before = overlay(stage)
    stage.get_by_role("button", name="Drag moves the view").click()
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


def test_a_fit_is_followed_kept_and_another_run_chosen(stage: Page, seeded: Seeded, person) -> None:
    stage.get_by_role("button", name="Align", exact=True).click()
    expect(stage.locator(".sm-progress")).to_be_visible()
    second = person()  # another person with the link sees the same job
    visit(second, seeded)
    expect(stage.locator(".sm-version")).to_have_count(1, timeout=STEP_MS)
    expect(stage.locator("#align-quality")).to_contain_text("Dice")
    assert int(stage.locator("#align-stage").get_attribute("data-previews") or 0) >= 1
    result = seeded.read("align")
    close(overlay(stage, "result"), np.asarray(result.obsm[keys.SPATIAL])[PIXELS])
    miss = np.linalg.norm(result.obsm[keys.SPATIAL] - seeded.pair.truth.true_st_xy, axis=1) * um_per_px(seeded)
    assert np.median(miss) < 100  # µm: a spot distance
    expect(second.locator(".sm-version")).to_have_count(1, timeout=STEP_MS)

    stage.get_by_role("button", name="By hand").click()
    stage.get_by_role("button", name="Reset", exact=True).click()
    stage.get_by_role("button", name="Flip", exact=True).click()
    stage.wait_for_timeout(400)
    stage.get_by_role("button", name="Save this").click()
    expect(stage.locator(".sm-version")).to_have_count(2, timeout=STEP_MS)
    expect(stage.locator("#align-quality")).to_contain_text("set by hand")
    kept = seeded.chosen("align")
    assert (kept.config["mode"], kept.config["flip"]) == ("manual", True)
    np.testing.assert_allclose(seeded.read("align").obsm[keys.SPATIAL][PIXELS], expected(seeded, flip=True), atol=1e-3)

    stage.get_by_role("button", name="Use run 1 of Align").click()
    expect(stage.locator('.sm-version[data-chosen="true"]')).to_contain_text("Run 1")
    assert seeded.chosen("align").config["mode"] == "automatic"


def test_a_fit_is_cancelled(stage: Page, seeded: Seeded) -> None:
    runs = len(seeded.workspace.results(seeded.sample, "align"))
    stage.get_by_role("button", name="Align", exact=True).click()
    cancel = stage.get_by_role("button", name="Cancel Align")
    expect(cancel).to_be_enabled()
    cancel.click()
    expect(stage.get_by_role("button", name="Align", exact=True)).to_be_enabled(timeout=STEP_MS)
    kept = len(seeded.workspace.results(seeded.sample, "align")) - runs
    said = stage.locator(".sm-job-message").text_content()
    assert kept == 1 or said == "Cancelled."  # the best so far, if there was any


def test_colours_are_found_by_name(stage: Page, seeded: Seeded) -> None:
    name = str(seeded.pair.sm.var_names[3])
    stage.get_by_label("Colour of the SM pixels").fill(name)
    expect(stage.locator("#align-legend [data-label]")).to_have_text(name)


def test_the_command_line_follows_the_form(stage: Page) -> None:
    stage.locator("summary", has_text="Command line").click()
    stage.locator("""[id='{"form":"align","option":"transform"}']""").select_option("affine")
    code = stage.locator("""[id='{"form":"align","part":"command"}']""")
    expect(code).to_have_text("python -m core align --st ST.h5ad --sm SM.h5ad --out SM_ALIGNED.h5ad --transform=affine")
