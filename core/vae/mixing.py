"""What the encoders see of a spot: its neighbourhood in the own sample and in the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from core.vae.across import Shifts, across, aligned, fit_shifts, mutual_pairs, partners, shared
from core.vae.config import IntegrateConfig
from core.vae.data import Correction, Transforming
from core.vae.neighbours import guides, principal, smoother

LEADING = 6  # principal axes of a modality by which partners are chosen: more of them tell noise


@dataclass(frozen=True)
class Mixing:
    """Row-stochastic *weights* (spots, spots), and, where samples are crossed, what is taken off the inputs and the
    shifts behind it."""

    weights: sparse.csr_matrix
    correction: Correction | None = None
    shifts: Shifts | None = None


def mixing(
    matrices: Mapping[str, sparse.csr_matrix],
    transforms: Mapping[str, Transforming],
    xy: np.ndarray,
    names: np.ndarray,
    *,
    config: IntegrateConfig,
    shifts: Shifts | None = None,
) -> Mixing:
    """Weights and correction for spots at *xy* (n, 2) of samples *names* (n,).

    *shifts* are those of a training, which new spots are to meet; a sample it did not have is not shifted. Without
    them they are found here, where there are several samples.
    """
    levels, sample = np.unique(names, return_inverse=True)
    likeness, k = config.neighbour_likeness or 0.0, config.neighbours_across or 0
    crossed = k > 0 and len(levels) > 1
    by = guides(matrices, transforms, xy, sample) if likeness or crossed else []
    mix = smoother(
        xy,
        sample,
        k=config.neighbours,
        weight=config.neighbour_weight,
        guides=by if likeness else (),
        likeness=likeness,
    )
    if crossed:
        guide = aligned(by, sample, k)
        pairs = mutual_pairs(guide, sample, k)
        if shifts is None:
            shifts = Shifts(tuple(map(str, levels)), fit_shifts(matrices, transforms, mix, pairs, sample))
    correction = None if shifts is None else Correction(sample, shifts.of(levels))
    if crossed:  # a second look, with less noise, says which spot of each sample is the partner
        calm = across(mix, guide, pairs, sample, k=k, likeness=likeness)
        seen = principal(matrices, transforms, calm, sample, axes=LEADING, correction=correction)
        guide = aligned(seen, sample, k)
        mix = shared(mix, partners(guide, mutual_pairs(guide, sample, k), sample))
    return Mixing(mix, correction, shifts)
