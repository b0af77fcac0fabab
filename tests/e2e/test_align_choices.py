"""The Align page: what is chosen in its form is what the run did; doubts about a run are shown, and what to do then."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from core import keys
from core.pipeline import run_step
from core.registration import AlignConfig, Landmarks, RegistrationResult
from tests.e2e.seeding import Seeded, keep, seed
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


def test_an_open_orientation_is_said_and_the_next_best_is_a_click_away(page: Page, seeded: Seeded) -> None:
    number = len(seeded.workspace.results(seeded.sample, "align"))
    config = AlignConfig(mode="manual", flip=False, rotation_deg=40.0)
    wrong = run_step("align", sections(seeded), config)
    found = RegistrationResult.from_dict(wrong.uns[keys.UNS][keys.ALIGNMENT])
    orientation = dataclasses.replace(
        found.orientation, source="search", confidence=0.08, ambiguous=True, decided_by="outline",
        runner_up_rotation_deg=128.0, runner_up_flip=True,
    )  # fmt: skip
    wrong.uns[keys.UNS][keys.ALIGNMENT] = dataclasses.replace(found, orientation=orientation).to_dict()
    keep(seeded, "align", wrong)
    visit(page, seeded)
    quality = page.locator("#align-quality")
    expect(quality).to_contain_text("Another orientation fits nearly as well")
    expect(quality).to_contain_text("8 %")
    page.get_by_role("button", name="Try 128.0°, mirrored").click()
    runs(page, number + 2)
    expect(quality).not_to_contain_text("Another orientation fits")
    used = seeded.chosen("align").config
    assert (used["orientation"], used["flip"], used["rotation_deg"]) == ("given", True, 128.0)
    assert miss(seeded) < 100
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
