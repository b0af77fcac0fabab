"""Put a metabolomics section into the frame of a transcriptomics section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core import keys, options
from core.context import Context
from core.errors import DataError
from core.registration.config import AlignConfig
from core.registration.course import register
from core.registration.frame import at_capture_limit
from core.registration.histology import histology_of
from core.registration.pair import Pair

if TYPE_CHECKING:
    from anndata import AnnData


def align(st: AnnData, sm: AnnData, config: AlignConfig | None = None, context: Context | None = None) -> AnnData:
    """A copy of *sm* whose ``obsm['spatial']`` lies in the frame of *st* (full-resolution image pixels, [x, y]).

    Minimises the two-way distance of the outlines over turn, mirror image, scales and shift, then goes on with what was
    measured beside them, for ``nonrigid`` also over a diffeomorphism (paper, eq. 1-7). Also writes
    ``obsm['spatial_raw']``, the coordinates as measured, and ``uns['spatialmeta']['alignment']``, the
    :class:`RegistrationResult` as a dictionary.

    Raises
    ------
    DataError
        No coordinates, or an outline of fewer than 12 points.
    ConfigError
        A setting is out of its range.
    """
    config, context = options.check(config or AlignConfig()), context or Context()
    st_xy, sm_xy = coordinates(st, keys.SPATIAL, "ST"), coordinates(sm, config.spatial_key, "SM")
    pair = Pair(
        st_xy=st_xy,
        sm_xy=sm_xy,
        um_per_px=_um_per_px(st),
        limit_xy=_capture_limit(st, st_xy),
        values=(st.layers.get(keys.COUNTS, st.X), sm.layers.get(keys.COUNTS, sm.X)),
        picture=histology_of(st.uns.get(keys.UNS_SPATIAL)),
        latents=_latents(st, sm) if config.latents == "vae" and config.compares_values else None,
    )
    result = register(pair, config, context)
    aligned = sm.copy()
    aligned.obsm[keys.SPATIAL_RAW] = np.asarray(sm.obsm[config.spatial_key]).copy()
    aligned.obsm[keys.SPATIAL] = result.forward(sm_xy)
    notes = dict(aligned.uns.get(keys.UNS, {}))
    notes[keys.ALIGNMENT] = result.to_dict()
    aligned.uns[keys.UNS] = notes
    return aligned


def coordinates(adata: AnnData, key: str, what: str) -> np.ndarray:
    """``obsm[key]`` as finite float64 (n, 2). Raises DataError where it is missing or has gaps."""
    if key not in adata.obsm:
        there = ", ".join(adata.obsm) or "none"
        raise DataError(f"{what} coordinates in obsm['{key}']", found=there, mend="Name the slot that has them.")
    xy = np.asarray(adata.obsm[key], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2 or not np.isfinite(xy[:, :2]).all():
        raise DataError(f"finite {what} coordinates [x, y] in obsm['{key}']", found=f"shape {xy.shape} or gaps")
    return xy[:, :2]


def _um_per_px(st: AnnData) -> float:
    from core.spatial.scale import um_per_px

    known = st.uns.get(keys.UNS, {}).get(keys.UM_PER_PX)
    return float(known) if known is not None else um_per_px(st)[0]


def _latents(st: AnnData, sm: AnnData) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for section, modality in ((st, keys.ST), (sm, keys.SM)):
        slot = keys.X_EMB_MODALITY[modality]
        if slot not in section.obsm:
            mend = "The step 'align' of core.pipeline trains them."
            raise DataError(f"the latent of {modality} in obsm['{slot}']", found="no such slot", mend=mend)
        found.append(np.asarray(section.obsm[slot], dtype=np.float64))
    return found[0], found[1]


def _capture_limit(st: AnnData, st_xy: np.ndarray) -> np.ndarray | None:
    if not {"array_row", "array_col"} <= set(st.obs.columns):
        return None
    return st_xy[at_capture_limit(st.obs["array_row"].to_numpy(), st.obs["array_col"].to_numpy())]
