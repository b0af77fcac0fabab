"""Trajectories of interest: where points lie along a path, and how values change along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from core.errors import DataError
from core.spatial import check_coordinates

#: points x segments that are looked at together
BLOCK_NUMBERS = 1 << 22
#: two-sided normal quantile of a 95 % band
Z95 = 1.959963984540054
#: kernels are cut where they have fallen to 1e-4 of their top: 4.3 standard deviations
CUT = 4.3
#: finest grid on which residuals are taken
MOST_GRID_POINTS = 1000


@dataclass(frozen=True)
class Projection:
    """Where points lie relative to a path; all of shape (n,), lengths in the unit of the coordinates.

    ``position``: length along the path from its start to the nearest place on it. ``distance``: at least 0.
    ``segment``: number of the nearest segment, the first where several are equally near. ``side``: +1 right of the
    direction of travel as seen on the screen (y down), -1 left, 0 on the path's line.
    """

    position: np.ndarray
    distance: np.ndarray
    segment: np.ndarray
    side: np.ndarray

    def inside(self, width: float) -> np.ndarray:
        """Which points lie in the corridor of full width *width* (half on each side), ends rounded; bool (n,)."""
        return self.distance <= width / 2


def project_on_path(xy: np.ndarray, path: np.ndarray) -> Projection:
    """The nearest place of an open path for every point; all segments count, the last too; ends are clamped.

    Parameters
    ----------
    xy
        Points, shape (n, 2).
    path
        Vertices in the direction of travel, shape (m, 2), m >= 2; vertices that repeat their forerunner are skipped.

    Raises
    ------
    DataError
        For fewer than two different vertices.
    """
    xy = check_coordinates(xy) if len(xy) else np.empty((0, 2))
    start, step, vertex = _segments(path)
    length = np.hypot(*step.T)
    before = np.concatenate([[0.0], np.cumsum(length)])[:-1]
    n = len(xy)
    position, distance, side = np.empty(n), np.empty(n), np.empty(n)
    segment = np.empty(n, dtype=np.int64)
    block = max(1, BLOCK_NUMBERS // len(start))
    for first in range(0, n, block):
        here = slice(first, first + block)
        offset = xy[here, None, :] - start
        share = np.clip(np.einsum("ijk,jk->ij", offset, step) / length**2, 0.0, 1.0)
        away = offset - share[..., None] * step
        squared = np.einsum("ijk,ijk->ij", away, away)
        nearest = squared.argmin(axis=1)
        row = np.arange(len(nearest))
        position[here] = before[nearest] + share[row, nearest] * length[nearest]
        distance[here] = np.sqrt(squared[row, nearest])
        segment[here] = vertex[nearest]
        along, across = step[nearest], offset[row, nearest]
        side[here] = np.sign(along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0])
    return Projection(position, distance, segment, side)


def path_length(path: np.ndarray) -> float:
    """Length of an open path, shape (m, 2), in the unit of its coordinates."""
    return float(np.hypot(*_segments(path)[1].T).sum())


@dataclass(frozen=True)
class Profile:
    """Values along a path.

    ``grid`` (n_grid,): positions. ``mean``, ``low``, ``high`` (n_features, n_grid): local-linear estimate of the mean
    and its 95 % band; NaN where too few spots are near. ``n`` spots entered; ``bandwidth`` is the standard deviation
    of the Gaussian kernel.
    """

    grid: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    bandwidth: float


def profile(
    values: np.ndarray | sparse.spmatrix,
    position: np.ndarray,
    inside: np.ndarray | None = None,
    *,
    length: float | None = None,
    n_grid: int = 100,
    bandwidth: float | None = None,
) -> Profile:
    """Smooth of features along a path by local-linear regression, with a pointwise 95 % confidence band.

    Fan & Gijbels, *Local Polynomial Modelling and Its Applications* (1996). The band is mean ± 1.96 standard errors,
    the variance of the residuals being estimated locally by the same kernel (heteroscedastic); it takes spots as
    independent, which neighbours are not.

    Parameters
    ----------
    values
        Shape (n,) or (n, n_features), dense or sparse.
    position
        Position along the path, shape (n,), in µm (or any length); NaN means outside.
    inside
        Spots in the corridor, bool of shape (n,); None: all.
    length
        Length of the path; None: the largest position.
    bandwidth
        Standard deviation of the kernel in the unit of *position*; None: Silverman's rule on the positions, and at
        least a fiftieth of the path.
    """
    position = np.asarray(position, dtype=np.float64)
    use = np.isfinite(position) if inside is None else np.isfinite(position) & np.asarray(inside, dtype=bool)
    rows = np.flatnonzero(use)
    if len(rows) < 3:
        raise DataError(
            "at least 3 spots in the corridor", found=str(len(rows)), mend="Widen the corridor or move the path."
        )
    t = position[rows]
    y = values[rows].toarray() if sparse.issparse(values) else np.asarray(values)[rows]
    y = np.asarray(y, dtype=np.float64).reshape(len(rows), -1)
    length = float(t.max()) if length is None else float(length)
    h = _bandwidth(t, length) if bandwidth is None else float(bandwidth)
    if not h > 0:
        raise DataError("a bandwidth above zero", found=str(h))
    grid = np.linspace(0.0, length, n_grid)
    mean, squared_weights, _ = _local_linear(t, grid, h, y)
    variance = _residual_variance(t, grid, h, y)
    # the weights of a linear smoother give its variance: sum_i l_i(x)^2 sigma^2(x)
    half = Z95 * np.sqrt(squared_weights[:, None] * variance)
    return Profile(grid, mean.T, (mean - half).T, (mean + half).T, len(rows), h)


def _segments(path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts (m, 2), steps (m, 2) and numbers (m,) of the segments that have a length."""
    path = check_coordinates(path, "vertices of the path")
    step = np.diff(path, axis=0)
    vertex = np.flatnonzero((step != 0).any(axis=1))
    if vertex.size == 0:
        raise DataError("a path of at least two different points", found=f"{len(path)} points at one place")
    return path[:-1][vertex], step[vertex], vertex


def _bandwidth(t: np.ndarray, length: float) -> float:
    """Silverman's rule of thumb (1986), robust against two clumps; not below a fiftieth of the path."""
    q75, q25 = np.percentile(t, [75, 25])
    spreads = [s for s in (t.std(ddof=1), (q75 - q25) / 1.349) if s > 0]
    silverman = 0.9 * min(spreads) * len(t) ** -0.2 if spreads else 0.0
    return max(silverman, length / 50) or 1.0


def _kernel(t: np.ndarray, grid: np.ndarray, h: float) -> np.ndarray:
    u = (t[None, :] - grid[:, None]) / h
    return np.where(np.abs(u) <= CUT, np.exp(-0.5 * u**2), 0.0)


def _local_linear(
    t: np.ndarray, grid: np.ndarray, h: float, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local-linear estimate at each grid point x, mean = sum_i l_i(x) y_i.

    Returns
    -------
    mean (n_grid, n_features); sum_i l_i(x)^2 (n_grid,); weight that a spot at x itself would have (n_grid,). NaN where
    fewer than two spots are within the kernel. Where all weight lies on one position the line has no slope and the
    local mean is taken.
    """
    w = _kernel(t, grid, h)
    u = (t[None, :] - grid[:, None]) / h
    s0, s1, s2 = w.sum(axis=1), (w * u).sum(axis=1), (w * u * u).sum(axis=1)
    determinant = s0 * s2 - s1**2
    sloped = determinant > 1e-10 * s0**2
    enough = (w > 0).sum(axis=1) >= 2
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.where(sloped, s2 / determinant, 1.0 / s0)
        slope = np.where(sloped, s1 / determinant, 0.0)
    level[~enough], slope[~enough] = np.nan, np.nan
    weights = w * (level[:, None] - u * slope[:, None])
    return weights @ y, (weights**2).sum(axis=1), level


def _residual_variance(t: np.ndarray, grid: np.ndarray, h: float, y: np.ndarray) -> np.ndarray:
    """Local variance around the smooth, shape (n_grid, n_features), from leverage-corrected residuals.

    The smooth varies little within half a bandwidth, so it is calculated on a grid that fine and read off between;
    this keeps the work linear in the number of spots.
    """
    n_fine = int(np.clip(2 * (t.max() - t.min()) / h, 2, MOST_GRID_POINTS)) + 1
    fine = np.linspace(t.min(), t.max(), n_fine)
    mean, squared_weights, leverage = _local_linear(t, fine, h, y)
    known = np.isfinite(leverage)
    if not known.any():
        return np.full((len(grid), y.shape[1]), np.nan)
    fitted = np.column_stack([np.interp(t, fine[known], column) for column in mean[known].T])
    # E r_i^2 = sigma^2 (1 - 2 l_ii + sum_j l_ij^2)
    freedom = 1.0 - 2.0 * np.interp(t, fine[known], leverage[known]) + np.interp(t, fine[known], squared_weights[known])
    counted = freedom > 1e-6
    w = _kernel(t[counted], grid, h)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (w @ ((y - fitted)[counted] ** 2 / freedom[counted, None])) / w.sum(axis=1)[:, None]
