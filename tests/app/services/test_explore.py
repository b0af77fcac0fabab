"""What Explore shows of a sample, and its selections against shapely and pandas."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import scipy.stats
import shapely

from core import keys
from core.errors import DataError
from spatialmeta_app.services import explore
from tests.app.explored import PITCH_PX, UM_PER_PX, make_sample

TRIANGLE = {"type": "Polygon", "coordinates": [[[1500, 1600], [5200, 2400], [2600, 5000], [1500, 1600]]]}


@pytest.fixture
def made(workspace):
    return make_sample(workspace)


@pytest.fixture
def view(workspace, made):
    return explore.view_of(workspace, made.results["cluster"])


@pytest.fixture
def in_triangle(made):
    return shapely.contains_xy(shapely.geometry.shape(TRIANGLE), made.xy)


def polygon(op="set", space="spatial", geometry=TRIANGLE):
    return {"op": op, "space": space, "geometry": geometry}


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
    assert meta["image"]["url"] == f"/api/image/{made.results['st'].id}/overview.jpg"
    assert (meta["image"]["width"], meta["image"]["height"]) == (7000, 6000)
    region = next(c for c in meta["columns"] if c["name"] == "region")
    counts = made.joint.obs["region"].value_counts()
    assert dict(zip(region["categories"], region["counts"], strict=True)) == counts.to_dict()
    assert meta["first"]["kind"] == "feature"
    assert {f["tag"] for f in meta["first_features"]} == {"ST", "SM"}


def test_an_unaligned_section_is_its_own_frame_of_squares(workspace, made) -> None:
    meta = explore.describe(workspace, made.results["sm"])
    assert meta["frame"] == "sm"
    assert meta["image"] is None
    assert meta["spot"]["symbol"] == "square"
    assert explore.describe(workspace, made.results["align"])["image"] is not None


def test_search_mixes_features_and_columns(view) -> None:
    assert [h["name"] for h in explore.search(view, "421.19")] == ["mz-421.1910"]
    (hit,) = explore.search(view, "dopamine")
    assert (hit["kind"], hit["name"], hit["tag"]) == ("feature", "mz-674.2789", "SM")
    assert "674.2789" in hit["detail"]
    assert explore.search(view, "reg")[0] == {
        "kind": "obs", "name": "region", "detail": "3 categories", "tag": "obs",
    }  # fmt: skip
    assert {h["kind"] for h in explore.search(view, "")} == {"feature", "obs"}


def test_selection_steps_combine(view, made, in_triangle) -> None:
    striatum = (made.joint.obs["region"] == "Striatum").to_numpy()
    code = list(made.joint.obs["region"].cat.categories).index("Striatum")
    category = {"op": "add", "column": "region", "codes": [code]}
    np.testing.assert_array_equal(explore.chosen_spots(view, [polygon()]), in_triangle)
    np.testing.assert_array_equal(explore.chosen_spots(view, [polygon(), category]), in_triangle | striatum)
    without = [category | {"op": "set"}, polygon("subtract")]
    np.testing.assert_array_equal(explore.chosen_spots(view, without), striatum & ~in_triangle)
    np.testing.assert_array_equal(explore.chosen_spots(view, [polygon(), {"op": "invert"}]), ~in_triangle)
    box = shapely.box(2, 2, 6, 6)
    in_umap = shapely.contains_xy(box, made.joint.obsm[keys.X_UMAP].astype(float))
    step = polygon(space=keys.X_UMAP, geometry=shapely.geometry.mapping(box))
    np.testing.assert_array_equal(explore.chosen_spots(view, [step]), in_umap)


@pytest.mark.parametrize(
    "steps", ["all", [{"op": "explode"}], [polygon(geometry={"type": "Point"})], [{"op": "set", "column": "total"}]]
)
def test_bad_steps_are_refused(view, steps) -> None:
    with pytest.raises(DataError):
        explore.chosen_spots(view, steps)


def test_summary_agrees_with_numpy(view, made, in_triangle) -> None:
    found = explore.summarise(
        view, [polygon()], um=UM_PER_PX, value={"index": 2, "layer": keys.COUNTS}, column="region"
    )
    assert found["spots"] == in_triangle.sum()
    assert found["area_mm2"] == pytest.approx(in_triangle.sum() * 100**2 * np.sqrt(3) / 2 / 1e6, rel=1e-3)
    values = np.asarray(made.joint.X)[:, 2]
    assert found["value"]["inside"] == pytest.approx(values[in_triangle].mean())
    assert found["value"]["outside"] == pytest.approx(values[~in_triangle].mean())
    counts = made.joint.obs["region"][in_triangle].value_counts()
    assert {c["name"]: c["count"] for c in found["categories"]} == counts[counts > 0].to_dict()
    bits = np.unpackbits(np.frombuffer(base64.b64decode(found["mask"]), np.uint8), bitorder="little")
    np.testing.assert_array_equal(bits[: view.meta["n_obs"]].astype(bool), in_triangle)


def test_markers_rank_as_scipy(view, made) -> None:
    left = made.joint.obs["region"] == "Cortex"
    code = list(made.joint.obs["region"].cat.categories).index("Cortex")
    rows = explore.markers(view, [{"op": "set", "column": "region", "codes": [code]}], layer=keys.NORMALIZED)
    by_name = {r["name"]: r for r in rows}
    for i, name in enumerate(made.joint.var_names):
        values = np.asarray(made.joint.layers[keys.NORMALIZED])[:, i]
        u = scipy.stats.mannwhitneyu(values[left], values[~left])
        assert by_name[name]["auc"] == pytest.approx(u.statistic / (left.sum() * (~left).sum()))
    aucs = [r["auc"] for r in rows]
    assert aucs == sorted(aucs, reverse=True)


def test_outlines_of_a_category_hold_its_spots(view, made) -> None:
    code = 1
    geometries = explore.outlines(view, [{"op": "set", "column": "region", "codes": [code]}])
    union = shapely.union_all([shapely.geometry.shape(g) for g in geometries])
    np.testing.assert_array_equal(shapely.contains_xy(union, made.xy), made.joint.obs["region"].cat.codes == code)
    assert explore.outlines(view, []) == []


def test_controls_come_from_the_address_or_are_the_default() -> None:
    asked = {"scale": "magma", "clip": "5-90", "log": "1", "spots": "40", "size": "150", "layer": "counts"}
    found = explore.controls_from(asked, ("viridis", "magma"))
    assert found == explore.Controls(layer="counts", scale="magma", clip=(5, 90), log=True, spots=40, size=150)
    nonsense = {"scale": "rainbow", "clip": "90-5", "spots": "nan", "size": "1e9", "layer": "../etc"}
    assert explore.controls_from(nonsense, ("viridis",)) == explore.Controls()
