"""What was measured on both sections, as pictures to be laid on each other: latents, and the histology."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.registration.rasters import Raster, blurred, normalised, principal, rasterise
from core.registration.section import Section

#: Distance of the cells and least blur of the rasters, in spot distances: fine enough for half a spot, coarse enough
#: that hexagonal spots leave no gaps.
PITCH = 0.5
SHARPEST = 0.7


@dataclass
class Pictures:
    """Made when first asked for, and kept.

    Attributes
    ----------
    st, sm
        The sections, for their working units.
    st_xy, sm_xy
        (n, 2), (m, 2) the points as measured.
    values
        Counts (n, genes) and intensities (m, metabolites), or latents of both; None: there are none.
    latent
        Whether *values* are latents already, and not to be normalised.
    """

    st: Section
    sm: Section
    st_xy: np.ndarray
    sm_xy: np.ndarray
    values: tuple[Any, Any] | None = None
    latent: bool = False
    histology: Raster | None = None
    _kept: dict[Any, Any] = field(default_factory=dict)

    def rasters(self, name: str, blur: float | None = None) -> tuple[Raster, Raster] | None:
        """ST's picture for the term *name* ('features' or 'histology') and SM's latent; None where there is none."""
        if self.values is None or (name == "histology" and self.histology is None):
            return None
        st = self._latent("st") if name == "features" else self.histology
        pair = (st, self._latent("sm"))
        if pair[0].values.shape[2] == 0 or pair[1].values.shape[2] == 0:
            return None
        return tuple(self._at(name, which, raster, blur) for which, raster in zip(("st", "sm"), pair, strict=True))

    def _latent(self, which: str) -> Raster:
        if which not in self._kept:
            section = self.st if which == "st" else self.sm
            xy = section.work(self.st_xy if which == "st" else self.sm_xy)
            values = self.values[0 if which == "st" else 1]
            values = values if self.latent else normalised(values)
            self._kept[which] = principal(rasterise(xy, values, pitch=PITCH, blur=SHARPEST))
        return self._kept[which]

    def _at(self, name: str, which: str, raster: Raster, blur: float | None) -> Raster:
        more = np.sqrt(max((blur or 0.0) ** 2 - SHARPEST**2, 0.0))
        if more == 0:
            return raster
        key = (name if which == "st" else "", which, blur)
        if key not in self._kept:
            self._kept[key] = blurred(raster, more)
        return self._kept[key]
