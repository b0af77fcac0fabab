"""The Align page: what is chosen in its form is what the run did; doubts about a run are shown, and what to do then."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from scipy import sparse

from core import keys
from core.datasets import SimulatedSample
from core.pipeline import run_step
from core.registration import AlignConfig, Landmarks, RegistrationResult
from core.registration.transforms import Similarity
from tests.core.pairs import hexagon, section
from tests.e2e.seeding import Seeded, imported, keep, seed, small_pair
from tests.e2e.serving import Server
from tests.e2e.test_align import PIXELS, close, corners, field, miss, overlay, runs, visit


@pytest.fixture(scope="module")
def seeded(app_server: Server) -> Seeded:
    return seed(app_server, genes=200, metabolites=50)


def sections(seeded: Seeded) -> dict:
    return {"st": seeded.pair.st, "sm": seeded.pair.sm}


def test_a_deformation_and_the_outline_of_the_image_are_chosen(page: Page, seeded: Seeded) -> None:
    visit(page, seeded)
    field(page, "transform").select_option("nonrigid")
    field(page, "st_outline").select_option("image")
    page.locator("summary", has_text="Advanced").click()
    field(page, "max_steps").fill("40")
    page.get_by_role("button", name="Align", exact=True).click()
    runs(page, 1)
    quality = page.locator("#align-quality")
    expect(quality).to_contain_text("ST outline from")
    expect(quality).to_contain_text("the histology")
    used = seeded.chosen("align").config
    assert (used["transform"], used["st_outline"], used["max_steps"]) == ("nonrigid", "image", 40)
    aligned = seeded.read("align")
    found = RegistrationResult.from_dict(aligned.uns[keys.UNS][keys.ALIGNMENT])
    assert found.transform.to_dict()["kind"] == "composition"
    expect(quality).to_contain_text("Deformed")
    close(overlay(page, "result"), np.asarray(aligned.obsm[keys.SPATIAL])[PIXELS])
    assert miss(seeded) < 100  # a spot distance


def twofold() -> SimulatedSample:
    """A section that looks the same after half a turn, but not in the mirror, and values that have no place: nothing
    tells which way up SM lies."""
    rng = np.random.default_rng(1)
    true = Similarity(130.0, True, 110.0, 110.0, (22.0, 20.0), (4000.0, 3800.0))

    def on_section(xy: np.ndarray) -> np.ndarray:
        x, y = (xy - [4000.0, 3800.0]).T / 200.0
        angle = np.arctan2(y, x)
        return np.hypot(x, y) < 11 * (1 + 0.25 * np.cos(2 * angle) + 0.15 * np.sin(4 * angle))

    st_xy = hexagon(45, 35) - [500.0, 1000.0]
    st_xy = st_xy[on_section(st_xy)]
    pixels = np.stack(np.meshgrid(np.arange(60.0), np.arange(60.0)), axis=-1).reshape(-1, 2)
    pixels = pixels[on_section(true.forward(pixels))]
    st, sm = section(st_xy, 8, 0, modality=keys.ST), section(pixels, 8, 1, modality=keys.SM)
    st.X = sparse.csr_matrix(rng.poisson(5.0, st.shape), dtype=np.float32)
    sm.X = sparse.csr_matrix(rng.gamma(2.0, 2.0, sm.shape), dtype=np.float32)
    st.obs[keys.SAMPLE], sm.obs[keys.SAMPLE] = "twofold", "twofold"
    made = small_pair(genes=200, metabolites=50)
    truth = dataclasses.replace(made.truth, true_st_xy=true.forward(pixels))
    return imported(dataclasses.replace(made, st=st, sm=sm, truth=truth))


def test_an_open_orientation_is_found_and_the_next_best_is_a_click_away(page: Page, app_server: Server) -> None:
    """The search can not know; it says so, names the half turn, and one of the two is right."""
    seeded = seed(app_server, pair=twofold())
    visit(page, seeded)
    page.get_by_role("button", name="Align", exact=True).click()
    runs(page, 1)
    quality = page.locator("#align-quality")
    expect(quality).to_contain_text("Another orientation fits nearly as well")
    first = RegistrationResult.from_dict(seeded.read("align").uns[keys.UNS][keys.ALIGNMENT]).orientation
    assert first.ambiguous
    assert first.confidence < 0.25
    found = [miss(seeded)]
    offered = page.get_by_role("button", name=re.compile(r"^Try \d+\.\d°, mirrored$"))
    offered.click()
    runs(page, 2)
    expect(quality).not_to_contain_text("Another orientation fits")
    used = seeded.chosen("align").config
    assert (used["orientation"], used["flip"]) == ("given", True)
    assert used["rotation_deg"] == pytest.approx(first.runner_up_rotation_deg, abs=0.1)
    found.append(miss(seeded))
    assert min(found) < 50  # µm, half a spot distance
    assert max(found) > 500
    expect(page.locator("#align-compare-table")).to_contain_text("Outline distance, mean")  # both can be compared


def test_folding_and_the_error_of_landmarks_are_shown(page: Page, seeded: Seeded) -> None:
    """A thin-plate spline through pairs of which two are exchanged folds."""
    raw, true = np.asarray(seeded.pair.sm.obsm[keys.SPATIAL]), np.asarray(seeded.pair.truth.true_st_xy)
    near = np.argsort(np.linalg.norm(true - true.mean(axis=0), axis=1))[[0, 40]]
    chosen = [*corners(true), *near]
    crossed = Landmarks(raw[chosen], true[[*corners(true), *near[::-1]]])
    config = AlignConfig(mode="landmarks", landmark_fit="spline", landmarks=crossed.to_text())
    folded = run_step("align", sections(seeded), config)
    assert RegistrationResult.from_dict(folded.uns[keys.UNS][keys.ALIGNMENT]).quality.folds
    keep(seeded, "align", folded)
    visit(page, seeded)
    quality = page.locator("#align-quality")
    expect(quality.locator(".alert-danger")).to_contain_text("The map folds")
    expect(quality).to_contain_text("Landmarks, mean distance")
    expect(quality).to_contain_text("Landmarks, each left out")
