"""The main job, whole: from files to a saved AnnData, on real data and on the demonstration, as a person does it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pytest
import scanpy as sc
from playwright.sync_api import Browser, Page, expect

from core import keys
from core.pipeline import STEPS, history
from tests.core.spatial.test_graph import squidpy
from tests.e2e.serving import Server, running
from tests.e2e.test_data import choose
from tests.e2e.test_explore import at, draw_region, settled, tool, visit
from tests.e2e.test_shell import new_project

STEP_MS = 300_000  # two cores, shared with the browser
EPOCHS = 12

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def app_server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the demonstration, as at anybody's first start."""
    with running(tmp_path_factory.mktemp("served") / "data", min_free_bytes="0", workers="2") as server:
        yield server


def done(page: Page, step: str) -> None:
    """Wait until the stepper marks *step* as done."""
    expect(page.locator(".sm-stepper li", has_text=step).locator(".bi-check2")).to_be_visible(timeout=STEP_MS)


def go(page: Page, step: str) -> None:
    page.locator(".sm-stepper").get_by_role("link", name=step).click()
    page.wait_for_url(f"**/{step.lower()}*")


def fill(page: Page, step: str, option: str, value: object) -> None:
    """Type *value* into a field of the form of *step*."""
    field = page.locator(f"""[id='{{"form":"{step}","option":"{option}"}}']""")
    field.fill(str(value))
    field.press("Tab")


def press(page: Page, verb: str) -> None:
    page.get_by_role("button", name=verb, exact=True).click()


def message(page: Page, step: str):
    return page.locator(f"""[id='{{"form":"{step}","part":"message"}}']""")


def write_and_download(page: Page, folder: Path) -> anndata.AnnData:
    go(page, "Export")
    press(page, "Write h5ad")
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=STEP_MS)
    with page.expect_download() as started:
        link.click()
    path = folder / "result.h5ad"
    started.value.save_as(path)
    return sc.read_h5ad(path)


def test_a_real_pair_from_upload_to_download(person, app_server: Server, data_dir: Path, tmp_path: Path) -> None:
    st_path, sm_path = (data_dir / "vicari_B1" / name for name in ("st.h5ad", "sm.h5ad"))
    page, colleague = person(accept_downloads=True), person()
    new_project(page)
    choose(page, "st", st_path)
    choose(page, "sm", sm_path)
    expect(page.locator(".sm-tile-head", has_text="3,005 pixels")).to_be_visible(timeout=STEP_MS)
    page.get_by_label("Coordinates").select_option("spatial_grid")
    expect(page.locator(".sm-check", has_text="x 0 to ")).to_be_visible(timeout=STEP_MS)
    done(page, "Data")
    # somebody else works on the same server at the same time, and sees nothing of it
    new_project(colleague, "A colleague's")
    choose(colleague, "st", data_dir / "vicari_A1" / "st.h5ad")

    page.get_by_role("link", name="Next: Align").click()
    page.wait_for_function("() => document.getElementById('align-stage')?.dataset.frames > 0")
    page.locator('[data-tab="hand"]').click()
    press(page, "Quarter turn right")
    frames = "document.getElementById('align-stage').dataset"
    press(page, "Fit from here")
    page.wait_for_function(f"() => {frames}.mode === 'live' || {frames}.mode === 'result'", timeout=STEP_MS)
    done(page, "Align")
    expect(page.locator("#align-quality")).to_contain_text("µm")

    for step, verb in (("Reassign", "Reassign"), ("Features", "Select features")):
        go(page, step)
        press(page, verb)
        done(page, step)

    go(page, "Integrate")
    fill(page, "integrate", "epochs", EPOCHS)
    press(page, "Train")
    with app_server.held("integrate", "epoch"):
        expect(message(page, "integrate")).to_contain_text("epoch")
        page.reload()  # in the middle of the training
        expect(message(page, "integrate")).to_contain_text("epoch")
    done(page, "Integrate")
    expect(page.locator("#integrate-summary")).to_contain_text("Last loss")
    done(page, "Explore")  # the clusters, which follow by themselves

    expect(colleague.locator(".sm-tile-head", has_text="2,675 spots × 13 genes")).to_be_visible(timeout=STEP_MS)
    colleague.goto("/")
    expect(colleague.locator(".sm-card-name", has_text="A colleague's")).to_be_visible()
    assert colleague.locator(".sm-card-name", has_text="Striatum 6-OHDA").count() == 0

    go(page, "Explore")
    st = anndata.read_h5ad(st_path)
    visit(page, page.url)
    draw_on_the_striatum(page, st)

    saved = write_and_download(page, tmp_path)
    check_file(saved, st, sm_path)
    check_drawings(saved)
    check_plot(saved)


def draw_on_the_striatum(page: Page, st: anndata.AnnData) -> None:
    """A region on each striatum, and a path from the intact to the lesioned one, across the midline."""
    middles = []
    for side in ("intact", "lesioned"):
        chosen = (st.obs["RegionLoupe"] == "CP") & (st.obs["lesion"] == side)
        striatum = st.obsm["spatial"][chosen.to_numpy()]
        low, high = np.percentile(striatum, [8, 92], axis=0)
        turn = np.linspace(0, 2 * np.pi, 8, endpoint=False) + np.pi / 8
        corners = np.column_stack([np.cos(turn), np.sin(turn)]) * (high - low) / 2 + (low + high) / 2
        draw_region(page, corners, name=f"{side.capitalize()} striatum")
        middles.append(striatum.mean(axis=0))
    tool(page, "trajectory")
    for place in middles:
        page.mouse.click(*at(page, place))
    page.keyboard.press("Enter")
    page.keyboard.type("Midline")
    page.keyboard.press("Enter")
    settled(page)
    expect(page.locator("#explore-saved")).to_contain_text("obs['toi_midline_position_um']")


def check_file(saved: anndata.AnnData, st: anndata.AnnData, sm_path: Path) -> None:
    """The conventions of docs/anndata.md, and ST exactly as measured."""
    assert set(saved.var[keys.TYPE]) == {keys.ST, keys.SM}
    genes = saved[:, saved.var[keys.TYPE] == keys.ST]
    measured = st[genes.obs_names, genes.var_names]
    assert 2_000 < saved.n_obs <= st.n_obs
    np.testing.assert_array_equal(genes.layers[keys.COUNTS].toarray(), measured.X.toarray())
    np.testing.assert_array_equal(genes.X.toarray(), measured.X.toarray())
    assert (saved.obs[keys.N_PIXELS] > 0).all()
    sm = anndata.read_h5ad(sm_path)
    assert list(saved.var_names[saved.var[keys.TYPE] == keys.SM]) == list(sm.var_names)
    assert np.isfinite(saved.obsm[keys.X_EMB]).all()
    assert saved.obs[keys.LEIDEN].nunique() > 1
    for modality in (keys.ST, keys.SM):
        assert saved.obs[keys.CONTRIBUTION[modality]].between(0, 1).all()
    assert {record["name"] for record in history(saved)} >= set(STEPS)
    trained = next(r for r in history(saved) if r["name"] == "integrate")
    assert trained["config"]["epochs"] == EPOCHS


def check_drawings(saved: anndata.AnnData) -> None:
    regions = saved.obs[keys.roi("regions")]
    assert set(regions.cat.categories) == {"Intact striatum", "Lesioned striatum"}
    # 6-OHDA kills the cells that make dopamine: that is what the section was measured for
    dopamine = np.asarray(saved[:, "Dopamine"].X.todense()).ravel()
    level = {side: np.median(dopamine[(regions == side).to_numpy()]) for side in regions.cat.categories}
    assert level["Intact striatum"] > 3 * level["Lesioned striatum"]
    position = saved.obs[keys.toi_position("Midline")]
    assert 0 < position.notna().sum() < saved.n_obs
    document = json.loads(saved.uns[keys.UNS][keys.REGIONS]["px"])
    assert document["type"] == "FeatureCollection"


def check_plot(saved: anndata.AnnData) -> None:
    """squidpy draws the file over its histology."""
    mpl.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # squidpy uses what matplotlib deprecates
        squidpy().pl.spatial_scatter(saved, color="leiden", library_key="sample")


def test_the_demonstration_is_finished_and_can_be_walked_through(page: Page, app_server: Server) -> None:
    page.goto("/")
    explore = page.get_by_role("link", name="Explore it")
    page.wait_for_function(  # it opens by itself for whoever waited for it
        "() => location.pathname.endsWith('/explore') || document.querySelector('a[href$=\"/explore\"].btn')",
        timeout=STEP_MS,
    )
    if explore.is_visible():
        explore.click()
    page.wait_for_url("**/explore*")
    visit(page, page.url)
    expect(page.locator(".ex-item", has_text="Across domains")).to_be_visible()
    page.goto("/")
    page.get_by_role("button", name="Walk through the steps").click()
    page.wait_for_url("**/data*")
    done(page, "Explore")
    go(page, "Align")
    press(page, "Align")
    again = page.locator(".sm-stepper li", has_text="Reassign").locator(".bi-arrow-clockwise, .bi-arrow-repeat")
    expect(again).to_be_visible(timeout=STEP_MS)  # what was calculated from the old alignment is out of date
    for step, verb in (("Reassign", "Reassign"), ("Features", "Select features"), ("Integrate", "Train")):
        go(page, step)
        if step == "Integrate":
            fill(page, "integrate", "epochs", EPOCHS)
        press(page, verb)
        done(page, step)
    done(page, "Explore")
    go(page, "Explore")
    visit(page, page.url)
    expect(page.locator("#explore-category-list")).to_be_visible()
