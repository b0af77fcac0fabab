"""Global spatial autocorrelation of many features at once: Moran's I and Geary's C.

Analytic moments under normality after Cliff & Ord, *Spatial Processes* (1981), chapters 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from core.errors import DataError
from core.fdr import benjamini_hochberg

#: dense working set of one block of columns, in numbers (float64): stays in the cache of one core
BLOCK_NUMBERS = 1 << 18


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
        Shape (n, n_features), dense or sparse; only blocks of columns are made dense.
    W
        Weights of shape (n, n), usually row-standardised; not necessarily symmetric.
    on_block
        Called after every block with the share that is done.
    """
    X, W = _check(X, W)
    n, s0, s1, s2 = _moments(W)
    score = np.empty(X.shape[1])
    for columns, z in _centred_blocks(X):
        numerator = np.einsum("ij,ij->j", z, W @ z)
        score[columns] = n / s0 * _ratio(numerator, np.einsum("ij,ij->j", z, z))
        if on_block:
            on_block(columns.stop / X.shape[1])
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
    ends = np.asarray(W.sum(axis=1)).ravel() + np.asarray(W.sum(axis=0)).ravel()
    score = np.empty(X.shape[1])
    for columns, z in _centred_blocks(X):
        squares = z * z
        # sum w (zi - zj)^2 = sum_i z_i^2 (row sum + column sum) - 2 z'Wz; centring changes no difference
        total = ends @ squares - 2 * np.einsum("ij,ij->j", z, W @ z)
        score[columns] = (n - 1) / (2 * s0) * _ratio(total, squares.sum(axis=0))
        if on_block:
            on_block(columns.stop / X.shape[1])
    variance = ((2 * s1 + s2) * (n - 1) - 4 * s0**2) / (2 * (n + 1) * s0**2)
    return _tested(score, 1.0, variance)


def _check(
    X: np.ndarray | sparse.spmatrix, W: sparse.spmatrix
) -> tuple[np.ndarray | sparse.csc_matrix, sparse.csr_matrix]:
    W = sparse.csr_matrix(W, dtype=np.float64)
    if X.shape[0] < 3 or W.shape != (X.shape[0], X.shape[0]):
        raise DataError("at least 3 spots and weights of shape (n, n)", found=f"values {X.shape} and weights {W.shape}")
    if W.nnz == 0:
        raise DataError("neighbours among the spots", found="none", mend="Raise the number of neighbours.")
    return (X.tocsc() if sparse.issparse(X) else np.asarray(X)), W


def _centred_blocks(X: np.ndarray | sparse.csc_matrix):
    """Yield (slice, dense float64 block of shape (n, width), each column minus its mean)."""
    width = max(1, min(X.shape[1], BLOCK_NUMBERS // X.shape[0]))
    for start in range(0, X.shape[1], width):
        columns = slice(start, min(start + width, X.shape[1]))
        block = X[:, columns]
        z = np.ascontiguousarray(block.toarray() if sparse.issparse(block) else block, dtype=np.float64)
        constant = z.max(axis=0) == z.min(axis=0)
        z = z - z.mean(axis=0)
        z[:, constant] = 0.0  # not the rounding of the mean
        yield columns, z


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _moments(W: sparse.csr_matrix) -> tuple[int, float, float, float]:
    """n, S0, S1 and S2 of the weights."""
    both = W + W.T
    rows, columns = np.asarray(W.sum(axis=1)).ravel(), np.asarray(W.sum(axis=0)).ravel()
    return W.shape[0], float(W.sum()), float((both.data**2).sum() / 2), float(((rows + columns) ** 2).sum())


def _tested(score: np.ndarray, expected: float, variance: float) -> Autocorrelation:
    z = (score - expected) / np.sqrt(variance)
    p = ndtr(-np.abs(z))
    return Autocorrelation(score, expected, variance, p, benjamini_hochberg(p))
