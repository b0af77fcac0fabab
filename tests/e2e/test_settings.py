"""Settings away from their defaults, on the pages of the steps: what comes out is what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from scipy.spatial import cKDTree

from core import keys, pipeline
from core.context import Context
from core.vae.model import load
from tests.e2e.seeding import Seeded, keep, seed, small_pair
from tests.e2e.serving import Server
from tests.e2e.test_steps import CHOSEN, STEP_MS, field, part, run, visit

RENAMED = {2: "mt-Nd1", 5: "Hspa8", 8: "Rpl3", 11: "Rps6ka1"}  # the last one is a kinase, not of the ribosome


@pytest.fixture(scope="module")
def seeded(app_server: Server) -> Seeded:
    """Aligned, with a few genes of families that people leave out."""
    pair = small_pair()
    st = pair.st.copy()
    st.var_names = st.var[keys.SYMBOL] = [RENAMED.get(i, name) for i, name in enumerate(st.var_names)]
    return seed(app_server, aligned=True, pair=replace(pair, st=st))


@pytest.fixture(scope="module")
def joined(seeded: Seeded) -> Seeded:
    """Two sections as one sample, features selected; the second is brighter in all metabolites."""
    second = Seeded(seeded.workspace, seeded.workspace.create_sample(seeded.sample.project, "section 2"), seeded.pair)
    for sample in (seeded, second):
        if sample is second:
            for step in ("st", "sm", "align"):
                keep(second, step, seeded.read(step))
        keep(sample, "reassign", pipeline.run_step("reassign", {"st": sample.read("st"), "sm": sample.read("align")}))
    both = [seeded.sample, second.sample]
    together = seeded.workspace.create_sample(seeded.sample.project, "both", parts=both)
    made = Seeded(seeded.workspace, together, seeded.pair)
    joints = {"section 1": seeded.read("reassign"), "section 2": second.read("reassign")}
    bright = joints["section 2"].X.multiply(np.where(joints["section 2"].var[keys.TYPE] == keys.SM, 2.0, 1.0)).tocsr()
    joints["section 2"].X = bright.astype(np.float32)
    joints["section 2"].layers[keys.COUNTS] = bright.astype(np.float32)
    keep(made, "reassign", pipeline.run_concat(joints))
    keep(made, "features", pipeline.run_step("features", {"joint": made.read("reassign")}, None, Context()))
    return made


def values(page: Page, step: str, **options: str) -> None:
    """Fill the fields of a form: choices are selected, ticks set, the rest typed."""
    page.evaluate("document.querySelectorAll('.sm-left details').forEach((fold) => { fold.open = true; })")
    for option, value in options.items():
        box = field(page, step, option)
        kind = box.evaluate("e => e.tagName === 'SELECT' ? 'select' : e.type || 'text'")
        if kind == "select":
            box.select_option(value)
        elif kind in ("checkbox", "radio"):
            box.set_checked(value == "yes")
        else:
            box.fill(value)
            box.press("Tab")


def test_a_page_that_waits_for_its_input_opens_by_itself(page: Page, seeded: Seeded, app_server: Server) -> None:
    visit(page, seeded, "reassign")
    page.get_by_role("button", name="Reassign", exact=True).click()
    with app_server.held("reassign"):
        page.goto(seeded.path("features"))
        expect(page.get_by_text("Features needs more")).to_be_visible()
    expect(page.get_by_role("button", name="Select features", exact=True)).to_be_visible(timeout=STEP_MS)


def test_spots_beyond_reach_take_the_nearest_pixel(page: Page, seeded: Seeded) -> None:
    visit(page, seeded, "reassign")
    values(page, "reassign", max_distance_factor="0.25", weighting="distance", missing="nearest")
    run(page, "Reassign", 2)
    st, sm, joint = (seeded.read(step) for step in ("st", "align", "reassign"))
    spots, pixels = st.obsm[keys.SPATIAL], sm.obsm[keys.SPATIAL]
    reach = 0.25 * cKDTree(spots).query(spots, 2)[0][:, 1].min()
    distance, index = cKDTree(pixels).query(spots, 5)
    near = distance <= reach
    beyond = ~near.any(axis=1)
    assert 20 < beyond.sum() < len(spots) - 20
    near[beyond, 0] = True
    weight = near / distance
    weight /= weight.sum(axis=1, keepdims=True)
    expected = (weight[:, :, None] * sm.X.toarray()[index]).sum(axis=1)
    np.testing.assert_allclose(joint.X[:, st.n_vars :].toarray(), expected, rtol=1e-4, atol=1e-4)
    assert (joint.X[:, : st.n_vars] != st.X).nnz == 0
    shown = page.locator("#reassign-coverage")
    expect(shown).to_contain_text(f"{(~beyond).sum():,} of {len(spots):,}")
    expect(shown).to_contain_text(f"{beyond.sum():,}, given the nearest")


def test_pixels_that_get_no_spot_are_kept_and_it_is_said(page: Page, seeded: Seeded, axe) -> None:
    visit(page, seeded, "reassign")
    chosen = {"direction": "st-to-sm", "missing": "keep", "counts": "sum", "max_distance_factor": "1.5"}
    values(page, "reassign", **chosen)
    run(page, "Reassign", 3)
    st, sm, joint = (seeded.read(step) for step in ("st", "align", "reassign"))
    nearest = cKDTree(sm.obsm[keys.SPATIAL]).query(st.obsm[keys.SPATIAL])[1]
    expected = np.zeros((sm.n_obs, st.n_vars))
    np.add.at(expected, nearest, st.X.toarray())
    np.testing.assert_array_equal(joint.X[:, : st.n_vars].toarray(), expected)
    assert (joint.X[:, st.n_vars :] != sm.X).nnz == 0
    without = sm.n_obs - len(np.unique(nearest))
    shown = page.locator("#reassign-coverage")
    expect(shown).to_contain_text(f"{without:,}, kept")
    expect(shown).to_contain_text("A training shows its encoder the nearest place instead")
    expect(page.locator(CHOSEN)).to_contain_text(f"{sm.n_obs:,} pixels")
    axe(page)
    page.get_by_role("button", name="Use run 1 of Reassign").click()
    expect(page.locator(CHOSEN)).to_contain_text("Run 1")


def test_gene_families_are_left_out(page: Page, seeded: Seeded) -> None:
    visit(page, seeded, "features")
    values(page, "features", remove_families="MT, HSP, RPS")
    run(page, "Select features", 1)
    var = seeded.read("features").var
    assert not var.loc[["mt-Nd1", "Hspa8"], keys.SELECTED].any()
    assert var.loc[["Rpl3", "Rps6ka1"], keys.SELECTED].all()
    page.locator("#features-search").fill("hspa")
    rows = page.locator("#features-table tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("HSP gene, left out")


def test_settings_of_the_model_across_samples(page: Page, joined: Seeded, axe) -> None:
    """Neighbours in other samples, contributions as published, the ablations, a correction to one sample."""
    visit(page, joined, "integrate")
    values(page, "integrate", epochs="4", neighbours_across="6", correct_to="section 1", seed="3")
    values(page, "integrate", contributions="origin", sm_likelihood="mse", normalize_sm="no", shared_decoders="no")
    command = part(page, "integrate", "command")
    for flag in ("--neighbours-across=6", "--contributions=origin", "--no-shared-decoders", "--no-normalize-sm"):
        expect(command).to_contain_text(flag)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".sm-version")).to_have_count(2, timeout=STEP_MS)  # the model's and the clusters'
    made = joined.read("integrate")
    model = load(joined.workspace.path(joined.chosen("integrate"), keys.MODEL_FILE))
    assert made.uns[keys.UNS][keys.TRAINING]["config"]["neighbours_across"] == model.config.neighbours_across == 6
    # the samples were crossed: the shift of the second finds that its metabolites are twice as bright
    assert model.shifts.samples == ("section 1", "section 2")
    apart = model.shifts.of(["section 2"])[keys.SM] - model.shifts.of(["section 1"])[keys.SM]
    scale = model.module.transforms[keys.SM].scale.numpy()
    assert np.median(apart * scale) == pytest.approx(np.log(2), abs=0.1)
    # the angle about the origin, as published (eq. 20-21)
    joint, likeness = made.obsm[keys.X_EMB], {}
    for kind, slot in keys.X_EMB_MODALITY.items():
        single = made.obsm[slot]
        cosine = (joint * single).sum(1) / np.linalg.norm(joint, axis=1) / np.linalg.norm(single, axis=1)
        likeness[kind] = 1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi
    expected = likeness[keys.ST] / (likeness[keys.ST] + likeness[keys.SM])
    np.testing.assert_allclose(made.obs[keys.CONTRIBUTION[keys.ST]], expected, atol=1e-4)
    # the ablations: squared error on intensities as measured, decoders of their own for single embeddings
    sm = next(m for m in model.module.modalities if m.name == keys.SM)
    assert sm.likelihood == "mse"
    assert model.module.single_decoders is not None
    metabolites = (made.var[keys.TYPE] == keys.SM).to_numpy()
    as_first, mean = (model.decode(joint, correct_to=level)[keys.SM] for level in ("section 1", ""))
    stored = made.layers[keys.RECONSTRUCTION][:, np.flatnonzero(metabolites)]
    stored = stored.toarray() if hasattr(stored, "toarray") else stored
    np.testing.assert_allclose(stored[:, : as_first.shape[1]], as_first, rtol=1e-3, atol=1e-3)
    assert np.abs(as_first - mean).max() > 0

    # the same without neighbours in other samples; the comparison says what differs
    values(page, "integrate", neighbours_across="0")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".sm-version")).to_have_count(4, timeout=STEP_MS)
    alone = load(joined.workspace.path(joined.chosen("integrate"), keys.MODEL_FILE))
    assert alone.shifts is None
    page.get_by_role("button", name="Compare run 1 of").click()
    row = page.locator(".sm-compared").get_by_role("row", name="neighbours across")
    expect(row.locator("td")).to_have_text(["0", "6"])
    axe(page)


def test_the_resolution_of_the_clusters(page: Page, joined: Seeded) -> None:
    visit(page, joined, "integrate")
    expect(page.locator(".sm-version")).to_have_count(4)
    usual = joined.read("cluster").obs[keys.LEIDEN].nunique()
    values(page, "cluster", resolution="2")
    page.get_by_role("button", name="Cluster", exact=True).click()
    expect(page.locator(".sm-version")).to_have_count(5, timeout=STEP_MS)
    assert joined.chosen("cluster").config["resolution"] == 2
    fine = joined.read("cluster").obs[keys.LEIDEN].nunique()
    assert fine > usual
    expect(page.locator(".sm-right")).to_contain_text(f"{fine} clusters")
