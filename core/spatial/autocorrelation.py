"""Global spatial autocorrelation of many features at once: Moran's I and Geary's C.

Analytic moments under normality after Cliff & Ord, *Spatial Processes* (1981), chapters 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from core.errors import DataError
from core.fdr import benjamini_hochberg

#: places (filled or not) of a block of columns that is worked on at once
BLOCK_NUMBERS = 1 << 19


@dataclass(frozen=True)
class Autocorrelation:
    """One statistic for all features.

    ``score``, ``p`` and ``fdr`` have shape (n_features,); they are NaN for constant features. ``p`` is the normal
    probability of the tail on the side of the score, as in squidpy; ``expected`` and ``variance`` are those of the
    score without spatial structure.
    """

    score: np.ndarray
    expected: float
    variance: float
    p: np.ndarray
    fdr: np.ndarray


def morans_i(
    X: np.ndarray | sparse.spmatrix, W: sparse.spmatrix, *, on_block: Callable[[float], None] | None = None
) -> Autocorrelation:
    """Moran's I of every column of *X*.

    I = n / S0 * sum_ij w_ij z_i z_j / sum_i z_i^2 with z = x - mean(x).

    Parameters
    ----------
    X
        Shape (n, n_features), dense or sparse; a sparse matrix is never made dense.
    W
        Weights of shape (n, n), usually row-standardised; not necessarily symmetric.
    on_block
        Called after every block with the share that is done.
    """
    X, W = _check(X, W)
    n, s0, s1, s2 = _moments(W)
    sums = _column_sums(X, W, on_block)
    mean = sums.x / n
    numerator = sums.xwx - mean * sums.x_ends + mean**2 * s0
    score = n / s0 * _ratio(numerator, sums.x2 - n * mean**2, sums.x2)
    expected = -1.0 / (n - 1)
    variance = (n * n * s1 - n * s2 + 3 * s0**2) / ((n - 1) * (n + 1) * s0**2) - expected**2
    return _tested(score, expected, variance)


def gearys_c(
    X: np.ndarray | sparse.spmatrix, W: sparse.spmatrix, *, on_block: Callable[[float], None] | None = None
) -> Autocorrelation:
    """Geary's C of every column of *X*: (n - 1) / (2 S0) * sum_ij w_ij (x_i - x_j)^2 / sum_i z_i^2.

    Parameters as for :func:`morans_i`. Smaller than 1 where neighbours are alike.
    """
    X, W = _check(X, W)
    n, s0, s1, s2 = _moments(W)
    sums = _column_sums(X, W, on_block)
    # sum w (x_i - x_j)^2 = sum_i x_i^2 (row sum + column sum) - 2 x'Wx
    score = (n - 1) / (2 * s0) * _ratio(sums.x2_ends - 2 * sums.xwx, sums.x2 - sums.x**2 / n, sums.x2)
    variance = ((2 * s1 + s2) * (n - 1) - 4 * s0**2) / (2 * (n + 1) * s0**2)
    return _tested(score, 1.0, variance)


def combined(parts: Sequence[Autocorrelation]) -> Autocorrelation:
    """The mean of one statistic over independent samples with the same features; its p is that of the mean.

    Features that are constant in a sample are averaged over the others; ``expected`` and ``variance`` are those of a
    feature that varies in all samples.
    """
    if len(parts) == 1:
        return parts[0]
    scores = np.stack([part.score for part in parts])
    known = np.isfinite(scores)
    expected, variance = (np.array([getattr(p, name) for p in parts])[:, None] for name in ("expected", "variance"))
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, scores, 0.0).sum(axis=0) / n
        z = (mean - (known * expected).sum(axis=0) / n) / np.sqrt((known * variance).sum(axis=0) / n**2)
    p = ndtr(-np.abs(z))
    whole = float(variance.sum()) / len(parts) ** 2
    return Autocorrelation(mean, float(expected.mean()), whole, p, benjamini_hochberg(p))


def _check(
    X: np.ndarray | sparse.spmatrix, W: sparse.spmatrix
) -> tuple[np.ndarray | sparse.csc_matrix, sparse.csr_matrix]:
    W = sparse.csr_matrix(W, dtype=np.float64)
    if X.shape[0] < 3 or W.shape != (X.shape[0], X.shape[0]):
        raise DataError("at least 3 spots and weights of shape (n, n)", found=f"values {X.shape} and weights {W.shape}")
    if W.nnz == 0:
        raise DataError("neighbours among the spots", found="none", mend="Raise the number of neighbours.")
    if not sparse.issparse(X):
        return np.asarray(X), W
    columns = X.tocsc()
    if not columns.has_canonical_format:
        columns = columns.copy()
        columns.sum_duplicates()
    return columns, W


@dataclass
class _Sums:
    """Sums over the spots, each of shape (n_features,), for e = row sums + column sums of the weights."""

    x: np.ndarray  # sum_i x_i
    x2: np.ndarray  # sum_i x_i^2
    x_ends: np.ndarray  # sum_i x_i e_i
    x2_ends: np.ndarray  # sum_i x_i^2 e_i
    xwx: np.ndarray  # x'Wx


def _column_sums(
    X: np.ndarray | sparse.csc_matrix, W: sparse.csr_matrix, on_block: Callable[[float], None] | None
) -> _Sums:
    """All sums in one pass; the mean is not subtracted, so zeros cost nothing."""
    from core.spatial.loops import column_sums

    ends = np.asarray(W.sum(axis=1)).ravel() + np.asarray(W.sum(axis=0)).ravel()
    # x'Wx = x'Ux for the upper triangle U of W + W': half the products where W is nearly symmetric
    upper = _arrays((sparse.triu(W + W.T, 1) + sparse.diags(W.diagonal())).tocsr())
    n, n_features = X.shape
    found, column = np.empty((n_features, 5)), np.zeros(n)
    width = max(1, min(n_features, BLOCK_NUMBERS // n))
    for start in range(0, n_features, width):
        stop = min(start + width, n_features)
        block = X[:, start:stop]
        if not sparse.issparse(block):
            block = block.astype(np.float64)
            block = sparse.csc_matrix(block - block[0])  # neither statistic knows of a shift, digits do
        column_sums(*_arrays(block), *upper, ends, column, found[start:stop])
        if on_block:
            on_block(stop / n_features)
    return _Sums(*found.T)


def _arrays(matrix: sparse.csr_matrix | sparse.csc_matrix) -> tuple[np.ndarray, ...]:
    return (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
        matrix.data.astype(np.float64, copy=False),
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """NaN where the variance is nothing but the rounding of *scale*: a spread below a millionth of the mean."""
    varies = denominator > 1e-12 * scale
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=varies)


def _moments(W: sparse.csr_matrix) -> tuple[int, float, float, float]:
    """n, S0, S1 and S2 of the weights."""
    both = W + W.T
    rows, columns = np.asarray(W.sum(axis=1)).ravel(), np.asarray(W.sum(axis=0)).ravel()
    return W.shape[0], float(W.sum()), float((both.data**2).sum() / 2), float(((rows + columns) ** 2).sum())


def _tested(score: np.ndarray, expected: float, variance: float) -> Autocorrelation:
    z = (score - expected) / np.sqrt(variance)
    p = ndtr(-np.abs(z))
    return Autocorrelation(score, expected, variance, p, benjamini_hochberg(p))
