"""Do the measured values fit each other? Tells orientations apart that the outline alone can not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from core.registration.rasters import normalised
from core.registration.transforms import Transform

MOST_FEATURES = 300
N_COMPONENTS = 8
RIDGE = 1e-3


@dataclass(frozen=True)
class Components:
    """Principal components of a section.

    Attributes
    ----------
    xy
        (n, 2) in the frame as measured.
    scores
        (n, k), mean 0 and variance 1 each.
    share
        (k,) variance of each, adding up to 1.
    """

    xy: np.ndarray
    scores: np.ndarray
    share: np.ndarray


def components(values: np.ndarray | sparse.spmatrix, xy: np.ndarray) -> Components:
    """Principal components of the most variable features of *values* (n, m), brought to equal totals and logarithms."""
    return principal_components(normalised(values, MOST_FEATURES).toarray(), xy)


def principal_components(values: np.ndarray, xy: np.ndarray) -> Components:
    """Those of dense *values* (n, m), measured at *xy* (n, 2)."""
    dense = values - values.mean(axis=0)
    variances, axes = np.linalg.eigh(dense.T @ dense / len(dense))
    kept = [i for i in np.argsort(-variances)[:N_COMPONENTS] if variances[i] > 1e-9]
    share = variances[kept] / max(variances[kept].sum(), 1e-12)
    return Components(xy, dense @ axes[:, kept] / np.sqrt(variances[kept]), share)


def agreement(transform: Transform, st: Components, sm: Components, *, reach: float) -> float:
    """Share of the variance of the ST components that the SM components at the same place explain, in [0, 1].

    Adjusted for the number of predictors (Ezekiel's adjusted R²), and times the share of ST that SM covers: a few spots
    are explained by chance.

    Parameters
    ----------
    reach
        An ST spot takes part when SM was measured nearer than this; ST units.
    """
    if st.scores.shape[1] == 0 or sm.scores.shape[1] == 0:
        return 0.0
    distance, index = cKDTree(transform.forward(sm.xy)).query(st.xy, k=min(4, len(sm.xy)))
    distance, index = distance.reshape(len(st.xy), -1), index.reshape(len(st.xy), -1)
    near = distance[:, 0] <= reach
    if near.sum() <= 2 * sm.scores.shape[1]:
        return 0.0
    predictors = sm.scores[index[near]].mean(axis=1)
    wanted = st.scores[near]
    predictors, wanted = predictors - predictors.mean(axis=0), wanted - wanted.mean(axis=0)
    gram = predictors.T @ predictors
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    left = wanted - predictors @ np.linalg.solve(gram + ridge, predictors.T @ wanted)
    n, k = predictors.shape
    unexplained = (left**2).sum(axis=0) / np.maximum((wanted**2).sum(axis=0), 1e-12) * (n - 1) / (n - k - 1)
    return float(max(0.0, (1 - unexplained) @ st.share) * near.mean())
