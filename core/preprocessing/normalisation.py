"""Total normalisation of counts (ST) and intensities (SM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from core import keys
from core.errors import DataError
from core.quality import counts_of

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: uns['spatialmeta'][keys.TARGET_SUMS][modality]: the total that every spot was brought to


def normalize_total(
    X: np.ndarray | sparse.spmatrix, target_sum: float | None = None, *, log: bool = False
) -> tuple[sparse.csr_matrix, float]:
    """Scale every row to the same total; rows that are all zero stay so.

    Parameters
    ----------
    X
        Values of at least zero, shape (n, n_features).
    target_sum
        The total; None takes the median total of the rows that are not all zero.
    log
        Take log(1 + x) afterwards.

    Returns
    -------
    normalized, target_sum
        float32 CSR of the shape of *X*, and the total used.

    Raises
    ------
    DataError
        For negative or non-finite values.
    """
    X = sparse.csr_matrix(X)
    if X.nnz and not (np.isfinite(X.data).all() and X.data.min() >= 0):
        raise DataError("finite values of at least zero to normalise", found="NaN, infinite or negative values")
    totals = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
    measured = totals > 0
    if target_sum is None:
        target_sum = float(np.median(totals[measured])) if measured.any() else 1.0
    factors = np.divide(target_sum, totals, out=np.zeros_like(totals), where=measured)
    data = X.data * np.repeat(factors, np.diff(X.indptr))
    normalized = sparse.csr_matrix(
        ((np.log1p(data) if log else data).astype(np.float32), X.indices.copy(), X.indptr.copy()), shape=X.shape
    )
    return normalized, target_sum


def normalize_modalities(
    adata: AnnData,
    *,
    gene_target: float | None = 1e4,
    metabolite_target: float | None = None,
    normalisation: str = "total",
) -> None:
    """Write ``layers['normalized']`` of the joint object, in place: ST total + log1p, SM total (TIC).

    Targets that are None are the median totals.

    With ``normalisation='none'`` metabolites keep their intensities and genes get log1p only. The totals used are
    recorded in ``uns['spatialmeta']['target_sums']``. Columns keep their order.
    """
    counts = counts_of(adata)
    parts, targets, columns = [], {}, []
    for modality in (keys.ST, keys.SM):
        where = np.flatnonzero((adata.var[keys.TYPE] == modality).to_numpy())
        if where.size == 0:
            continue
        is_genes = modality == keys.ST
        part = counts[:, where]
        if normalisation == "none":
            part = sparse.csr_matrix(part, dtype=np.float32)
            parts.append(part.log1p() if is_genes else part)
        else:
            target = gene_target if is_genes else metabolite_target
            normalized, targets[modality] = normalize_total(part, target, log=is_genes)
            parts.append(normalized)
        columns.append(where)
    stacked = sparse.hstack(parts, format="csr", dtype=np.float32)
    order = np.concatenate(columns)
    if not np.array_equal(order, np.arange(adata.n_vars)):
        stacked = stacked[:, np.argsort(order)]
    adata.layers[keys.NORMALIZED] = stacked
    adata.uns[keys.UNS] = {**adata.uns.get(keys.UNS, {}), keys.TARGET_SUMS: targets}
