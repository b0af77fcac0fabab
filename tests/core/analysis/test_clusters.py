from __future__ import annotations

import warnings

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from core import keys
from core.analysis.clusters import ClusterConfig, cluster
from core.context import Context
from core.errors import Cancelled, DataError


def embedded(n: int = 300, centres: int = 5, seed: int = 0) -> tuple[AnnData, np.ndarray]:
    X, labels = make_blobs(n, 8, centers=centres, cluster_std=0.6, random_state=seed)
    return AnnData(np.zeros((n, 1), dtype=np.float32), obsm={keys.X_EMB: X.astype(np.float32)}), labels


@pytest.fixture(scope="module")
def clustered() -> tuple[AnnData, AnnData, np.ndarray]:
    adata, labels = embedded()
    return adata, cluster(adata, ClusterConfig(resolution=0.2)), labels


def test_finds_separate_groups(clustered) -> None:
    _, found, labels = clustered
    assert adjusted_rand_score(labels, found.obs[keys.LEIDEN]) == pytest.approx(1.0)
    centroids = np.array([found.obsm[keys.X_UMAP][labels == i].mean(axis=0) for i in range(5)])
    spread = max(found.obsm[keys.X_UMAP][labels == i].std(axis=0).max() for i in range(5))
    apart = np.linalg.norm(centroids[:, None] - centroids, axis=2)[np.triu_indices(5, 1)].min()
    assert apart > 2 * spread


def test_categories_are_ordered_by_size() -> None:
    X, _ = make_blobs([20, 120, 60], 5, cluster_std=0.3, random_state=0)
    found = cluster(AnnData(np.zeros((200, 1), dtype=np.float32), obsm={keys.X_EMB: X}), ClusterConfig(n_clusters=3))
    assert found.obs[keys.LEIDEN].cat.categories.tolist() == ["0", "1", "2"]
    assert found.obs[keys.LEIDEN].value_counts(sort=False).tolist() == [120, 60, 20]


def test_deterministic_by_seed_and_input_unchanged(clustered) -> None:
    adata, found, _ = clustered
    again = cluster(adata, ClusterConfig(resolution=0.2))
    np.testing.assert_array_equal(again.obsm[keys.X_UMAP], found.obsm[keys.X_UMAP])
    assert again.obs[keys.LEIDEN].equals(found.obs[keys.LEIDEN])
    other = cluster(adata, ClusterConfig(resolution=0.2, seed=1))
    assert not np.array_equal(other.obsm[keys.X_UMAP], found.obsm[keys.X_UMAP])
    assert list(adata.obs) == []
    assert list(adata.obsp) == []


def test_graph_equals_scanpy(clustered) -> None:
    adata, found, _ = clustered
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy

        expected = adata.copy()
        scanpy.pp.neighbors(expected, n_neighbors=15, use_rep=keys.X_EMB, random_state=0)
        scanpy.tl.leiden(found, key_added="again", flavor="igraph", n_iterations=2, resolution=0.2, directed=False)
    difference = abs(found.obsp["connectivities"] - expected.obsp["connectivities"])
    assert difference.max() < 1e-3
    assert found.uns["neighbors"]["params"]["n_neighbors"] == expected.uns["neighbors"]["params"]["n_neighbors"]
    # scanpy finds our graph through uns['neighbors']
    assert adjusted_rand_score(found.obs["again"], found.obs[keys.LEIDEN]) == pytest.approx(1.0)


@pytest.mark.parametrize("wanted", [1, 3, 5, 8])
def test_wanted_number_of_clusters(wanted: int) -> None:
    adata, _ = embedded(centres=5)
    found = cluster(adata, ClusterConfig(n_clusters=wanted))
    # groups that no edge joins can not be put together: 5 is the least here
    assert len(found.obs[keys.LEIDEN].cat.categories) == max(wanted, 5)
    assert found.uns["leiden"]["params"]["resolution"] > 0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 14])
def test_few_spots(n: int) -> None:
    X = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    found = cluster(AnnData(np.zeros((n, 1), dtype=np.float32), obsm={keys.X_EMB: X}))
    assert found.obsm[keys.X_UMAP].shape == (n, 2)
    assert np.isfinite(found.obsm[keys.X_UMAP]).all()
    assert found.obs[keys.LEIDEN].notna().all()


def test_spots_of_the_same_embedding() -> None:
    found = cluster(AnnData(np.zeros((40, 1), dtype=np.float32), obsm={keys.X_EMB: np.zeros((40, 3))}))
    assert np.isfinite(found.obsm[keys.X_UMAP]).all()


def test_can_be_saved(clustered, tmp_path) -> None:
    _, found, _ = clustered
    found.write_h5ad(tmp_path / "a.h5ad")
    assert read_h5ad(tmp_path / "a.h5ad").obs[keys.LEIDEN].dtype == "category"


def test_refusals_and_cancel() -> None:
    class Stopping(Context):
        def cancelled(self) -> bool:
            return True

    adata, _ = embedded(40)
    with pytest.raises(DataError, match="Integrate first"):
        cluster(AnnData(np.zeros((3, 1), dtype=np.float32)))
    with pytest.raises(Cancelled):
        cluster(adata, None, Stopping())
    adata.obsm[keys.X_EMB][3, 1] = np.nan
    with pytest.raises(DataError, match="finite"):
        cluster(adata)
