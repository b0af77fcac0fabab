"""The objective of a pair: its outlines and pictures as tensors, at one resolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from core.registration.losses import ImageTerm, LandmarkTerm, Objective, OutlineTerm, Target
from core.registration.rasters import Raster
from core.registration.section import Section


def make_objective(
    sm: Section,
    st: Section,
    weights: Mapping[str, float],
    *,
    scale: float,
    pictures: tuple[Raster, Raster] | None = None,
    landmarks: tuple[np.ndarray, np.ndarray] | None = None,
) -> Objective:
    """What maps of *sm* onto *st* are judged by.

    Parameters
    ----------
    weights
        Of 'outline', 'histology' and 'landmarks'.
    scale
        Distance from which on the outline loss grows linearly, spot distances.
    pictures
        The histology's colours and SM's latent, for 'histology'; blurred ones pull from afar.
    landmarks
        (n, 2) in SM and (n, 2) in ST, working units.
    """
    terms = {"outline": OutlineTerm(as_target(sm), as_target(st), scale)}
    if weights.get("histology", 0) > 0 and pictures is not None and pictures[1].values.shape[2] > 0:
        terms["histology"] = image_term(*pictures)
    if landmarks is not None:
        terms["landmarks"] = LandmarkTerm(*(tensor(points) for points in landmarks))
    return Objective(terms, weights)


def as_target(section: Section) -> Target:
    """The outline of *section* as tensors."""
    return Target(
        tensor(section.xy), tensor(section.weight), tensor(section.frame.normals), tensor(section.frame.offsets)
    )


def image_term(st: Raster, sm: Raster) -> ImageTerm:
    """The term of ST's picture and SM's latent, in working units."""
    picture = np.where(st.on_section[:, :, None], st.values, 0.0)
    return ImageTerm(
        picture=tensor(picture.transpose(2, 0, 1)[None]),
        inside=tensor(st.on_section[None, None].astype(float)),
        origin=tensor(st.origin),
        pitch=st.pitch,
        xy=tensor(sm.cells),
        latent=tensor(sm.values[sm.on_section]),
    )


def tensor(values: np.ndarray) -> torch.Tensor:
    """*values* in single precision."""
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)
