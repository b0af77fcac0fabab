"""Spatial smoothing of the encoder's input, which stops at borders.

The weights are those of a bilateral filter (Tomasi & Manduchi, ICCV 1998) on a graph of spots: a neighbour counts less
the less it looks like the spot. Noise would hide the likeness, so spots are compared by a guide: principal axes of the
modalities' plain means over the first ring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from scipy import sparse
from scipy.spatial import cKDTree

from core.vae.data import AT_ONCE, KEPT_BYTES, Correction, Transforming, smoothed

RING = 6  # spots around a spot, of a hexagonal grid
AXES = 10  # of a guide
AXES_FROM = 5000  # spots that the axes are taken from


def smoother(
    xy: np.ndarray,
    sample: np.ndarray,
    *,
    k: int,
    weight: float,
    guides: Sequence[np.ndarray] = (),
    likeness: float = 0.0,
) -> sparse.csr_matrix:
    """Weights that mix each spot with its *k* nearest spots of the same sample.

    Parameters
    ----------
    xy
        Coordinates, any unit, shape (spots, 2).
    sample
        Sample code of each spot, int, shape (spots,).
    k
        Number of neighbours; fewer where a sample has fewer other spots.
    weight
        Share of the neighbours that all look alike; the spot itself keeps the rest.
    guides
        What spots are compared by, each (spots, axes).
    likeness
        A neighbour counts exp(-likeness D): D is its squared distance in a guide, as a multiple of the median over the
        sample's adjoining spots, meant over the guides. Where neighbours count less, the spot itself counts more.

    Returns
    -------
    Row-stochastic CSR float32, shape (spots, spots).
    """
    n = len(xy)
    rows, columns, values = [np.arange(n)], [np.arange(n)], [np.ones(n)]
    for code in np.unique(sample):
        spots = np.flatnonzero(sample == code)
        near = min(k, len(spots) - 1)
        if near == 0:
            continue
        found = cKDTree(xy[spots]).query(xy[spots], k=near + 1)[1]
        others = spots[_without_self(found)]
        counted = np.full(others.shape, weight / near)
        if likeness and guides:
            apart = np.mean([_apart(guide, spots, others) for guide in guides], axis=0)
            counted *= np.exp(-likeness * apart)
        own = np.maximum(1 - weight, 1e-12)
        total = own + counted.sum(1)
        values[0][spots] = own / total
        rows.append(np.repeat(spots, near))
        columns.append(others.ravel())
        values.append((counted / total[:, None]).ravel())
    entries = np.concatenate(values).astype(np.float32)
    return sparse.csr_matrix((entries, (np.concatenate(rows), np.concatenate(columns))), shape=(n, n))


def _apart(guide: np.ndarray, spots: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances (n, k) of *spots* (n,) to *others* (n, k), nearest first, in units of what is usual."""
    squared = np.stack([((guide[spots] - guide[column]) ** 2).sum(1) for column in others.T], axis=1)
    adjoining = squared[:, :RING]
    return squared / (np.median(adjoining) or adjoining.mean() or 1.0)


def guides(
    matrices: Mapping[str, sparse.csr_matrix],
    transforms: Mapping[str, Transforming],
    xy: np.ndarray,
    sample: np.ndarray,
) -> list[np.ndarray]:
    """What the spots look like, one array (spots, at most 10) for each modality: the principal axes of the transformed
    means over a spot and its first ring, each sample's mean taken off, in which spots are then measured."""
    ring = smoother(xy, sample, k=RING, weight=RING / (RING + 1))
    return principal(matrices, transforms, ring, sample, axes=AXES)


def principal(
    matrices: Mapping[str, sparse.csr_matrix],
    transforms: Mapping[str, Transforming],
    mix: sparse.csr_matrix,
    sample: np.ndarray,
    *,
    axes: int,
    correction: Correction | None = None,
) -> list[np.ndarray]:
    """The inputs that the weights *mix* make, less *correction*, on their *axes* leading principal axes within
    samples; one array (spots, at most axes) for each modality."""
    n = len(sample)
    few = np.sort(np.random.default_rng(0).permutation(n)[:AXES_FROM])
    found = []
    for name, matrix in matrices.items():
        less = None if correction is None else partial(correction.of, name)
        inputs = partial(smoothed, matrix, mix, transform=transforms[name], less=less)
        kept = inputs(np.arange(n)) if 2 * n * matrix.shape[1] <= KEPT_BYTES else None
        leading = _axes((inputs(few) if kept is None else kept[few]).float(), sample[few])[:, :axes]
        pieces = (np.arange(start, min(start + AT_ONCE, n)) for start in range(0, n, AT_ONCE))
        made = [((inputs(piece) if kept is None else kept[piece]).float() @ leading).numpy() for piece in pieces]
        found.append(np.concatenate(made))
    return found


def _axes(values: torch.Tensor, sample: np.ndarray) -> torch.Tensor:
    """Leading principal axes (features, axes) of *values* (n, features) within samples."""
    for code in np.unique(sample):
        spots = torch.from_numpy(np.flatnonzero(sample == code))
        values[spots] -= values[spots].mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        axes = torch.svd_lowrank(values, q=min(2 * AXES, *values.shape), niter=3)[2]
    return axes[:, :AXES]


def _without_self(found: np.ndarray) -> np.ndarray:
    """Drop each row's own index from (n, k + 1); where spots coincide and it is not among them, drop the last."""
    own = found == np.arange(len(found))[:, None]
    own[~own.any(1), -1] = True
    return found[~own].reshape(len(found), -1)
