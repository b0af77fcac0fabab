"""Where the rows of the joint object lie, and the one sparse matrix per modality that brings the values there.

Intensities are averaged: each row of the weights of SM sums to one. Counts are given away: each column of the weights
of ST sums to one, so no count is lost or made, whatever the direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from core import keys
from core.options import option
from core.reassignment.links import knn_links, knn_weights
from core.spatial import check_coordinates, hexagonal_grid, smallest_distance


@dataclass(frozen=True)
class ReassignConfig:
    """Settings of :func:`core.reassignment.reassign`."""

    direction: str = option(
        "sm-to-st",
        "common places: the ST spots, the SM pixels, or a new hexagonal grid",
        choices=("sm-to-st", "st-to-sm", "grid"),
    )
    k: int = option(
        5,
        "nearest SM pixels that a place averages",
        unit="pixels",
        minimum=1,
        maximum=1000,
        label="Nearest (K)",
    )
    max_distance_factor: float = option(
        1.5,
        "reach; on a grid times its pitch",
        unit="× smallest ST spot distance",
        minimum=0.01,
        maximum=100.0,
        label="Reach",
    )
    weighting: str = option(
        "mean", "all pixels count alike, or near ones more (1 / distance)", choices=("mean", "distance")
    )
    missing: str = option(
        "drop",
        "places without a pixel or spot within reach: leave out, keep without values, or take the nearest",
        choices=("drop", "keep", "nearest"),
        label="Spots without a pixel",
    )
    counts: str = option(
        "split",
        "counts that move: split among the K nearest places, or all to the nearest one",
        choices=("split", "sum"),
        label="Counts",
    )
    grid_pitch_um: float | None = option(
        None, "distance of the grid's points; empty: that of the ST spots", unit="µm", minimum=0.1, label="Grid pitch"
    )


@dataclass(frozen=True)
class Sources:
    """What one row of the joint object takes of a modality: ``rows`` of the section, ``weights`` and ``distances``
    (px), all of shape (n_taken,), nearest first."""

    rows: np.ndarray
    weights: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class Plan:
    """How the sections come together.

    Attributes
    ----------
    xy
        Common places in px, shape (n, 2), before any is left out.
    weights
        Modality -> CSR (n, n_sources); None where its own places are the common ones and its values stay as they are.
    origin
        Modality -> coordinates of its section, (n_sources, 2).
    covered
        bool (n,): the place has sources of every modality that moved, within reach.
    kept
        bool (n,): the place is a row of the joint object.
    reach
        In px.
    """

    xy: np.ndarray
    weights: dict[str, sparse.csr_matrix | None]
    origin: dict[str, np.ndarray]
    covered: np.ndarray
    kept: np.ndarray
    reach: float

    def sources(self, modality: str, place: int) -> Sources:
        """What *place* (row of :attr:`xy`) takes of *modality*."""
        weights = self.weights[modality]
        if weights is None:
            return Sources(np.array([place]), np.ones(1), np.zeros(1))
        part = slice(*weights.indptr[place : place + 2])
        rows, values = weights.indices[part], weights.data[part]
        distances = np.linalg.norm(self.origin[modality][rows] - self.xy[place], axis=1)
        order = np.lexsort((rows, distances))
        return Sources(rows[order], values[order], distances[order])

    def count(self, modality: str) -> np.ndarray:
        """Sources of each place, int (n,)."""
        weights = self.weights[modality]
        return np.ones(len(self.xy), dtype=np.int64) if weights is None else np.diff(weights.indptr)

    def distances(self, modality: str) -> np.ndarray:
        """Distance (px) of every link, in the order of the matrix; empty where the modality stays in place."""
        weights = self.weights[modality]
        if weights is None:
            return np.empty(0)
        targets = np.repeat(np.arange(len(self.xy)), np.diff(weights.indptr))
        return np.linalg.norm(self.origin[modality][weights.indices] - self.xy[targets], axis=1)

    def mean_distance(self, modality: str) -> np.ndarray:
        """Mean distance (px) of the sources of each place, (n,); NaN where there is none."""
        weights, count = self.weights[modality], self.count(modality)
        if weights is None:
            return np.zeros(len(self.xy))
        targets = np.repeat(np.arange(len(self.xy)), count)
        total = np.bincount(targets, self.distances(modality), minlength=len(self.xy))
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def plan(st_xy: np.ndarray, sm_xy: np.ndarray, config: ReassignConfig, *, um_per_px: float = 1.0) -> Plan:
    """The common places and the weights; both sections in the same frame, shapes (n_spots, 2) and (n_pixels, 2) px.

    Parameters
    ----------
    um_per_px
        Only a grid with a pitch of its own needs it.
    """
    st_xy, sm_xy = check_coordinates(st_xy, "ST coordinates"), check_coordinates(sm_xy, "SM coordinates")
    step = smallest_distance(st_xy)
    if config.direction == "grid":
        pitch = step if config.grid_pitch_um is None else config.grid_pitch_um / um_per_px
        # a hexagon's corner is pitch / sqrt(3) from its centre: no spot is farther from the grid, no hole between spots
        xy, step = hexagonal_grid(st_xy, pitch, within=max(pitch, step) / np.sqrt(3)), pitch
    else:
        xy = st_xy if config.direction == "sm-to-st" else sm_xy
    reach = config.max_distance_factor * step
    weights: dict[str, sparse.csr_matrix | None] = {keys.ST: None, keys.SM: None}
    covered = np.ones(len(xy), dtype=bool)
    if config.direction != "sm-to-st":
        weights[keys.ST] = _given(st_xy, xy, config, reach)
        covered &= np.diff(weights[keys.ST].indptr) > 0
    if config.direction != "st-to-sm":
        found = knn_links(
            xy,
            sm_xy,
            k=config.k,
            max_distance=reach,
            weighting=config.weighting,
            take_nearest=config.missing == "nearest",
        )
        weights[keys.SM] = found.matrix
        covered &= found.within_reach
    has_all = np.logical_and.reduce([np.diff(w.indptr) > 0 for w in weights.values() if w is not None])
    kept = has_all if config.missing == "drop" else np.ones(len(xy), dtype=bool)
    return Plan(xy, weights, {keys.ST: st_xy, keys.SM: sm_xy}, covered, kept, reach)


def _given(source_xy: np.ndarray, xy: np.ndarray, config: ReassignConfig, reach: float) -> sparse.csr_matrix:
    """Weights (n, n_sources) by which sources give their counts away: every column sums to 1, or to 0 beyond reach."""
    shares = knn_weights(
        source_xy,
        xy,
        k=config.k if config.counts == "split" else 1,
        max_distance=reach,
        weighting=config.weighting,
        take_nearest=config.missing == "nearest",
    )
    return shares.T.tocsr()
