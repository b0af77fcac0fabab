"""Neighbour graphs of points in the plane, by KD-tree.

Distances are in the unit of the coordinates (full-resolution pixels for ``obsm['spatial']``).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from core.errors import ConfigError, DataError
from core.spatial import scale

#: grid neighbours lie within this times the median neighbour distance (a hexagonal grid's second ring starts at 1.73)
GRID_SLACK = 1.3
MOST_GRID_POINTS = 10_000_000


def check_coordinates(xy: np.ndarray, what: str = "coordinates") -> np.ndarray:
    """*xy* as a float64 array of shape (n, 2); DataError when it is empty, of another shape or not finite."""
    xy = np.asarray(xy, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) == 0:
        raise DataError(f"{what} of shape (n, 2) with n > 0", found=f"shape {xy.shape}")
    bad = int((~np.isfinite(xy)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"finite {what}", found=f"{bad} rows with NaN or infinity", mend="Remove these rows or mend their position."
        )
    return xy


def smallest_distance(xy: np.ndarray) -> float:
    """Smallest distance above zero between two of the points *xy*, shape (n, 2): the pitch of a regular grid.

    Points at the same place are counted as one. Raises DataError when fewer than two places are left.
    """
    distance = scale.smallest_distance(check_coordinates(xy))
    if distance is None:
        raise DataError("at least two different positions", found="one", mend="Check the coordinates of the section.")
    return distance


def nearest(target_xy: np.ndarray, source_xy: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The *k* nearest sources of each target, nearest first; equal distances in the order of the sources.

    Which of several sources at the k-th distance are among the *k* depends on all sources, but not on the targets.

    Returns
    -------
    distances, indices
        Both of shape (n_targets, min(k, n_sources)).
    """
    target_xy, source_xy = check_coordinates(target_xy), check_coordinates(source_xy)
    k = min(k, len(source_xy))
    distances, indices = cKDTree(source_xy).query(target_xy, k=np.arange(1, k + 1))
    # the tree returns ties in the order of its traversal: make it the order of the sources
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def hexagonal_grid(xy: np.ndarray, pitch: float, *, within: float) -> np.ndarray:
    """Points of a hexagonal grid of the distance *pitch* that lie within *within* of one of *xy*; shape (m, 2).

    Rows run along x; the grid starts at the lower corner of *xy*.

    Raises
    ------
    DataError
        For a pitch so small that the grid would have more than ten million points.
    """
    xy = check_coordinates(xy)
    low, extent = xy.min(axis=0) - within, np.ptp(xy, axis=0) + 2 * within
    shape = np.ceil(extent / (pitch * np.array([1.0, np.sqrt(0.75)]))).astype(np.int64) + 1
    if shape.prod() > MOST_GRID_POINTS:
        raise DataError(
            f"a grid of at most {MOST_GRID_POINTS:,} points", found=f"{shape.prod():,}", mend="Raise the pitch."
        )
    row, column = np.divmod(np.arange(shape.prod()), shape[0])
    grid = np.column_stack([(column + 0.5 * (row % 2)) * pitch, row * pitch * np.sqrt(0.75)]) + low
    return grid[cKDTree(xy).query(grid, distance_upper_bound=within * (1 + 1e-9))[0] <= within * (1 + 1e-9)]


def knn_graph(xy: np.ndarray, n_neighbours: int = 6) -> sparse.csr_matrix:
    """Adjacency of the k nearest neighbours, without the point itself; shape (n, n), ones, not symmetric in general."""
    distances, indices = _neighbours(xy, n_neighbours)
    return _adjacency(indices, np.isfinite(distances))


def grid_graph(xy: np.ndarray, n_neighbours: int = 6) -> sparse.csr_matrix:
    """Adjacency on a regular (hexagonal or square) grid: of the k nearest, those within reach of one grid step.

    The step is the median distance over all k nearest; what is farther than ``GRID_SLACK`` times it is beyond the
    border. The same rule as squidpy's ``coord_type='grid'``.
    """
    distances, indices = _neighbours(xy, n_neighbours)
    if distances.size == 0:
        return _adjacency(indices, np.isfinite(distances))
    return _adjacency(indices, distances <= GRID_SLACK * np.median(distances))


def neighbour_graph(
    xy: np.ndarray, n_neighbours: int = 6, *, coordinates: str = "grid", samples: np.ndarray | None = None
) -> sparse.csr_matrix:
    """Adjacency of all points, by ``coordinates='grid'`` or ``'generic'`` (k nearest); no edge joins two *samples*.

    Parameters
    ----------
    xy
        Shape (n, 2).
    samples
        Labels of shape (n,): sections whose coordinates have nothing to do with each other.
    """
    builders = {"grid": grid_graph, "generic": knn_graph}
    if coordinates not in builders:
        raise ConfigError("coordinates to be one of " + ", ".join(builders), found=repr(coordinates))
    xy = check_coordinates(xy)
    if samples is None:
        return builders[coordinates](xy, n_neighbours)
    labels = np.unique(np.asarray(samples).astype(str), return_inverse=True)[1]
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    blocks = sparse.block_diag([builders[coordinates](xy[m], n_neighbours) for m in members], format="csr")
    back = np.argsort(np.concatenate(members))
    return blocks[back][:, back].tocsr()


def row_standardised(graph: sparse.spmatrix) -> sparse.csr_matrix:
    """Weights whose rows sum to one; rows without a neighbour stay empty."""
    weights = sparse.csr_matrix(graph, dtype=np.float64)
    sums = np.asarray(weights.sum(axis=1)).ravel()
    scale = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return (sparse.diags(scale) @ weights).tocsr()


def _neighbours(xy: np.ndarray, n_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of shape (n, k) without the point itself, also where several points share a place."""
    xy = check_coordinates(xy)
    n = len(xy)
    k = min(n_neighbours, n - 1)
    if k < 1:
        return np.empty((n, 0)), np.empty((n, 0), dtype=np.intp)
    distances, indices = nearest(xy, xy, k + 1)
    itself = indices == np.arange(n)[:, None]
    itself[~itself.any(axis=1), -1] = True  # crowded out by others at the same place: give up the farthest
    return distances[~itself].reshape(n, k), indices[~itself].reshape(n, k)


def _adjacency(indices: np.ndarray, keep: np.ndarray) -> sparse.csr_matrix:
    n = len(indices)
    indptr = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    graph = sparse.csr_matrix((np.ones(int(indptr[-1])), indices[keep], indptr), shape=(n, n))
    graph.sort_indices()
    return graph
