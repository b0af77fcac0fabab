"""Which sources each target takes, and with what weight: k nearest within reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from core.spatial import nearest


@dataclass(frozen=True)
class Links:
    """Which sources each target takes, nearest first; here of spots that take pixels.

    ``indices``, ``distances`` (coordinate unit) and ``weights`` have shape (n_targets, k); a place without a pixel has
    weight 0 and distance infinity. ``count``, shape (n_targets,), is the number of pixels taken. ``within_reach``,
    bool of shape (n_targets,), is False for spots that only ``missing='nearest'`` gave a pixel.
    """

    indices: np.ndarray
    distances: np.ndarray
    weights: np.ndarray
    count: np.ndarray
    within_reach: np.ndarray
    n_sources: int

    @property
    def matrix(self) -> sparse.csr_matrix:
        """The weights as CSR of shape (n_targets, n_sources)."""
        taken = self.weights > 0
        indptr = np.concatenate([[0], np.cumsum(self.count)])
        shape = (len(self.indices), self.n_sources)
        matrix = sparse.csr_matrix((self.weights[taken], self.indices[taken], indptr), shape=shape)
        matrix.sort_indices()
        return matrix

    @property
    def mean_distance(self) -> np.ndarray:
        """Mean distance of the pixels taken, shape (n_targets,); NaN where there is none."""
        total = np.where(self.weights > 0, self.distances, 0.0).sum(axis=1)
        return np.divide(total, self.count, out=np.full(len(total), np.nan), where=self.count > 0)


def knn_links(
    target_xy: np.ndarray,
    source_xy: np.ndarray,
    *,
    k: int = 5,
    max_distance: float = np.inf,
    weighting: str = "mean",
    take_nearest: bool = False,
) -> Links:
    """The up to *k* nearest sources within *max_distance* (inclusive) of every target, with their weights.

    Parameters
    ----------
    target_xy, source_xy
        Shapes (n_targets, 2) and (n_sources, 2), in the same unit as *max_distance*.
    weighting
        ``'mean'``: equal weights; ``'distance'``: proportional to 1 / distance, where distances below a thousandth of
        the reach count as that.
    take_nearest
        Give targets with no source in reach their nearest one.
    """
    distances, indices = nearest(target_xy, source_xy, k)
    # a pixel at the limit itself belongs to the spot, whatever the last bit of its distance
    taken = distances <= max_distance * (1 + 1e-9)
    within_reach = taken.any(axis=1)
    if take_nearest:
        taken[:, 0] = True
    raw = taken.astype(np.float64)
    if weighting == "distance":
        scale = max_distance if np.isfinite(max_distance) else float(distances.max(initial=0.0)) or 1.0
        raw = raw / np.maximum(distances, 1e-3 * scale)
    total = raw.sum(axis=1, keepdims=True)
    weights = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    distances = np.where(taken, distances, np.inf)
    return Links(indices, distances, weights, taken.sum(axis=1), within_reach, len(source_xy))


def knn_weights(target_xy: np.ndarray, source_xy: np.ndarray, **settings) -> sparse.csr_matrix:
    """Weights of :func:`knn_links` (same settings) as CSR of shape (n_targets, n_sources); rows sum to 1 or 0."""
    return knn_links(target_xy, source_xy, **settings).matrix
