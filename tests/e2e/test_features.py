"""Quality with live counts, features by hand, where a place takes its values from, several samples as one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from playwright.sync_api import Page, expect
from scipy import sparse

from core import keys, pipeline
from core.io import write_h5ad
from core.reassignment import ReassignConfig, plan
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Workspace
from tests.e2e import test_explore as explore
from tests.e2e.seeding import Seeded, _keep, seed, small_pair
from tests.e2e.serving import Server
from tests.e2e.test_data import IMPORT_MS, choose
from tests.e2e.test_steps import STEP_MS, field, part, run, visit


def often(section: AnnData) -> str:
    """The feature that most spots have."""
    return section.var_names[np.asarray((section.X > 0).sum(axis=0)).ravel().argmax()]


def shifted(section: AnnData) -> AnnData:
    """A copy in which the feature that most spots have is 32 times higher."""
    section = section.copy()
    factors = np.where(section.var_names == often(section), 32.0, 1.0).astype(np.float32)
    section.X = sparse.csr_matrix(section.X.multiply(factors))
    section.layers[keys.COUNTS] = section.X.copy()
    return section


@pytest.fixture(scope="module")
def seeded(app_server: Server) -> Seeded:
    """Two samples of a project, each on its picture, reassigned; the second lacks a gene and is :func:`shifted`."""
    first = seed(app_server, aligned=True)
    second = Seeded(first.workspace, first.workspace.create_sample(first.sample.project, "section 2"), first.pair)
    for sample in (first, second):
        if sample is second:
            _keep(first.workspace, second.sample, "st", shifted(first.read("st")[:, 1:]))
            _keep(first.workspace, second.sample, "sm", first.pair.sm)
            _keep(first.workspace, second.sample, "align", shifted(first.read("align")))
        joint = pipeline.run_step("reassign", {"st": sample.read("st"), "sm": sample.read("align")})
        _keep(first.workspace, sample.sample, "reassign", joint)
    return first


def test_quality_is_counted_while_the_slider_moves(page: Page, seeded: Seeded, axe) -> None:
    joint = seeded.read("reassign")
    total = joint.obs[keys.N_COUNTS].to_numpy()
    visit(page, seeded, "features")
    expect(page.locator(".sm-qc-count")).to_have_text(f"{joint.n_obs:,} of {joint.n_obs:,} spots stay")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    slider = page.get_by_label("Slider: Counts ≥")
    painted = "document.querySelector('.sm-qc-map').toDataURL()"
    maps = {page.evaluate(painted)}
    # as a pointer that still holds the slider: input events alone
    for share in (100, 300, 400):
        slider.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", share)
        limit = float(field(page, "features", "min_counts").input_value())
        stay = int((total >= limit).sum())
        assert page.locator(".sm-qc-count").text_content() == f"{stay:,} of {joint.n_obs:,} spots stay"
        missed = page.locator("[data-setting=min_counts] .sm-qc-missed")
        assert missed.text_content() == (f"{joint.n_obs - stay:,} out" if stay < joint.n_obs else "")
        maps.add(page.evaluate(painted))
    assert 0 < stay < joint.n_obs
    assert len(maps) >= 3  # the map follows too
    limited = [body for body in asked if "min_counts" in "".join(json.loads(body or "{}").get("changedPropIds", []))]
    assert not limited  # no word to the server until it is let go
    slider.evaluate("e => e.dispatchEvent(new Event('change', {bubbles: true}))")
    expect(part(page, "features", "command")).to_contain_text(f"--min-counts={limit}")
    axe(page)
    run(page, "Select features", 1)
    found = seeded.read("features")
    assert found.obs_names.tolist() == joint.obs_names[total >= limit].tolist()
    assert (found.X != joint[total >= limit].X).nnz == 0
    assert found.uns[keys.UNS][keys.QUALITY_CONTROL]["n_removed"] == joint.n_obs - stay
    page.reload()
    expect(page.locator(".sm-qc-count")).to_have_text(f"{stay:,} of {joint.n_obs:,} spots stay")
    expect(page.locator("#features-table canvas[data-drawn]").first).to_be_visible()


def test_features_are_dropped_and_say_why(page: Page, seeded: Seeded) -> None:
    visit(page, seeded, "features")
    names = seeded.read("features").var
    best = names[names[keys.TYPE] == keys.ST][keys.MORANS_I].idxmax()
    field(page, "features", "n_genes").fill("5")
    page.get_by_role("button", name=f"Never select {best}", exact=True).click()
    expect(field(page, "features", "dropped")).to_have_value(best)
    run(page, "Select features", 2)
    expect(page.locator("#features-table tbody tr").first).to_contain_text("dropped by hand")
    expect(page.locator("#features-table")).to_contain_text("not among the 5 highest Moran's I")
    assert not seeded.read("features").var.loc[best, keys.SELECTED]


def test_a_grid_and_the_audit_of_one_place(page: Page, seeded: Seeded, axe) -> None:
    visit(page, seeded, "reassign")
    field(page, "reassign", "direction").select_option("grid")
    field(page, "reassign", "grid_pitch_um").fill("150")
    run(page, "Reassign", 2)
    st, sm = seeded.read("st"), seeded.read("align")
    um = float(seeded.read("reassign").uns[keys.UNS][keys.UM_PER_PX])
    config = ReassignConfig(direction="grid", grid_pitch_um=150.0)
    found = plan(st.obsm[keys.SPATIAL], sm.obsm[keys.SPATIAL], config, um_per_px=um)
    expect(page.locator("#reassign-coverage")).to_contain_text(f"{found.covered.sum():,} of {len(found.xy):,}")
    assert seeded.read("reassign").X[:, : st.n_vars].sum() == pytest.approx(st.X.sum(), rel=0.01)
    place = int(np.flatnonzero(found.covered)[40])
    x, y = found.xy[place]
    # a click on the place, as the map draws it
    page.wait_for_function(
        "n => document.querySelector('#reassign-map .js-plotly-plot')?._fullData"
        "?.reduce((sum, trace) => sum + trace.x.length, 0) === n",
        arg=len(found.xy),
    )
    at = page.evaluate(
        """([x, y]) => { const g = document.querySelector('#reassign-map .js-plotly-plot'), l = g._fullLayout,
        r = g.getBoundingClientRect(), place = (a, v, start) => start + a._offset + a.d2p(v);
        return [place(l.xaxis, x, r.x), place(l.yaxis, y, r.y)]; }""",
        [float(x), float(y)],
    )
    page.mouse.move(at[0] - 3, at[1] - 3)
    page.mouse.move(*at)
    expect(page.locator("#reassign-map .hoverlayer .hovertext")).to_have_count(1)
    page.mouse.click(*at)
    expect(page.locator("#reassign-number")).to_have_value(str(place))
    rows = page.locator("#reassign-spot tbody tr")
    taken = found.sources(keys.SM, place)
    expect(rows).to_have_count(len(taken.rows))
    for row, pixel, distance in zip(rows.all(), taken.rows, taken.distances, strict=True):
        expect(row).to_contain_text(f"{pixel:,}")
        expect(row).to_contain_text(f"{distance * um:.1f} µm")
    axe(page)
    page.get_by_role("button", name="Use run 1 of Reassign").click()
    expect(page.locator('.sm-version[data-chosen="true"]')).to_contain_text("Run 1")


def test_two_samples_are_joined_and_go_on_as_one(page: Page, seeded: Seeded, axe) -> None:
    visit(page, seeded, "reassign")
    page.get_by_text("Join with other samples").click()
    page.get_by_label("section 2").check()
    page.get_by_label("m/z tolerance").fill("5")
    page.get_by_role("button", name="Join samples").click()
    page.wait_for_function("([old]) => !location.pathname.includes(old)", arg=[seeded.sample.id])
    expect(page.locator("#joined-report")).to_contain_text("section 2", timeout=STEP_MS)
    expect(page.get_by_text("section 1 + section 2")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_text("Align")).to_have_count(0)
    made = next(s for s in seeded.workspace.samples(seeded.sample.project) if s.parts)
    joined = Seeded(seeded.workspace, made, seeded.pair)
    joint, gene = joined.read("reassign"), seeded.pair.st.var_names[0]
    assert gene not in joint.var_names
    assert joined.chosen("reassign").config == {"mz_tolerance_ppm": 5}
    expect(page.get_by_label("m/z tolerance")).to_have_value("5")
    expect(part(page, "reassign", "command")).to_contain_text(
        "python -m core concat JOINT_1.h5ad JOINT_2.h5ad --out JOINT.h5ad --mz-tolerance-ppm=5"
    )
    expect(page.locator("#joined-map .imagelayer image")).to_have_count(2)  # each sample on its own picture
    page.get_by_text("Lost of section 1").click()
    expect(page.locator("#joined-report")).to_contain_text(gene)
    axe(page)

    visit(page, joined, "features")
    run(page, "Select features", 1)
    found = joined.read("features")
    assert found.obs[keys.SAMPLE].nunique() == 2
    assert found.var[keys.N_VARIABLE].max() == 2  # shared
    shifted_ones = {often(seeded.read("st")[:, 1:]), often(seeded.read("align"))}
    reasons = found.var[keys.EXCLUDED].astype(str)
    assert set(reasons.index[reasons.str.startswith("batch bias")]) == shifted_ones
    expect(page.locator("#features-table thead").get_by_title("Samples in which it is variable")).to_be_visible()
    page.locator("#features-search").fill(often(seeded.read("st")[:, 1:]))
    expect(page.locator("#features-table tbody tr").first).to_contain_text("log2 fold change in section 2")

    visit(page, joined, "integrate")
    field(page, "integrate", "epochs").fill("20")
    page.get_by_text("Clusters, after the training").click()
    field(page, "cluster", "n_clusters").fill("4")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".sm-version")).to_have_count(2, timeout=STEP_MS)
    expect(page.locator("#integrate-summary")).to_contain_text("multi")
    result = joined.read("cluster")
    section = (result.obs[keys.SAMPLE] == "section 1").to_numpy()
    for cluster, spots in result.obs.groupby(keys.LEIDEN, observed=True):  # one tissue twice: each has spots of both
        assert 0.25 < (spots[keys.SAMPLE] == "section 1").mean() < 0.75, cluster

    explore.visit(page, f"{joined.path('explore')}?colour=obs:leiden")
    expect(page.locator("#explore-count")).to_contain_text(f"{joint.n_obs:,}")
    pictures = page.locator("#explore-stage .ex-image img")
    expect(pictures).to_have_count(2)
    first, second = (picture.bounding_box() for picture in pictures.all())
    assert first["x"] + first["width"] <= second["x"]
    painted = np.array(page.evaluate("Array.from(SpatialMetaExplore.page.spatial.points.arrays.code)"))
    of_both = [set(painted[rows]) for rows in (section, ~section)]
    assert of_both[0] == of_both[1]  # mixed colours
    assert len(of_both[0]) == 4
    layout = np.asarray(result.obsm[keys.SPATIAL_LAYOUT], dtype=float)
    low, high = layout[~section].min(axis=0), layout[~section].max(axis=0)
    ring = [low, (high[0], low[1]), (low + high) / 2, (low[0], high[1])]
    explore.draw_region(page, [tuple(map(float, corner)) for corner in ring], name="Part of two")
    chosen = explore.selected(page)
    assert len(chosen) > 0
    assert not section[chosen].any()

    visit(page, joined, "export")
    with page.expect_download() as download:
        page.get_by_role("button", name="Table of the spots (CSV)").click()
    table = pd.read_csv(download.value.path(), index_col="spot")
    assert list(table.index) == list(result.obs_names)
    assert table["sample"].tolist() == result.obs[keys.SAMPLE].tolist()
    own = np.asarray(seeded.read("st")[seeded.read("reassign").obs_names].obsm[keys.SPATIAL])
    for rows in (section, ~section):  # each in its own pixels
        np.testing.assert_allclose(table.loc[rows, ["x_px", "y_px"]], own, rtol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(table["roi_regions"].notna()), chosen)
    page.goto(joined.path("data"))
    expect(page.get_by_text("A joined sample")).to_be_visible()


@pytest.mark.parametrize("kind", ["st", "sm"])
def test_one_section_alone_needs_no_alignment(kind: str, page: Page, app_server: Server, axe, tmp_path: Path) -> None:
    """From a file without layers of ours: to features, model, clusters, Explore and the table."""
    section = {"st": small_pair().st, "sm": small_pair().sm}[kind].copy()
    section.layers.clear()
    write_h5ad(section, tmp_path / f"{kind}.h5ad")
    workspace = Workspace(Settings(data=app_server.data, min_free_bytes=0, demo=False))
    sample = workspace.create_sample(workspace.create_project("Alone", "tester"), "section")
    alone, name, noun = Seeded(workspace, sample, small_pair()), kind.upper(), {"st": "spots", "sm": "pixels"}[kind]
    page.goto(alone.path("integrate"))  # a page of an empty sample leads to its files
    page.get_by_role("link", name="Go to Data").click()
    page.wait_for_url("**/data")
    choose(page, kind, tmp_path / f"{kind}.h5ad")
    expect(page.get_by_role("link", name=f"Go on with {name} alone")).to_be_visible(timeout=IMPORT_MS)
    page.goto(alone.path("align"))
    expect(page.get_by_text(f"{name} alone needs neither alignment nor reassignment")).to_be_visible()
    page.goto(alone.path("reassign"))
    page.get_by_role("link", name=f"Go on with {name} alone").click()
    page.wait_for_url("**/features")
    expect(part(page, "features", "command")).to_contain_text(f"core features {name}.h5ad --section {kind}")
    expect(page.locator(".sm-qc-count")).to_have_text(f"{section.n_obs:,} of {section.n_obs:,} {noun} stay")
    expect(field(page, "features", {"st": "n_metabolites", "sm": "n_genes"}[kind])).to_have_count(0)  # not asked
    axe(page)
    run(page, "Select features", 1)
    expect(page.locator("#features-table")).to_contain_text(f"{section.n_vars} features")
    other = {"st": "pixels", "sm": "spots"}[kind]
    expect(page.get_by_label("Settings of Features")).not_to_contain_text(other)
    visit(page, alone, "integrate")
    expect(page.get_by_label("Settings of Integrate")).to_contain_text(f"passes over all {noun}")
    expect(page.get_by_label("Settings of Integrate")).not_to_contain_text(f"all {other}")
    field(page, "integrate", "epochs").fill("4")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.locator(".sm-version")).to_have_count(2, timeout=STEP_MS)
    expect(page.locator("#integrate-summary")).to_contain_text({"st": "single", "sm": "sm-only"}[kind])
    made = alone.read("cluster")
    assert made.n_obs == section.n_obs
    assert (made.layers[keys.COUNTS] != section.X).nnz == 0
    page.goto(alone.path("explore"))
    expect(page.locator("#explore-count")).to_contain_text(f"{made.n_obs:,} {noun}")
    visit(page, alone, "export")
    expect(page.get_by_text(f"AnnData, {made.n_obs:,} {noun} × {made.n_vars:,} features")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Table of the {noun} (CSV)").click()
    assert list(pd.read_csv(download.value.path(), index_col=noun[:-1]).index) == list(made.obs_names)
    expect(page.locator("#export-script")).to_contain_text(f"--section {kind}")


def test_kept_places_have_no_value(page: Page, app_server: Server, axe) -> None:
    """Chosen on Reassign, counted and explained there, without a value in Explore; counts are as measured."""
    seeded = seed(app_server, aligned=True)
    visit(page, seeded, "reassign")
    field(page, "reassign", "missing").select_option("keep")
    field(page, "reassign", "max_distance_factor").fill("0.2")
    run(page, "Reassign", 1)
    joint = seeded.read("reassign")
    empty = joint.obs[keys.N_PIXELS].to_numpy() == 0
    assert 0 < empty.sum() < joint.n_obs == seeded.pair.st.n_obs
    expect(page.locator(".sm-columns")).to_contain_text(f"{empty.sum():,}, kept")
    expect(page.get_by_text("which is no measurement")).to_be_visible()
    axe(page)
    types = joint.var[keys.TYPE].to_numpy()
    for kind, missing in ((keys.SM, empty), (keys.ST, np.zeros_like(empty))):
        explore.visit(page, f"{seeded.path('explore')}?colour=feature:{joint.var_names[types == kind][0]}")
        codes = np.array(page.evaluate("() => Array.from(SpatialMetaExplore.page.spatial.points.arrays.code)"))
        np.testing.assert_array_equal(codes == 128, missing)  # the colour after the 128 of the scale
        expect(page.locator(".ex-missing")).to_have_count(int(missing.any()))
