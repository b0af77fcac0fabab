"""The objective of a pair: its outlines and pictures as tensors, at one resolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from core.registration.losses import ImageTerm, LandmarkTerm, Objective, OutlineTerm, Target
from core.registration.pictures import Pictures
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
    """
    terms = {"outline": OutlineTerm(as_target(sm), as_target(st), scale)}
    for name in ("features", "histology"):
        if weights.get(name, 0) > 0 and pictures is not None:
            rasters = pictures.rasters(name, blur)
            if rasters is not None:
                terms[name] = image_term(*rasters)
    if landmarks is not None:
        terms["landmarks"] = LandmarkTerm(*(_tensor(points) for points in landmarks))
    return Objective(terms, weights)


def as_target(section: Section) -> Target:
    """The outline of *section* as tensors."""
    return Target(
        _tensor(section.xy), _tensor(section.weight), _tensor(section.frame.normals), _tensor(section.frame.offsets)
    )


def image_term(st, sm) -> ImageTerm:
    """The term of ST's picture and SM's latent, both :class:`core.registration.rasters.Raster` in working units."""
    picture = np.where(st.on_section[:, :, None], st.values, 0.0)
    return ImageTerm(
        picture=_tensor(picture.transpose(2, 0, 1)[None]),
        inside=_tensor(st.on_section[None, None].astype(float)),
        origin=_tensor(st.origin),
        pitch=st.pitch,
        xy=_tensor(sm.cells),
        latent=_tensor(sm.values[sm.on_section]),
    )


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)
