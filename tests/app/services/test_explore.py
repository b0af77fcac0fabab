"""What Explore shows of a sample."""

from __future__ import annotations

import pytest

from core import keys
from spatialmeta_app.services import explore
from tests.app.explored import PITCH_PX, UM_PER_PX, make_sample


@pytest.fixture
def made(workspace):
    return make_sample(workspace)


@pytest.fixture
def view(workspace, made):
    return explore.view_of(workspace, made.results["cluster"])


def test_the_newest_joint_result_is_shown_first(workspace, made) -> None:
    shown = explore.shown_results(workspace, made.sample.id)
    assert [s.step for s in shown] == ["cluster", "integrate", "features", "reassign", "st", "align", "sm"]
    assert explore.default_result(workspace, made.sample.id, shown) == made.results["cluster"].id


def test_st_alone_can_be_explored(workspace) -> None:
    made = make_sample(workspace, steps=("st",))
    shown = explore.shown_results(workspace, made.sample.id)
    assert [s.step for s in shown] == ["st"]
    assert explore.default_result(workspace, made.sample.id, shown) == made.results["st"].id


def test_nothing_imported_shows_nothing(workspace, sample) -> None:
    assert explore.shown_results(workspace, sample.id) == []
    assert explore.default_result(workspace, sample.id, []) is None


def test_describe(workspace, made) -> None:
    meta = explore.describe(workspace, made.results["cluster"])
    assert meta["n_obs"] == made.joint.n_obs
    assert meta["um_per_px"] == UM_PER_PX
    assert meta["umap"] == keys.X_UMAP
    assert meta["spot"]["symbol"] == "circle"
    assert meta["spot"]["diameter_px"] == pytest.approx(55 / UM_PER_PX)  # printed, not the theoretical 65 µm
    assert meta["spot"]["pitch_px"] == pytest.approx(PITCH_PX, rel=1e-4)
    assert meta["images"][0]["url"] == f"/api/image/{made.results['st'].id}/overview.jpg"
    assert (meta["images"][0]["width"], meta["images"][0]["height"]) == (7000, 6000)
    region = next(c for c in meta["columns"] if c["name"] == "region")
    counts = made.joint.obs["region"].value_counts()
    assert dict(zip(region["categories"], region["counts"], strict=True)) == counts.to_dict()
    assert meta["first"]["kind"] == "feature"
    assert {f["tag"] for f in meta["first_features"]} == {"ST", "SM"}


def test_an_unaligned_section_is_its_own_frame_of_squares(workspace, made) -> None:
    meta = explore.describe(workspace, made.results["sm"])
    assert meta["frame"] == "sm"
    assert meta["images"] == []
    assert meta["spot"]["symbol"] == "square"
    assert explore.describe(workspace, made.results["align"])["images"]


def test_search_mixes_features_and_columns(view) -> None:
    assert [h["name"] for h in explore.search(view, "421.19")] == ["mz-421.1910"]
    (hit,) = explore.search(view, "dopamine")
    assert (hit["kind"], hit["name"], hit["tag"]) == ("feature", "mz-674.2789", "SM")
    assert "674.2789" in hit["detail"]
    assert explore.search(view, "reg")[0] == {
        "kind": "obs", "name": "region", "detail": "3 categories", "tag": "obs",
    }  # fmt: skip
    assert {h["kind"] for h in explore.search(view, "")} == {"feature", "obs"}


def test_controls_come_from_the_address_or_are_the_default() -> None:
    asked = {"scale": "magma", "clip": "5-90", "log": "1", "spots": "40", "size": "150", "layer": "counts"}
    found = explore.controls_from(asked, ("viridis", "magma"))
    assert found == explore.Controls(layer="counts", scale="magma", clip=(5, 90), log=True, spots=40, size=150)
    nonsense = {"scale": "rainbow", "clip": "90-5", "spots": "nan", "size": "1e9", "layer": "../etc"}
    assert explore.controls_from(nonsense, ("viridis",)) == explore.Controls()
