"""A section's values as a picture: points smeared over a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, sparse

MOST_FEATURES = 1000  # more of the most variable ones add time, not directions
LEAST_COVER = 0.35  # share of the usual number of points around a cell, from which on it belongs to the section


@dataclass(frozen=True)
class Raster:
    """Values on a regular grid.

    Attributes
    ----------
    values
        (height, width, k).
    on_section
        (height, width) bool: cells where something was measured.
    origin
        (2,) [x, y] of the centre of cell [0, 0].
    pitch
        Distance of neighbouring cells; in the unit of *origin*.
    """

    values: np.ndarray
    on_section: np.ndarray
    origin: np.ndarray
    pitch: float

    @property
    def cells(self) -> np.ndarray:
        """(n, 2) centres [x, y] of the cells on the section."""
        row, column = np.nonzero(self.on_section)
        return self.origin + self.pitch * np.column_stack([column, row])


def normalised(values: Any, most: int = MOST_FEATURES) -> sparse.csr_matrix:
    """*values* (n, m), dense or sparse, brought to equal totals and logarithms; the *most* variable of them."""
    matrix = sparse.csr_matrix(values, dtype=np.float64)
    total = np.asarray(matrix.sum(axis=1)).ravel()
    typical = np.median(total[total > 0]) if (total > 0).any() else 1.0
    factor = np.divide(typical, total, out=np.zeros_like(total), where=total > 0)
    matrix = sparse.csr_matrix(sparse.diags(factor) @ matrix)
    matrix.data = np.log1p(matrix.data)
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    variance = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel() - mean**2
    chosen = np.sort(np.argsort(-variance, kind="stable")[:most])
    return sparse.csr_matrix(matrix.tocsc()[:, chosen])


def rasterise(xy: np.ndarray, values: Any, *, pitch: float, blur: float) -> Raster:
    """Local means of *values* (n, k), dense or sparse, measured at *xy* (n, 2): linear in the number of points.

    Each point is shared out among the four cells around it; then a Gaussian of standard deviation *blur* weighs the
    neighbours (Nadaraya-Watson). *pitch* and *blur* in the unit of *xy*; a blur of half the points' distance or more
    leaves no gaps.
    """
    margin = int(np.ceil(3 * blur / pitch)) + 1
    origin = xy.min(axis=0) - margin * pitch
    at = (xy - origin) / pitch
    width, height = np.ceil(at.max(axis=0)).astype(int) + margin + 1
    low = np.floor(at).astype(int)
    part = at - low
    rows, columns, weights = [], [], []
    for dx in (0, 1):
        for dy in (0, 1):
            rows.append((low[:, 1] + dy) * width + low[:, 0] + dx)
            columns.append(np.arange(len(xy)))
            weights.append(np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]))
    index = (np.concatenate(rows), np.concatenate(columns))
    share = sparse.csr_matrix((np.concatenate(weights), index), shape=(height * width, len(xy)))
    density = np.asarray(share.sum(axis=1)).reshape(height, width)
    sums = share @ values
    sums = np.asarray(sums.todense() if sparse.issparse(sums) else sums).reshape(height, width, -1)
    spread = blur / pitch
    cover = ndimage.gaussian_filter(density, spread, mode="constant", truncate=3.0)
    means = ndimage.gaussian_filter(sums, (spread, spread, 0), mode="constant", truncate=3.0)
    means /= np.maximum(cover, 1e-9)[:, :, None]
    inside = cover[tuple(np.round(at[:, ::-1]).astype(int).T)]
    return Raster(means, cover >= LEAST_COVER * np.median(inside), origin, pitch)
