"""Each step on a small simulated sample: run, see, reload in the middle, choose, go stale, export; no barriers."""

from __future__ import annotations

import io as text_io
import json

import anndata
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page, Route, expect

from core import keys
from core.vae.model import load
from tests.e2e import test_explore as explore
from tests.e2e.seeding import Seeded, seed
from tests.e2e.serving import Server

STEP_MS = 240_000  # two cores, shared with the browser
# counts how often a progress bar comes into view: on a fast machine it has gone again before anybody looks for it
WATCH = """() => { window.signs = 0;
  const seen = () => [...document.querySelectorAll('.sm-progress')].some((e) => e.checkVisibility());
  new MutationObserver(() => { window.signs += seen(); }).observe(
    document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ['hidden'] }); }"""
CURVE = "document.querySelector('[id*=curves] .js-plotly-plot')?.data?.[0]?.x?.length"  # epochs that are drawn
CHOSEN = '.sm-version[data-chosen="true"]'


@pytest.fixture(scope="module")
def seeded(app_server: Server) -> Seeded:
    """With the true alignment; the tests of this module go through the steps in their order."""
    return seed(app_server, aligned=True)


def visit(page: Page, seeded: Seeded, step: str) -> None:
    page.goto(seeded.path(step))
    expect(page.locator(".sm-columns")).to_be_visible()


def part(page: Page, step: str, name: str):
    return page.locator(f"""[id='{{"form":"{step}","part":"{name}"}}']""")


def field(page: Page, step: str, option: str):
    return page.locator(f"""[id='{{"form":"{step}","option":"{option}"}}']""")


def run(page: Page, verb: str, runs: int) -> None:
    """Press Run, see that it says so, and wait until there are *runs* runs."""
    page.evaluate(WATCH)
    page.get_by_role("button", name=verb, exact=True).click()
    page.wait_for_function("() => window.signs > 0", timeout=STEP_MS)
    expect(page.locator(".sm-version")).to_have_count(runs, timeout=STEP_MS)


def test_a_step_without_its_input_leads_to_the_right_page(page: Page, app_server: Server, axe) -> None:
    bare = seed(app_server)
    page.goto(bare.path("features"))
    expect(page.get_by_text("Features needs more")).to_be_visible()
    axe(page)
    page.get_by_role("link", name="Go to Reassign").click()
    page.wait_for_url("**/reassign")
    expect(page.get_by_role("link", name="Go to Align")).to_be_visible()
    page.goto(bare.path("export"))
    expect(page.get_by_text("Nothing to export yet")).to_be_visible()
    expect(page.get_by_role("button", name="Write h5ad")).to_be_disabled()
    expect(page.locator("#export-why-not")).to_contain_text("A joint object that is up to date is needed")
    axe(page)
    page.get_by_role("link", name="Go to Align").click()
    page.wait_for_url("**/align")


def test_reassign_shows_coverage_and_one_spot(page: Page, seeded: Seeded, app_server: Server, axe) -> None:
    visit(page, seeded, "reassign")
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    with app_server.held():  # the page is opened anew, and hears of its job only when that has ended
        page.get_by_role("button", name="Reassign", exact=True).click()
        expect(part(page, "reassign", "message")).to_be_visible()
        page.reload(wait_until="commit")
        page.route("**/api/jobs?*", hold)
        expect(page.get_by_text("No run yet.")).to_be_visible()
    while page.request.get(f"/api/jobs?project={seeded.sample.project}&since=0").json()["jobs"][0]["state"] != "done":
        page.wait_for_timeout(100)
    late[0].continue_()
    page.unroute("**/api/jobs?*")
    expect(page.locator(".sm-version")).to_have_count(1)
    joint = seeded.read("reassign")
    covered = int((joint.obs[keys.N_PIXELS] > 0).sum())
    expect(page.locator("#reassign-coverage")).to_contain_text(f"{covered:,} of {seeded.pair.st.n_obs:,}")
    number = page.locator("#reassign-number")
    number.fill("5")
    number.press("Tab")
    table = page.locator("#reassign-spot table")
    xy = np.asarray(seeded.pair.st.obsm[keys.SPATIAL])[5]
    nearest = np.argsort(np.linalg.norm(seeded.pair.truth.true_st_xy - xy, axis=1))[0]
    expect(table.locator("tbody tr").first.locator("td").first).to_have_text(f"{nearest:,}")
    axe(page)


def test_features_are_sorted_searched_and_pinned(page: Page, seeded: Seeded, axe) -> None:
    visit(page, seeded, "features")
    field(page, "features", "n_genes").fill("10")
    run(page, "Select features", 1)
    var = seeded.read("features").var
    genes = var[var[keys.TYPE] == keys.ST].sort_values(keys.MORANS_I, ascending=False)
    rows = page.locator("#features-table tbody tr")
    expect(rows.first).to_contain_text(genes.index[0])
    expect(page.locator("#features-table .sm-out")).to_have_count(len(genes) - 10)
    axe(page)

    page.locator("#features-search").fill(genes.index[-1])
    expect(rows.first).to_contain_text(genes.index[-1])
    page.get_by_role("button", name=f"Always select {genes.index[-1]}", exact=True).click()
    expect(field(page, "features", "pinned")).to_have_value(genes.index[-1])
    expect(part(page, "features", "command")).to_contain_text(f"--pinned={genes.index[-1]}")
    rows.first.locator(".sm-link").click()
    expect(page.locator("#features-map-by")).to_have_value("feature")
    page.locator("#features-kind").get_by_text("Metabolites").click()
    page.locator("#features-search").fill("")
    expect(page.locator("#features-table")).to_contain_text("12 features")

    run(page, "Select features", 2)
    selected = seeded.read("features").var[keys.SELECTED]
    assert selected[genes.index[-1]]
    assert selected[genes.index].sum() == 11


def test_a_training_is_followed_through_a_reload_and_clusters_follow(
    page: Page, seeded: Seeded, app_server: Server, axe
) -> None:
    visit(page, seeded, "integrate")
    field(page, "integrate", "epochs").fill("60")
    field(page, "integrate", "preset").select_option("paper-single")
    expect(page.locator("#integrate-preset")).to_contain_text("weight st 5")
    page.get_by_text("Clusters, after the training").click()
    field(page, "cluster", "n_clusters").fill("4")
    page.get_by_role("button", name="Train", exact=True).click()
    with app_server.held("integrate", "epoch"):
        expect(part(page, "integrate", "message")).to_contain_text("epoch")
        page.wait_for_function(f"() => {CURVE} > 0")  # live
        page.reload()
        expect(part(page, "integrate", "message")).to_contain_text("epoch")
        page.wait_for_function(f"() => {CURVE} > 0 && {CURVE} < 60")
    expect(page.locator("#integrate-summary")).to_contain_text("60", timeout=STEP_MS)
    page.wait_for_function(f"() => {CURVE} === 60", timeout=STEP_MS)
    with app_server.held("cluster"):  # its form is folded, its progress is not
        expect(part(page, "cluster", "message")).to_be_visible(timeout=STEP_MS)
        expect(page.get_by_role("button", name="Cancel Cluster")).to_be_visible()
    expect(page.locator(".sm-version")).to_have_count(2, timeout=STEP_MS)  # the model's and the clusters'
    assert seeded.read("cluster").obs[keys.LEIDEN].nunique() == 4
    assert seeded.chosen("cluster").config["n_clusters"] == 4
    expect(page.locator(".sm-right")).to_contain_text("4 clusters")
    axe(page)


def test_a_cancelled_training_goes_on_where_it_stopped_and_is_compared(
    page: Page, seeded: Seeded, app_server: Server, axe
) -> None:
    visit(page, seeded, "integrate")
    epochs = 200
    field(page, "integrate", "epochs").fill(str(epochs))
    field(page, "integrate", "preset").select_option("single")
    page.locator("summary", has_text="Advanced").first.click()
    field(page, "integrate", "patience").fill(str(epochs))  # it must not end by itself before it is cancelled
    page.get_by_role("button", name="Train", exact=True).click()
    with app_server.held("integrate", "epoch"):
        expect(part(page, "integrate", "message")).to_contain_text("epoch")
        page.get_by_role("button", name="Cancel Integrate").click()
    expect(part(page, "integrate", "message")).to_have_text("Cancelled.")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.reload()  # it can go on later, and from another tab
    page.get_by_role("button", name="Resume Integrate").click()
    with app_server.held("integrate", "epoch"):
        expect(part(page, "integrate", "message")).to_contain_text("epoch")
    runs = page.locator(".sm-version")  # of the model and of the clusters that follow
    expect(runs).to_have_count(4, timeout=STEP_MS)
    trained = seeded.chosen("integrate")
    events = page.request.get(f"/api/jobs/{trained.job}/events").json()["events"]
    done = len(seeded.read("integrate").uns[keys.UNS][keys.TRAINING]["terms"]["loss"])
    fractions = [event["fraction"] for event in events]
    assert len(fractions) == done  # no epoch twice, none left out
    assert fractions == sorted(set(fractions))
    assert len({e["attempt"] for e in events}) == 1

    with page.expect_download() as download:
        page.get_by_role("link", name="model.pt").click()
    model = load(download.value.path())
    again = model.encode(seeded.read("features"))
    np.testing.assert_allclose(again.joint, seeded.read("integrate").obsm[keys.X_EMB], atol=1e-5)

    page.get_by_role("button", name="Compare run 1 of").click()
    table = page.locator(".sm-compared")
    expect(table).to_contain_text("Run 2, in use")
    row = table.get_by_role("row", name="epochs done")
    expect(row).to_contain_text(str(done))
    expect(row).to_contain_text("60")
    expect(table).to_contain_text("paper-single")
    dashed = "document.querySelectorAll('#integrate-compared-curves .js-line[style*=dash]').length"
    page.wait_for_function(f"() => {dashed} >= 3")
    axe(page)
    page.get_by_role("button", name="Close", exact=True).click()
    expect(table).to_be_hidden()

    # the other one is chosen, with its clusters, and seen in Explore
    second = seeded.read("cluster").obs[keys.LEIDEN].cat.codes.to_numpy()
    page.get_by_role("button", name="Use run 1 of Integrate", exact=True).click()
    page.get_by_role("button", name="Use run 1 of Cluster", exact=True).click()
    expect(page.locator(CHOSEN)).to_contain_text(["Run 1", "Run 1"])
    for step, option, value in (("integrate", "epochs", "60"), ("integrate", "preset", "paper-single")):
        expect(field(page, step, option)).to_have_value(value)  # the form shows how it was made
    expect(field(page, "cluster", "n_clusters")).to_have_value("4")
    first = seeded.read("cluster").obs[keys.LEIDEN].cat.codes.to_numpy()
    assert (first != second).any()
    explore.visit(page, f"{seeded.path('explore')}?colour=obs:leiden")
    assert page.evaluate("Array.from(SpatialMetaExplore.page.spatial.points.arrays.code)") == first.tolist()


def test_a_refused_setting_is_said_plainly(page: Page, seeded: Seeded) -> None:
    visit(page, seeded, "reassign")
    field(page, "reassign", "k").fill("0")
    page.get_by_role("button", name="Reassign", exact=True).click()
    expect(page.locator(".sm-toast")).to_contain_text("at least 1")
    expect(page.get_by_role("button", name="Reassign", exact=True)).to_be_enabled()


def test_a_later_step_is_out_of_date_and_says_why(page: Page, seeded: Seeded) -> None:
    visit(page, seeded, "reassign")
    field(page, "reassign", "k").fill("3")
    run(page, "Reassign", 2)
    visit(page, seeded, "features")
    expect(page.locator(".sm-notice")).to_contain_text("Reassign changed: k 5 → 3")
    page.get_by_role("button", name="Run again").click()
    expect(page.locator(CHOSEN)).to_contain_text("Run 3", timeout=STEP_MS)
    expect(page.locator(".sm-notice")).to_have_count(0)

    visit(page, seeded, "reassign")
    page.get_by_role("button", name="Use run 1 of Reassign").click()
    expect(page.locator(CHOSEN)).to_contain_text("Run 1")
    visit(page, seeded, "features")
    expect(page.locator(".sm-notice")).to_be_visible()
    page.get_by_role("button", name="Use run 2 of Features").click()
    expect(page.locator(".sm-notice")).to_have_count(0)


def test_export_writes_what_it_previews(page: Page, seeded: Seeded, axe, tmp_path) -> None:
    visit(page, seeded, "export")
    contents = page.locator("#export-contents")
    expect(contents).to_contain_text("obsm['X_emb']")
    page.locator("#export-parts").get_by_text("Denoised values").click()
    expect(contents.locator(".sm-out")).to_contain_text("layers['reconstruction']")
    axe(page)
    with page.expect_download() as csv:
        page.get_by_role("button", name="Table of the spots (CSV)").click()
    table = pd.read_csv(text_io.StringIO(csv.value.path().read_text()), index_col="spot")
    joint = seeded.read("cluster")
    assert list(table.index) == list(joint.obs_names)
    np.testing.assert_allclose(table[["x_px", "y_px"]], joint.obsm[keys.SPATIAL], rtol=1e-5)
    expect(page.locator("#export-script")).to_contain_text("python -m core integrate")

    page.get_by_role("button", name="Write h5ad", exact=True).click()
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=STEP_MS)
    with page.expect_download() as started:
        link.click()
    path = tmp_path / "x.h5ad"
    started.value.save_as(path)
    saved = anndata.read_h5ad(path)
    assert keys.RECONSTRUCTION not in saved.layers
    assert keys.NORMALIZED in saved.layers
    assert {json.loads(str(r))["name"] for r in saved.uns[keys.UNS][keys.HISTORY].values()} >= {"reassign", "cluster"}


@pytest.mark.parametrize("step", ["align", "reassign", "features", "integrate", "export"])
def test_no_page_scrolls_and_dark_has_contrast(step: str, person, seeded: Seeded, axe) -> None:
    page = person(color_scheme="dark")
    page.set_viewport_size({"width": 1280, "height": 800})
    visit(page, seeded, step)
    page.evaluate("() => SpatialMeta.setTheme('dark')")
    page.evaluate("() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => null)))")
    assert page.evaluate("() => document.documentElement.scrollHeight <= innerHeight")
    axe(page)
