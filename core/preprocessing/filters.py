"""Spots that are good enough: thresholds on the quality of a spot, and the record of what they removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from core import keys
from core.errors import DataError

if TYPE_CHECKING:  # the web process reads the Configs and must stay free of anndata
    from anndata import AnnData

#: setting -> obs column, whether the setting is the least or the most that a spot may have, and what it is called
THRESHOLDS: dict[str, tuple[str, str, str]] = {
    "min_counts": (keys.N_COUNTS, "least", "counts"),
    "min_genes": (keys.N_GENES, "least", "genes"),
    "max_mito_share": (keys.MITO_SHARE, "most", "mitochondrial share"),
    "min_sm_total": (keys.SM_TOTAL, "least", "total intensity"),
    "min_sm_mean": (keys.SM_MEAN, "least", "mean intensity"),
    "min_metabolites": (keys.N_METABOLITES, "least", "metabolites"),
}


def spots_to_keep(obs: Mapping[str, np.ndarray], n: int, limits: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Which of *n* spots pass all *limits* (setting -> value), and why each other does not.

    Parameters
    ----------
    obs
        Quality columns of shape (n,), as :func:`core.quality.write_quality` writes them. A limit on a column that is
        not there (a modality is missing) removes nothing.

    Returns
    -------
    keep, reason
        bool and text of shape (n,); the reason is that of the first limit that a spot misses, '' where it is kept.
    """
    reason = np.full(n, "", dtype=object)
    for setting, (column, side, noun) in THRESHOLDS.items():
        if setting not in limits or column not in obs:
            continue
        values, limit = np.asarray(obs[column], dtype=np.float64), float(limits[setting])
        missed = values > limit if side == "most" else values < limit
        reason[missed & (reason == "")] = f"{noun} {'above' if side == 'most' else 'below'} {limit:g}"
    return reason == "", reason


def filter_spots(adata: AnnData, limits: Mapping[str, float]) -> AnnData:
    """*adata* without the spots that miss one of *limits*; the values of those that stay are untouched.

    Writes ``uns['spatialmeta']['quality_control']``: ``n_before``, ``n_removed``, and the names (``removed``) and
    ``reason`` of what is gone.

    Raises
    ------
    DataError
        When nothing stays.
    """
    keep, reason = spots_to_keep({name: adata.obs[name].to_numpy() for name in adata.obs}, adata.n_obs, limits)
    if not keep.any():
        raise DataError("spots that pass the quality filters", found="none", mend="Lower the thresholds.")
    gone = ~keep
    report = {
        "n_before": len(keep),
        "n_removed": int(gone.sum()),
        "removed": adata.obs_names.to_numpy(dtype=str)[gone],
        "reason": reason[gone].astype(str),
    }
    kept = adata[keep].copy() if gone.any() else adata
    kept.uns[keys.UNS] = {**kept.uns.get(keys.UNS, {}), keys.QUALITY_CONTROL: report}
    return kept
