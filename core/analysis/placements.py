"""Is a region more than what any region of its size and shape would be? A test that keeps neighbours together.

Spots that lie side by side are alike, so a test that takes them as independent calls almost every feature of a region
significant. Here the region is put down again at random places of the tissue, turned and mirrored, with the same number
of spots; how often a feature is there as different as in the region itself is its p-value. Moving one of two spatial
patterns as a whole is the restricted randomisation of Lotwick & Silverman, J. R. Stat. Soc. B 44 (1982), Fortin & Dale,
*Spatial Analysis* (2005), and the spin test of Alexander-Bloch et al., NeuroImage 178 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from core.context import Context
from core.errors import DataError
from core.fdr import benjamini_hochberg
from core.spatial import check_coordinates

PERMUTATIONS = 999
#: cells along one side of the raster on which the region's outline is measured
MOST_CELLS = 1500
#: values that are dense at once
BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class PlacementTest:
    """One feature an entry, all of shape (n_features,).

    ``shift``: mean rank in the group minus mean rank in what it is compared with, in shares of all spots; against the
    rest it is AUC - 0.5. ``p``: two-sided, at least 2 / (permutations + 1); ``fdr``: Benjamini-Hochberg.
    """

    shift: np.ndarray
    p: np.ndarray
    fdr: np.ndarray


class Placer:
    """Puts a region, or two that belong together, down at random places of the tissue.

    The outline moves rigidly (turned by any angle, mirrored or not, its centre on a random spot); then the spots that
    lie deepest inside it are taken, as many as the region has, so that a region that hangs over the tissue's edge grows
    along it. Two regions move together; a spot belongs to the first that wants it.

    Parameters
    ----------
    xy
        All spots of the tissue, shape (n, 2).
    groups
        Masks of the regions, each of shape (n,), without common spots.
    """

    def __init__(self, xy: np.ndarray, groups: list[np.ndarray]) -> None:
        from scipy.spatial import cKDTree

        self.xy = check_coordinates(xy)
        self.sizes = [int(group.sum()) for group in groups]
        self.centre = self.xy[np.logical_or.reduce(groups)].mean(axis=0)
        tree = cKDTree(self.xy)
        pitch = float(np.median(tree.query(self.xy[:: max(1, len(self.xy) // 2000)], k=2)[0][:, 1]))
        reach = float(np.hypot(*np.ptp(self.xy, axis=0))) + 2 * pitch  # no spot can be farther from the centre
        self.cell = max(pitch / 2, 2 * reach / MOST_CELLS)
        self.corner = self.centre - reach
        self.depths = [self._depth(tree, group, pitch, int(np.ceil(2 * reach / self.cell)) + 1) for group in groups]

    def _depth(self, tree: object, group: np.ndarray, pitch: float, side: int) -> np.ndarray:
        """How far inside the outline of *group* each cell lies, negative outside; shape (side, side), [row, column]."""
        from scipy.ndimage import distance_transform_edt

        inside = np.zeros((side, side), dtype=bool)
        members = self.xy[group]
        low = np.maximum(np.floor((members.min(axis=0) - pitch - self.corner) / self.cell).astype(int), 0)
        high = np.minimum(np.ceil((members.max(axis=0) + pitch - self.corner) / self.cell).astype(int) + 1, side)
        columns, rows = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        x, y = np.meshgrid(self.corner[0] + columns * self.cell, self.corner[1] + rows * self.cell)
        distance, nearest = tree.query(np.column_stack([x.ravel(), y.ravel()]), distance_upper_bound=pitch)
        found = np.isfinite(distance)
        covered = np.zeros(distance.shape, dtype=bool)
        covered[found] = group[nearest[found]]
        inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = covered.reshape(x.shape)
        return (distance_transform_edt(inside) - distance_transform_edt(~inside)).astype(np.float32)

    def place(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Rows of the spots of each region at one random place."""
        from scipy.ndimage import map_coordinates

        angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
        target = self.xy[rng.integers(len(self.xy))]
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) * [mirror, 1.0]
        x, y = ((self.xy - target) @ turn + self.centre - self.corner).T / self.cell
        free = np.ones(len(self.xy), dtype=bool)
        found = []
        for depth, size in zip(self.depths, self.sizes, strict=True):
            inside = map_coordinates(depth, [y, x], order=1, mode="nearest")
            inside[~free] = -np.inf
            rows = np.argpartition(-inside, size - 1)[:size]
            free[rows] = False
            found.append(rows)
        return found


def placement_test(
    X: np.ndarray | sparse.spmatrix,
    xy: np.ndarray,
    group: np.ndarray,
    other: np.ndarray | None = None,
    *,
    n_permutations: int = PERMUTATIONS,
    seed: int = 0,
    context: Context | None = None,
) -> PlacementTest:
    """Difference of mean ranks between a region and another (or the rest), against regions placed at random.

    Parameters
    ----------
    X
        Values, shape (n, n_features), without NaN.
    xy
        Places of the spots, shape (n, 2).
    group, other
        Masks of shape (n,); spots in both count as *group*; None: all other spots.
    context
        Told how far it is; asked whether to stop.

    Raises
    ------
    DataError
        A group without spots or with all of them.
    """
    context = context or Context()
    group = np.asarray(group, dtype=bool)
    groups = [group] if other is None else [group, np.asarray(other, dtype=bool) & ~group]
    n = len(group)
    if any(g.sum() in (0, n) for g in groups):
        raise DataError("spots in every region and outside it", found=f"{[int(g.sum()) for g in groups]} of {n} spots")
    placer, rng = Placer(xy, groups), np.random.default_rng(seed)
    placed = [[np.flatnonzero(g) for g in groups]]
    for number in range(n_permutations):
        if number % 20 == 0:
            context.stop_if_cancelled()
            context.progress(0.4 * number / n_permutations, f"placing the region, {number} of {n_permutations}")
        placed.append(placer.place(rng))
    weights = _weights(placed, n)
    shift, p = (np.empty(X.shape[1]) for _ in range(2))
    columns = sparse.csc_matrix(X) if sparse.issparse(X) else np.asarray(X)
    width = max(1, BLOCK_NUMBERS // n)
    for first in range(0, X.shape[1], width):
        context.stop_if_cancelled()
        context.progress(0.4 + 0.6 * first / X.shape[1], f"comparing, feature {first} of {X.shape[1]}")
        here = slice(first, first + width)
        differences = weights @ _ranks(columns[:, here])
        shift[here] = differences[0] / n
        p[here] = _two_sided(differences)
    return PlacementTest(shift, p, benjamini_hochberg(p))


def _weights(placed: list[list[np.ndarray]], n: int) -> sparse.csr_matrix:
    """Row by row, what turns centred ranks into a difference of means; the true place is the first row."""
    sizes = [len(rows) for rows in placed[0]]
    # ranks are centred, so against the rest: mean_in - mean_out = mean_in * n / (n - size)
    values = [1 / sizes[0], -1 / sizes[1]] if len(sizes) == 2 else [n / sizes[0] / (n - sizes[0])]
    one = np.concatenate([np.full(s, v, dtype=np.float32) for s, v in zip(sizes, values, strict=True)])
    indices = np.concatenate([np.concatenate(rows) for rows in placed])
    indptr = np.arange(len(placed) + 1) * sum(sizes)
    return sparse.csr_matrix((np.tile(one, len(placed)), indices, indptr), shape=(len(placed), n))


def _ranks(values: np.ndarray | sparse.spmatrix) -> np.ndarray:
    """Ranks of every column, ties sharing their mean, around 0; float32 (n, width)."""
    from scipy.stats import rankdata

    dense = values.toarray() if sparse.issparse(values) else values
    return (rankdata(dense, axis=0) - (len(dense) + 1) / 2).astype(np.float32)


def _two_sided(differences: np.ndarray) -> np.ndarray:
    """Twice the smaller tail; the true place counts among the random ones, so that p is never 0.

    Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010).
    """
    observed, random = differences[0], differences[1:]
    slack = 1e-5 * np.abs(differences).max(axis=0)  # float32 sums of the same spots differ in their last digits
    above = (random >= observed - slack).sum(axis=0)
    below = (random <= observed + slack).sum(axis=0)
    return np.minimum(2 * (1 + np.minimum(above, below)) / (1 + len(random)), 1.0)
