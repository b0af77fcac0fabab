from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.stats import norm

from core.errors import DataError
from core.spatial import gearys_c, grid_graph, knn_graph, morans_i, row_standardised
from tests.core.pairs import hexagon
from tests.core.spatial.test_graph import squidpy


@pytest.fixture(scope="module")
def example() -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Counts (500 spots, 40 genes, some in few spots) and a graph that is not symmetric."""
    rng = np.random.default_rng(0)
    xy = hexagon(20, 25) + rng.normal(0, 40, (500, 2))
    mean = np.exp(rng.normal(0, 1, 40)) * (1 + np.sin(xy[:, :1] / 1500 + rng.uniform(0, 6, 40)))
    return sparse.csr_matrix(np.log1p(rng.poisson(mean)).astype(np.float32)), knn_graph(xy, 5)


def reference(X: sparse.csr_matrix, graph: sparse.csr_matrix, mode: str) -> pd.DataFrame:
    adata = AnnData(X, obsp={"spatial_connectivities": graph})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = squidpy().gr.spatial_autocorr(adata, mode=mode, copy=True, show_progress_bar=False, n_jobs=1)
    return table.loc[adata.var_names]


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, lambda X: X.toarray()])
@pytest.mark.parametrize(("statistic", "mode", "column"), [(morans_i, "moran", "I"), (gearys_c, "geary", "C")])
def test_equals_squidpy(example, statistic, mode, column, form) -> None:
    X, graph = example
    expected = reference(X, graph, mode)
    found = statistic(form(X), row_standardised(graph))
    np.testing.assert_allclose(found.score, expected[column], atol=1e-6)
    np.testing.assert_allclose(found.variance, expected["var_norm"], rtol=1e-9)
    np.testing.assert_allclose(found.p, expected["pval_norm"], atol=1e-6)
    np.testing.assert_allclose(found.fdr, expected["pval_norm_fdr_bh"], atol=1e-6)


def test_blocks_do_not_matter(example, monkeypatch: pytest.MonkeyPatch) -> None:
    X, graph = example
    whole, shares = morans_i(X, row_standardised(graph)), []
    monkeypatch.setattr("core.spatial.autocorrelation.BLOCK_NUMBERS", 3 * 500)
    cut = morans_i(X, row_standardised(graph), on_block=shares.append)
    np.testing.assert_allclose(cut.score, whole.score, atol=1e-12)
    assert len(shares) == 14
    assert shares[-1] == 1.0


def test_entries_stored_twice_are_added(example) -> None:
    X, graph = example
    halves = (X / 2).tocoo()
    twice = [np.tile(part, 2) for part in (halves.row, halves.col, halves.data)]
    order = np.argsort(twice[1], kind="stable")
    starts = np.searchsorted(twice[1][order], np.arange(X.shape[1] + 1))
    double = sparse.csc_matrix((twice[2][order], twice[0][order], starts), shape=X.shape)
    W = row_standardised(graph)
    np.testing.assert_allclose(morans_i(double, W).score, morans_i(X, W).score, atol=1e-6)
    assert double.nnz == 2 * X.nnz  # what was given stays as it is


def test_checkerboard_and_gradient_have_their_known_signs() -> None:
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    xy = np.column_stack([x.ravel(), y.ravel()])
    W = row_standardised(grid_graph(xy, 4))
    values = np.column_stack([(x + y).ravel() % 2, x.ravel()])
    moran, geary = morans_i(values, W), gearys_c(values, W)
    assert moran.score[0] == pytest.approx(-1.0)  # every neighbour has the other colour
    assert moran.score[1] > 0.8
    assert geary.score[0] > 1.5
    assert geary.score[1] < 0.2


def test_constant_features_have_no_score(example) -> None:
    _, graph = example
    values = np.column_stack([np.full(500, 0.1, dtype=np.float32), np.arange(500.0)])
    found = morans_i(values, row_standardised(graph))
    assert np.isnan(found.score[0])
    assert np.isnan(found.fdr[0])
    assert np.isfinite(found.score[1])


def test_p_values_are_uniform_without_structure() -> None:
    rng = np.random.default_rng(3)
    found = morans_i(rng.normal(size=(400, 2000)), row_standardised(grid_graph(hexagon(20, 20))))
    z = (found.score - found.expected) / np.sqrt(found.variance)
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(found.p, norm.sf(np.abs(z)), atol=1e-12)


def test_refusals() -> None:
    with pytest.raises(DataError, match="neighbours"):
        morans_i(np.zeros((4, 1)), sparse.csr_matrix((4, 4)))
    with pytest.raises(DataError, match="shape"):
        morans_i(np.zeros((4, 1)), sparse.eye(5))
