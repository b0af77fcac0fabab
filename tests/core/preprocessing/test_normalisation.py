from __future__ import annotations

import warnings

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from core import keys
from core.errors import DataError
from core.preprocessing import normalize_modalities, normalize_total
from core.quality import write_quality
from core.reassignment import reassign
from tests.core.pairs import pair


def scanpy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy
    return scanpy


@pytest.fixture
def counts() -> sparse.csr_matrix:
    X = np.random.default_rng(0).poisson(1.5, (50, 30)).astype(np.float32)
    X[[3, 20]] = 0
    return sparse.csr_matrix(X)


@pytest.mark.parametrize("target", [None, 1e4, 7.0])
@pytest.mark.parametrize("log", [False, True])
def test_equals_scanpy(counts: sparse.csr_matrix, target: float | None, log: bool) -> None:
    found, used = normalize_total(counts, target, log=log)
    expected = AnnData(counts.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy().pp.normalize_total(expected, target_sum=used)
        if log:
            scanpy().pp.log1p(expected)
    np.testing.assert_allclose(found.toarray(), expected.X.toarray(), rtol=1e-5)
    totals = counts.toarray().sum(axis=1)
    assert used == (target or np.median(totals[totals > 0]))


def test_input_is_not_changed_and_empty_rows_stay_empty(counts: sparse.csr_matrix) -> None:
    before = counts.copy()
    found, _ = normalize_total(counts)
    assert (counts != before).nnz == 0
    assert found[3].nnz == found[20].nnz == 0
    assert found.dtype == np.float32


def test_all_zero_matrix() -> None:
    found, used = normalize_total(sparse.csr_matrix((4, 3), dtype=np.float32))
    assert found.nnz == 0
    assert np.isfinite(used)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_bad_values_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="at least zero"):
        normalize_total(np.array([[1.0, bad]]))


def test_modalities_are_normalised_apart_and_keep_their_columns() -> None:
    joint = reassign(*pair())
    joint = joint[:, np.random.default_rng(0).permutation(joint.n_vars)].copy()
    normalize_modalities(joint)
    genes = (joint.var[keys.TYPE] == keys.ST).to_numpy()
    normalized = joint.layers[keys.NORMALIZED].toarray()
    np.testing.assert_allclose(np.expm1(normalized[:, genes]).sum(axis=1), 1e4, rtol=1e-4)
    targets = joint.uns[keys.UNS][keys.TARGET_SUMS]
    np.testing.assert_allclose(normalized[:, ~genes].sum(axis=1), targets[keys.SM], rtol=1e-4)
    assert targets[keys.ST] == 1e4
    ratio = normalized[5, ~genes] / joint.X[5].toarray()[0, ~genes].clip(1e-9)
    assert np.ptp(ratio[normalized[5, ~genes] > 0]) < 1e-4 * ratio.max()


def test_without_normalisation() -> None:
    joint = reassign(*pair())
    normalize_modalities(joint, normalisation="none")
    genes = (joint.var[keys.TYPE] == keys.ST).to_numpy()
    X, found = joint.X.toarray(), joint.layers[keys.NORMALIZED].toarray()
    np.testing.assert_allclose(found[:, genes], np.log1p(X[:, genes]), rtol=1e-6)
    np.testing.assert_array_equal(found[:, ~genes], X[:, ~genes])


def test_quality_equals_scanpy() -> None:
    joint = reassign(*pair())
    names = joint.var_names.to_series()
    names.iloc[[0, 4]] = ["mt-Nd1", "MT-CO1"]
    joint.var_names = names.to_numpy()
    write_quality(joint)
    genes = joint[:, joint.var[keys.TYPE] == keys.ST].copy()
    genes.var["mt"] = genes.var_names.str.lower().str.startswith("mt-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy().pp.calculate_qc_metrics(genes, qc_vars=["mt"], inplace=True, percent_top=None)
    np.testing.assert_allclose(joint.obs["n_counts"], genes.obs["total_counts"])
    np.testing.assert_array_equal(joint.obs["n_genes"], genes.obs["n_genes_by_counts"])
    np.testing.assert_allclose(joint.obs["mito_share"] * 100, genes.obs["pct_counts_mt"], rtol=1e-5)
    metabolites = joint[:, joint.var[keys.TYPE] == keys.SM].X.toarray()
    np.testing.assert_allclose(joint.obs["sm_total"], metabolites.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(joint.obs["n_metabolites"], (metabolites > 0).sum(axis=1))
