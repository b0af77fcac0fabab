"""Which features change along a trajectory: a smooth curve in the position against no change at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import fdtrc

from core.errors import DataError
from core.fdr import benjamini_hochberg

#: degrees of freedom of the curve: a rise, a fall, one hill and one valley
CURVE_DF = 4
#: spots without which a curve of CURVE_DF would follow the noise
LEAST_SPOTS = 12
#: values that are dense at once
BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Trend:
    """One feature an entry, all of shape (n_features,).

    ``f``: the F statistic; ``p``: its upper tail; ``fdr``: Benjamini-Hochberg over the features; ``r2``: share of the
    variance that the curve explains. NaN for features that do not vary or have too few values.
    """

    f: np.ndarray
    p: np.ndarray
    fdr: np.ndarray
    r2: np.ndarray


def trend(values: np.ndarray | sparse.spmatrix, position: np.ndarray, *, df: int = CURVE_DF) -> Trend:
    """F test of a natural cubic spline in the position against a constant, for every feature.

    The spline has *df* columns besides the constant, with knots at quantiles of the position (Harrell, *Regression
    Modeling Strategies*, 2015, section 2.4). The test takes spots as independent, which neighbours are not: it ranks.

    Parameters
    ----------
    values
        Shape (n, n_features), dense or sparse; NaN is left out, feature by feature.
    position
        Position along the path, shape (n,), finite.

    Raises
    ------
    DataError
        Fewer than 12 spots, or spots at too few different positions for a curve.
    """
    position = np.asarray(position, dtype=np.float64)
    n_features = values.shape[1]
    basis = _orthonormal(natural_spline(position, df))
    width = max(1, BLOCK_NUMBERS // len(position))
    f, r2, freedom = (np.full(n_features, np.nan) for _ in range(3))
    columns = sparse.csc_matrix(values) if sparse.issparse(values) else np.asarray(values)
    for first in range(0, n_features, width):
        here = slice(first, first + width)
        block = columns[:, here]
        block = np.asarray(block.toarray() if sparse.issparse(block) else block, dtype=np.float64)
        f[here], r2[here], freedom[here] = _explained(block, basis)
        for column in np.flatnonzero(np.isnan(block).any(axis=0)):
            known = np.isfinite(block[:, column])
            if known.sum() < LEAST_SPOTS:
                continue
            own = _orthonormal(natural_spline(position[known], df))
            found = _explained(block[known, column : column + 1], own)
            f[first + column], r2[first + column], freedom[first + column] = (part[0] for part in found)
    p = fdtrc(basis.shape[1], freedom, f)
    return Trend(f, p, benjamini_hochberg(p), r2)


def natural_spline(position: np.ndarray, df: int) -> np.ndarray:
    """Columns of a cubic spline that is linear beyond its outer knots, without the constant; shape (n, df).

    Knots lie at *df* + 1 equally spaced quantiles of *position*; truncated powers, Harrell (2015), eq. 2.25.
    """
    if len(position) < LEAST_SPOTS:
        raise DataError(
            f"at least {LEAST_SPOTS} spots in the corridor",
            found=str(len(position)),
            mend="Widen the corridor or lengthen the path.",
        )
    knots = np.unique(np.quantile(position, np.linspace(0.02, 0.98, df + 1)))
    if len(knots) < df + 1:
        raise DataError(
            "spots at different positions along the path", found=f"{len(knots)} groups", mend="Lengthen the path."
        )
    t = (position - knots[0]) / (knots[-1] - knots[0])
    k = (knots - knots[0]) / (knots[-1] - knots[0])
    cubes = np.maximum(t[:, None] - k, 0.0) ** 3
    last, before = k[-1], k[-2]
    bends = [
        cubes[:, j] - cubes[:, -2] * (last - k[j]) / (last - before) + cubes[:, -1] * (before - k[j]) / (last - before)
        for j in range(df - 1)
    ]
    return np.column_stack([t, *bends])


def _orthonormal(basis: np.ndarray) -> np.ndarray:
    """The same space without its constant part, as orthonormal columns."""
    return np.linalg.qr(basis - basis.mean(axis=0))[0]


def _explained(y: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F, R² and residual degrees of freedom of every column of *y*."""
    centred = y - y.mean(axis=0)
    total = np.einsum("ij,ij->j", centred, centred)
    explained = ((basis.T @ centred) ** 2).sum(axis=0)
    n, df = basis.shape
    size = np.maximum(np.abs(y).max(axis=0), 1e-300)
    varies = total > 1e-12 * n * size**2  # what rounding leaves of a constant is no variance
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(varies, np.minimum(explained / total, 1.0), np.nan)
        f = (r2 / df) / ((1.0 - r2) / (n - 1 - df))
    return f, r2, np.full(y.shape[1], float(n - 1 - df))
