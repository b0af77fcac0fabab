"""Parameters of maps of outlines, and how to descend from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.registration.section import Section
from core.registration.transforms import Affine, Similarity, Transform


@dataclass(frozen=True)
class Starts:
    """Parameters of b maps p -> R(angle) diag(exp(log_scale)) K F p + move, of SM outlines in spot distances.

    Attributes
    ----------
    flip
        (b,) bool: F = diag(-1, 1).
    values
        (b, 6): angle in radians, log scale along x and y, shear k with K = [[1, k], [0, 1]], x and y in spot distances.
    loss
        (b,).
    """

    flip: np.ndarray
    values: np.ndarray
    loss: np.ndarray

    def take(self, which: np.ndarray | list[int] | range) -> Starts:
        which = np.asarray(which, dtype=int)
        return Starts(self.flip[which], self.values[which], self.loss[which])


@dataclass(frozen=True)
class Descent:
    """How to descend.

    Attributes
    ----------
    steps
        At most so many.
    step
        First step size, spot distances at the rim of the section.
    tolerance
        Converged when the loss falls by less than this share over 30 steps.
    scale
        Distance from which on the loss grows linearly, spot distances.
    free
        (6,) bool: which parameters may change.
    """

    steps: int
    step: float
    tolerance: float
    scale: float
    free: np.ndarray


def transform_of(flip: bool, values: np.ndarray, sm: Section, st: Section) -> Transform:
    """The map between the frames as measured that parameters (6,) of the outlines in working units stand for."""
    angle, log_x, log_y, shear, *move = values
    scale = sm.unit / st.unit * np.exp([log_x, log_y])
    target = st.centre + np.array(move) / st.unit
    similarity = Similarity(
        rotation_deg=float(np.rad2deg(angle) % 360),
        flip=bool(flip),
        scale_x=float(scale[0]),
        scale_y=float(scale[1]),
        source=(float(sm.centre[0]), float(sm.centre[1])),
        target=(float(target[0]), float(target[1])),
    )
    if shear == 0:
        return similarity
    mirror = -1.0 if flip else 1.0
    # similarity.matrix = R S F; the shear acts between S and F, and F K F = [[1, mirror * k], [0, 1]].
    matrix = similarity.matrix @ np.array([[1, mirror * shear], [0, 1]])
    return Affine.of(matrix, target - matrix @ sm.centre)


def values_of(similarity: Similarity, sm: Section, st: Section) -> np.ndarray:
    """The other way round: parameters (6,) of a map between the frames as measured."""
    log_scale = np.log(np.array([similarity.scale_x, similarity.scale_y]) * st.unit / sm.unit)
    move = st.work(similarity.forward(sm.centre[None]))[0]
    return np.array([np.deg2rad(similarity.rotation_deg), *log_scale, 0.0, *move])
