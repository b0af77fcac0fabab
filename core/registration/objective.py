"""The objective of a pair: its outlines and pictures as tensors, at one resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from core.registration.losses import ImageTerm, LandmarkTerm, LikelihoodTerm, Objective, OutlineTerm, Target
from core.registration.pictures import Pictures
from core.registration.rasters import Raster
from core.registration.section import Section


def make_objective(
    sm: Section,
    st: Section,
    weights: Mapping[str, float],
    *,
    scale: float,
    blur: float | None = None,
    pictures: Pictures | None = None,
    landmarks: tuple[np.ndarray, np.ndarray] | None = None,
    likelihood: bool = False,
) -> Objective:
    """What maps of *sm* onto *st* are judged by.

    Parameters
    ----------
    weights
        Of 'outline', 'features', 'histology' and 'landmarks'.
    scale
        Distance from which on the outline loss grows linearly, spot distances.
    blur
        Standard deviation to which the pictures are blurred, spot distances: large ones pull from afar. None: as sharp
        as they are.
    landmarks
        (n, 2) in SM and (n, 2) in ST, working units.
    likelihood
        Features by :class:`core.registration.losses.LikelihoodTerm`, else by ImageTerm as the histology always is.
    """
    terms = {"outline": OutlineTerm(as_target(sm), as_target(st), scale)}
    for name in ("features", "histology"):
        if weights.get(name, 0) > 0 and pictures is not None:
            rasters = pictures.rasters(name, blur)
            if rasters is not None:
                as_likelihood = likelihood and name == "features"
                terms[name] = likelihood_term(*rasters) if as_likelihood else image_term(*rasters)
    if landmarks is not None:
        terms["landmarks"] = LandmarkTerm(*(_tensor(points) for points in landmarks))
    return Objective(terms, weights)


def as_target(section: Section) -> Target:
    """The outline of *section* as tensors."""
    return Target(
        _tensor(section.xy), _tensor(section.weight), _tensor(section.frame.normals), _tensor(section.frame.offsets)
    )


def image_term(st: Raster, sm: Raster) -> ImageTerm:
    """The term of ST's picture and SM's latent, in working units."""
    return ImageTerm(**_parts(st, sm))


def likelihood_term(st: Raster, sm: Raster) -> LikelihoodTerm:
    """The term of ST's picture and SM's latent, in working units; the channels are brought to equal variances."""
    spread = np.maximum(st.values[st.on_section].std(axis=0), 1e-9)
    even = Raster(st.values / spread, st.on_section, st.origin, st.pitch)
    return LikelihoodTerm(**_parts(even, sm), beside=torch.as_tensor(_beside(sm.on_section)))


def _parts(st: Raster, sm: Raster) -> dict[str, Any]:
    picture = np.where(st.on_section[:, :, None], st.values, 0.0)
    return {
        "picture": _tensor(picture.transpose(2, 0, 1)[None]),
        "inside": _tensor(st.on_section[None, None].astype(float)),
        "origin": _tensor(st.origin),
        "pitch": st.pitch,
        "xy": _tensor(sm.cells),
        "latent": _tensor(sm.values[sm.on_section]),
    }


def _beside(on_section: np.ndarray) -> np.ndarray:
    """For the cells of *on_section* (height, width), in its order: the cells right, left, below, above, as (4, n)."""
    number = np.full(np.array(on_section.shape) + 2, -1)
    number[1:-1, 1:-1][on_section] = np.arange(on_section.sum())
    row, column = np.nonzero(on_section)
    around = [(1, 2), (1, 0), (2, 1), (0, 1)]
    found = np.array([number[row + down, column + right] for down, right in around])
    return np.where(found < 0, np.arange(len(row)), found)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)
