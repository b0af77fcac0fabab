"""Correction of p-values for the number of tests."""

from __future__ import annotations

import numpy as np


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate of each p-value, shape (n,); NaN stay NaN and are no tests.

    Benjamini & Hochberg, J. R. Stat. Soc. B 57 (1995).
    """
    p = np.asarray(p, dtype=np.float64)
    fdr = np.full(p.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    fdr[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return fdr
