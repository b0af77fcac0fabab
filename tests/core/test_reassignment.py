from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from core import keys
from core.context import Context
from core.errors import Cancelled, ConfigError, DataError
from core.reassignment import ReassignConfig, knn_links, knn_weights, plan, reassign
from core.spatial import smallest_distance
from tests.core.pairs import hexagon, pair, section

REPORT = lambda joint: joint.uns[keys.UNS][keys.REASSIGNMENT]  # noqa: E731


def by_loops(target: np.ndarray, source: np.ndarray, k: int, reach: float) -> np.ndarray:
    """Mean weights from sklearn's brute-force neighbours, spot by spot."""
    k = min(k, len(source))
    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(source).kneighbors(target)
    weights = np.zeros((len(target), len(source)))
    for i in range(len(target)):
        taken = indices[i][distances[i] <= reach]
        weights[i, taken] = 1 / max(len(taken), 1)
    return weights


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 30), m=st.integers(1, 30), k=st.integers(1, 8), reach=st.floats(0.01, 2), seed=st.integers(0, 99)
)
def test_weights_equal_loops(n: int, m: int, k: int, reach: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, source = rng.random((n, 2)), rng.random((m, 2))
    found = knn_weights(target, source, k=k, max_distance=reach)
    np.testing.assert_allclose(found.toarray(), by_loops(target, source, k, reach))
    rows = np.asarray(found.sum(axis=1)).ravel()
    assert np.all(np.isclose(rows, 1) | (rows == 0))


def test_distance_weighting_in_closed_form() -> None:
    found = knn_links(np.zeros((1, 2)), np.array([[1.0, 0], [0, 3.0]]), k=5, max_distance=10, weighting="distance")
    np.testing.assert_allclose(found.weights, [[0.75, 0.25]])
    on_it = knn_links(np.zeros((1, 2)), np.array([[0.0, 0], [0, 3.0]]), k=5, max_distance=10, weighting="distance")
    assert on_it.weights[0, 0] > 0.99
    assert np.isfinite(on_it.weights).all()


def test_a_pixel_at_the_limit_belongs_to_the_spot() -> None:
    found = knn_links(np.zeros((1, 2)), np.array([[0.3, 0.0], [0.30001, 0]]), k=5, max_distance=0.1 * 3)
    assert found.count.tolist() == [1]


def test_st_counts_are_exactly_as_measured() -> None:
    st_, sm = pair()
    joint = reassign(st_, sm)
    kept = st_[joint.obs_names]
    genes = joint.var[keys.TYPE] == keys.ST
    assert (joint[:, genes].X != kept.X).nnz == 0
    assert (joint.layers[keys.COUNTS] != joint.X).nnz == 0
    assert joint.X.dtype == np.float32
    assert sparse.isspmatrix_csr(joint.X)
    assert joint.var_names.tolist() == [*st_.var_names, *sm.var_names]
    assert joint.obs["quality"].equals(kept.obs["quality"])


def test_intensities_are_means_of_the_pixels_in_reach() -> None:
    st_, sm = pair()
    joint = reassign(st_, sm, ReassignConfig(missing="keep"))
    reach = 1.5 * smallest_distance(st_.obsm[keys.SPATIAL])
    weights = by_loops(st_.obsm[keys.SPATIAL], sm.obsm[keys.SPATIAL], 5, reach)
    np.testing.assert_allclose(joint[:, joint.var[keys.TYPE] == keys.SM].X.toarray(), weights @ sm.X, rtol=1e-5)
    np.testing.assert_array_equal(joint.obs[keys.N_PIXELS], (weights > 0).sum(axis=1))


def test_inputs_are_not_changed() -> None:
    st_, sm = pair()
    before = st_.copy(), sm.copy()
    reassign(st_, sm)
    for now, then in zip((st_, sm), before, strict=True):
        assert (now.X != then.X).nnz == 0
        assert now.obs.equals(then.obs)
        assert now.uns == then.uns


@pytest.mark.parametrize("missing", ["drop", "keep", "nearest"])
def test_spots_without_pixels(missing: str) -> None:
    st_, sm = pair()
    sm = sm[sm.obsm[keys.SPATIAL][:, 0] < 2200].copy()
    joint = reassign(st_, sm, ReassignConfig(missing=missing))
    report = REPORT(joint)
    assert 0 < report["n_spots_covered"] < st_.n_obs
    assert report["n_spots_covered"] + report["n_spots_uncovered"] == report["n_spots"] == st_.n_obs
    assert joint.n_obs == report["n_spots_kept"] == (report["n_spots_covered"] if missing == "drop" else st_.n_obs)
    far = joint.obsm[keys.SPATIAL][:, 0] > 2600
    assert far.any() == (missing != "drop")
    if missing == "keep":
        assert (joint.obs.loc[far, keys.N_PIXELS] == 0).all()
        assert joint.obs.loc[far, keys.MEAN_PIXEL_DISTANCE_UM].isna().all()
    if missing == "nearest":
        assert (joint.obs.loc[far, keys.N_PIXELS] == 1).all()
        assert (joint.obs.loc[far, keys.MEAN_PIXEL_DISTANCE_UM] > 150).all()


def test_report_of_intensities() -> None:
    st_, sm = pair()
    report = REPORT(reassign(st_, sm, ReassignConfig(k=1)))
    assert report["total_intensity_before"] == pytest.approx(sm.X.sum(), rel=1e-6)
    assert report["total_intensity_of_used_pixels"] <= report["total_intensity_before"]
    assert report["pixels_per_spot"].sum() == st_.n_obs
    assert report["reach_um"] == pytest.approx(150)


def test_audit_is_what_reassign_takes() -> None:
    st_, sm = pair()
    config = ReassignConfig(k=4, weighting="distance", missing="keep")
    joint = reassign(st_, sm, config)
    found = plan(st_.obsm[keys.SPATIAL], sm.obsm[keys.SPATIAL], config)
    for spot in (0, 50, st_.n_obs - 1):
        seen = found.sources(keys.SM, spot)
        assert seen.weights.sum() == pytest.approx(1 if seen.rows.size else 0)
        assert np.all(np.diff(seen.distances) >= 0)
        apart = np.linalg.norm(sm.obsm[keys.SPATIAL][seen.rows] - st_.obsm[keys.SPATIAL][spot], axis=1)
        np.testing.assert_allclose(seen.distances, apart)
        expected = seen.weights @ sm.X[seen.rows].toarray()
        np.testing.assert_allclose(joint.X[spot].toarray()[0, st_.n_vars :], expected, rtol=1e-5)
    assert found.sources(keys.ST, 7).rows.tolist() == [7]


@pytest.mark.parametrize("counts", ["sum", "split"])
@pytest.mark.parametrize("direction", ["st-to-sm", "grid"])
def test_counts_that_move_are_conserved(direction: str, counts: str) -> None:
    st_, sm = pair()
    sm = sm[sm.obsm[keys.SPATIAL][:, 0] < 2200].copy()
    config = ReassignConfig(direction=direction, counts=counts, missing="nearest", grid_pitch_um=130.0)
    joint = reassign(st_, sm, config)
    genes = (joint.var[keys.TYPE] == keys.ST).to_numpy()
    moved = joint.X[:, genes].toarray().astype(float)
    np.testing.assert_allclose(moved.sum(axis=0), st_.X.toarray().sum(axis=0), rtol=1e-5)  # gene by gene
    report = REPORT(joint)
    assert report["total_counts_after"] == pytest.approx(report["total_counts_before"], rel=1e-9)
    assert np.all(moved == np.round(moved)) == (counts == "sum")
    assert joint.obs[keys.N_ST_SPOTS].sum() >= st_.n_obs


def test_sums_go_to_the_nearest_pixel() -> None:
    st_, sm = pair()
    joint = reassign(st_, sm, ReassignConfig(direction="st-to-sm", counts="sum"))
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(sm.obsm[keys.SPATIAL])
    distance, pixel = (a.ravel() for a in nearest.kneighbors(st_.obsm[keys.SPATIAL]))
    near = distance <= 1.5 * smallest_distance(st_.obsm[keys.SPATIAL])
    expected = np.zeros((sm.n_obs, st_.n_vars))
    np.add.at(expected, pixel[near], st_.X.toarray()[near])
    kept = np.unique(pixel[near])
    assert joint.obs_names.tolist() == sm.obs_names[kept].tolist()
    np.testing.assert_array_equal(joint.X[:, : st_.n_vars].toarray(), expected[kept])
    np.testing.assert_array_equal(joint.X[:, st_.n_vars :].toarray(), sm.X[kept].toarray())
    everything = reassign(st_, sm, ReassignConfig(direction="st-to-sm", missing="keep"))
    assert everything.n_obs == sm.n_obs
    assert (everything.obs["n_counts"] == 0).any()


def test_grid_has_the_pitch_and_covers_the_section() -> None:
    st_, sm = pair()
    joint = reassign(st_, sm, ReassignConfig(direction="grid", grid_pitch_um=60.0, missing="keep"))
    xy = joint.obsm[keys.SPATIAL]
    assert smallest_distance(xy) * 0.5 == pytest.approx(60.0)  # 0.5 µm per px
    to_grid = NearestNeighbors(n_neighbors=1).fit(xy).kneighbors(st_.obsm[keys.SPATIAL])[0]
    assert to_grid.max() <= 120 / np.sqrt(3) + 1e-6
    inner = NearestNeighbors(n_neighbors=7).fit(xy).kneighbors(xy)[0][:, 1:]
    assert np.median(inner.max(axis=1)) == pytest.approx(120.0)  # six neighbours at one pitch
    values = reassign(st_, sm, ReassignConfig(direction="grid", grid_pitch_um=60.0))[:, "mz0"].X.toarray()
    assert sm[:, "mz0"].X.min() - 1e-4 <= values.min() <= values.max() <= sm[:, "mz0"].X.max() + 1e-4
    with pytest.raises(DataError, match="Raise the pitch"):
        reassign(st_, sm, ReassignConfig(direction="grid", grid_pitch_um=0.1))


def test_names_of_metabolites_that_clash_with_genes() -> None:
    st_, sm = pair()
    sm.var_names = ["Gene3", "Gene3_SM", *sm.var_names[2:]]
    joint = reassign(st_, sm)
    assert joint.var_names.is_unique
    assert joint.var_names[20:22].tolist() == ["Gene3_SM", "Gene3_SM_SM"]
    assert REPORT(joint)["renamed"].tolist() == ["Gene3", "Gene3_SM"]


def test_feature_tables_are_joined_and_can_be_saved(tmp_path) -> None:
    st_, sm = pair()
    st_.var[keys.GENE_IDS] = [f"ENSG{i}" for i in range(st_.n_vars)]
    sm.var[keys.ANNOTATION] = ["glucose"] + [None] * (sm.n_vars - 1)
    sm.var["known"] = True
    joint = reassign(st_, sm)
    assert joint.var[keys.MZ].isna().sum() == st_.n_vars
    assert joint.var[keys.ANNOTATION].tolist() == [""] * st_.n_vars + ["glucose"] + [""] * (sm.n_vars - 1)
    assert joint.var["known"].sum() == sm.n_vars
    assert joint.var[keys.GENE_IDS].iloc[-1] == ""
    joint.write_h5ad(tmp_path / "joint.h5ad")
    again = read_h5ad(tmp_path / "joint.h5ad")
    assert REPORT(again)["n_spots"] == st_.n_obs
    assert again.obs[keys.SAMPLE].nunique() == 1


def test_refusals() -> None:
    st_, sm = pair()
    with pytest.raises(ConfigError, match="missing to be one of"):
        reassign(st_, sm, ReassignConfig(missing="guess"))
    apart = sm.copy()
    apart.obsm[keys.SPATIAL] = apart.obsm[keys.SPATIAL] + 1e5
    for missing in ("drop", "nearest"):
        with pytest.raises(DataError, match="Align the sections"):
            reassign(st_, apart, ReassignConfig(missing=missing))
    with pytest.raises(DataError, match="ST section"):
        reassign(AnnData(st_.X), sm)
    broken = sm.copy()
    broken.obsm[keys.SPATIAL] = np.where(np.arange(sm.n_obs)[:, None] == 3, np.nan, broken.obsm[keys.SPATIAL])
    with pytest.raises(DataError, match="finite SM coordinates"):
        reassign(st_, broken)


def test_cancel() -> None:
    class Stopping(Context):
        def cancelled(self) -> bool:
            return True

    with pytest.raises(Cancelled):
        reassign(*pair(), context=Stopping())


def test_more_neighbours_than_pixels() -> None:
    st_ = section(hexagon(3, 3), 4, 0, modality=keys.ST)
    sm = section(hexagon(1, 2), 3, 1, modality=keys.SM)
    assert reassign(st_, sm, ReassignConfig(k=50)).n_obs > 0


def test_vicari(data_dir) -> None:
    st_, sm = (read_h5ad(data_dir / "vicari_B1" / name) for name in ("st.h5ad", "sm.h5ad"))
    joint = reassign(st_, sm)
    assert joint.n_vars == 28
    assert joint.n_obs > 3000
    assert (joint[:, :13].X != st_[joint.obs_names].X).nnz == 0
    # the biology the pair was measured for: dopamine is high in the striatum of the intact side
    dopamine = joint[:, "Dopamine"].X.toarray().ravel()
    striatum = joint.obs["RegionLoupe"].isin(["CP", "ACB"]) & (joint.obs["lesion"] == "intact")
    assert dopamine[striatum].mean() > 5 * dopamine[~striatum].mean()
