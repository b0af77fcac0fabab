"""What was measured on both sections, as few numbers for each point: the combinations of features that have a place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from core.registration.outline import point_distance
from core.registration.rasters import Raster, normalised, rasterise
from core.registration.section import Section

N_COMPONENTS = 12
NEIGHBOURS = 1.6  # point distances: the six around a spot, the eight around a pixel
MOST_POINTS = 20_000  # whose neighbours tell the directions; more add time, not precision
MOST_SPOTS = 6_000  # at which the sections are compared
PITCH = 0.5  # of the rasters, spot distances


@dataclass(frozen=True)
class Latents:
    """Latents of a pair, smoothed alike on both sections; all coordinates in working units.

    Attributes
    ----------
    st, sm
        The sections, for their working units.
    st_xy, sm_xy
        (n, 2), (m, 2) the points as measured.
    values
        Counts (n, genes) and intensities (m, metabolites), or latents of both.
    latent
        Whether *values* are latents already, and not to be normalised.
    """

    st: Section
    sm: Section
    st_xy: np.ndarray
    sm_xy: np.ndarray
    values: tuple[Any, Any]
    latent: bool = False
    _kept: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def spots(self) -> np.ndarray:
        """Those of the ST points at which the sections are compared, (k, 2)."""
        xy = self.st.work(self.st_xy)
        if len(xy) <= MOST_SPOTS:
            return xy
        return xy[np.sort(np.random.default_rng(0).choice(len(xy), MOST_SPOTS, replace=False))]

    def at_spots(self, blur: float) -> np.ndarray:
        """ST's latent, smoothed by a Gaussian of standard deviation *blur*, at :attr:`spots`: (k, c)."""
        raster = self._raster("st", blur)
        at = (self.spots - raster.origin)[:, ::-1].T / raster.pitch
        whole = filled(raster)
        read = [ndimage.map_coordinates(channel, at, order=1, mode="nearest") for channel in np.moveaxis(whole, 2, 0)]
        return np.array(read).reshape(-1, len(self.spots)).T

    def sm_raster(self, blur: float) -> Raster:
        """SM's latent, smoothed by the same Gaussian."""
        return self._raster("sm", blur)

    def _raster(self, which: str, blur: float) -> Raster:
        if (which, blur) not in self._kept:
            section, measured = (self.st, self.st_xy) if which == "st" else (self.sm, self.sm_xy)
            xy = section.work(measured)
            if which not in self._kept:
                values = self.values[0 if which == "st" else 1]
                self._kept[which] = spatial_components(xy, values if self.latent else normalised(values))
            least = max(blur, 0.5 * point_distance(xy))  # a coarser section can not be sharper
            self._kept[which, blur] = rasterise(xy, self._kept[which], pitch=PITCH, blur=least)
        return self._kept[which, blur]


def spatial_components(xy: np.ndarray, values: Any, n: int = N_COMPONENTS) -> np.ndarray:
    """The combinations of *values* (m, features), dense or sparse, of greatest covariance between neighbours, (m, k).

    MULTISPATI (Dray, Saïd & Débias, J. Veg. Sci. 2008): the leading eigenvectors of X' W X, where W joins the points
    *xy* (m, 2) that lie next to each other. Noise, which neighbours do not share, has no part in it, however few the
    counts. Each component has mean 0 and variance 1; at most *n* of them, those that neighbours share.
    """
    values = sparse.csr_matrix(values, dtype=np.float64)
    mean = np.asarray(values.mean(axis=0)).ravel()
    pairs = cKDTree(xy).query_pairs(NEIGHBOURS * point_distance(xy), output_type="ndarray")
    both = np.vstack([pairs, pairs[:, ::-1]])
    beside = sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(len(xy), len(xy)))
    chosen = np.arange(len(xy))
    if len(chosen) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(xy), MOST_POINTS, replace=False))
    own = values[chosen].toarray() - mean
    count = np.asarray(beside[chosen].sum(axis=1))
    around = (beside[chosen] @ values).toarray() - count * mean
    shared = own.T @ around / max(count.sum(), 1.0)
    strength, axes = np.linalg.eigh((shared + shared.T) / 2)
    kept = [i for i in np.argsort(-strength)[:n] if strength[i] > 1e-9 * max(strength.max(), 1e-300)]
    scores = values @ axes[:, kept] - mean @ axes[:, kept]
    return scores / np.maximum(scores.std(axis=0), 1e-12)


def filled(raster: Raster) -> np.ndarray:
    """The values (height, width, k) of *raster*; off the section those of its nearest cell."""
    if not raster.on_section.any():
        return raster.values
    row, column = ndimage.distance_transform_edt(~raster.on_section, return_distances=False, return_indices=True)
    return raster.values[row, column]


def depth(raster: Raster) -> np.ndarray:
    """How far inside the section each cell of *raster* lies, (height, width); negative outside."""
    inside, outside = (ndimage.distance_transform_edt(there) for there in (raster.on_section, ~raster.on_section))
    return (inside - outside) * raster.pitch
