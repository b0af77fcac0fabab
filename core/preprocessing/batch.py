"""Features that differ between samples for technical reasons: fold change of one sample against the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from core.errors import DataError

#: added to a mean, as a share of the mean over all spots, so that a feature absent elsewhere has a finite fold change
FLOOR = 1e-6


@dataclass(frozen=True)
class BatchBias:
    """How each feature differs between samples.

    ``logfc`` and ``fraction`` have shape (n_samples, n_features): log2 of the mean in one sample over the mean of all
    spots of the others, centred to a median of 0 over the features detected in both; and the share of the sample's
    spots in which the feature is above 0.
    """

    logfc: np.ndarray
    fraction: np.ndarray

    def biased(self, min_logfc: float, min_frac: float) -> np.ndarray:
        """bool (n_samples, n_features): at least *min_logfc* higher than elsewhere, in at least *min_frac* of spots."""
        return (self.logfc >= min_logfc) & (self.fraction >= min_frac)


def batch_bias(X: sparse.spmatrix, codes: np.ndarray) -> BatchBias:
    """Compare every sample with all others.

    The mean of the normalised values themselves is compared, never a mean of logarithms taken twice: a fold change of 8
    is a log2 fold change of 3 whatever the scale of a feature. The median over the features is taken out, because a
    few features that are much higher in one sample push all others down when spots are scaled to one total.

    Parameters
    ----------
    X
        Normalised values on a linear scale, at least 0, shape (n, n_features): of one modality.
    codes
        Sample of each spot, 0 to n_samples - 1, shape (n,); every sample has a spot.

    Raises
    ------
    DataError
        For a single sample.
    """
    n_samples = int(codes.max(initial=-1)) + 1
    if n_samples < 2:
        raise DataError("at least two samples to compare", found=str(n_samples))
    X = sparse.csr_matrix(X)
    members = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_samples, len(codes)))
    size = np.bincount(codes, minlength=n_samples)[:, None].astype(np.float64)
    sums = (members @ X).toarray().astype(np.float64)
    detected = (members @ sparse.csr_matrix((X.data > 0, X.indices, X.indptr), shape=X.shape)).toarray()
    mean, rest = sums / size, (sums.sum(axis=0) - sums) / (size.sum() - size)
    floor = FLOOR * sums.sum(axis=0) / size.sum()
    floor[floor == 0] = 1.0  # zero everywhere: no change
    logfc = np.log2((mean + floor) / (rest + floor))
    both = (mean > 0) & (rest > 0)
    for s in range(n_samples):
        if both[s].any():
            logfc[s] -= np.median(logfc[s, both[s]])
    return BatchBias(logfc, detected / size)
