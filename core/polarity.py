"""Positive and negative ion mode of one section as one SM table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from core import keys
from core.errors import DataError
from core.feature_table import stacked, unique_names
from core.quality import counts_of
from core.spatial import check_coordinates, smallest_distance

if TYPE_CHECKING:
    from anndata import AnnData

#: pixels of the two runs are the same where they lie within this share of the pixel distance
TOLERANCE = 0.5
POSITIVE, NEGATIVE = "positive", "negative"


def matched_pixels(a_xy: np.ndarray, b_xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of *a_xy* (n, 2) and *b_xy* (m, 2) that are the same pixel: each other's nearest, and closer than half of
    the smallest pixel distance. Both of shape (n_matched,), in the order of *a_xy*."""
    a_xy, b_xy = check_coordinates(a_xy), check_coordinates(b_xy)
    reach = TOLERANCE * min(smallest_distance(a_xy), smallest_distance(b_xy))
    distance, to_b = cKDTree(b_xy).query(a_xy)
    to_a = cKDTree(a_xy).query(b_xy)[1]
    rows = np.flatnonzero((distance < reach) & (to_a[to_b] == np.arange(len(a_xy))))
    return rows, to_b[rows]


def merge_polarities(positive: AnnData, negative: AnnData) -> AnnData:
    """One SM section with the features of both ion modes, at the pixels that both have.

    ``var['polarity']`` says which mode a feature comes from; a name that both have gets ``_negative`` in the second.
    obs, obsm and uns are those of the positive mode. ``uns['spatialmeta']['polarity']`` has the number of pixels of
    each and of those matched.

    Raises
    ------
    DataError
        When a file says that it is of the other mode, or no pixel is in both.
    """
    from anndata import AnnData

    parts = {POSITIVE: positive, NEGATIVE: negative}
    for mode, section in parts.items():
        _check_mode(section, mode)
    xy = {mode: np.asarray(section.obsm[keys.SPATIAL])[:, :2] for mode, section in parts.items()}
    rows = dict(zip(parts, matched_pixels(xy[POSITIVE], xy[NEGATIVE]), strict=True))
    if not len(rows[POSITIVE]):
        raise DataError(
            "pixels at the same coordinates in both ion modes",
            found="none",
            mend="Choose coordinates that both files share, e.g. the raw pixel grid.",
        )
    names = list(positive.var_names.astype(str))
    names += unique_names(negative.var_names.astype(str), set(names), "_negative")
    var = stacked([section.var for section in parts.values()], names)
    var[keys.POLARITY] = [mode for mode, section in parts.items() for _ in range(section.n_vars)]
    var[keys.TYPE] = keys.SM
    X = sparse.hstack(
        [sparse.csr_matrix(counts_of(section)[rows[mode]], dtype=np.float32) for mode, section in parts.items()],
        format="csr",
    )
    base = positive[rows[POSITIVE]]
    merged = AnnData(X=X, obs=base.obs.copy(), var=var, uns=dict(positive.uns))
    merged.obsm = {name: np.asarray(values).copy() for name, values in base.obsm.items()}
    report = {f"n_{mode}": section.n_obs for mode, section in parts.items()} | {"n_matched": merged.n_obs}
    merged.uns[keys.UNS] = {**merged.uns.get(keys.UNS, {}), keys.POLARITY: report}
    return merged


def _check_mode(section: AnnData, mode: str) -> None:
    if keys.SPATIAL not in section.obsm:
        raise DataError(f"coordinates of the {mode} mode in obsm['spatial']", found=f"{sorted(section.obsm)}")
    if keys.POLARITY not in section.var:
        return
    signs = {"pos": POSITIVE, "+": POSITIVE, "neg": NEGATIVE, "-": NEGATIVE}
    told = {str(value).strip().lower() for value in section.var[keys.POLARITY].dropna()}
    found = {name for value in told for sign, name in signs.items() if value.startswith(sign)}
    if found - {mode}:
        raise DataError(f"a section of the {mode} ion mode", found=", ".join(sorted(told)), mend="Swap the two files.")
