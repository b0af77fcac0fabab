"""Spatial smoothing of the encoder's input."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree


def smoother(xy: np.ndarray, sample: np.ndarray, *, k: int, weight: float) -> sparse.csr_matrix:
    """Weights that mix each spot with the mean of its *k* nearest spots of the same sample.

    Parameters
    ----------
    xy
        Coordinates, any unit, shape (spots, 2).
    sample
        Sample code of each spot, int, shape (spots,).
    k
        Number of neighbours; fewer where a sample has fewer other spots.
    weight
        Share of the neighbours; the spot itself keeps the rest.

    Returns
    -------
    Row-stochastic CSR float32, shape (spots, spots).
    """
    n = len(xy)
    rows, columns, values = [np.arange(n)], [np.arange(n)], [np.full(n, 1.0 - weight)]
    for code in np.unique(sample):
        spots = np.flatnonzero(sample == code)
        near = min(k, len(spots) - 1)
        if near == 0:
            values[0][spots] = 1.0
            continue
        found = cKDTree(xy[spots]).query(xy[spots], k=near + 1)[1]
        others = _without_self(found)
        rows.append(np.repeat(spots, near))
        columns.append(spots[others].ravel())
        values.append(np.full(near * len(spots), weight / near))
    entries = np.concatenate(values).astype(np.float32)
    return sparse.csr_matrix((entries, (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))


def _without_self(found: np.ndarray) -> np.ndarray:
    """Drop each row's own index from (n, k + 1); where spots coincide and it is not among them, drop the last."""
    own = found == np.arange(len(found))[:, None]
    own[~own.any(1), -1] = True
    return found[~own].reshape(len(found), -1)
