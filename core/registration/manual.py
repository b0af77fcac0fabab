"""The alignment that a person's values say; the Align page previews exactly this formula in the browser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.registration.outline import alpha_shape
from core.registration.transforms import Similarity


@dataclass(frozen=True)
class ManualBase:
    """Where manual moves start: SM in the middle of ST, as large as ST.

    Attributes
    ----------
    scale
        ST units per SM unit with which both sections have the same area.
    source, target
        Centres of the bounding boxes of the SM and of the ST points: (min + max) / 2 along each axis.
    """

    scale: float
    source: tuple[float, float]
    target: tuple[float, float]


def manual_base(st_xy: np.ndarray, sm_xy: np.ndarray) -> ManualBase:
    """The base of ST points (n, 2) and SM points (m, 2), each in its own frame.

    Raises
    ------
    DataError
        One of them has no outline.
    """
    scale = np.sqrt(alpha_shape(st_xy).area / alpha_shape(sm_xy).area)
    return ManualBase(float(scale), _box_centre(sm_xy), _box_centre(st_xy))


def manual_transform(
    st_xy: np.ndarray,
    sm_xy: np.ndarray,
    *,
    flip: bool = False,
    rotation_deg: float = 0.0,
    scale_x: float = 1.0,
    scale_y: float = 1.0,
    shift_px: tuple[float, float] = (0.0, 0.0),
) -> Similarity:
    """p' = R(theta) S F (p - c_sm) + c_st + shift.

    c_sm and c_st are the centres of the bounding boxes of *sm_xy* (m, 2) and *st_xy* (n, 2); F = diag(-1, 1) if *flip*,
    else the identity; S = base * diag(scale_x, scale_y) along the SM frame's axes, where base makes the areas of the
    outlines equal (:func:`manual_base`); R = [[cos, -sin], [sin, cos]], clockwise on the screen because y points down.

    Parameters
    ----------
    scale_x, scale_y
        Factors upon the base scale, without unit.
    shift_px
        In units of the ST frame (full-resolution pixels).
    """
    base = manual_base(st_xy, sm_xy)
    target = (base.target[0] + shift_px[0], base.target[1] + shift_px[1])
    return Similarity(rotation_deg, flip, base.scale * scale_x, base.scale * scale_y, base.source, target)


def _box_centre(xy: np.ndarray) -> tuple[float, float]:
    xy = np.asarray(xy, dtype=np.float64)[:, :2]
    x, y = (np.nanmin(xy, axis=0) + np.nanmax(xy, axis=0)) / 2
    return float(x), float(y)
