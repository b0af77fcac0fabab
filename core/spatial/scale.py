"""How long a full-resolution pixel is, in µm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from core import keys
from core.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

#: distance between the centres of neighbouring Visium spots
SPOT_PITCH_UM = 100.0
#: what Space Ranger's ``spot_diameter_fullres`` measures, by its documentation: "a theoretical 65 µm spot". (Printed
#: spots are 55 µm wide, but taken for 55 the scale comes out 15 % too small: 376.9 px beside a pitch of 580 px.)
SPOT_DIAMETER_UM = 65.0
#: pitch / diameter that Visium data show (1.42 to 1.54), with room; outside it the nearest spots are no neighbours
PITCH_TO_DIAMETER = (1.2, 2.2)


def um_per_px(adata: AnnData) -> tuple[float, str]:
    """µm per full-resolution pixel, and where it comes from.

    In this order: ``microns_per_pixel`` of the scale factors (Visium HD); the smallest distance between two spots taken
    as the 100 µm of the Visium grid; ``spot_diameter_fullres`` taken as 65 µm, where the smallest distance cannot be
    the grid's.

    Raises
    ------
    DataError
        Fewer than two positions.
    """
    factors = _scalefactors(adata)
    given = _positive(factors.get("microns_per_pixel"))
    if given is not None:
        return given, "microns_per_pixel of the scale factors"
    distance = smallest_distance(np.asarray(adata.obsm[keys.SPATIAL])) if keys.SPATIAL in adata.obsm else None
    diameter = _positive(factors.get("spot_diameter_fullres"))
    if distance is not None and diameter is not None:
        low, high = PITCH_TO_DIAMETER
        if not low <= distance / diameter <= high:
            return SPOT_DIAMETER_UM / diameter, f"spot diameter of {diameter:.4g} px taken as 65 µm"
    if distance is None:
        raise DataError("at least two spots at different positions, to find the scale", found=f"{adata.n_obs:,} spots")
    return SPOT_PITCH_UM / distance, f"smallest spot distance of {distance:.4g} px taken as 100 µm"


def write_scale(adata: AnnData) -> None:
    """Write ``uns['spatialmeta']['um_per_px']`` and ``['um_per_px_source']``, in place."""
    value, source = um_per_px(adata)
    ours = adata.uns.setdefault(keys.UNS, {})
    ours[keys.UM_PER_PX], ours[keys.UM_PER_PX_SOURCE] = value, source


def smallest_distance(xy: np.ndarray) -> float | None:
    """The smallest distance above zero between two of the points *xy* (n, 2), or None where there is none."""
    xy = xy[np.isfinite(xy[:, :2]).all(axis=1), :2].astype(np.float64)
    xy = np.unique(xy, axis=0)
    if len(xy) < 2:
        return None
    return float(cKDTree(xy).query(xy, k=2)[0][:, 1].min())


def _scalefactors(adata: AnnData) -> Mapping:
    for sample in adata.uns.get(keys.UNS_SPATIAL, {}).values():
        if isinstance(sample, Mapping) and isinstance(sample.get("scalefactors"), Mapping):
            return sample["scalefactors"]
    return {}


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
