"""Quality of every spot, per modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from core import keys
from core.preprocessing.normalisation import counts_of

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: obs columns


def totals_and_detected(X: np.ndarray | sparse.spmatrix) -> tuple[np.ndarray, np.ndarray]:
    """Sum (float64) and number of values above zero (int64) of each row; both of shape (n,)."""
    X = sparse.csr_matrix(X)
    positive = sparse.csr_matrix((X.data > 0, X.indices, X.indptr), shape=X.shape)
    detected = np.asarray(positive.sum(axis=1, dtype=np.int64)).ravel()
    return np.asarray(X.sum(axis=1, dtype=np.float64)).ravel(), detected


def mitochondrial(names: np.ndarray) -> np.ndarray:
    """Which gene names are mitochondrial (``MT-`` in human, ``mt-`` in mouse); bool of the shape of *names*."""
    return np.array([str(name).lower().startswith("mt-") for name in names], dtype=bool)


def write_quality(adata: AnnData) -> None:
    """Write obs columns, in place: n_counts, n_genes, mito_share (0 to 1) for ST; sm_total, n_metabolites for SM.

    Works on the joint object and on one modality alone, told apart by ``var['type']``. Spots without counts have a
    mitochondrial share of 0.
    """
    counts = sparse.csr_matrix(counts_of(adata))
    genes = (adata.var[keys.TYPE] == keys.ST).to_numpy()
    if genes.any():
        total, detected = totals_and_detected(counts[:, genes])
        symbols = adata.var.get(keys.SYMBOL, adata.var_names)
        mito = np.flatnonzero(genes)[mitochondrial(np.asarray(symbols)[genes])]
        share = np.asarray(counts[:, mito].sum(axis=1, dtype=np.float64)).ravel()
        adata.obs[keys.N_COUNTS], adata.obs[keys.N_GENES] = total, detected
        adata.obs[keys.MITO_SHARE] = np.divide(share, total, out=np.zeros_like(total), where=total > 0)
    if not genes.all():
        adata.obs[keys.SM_TOTAL], adata.obs[keys.N_METABOLITES] = totals_and_detected(counts[:, ~genes])
