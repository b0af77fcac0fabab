"""Selections of spots against shapely, scipy and pandas."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import scipy.stats
import shapely

from core import keys
from core.analysis.placements import placement_test
from core.errors import DataError
from spatialmeta_app.jobs import JobStore, compare
from spatialmeta_app.services import explore, selections
from spatialmeta_app.services.backend import Backend
from spatialmeta_app.workspace import Annotations, viewing
from spatialmeta_app.workspace.views import View
from tests.app.explored import UM_PER_PX, make_sample

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


def test_selection_steps_combine(view, made, in_triangle) -> None:
    striatum = (made.joint.obs["region"] == "Striatum").to_numpy()
    code = list(made.joint.obs["region"].cat.categories).index("Striatum")
    category = {"op": "add", "column": "region", "codes": [code]}
    np.testing.assert_array_equal(selections.chosen_spots(view, [polygon()]), in_triangle)
    np.testing.assert_array_equal(selections.chosen_spots(view, [polygon(), category]), in_triangle | striatum)
    without = [category | {"op": "set"}, polygon("subtract")]
    np.testing.assert_array_equal(selections.chosen_spots(view, without), striatum & ~in_triangle)
    np.testing.assert_array_equal(selections.chosen_spots(view, [polygon(), {"op": "invert"}]), ~in_triangle)
    both = [polygon(), category | {"op": "intersect"}]
    np.testing.assert_array_equal(selections.chosen_spots(view, both), striatum & in_triangle)
    box = shapely.box(2, 2, 6, 6)
    in_umap = shapely.contains_xy(box, made.joint.obsm[keys.X_UMAP].astype(float))
    step = polygon(space=keys.X_UMAP, geometry=shapely.geometry.mapping(box))
    np.testing.assert_array_equal(selections.chosen_spots(view, [step]), in_umap)


@pytest.mark.parametrize(
    "steps", ["all", [{"op": "explode"}], [polygon(geometry={"type": "Point"})], [{"op": "set", "column": "total"}]]
)
def test_bad_steps_are_refused(view, steps) -> None:
    with pytest.raises(DataError):
        selections.chosen_spots(view, steps)


def test_summary_agrees_with_numpy(view, made, in_triangle) -> None:
    found = selections.summarise(
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


def category(made, name):
    return {"op": "set", "column": "region", "codes": [list(made.joint.obs["region"].cat.categories).index(name)]}


@pytest.fixture
def here(workspace, settings):
    return Backend(settings, workspace, Annotations(workspace), JobStore(settings))


@pytest.mark.parametrize("against", [None, "Septum"])
def test_markers_rank_as_scipy(here, made, against) -> None:
    region = made.joint.obs["region"].to_numpy()
    left, right = region == "Cortex", region != "Cortex" if against is None else region == against
    steps = None if against is None else [category(made, against)]
    found = selections.markers(
        here, made.results["cluster"], [category(made, "Cortex")], layer=keys.NORMALIZED, against=steps, user="ada"
    )
    by_name = {r["name"]: r for r in found["rows"]}
    for i, name in enumerate(made.joint.var_names):
        values = np.asarray(made.joint.layers[keys.NORMALIZED])[:, i]
        u = scipy.stats.mannwhitneyu(values[left], values[right])
        assert by_name[name]["auc"] == pytest.approx(u.statistic / (left.sum() * right.sum()))
        assert by_name[name]["p"] == pytest.approx(u.pvalue)
    aucs = [r["auc"] for r in found["rows"]]
    assert aucs == sorted(aucs, reverse=True)
    assert found["spots"] == [left.sum(), right.sum()]


def test_markers_leave_out_places_without_values(made, tmp_path) -> None:
    """Half of the left side without a pixel: metabolites as scipy and the random places see the rest, genes as ever."""
    joint, left = made.joint.copy(), np.asarray(made.joint.obs["region"] == "Cortex")
    known = ~left | (np.arange(joint.n_obs) % 2 == 0)
    joint.obs[keys.N_PIXELS] = np.where(known, 5, 0)
    viewing.write_view(joint, tmp_path / "view")
    view, ask = View(tmp_path / "view"), {"layer": keys.NORMALIZED, "permutations": 19}
    rows = {row["name"]: row for row in compare.marker_rows(view, left, None, **ask)["rows"]}
    values, xy = np.asarray(joint.layers[keys.NORMALIZED]), made.xy
    for index, spots in ((1, np.ones(len(left), dtype=bool)), (3, known)):
        row = next(row for row in rows.values() if row["index"] == index)
        v = values[:, index]
        expected = scipy.stats.mannwhitneyu(v[left & spots], v[~left & spots], method="asymptotic")
        assert row["p"] == pytest.approx(expected.pvalue)
        placed = placement_test(values[spots][:, [index]], xy[spots], left[spots], n_permutations=19)
        assert row["p_spatial"] == pytest.approx(placed.p[0])
    joint.obs[keys.N_PIXELS] = np.where(left, 0, 5)
    viewing.write_view(joint, tmp_path / "other")
    rows = compare.marker_rows(View(tmp_path / "other"), left, None, **ask)["rows"]
    assert {row["tag"] for row in rows} == {keys.ST}


def test_a_question_that_takes_long_becomes_a_job_with_the_same_answer(here, made, view, monkeypatch) -> None:
    ask = {"layer": keys.NORMALIZED, "against": [category(made, "Septum")], "user": "ada"}
    at_once = selections.markers(here, made.results["cluster"], [polygon()], **ask)
    monkeypatch.setattr(compare, "MOST_AT_ONCE", 10)
    job = here.jobs.get(selections.markers(here, made.results["cluster"], [polygon()], **ask)["job"])
    group, other = (compare.unpack(job.config[name], view.meta["n_obs"]) for name in ("group", "other"))
    assert compare.marker_rows(view, group, other, layer=job.config["layer"]) == at_once


@pytest.mark.parametrize("ask", [{"steps": []}, {"permutations": -1}, {"permutations": True}, {"against": []}])
def test_what_can_not_be_compared_becomes_no_job(here, made, ask) -> None:
    with pytest.raises(DataError):
        selections.markers(
            here, made.results["cluster"], **{"steps": [polygon()], "layer": keys.COUNTS, "permutations": 9} | ask,
            user="ada",
        )  # fmt: skip
    assert here.jobs.jobs() == []


def test_outlines_of_a_category_hold_its_spots(view, made) -> None:
    code = 1
    geometries = selections.outline_of(view, [{"op": "set", "column": "region", "codes": [code]}])
    union = shapely.union_all([shapely.geometry.shape(g) for g in geometries])
    np.testing.assert_array_equal(shapely.contains_xy(union, made.xy), made.joint.obs["region"].cat.codes == code)
    assert selections.outline_of(view, []) == []
