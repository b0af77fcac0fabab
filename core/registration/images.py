"""Images through a map: each pixel of the target is looked up where it comes from. Numpy and scipy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from core.errors import DataError

ROWS = 256  # rows of the target at once, so that a large image does not need its coordinates in memory
LINEAR = 1


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of an image lie in a frame.

    Attributes
    ----------
    origin
        [x, y] of the centre of pixel [0, 0].
    step
        (x, y): distance of neighbouring columns and of neighbouring rows, in the unit of the frame.
    shape
        (rows, columns).
    """

    origin: tuple[float, float]
    step: tuple[float, float]
    shape: tuple[int, int]

    def centres(self, rows: slice = slice(None)) -> np.ndarray:
        """(n, 2) [x, y] of the pixels of *rows*, row by row."""
        row, column = np.meshgrid(np.arange(self.shape[0])[rows], np.arange(self.shape[1]), indexing="ij")
        return np.array(self.origin) + np.array(self.step) * np.column_stack([column.ravel(), row.ravel()])

    def index(self, xy: np.ndarray) -> np.ndarray:
        """Row and column (2, n), with fractions, of points *xy* (n, 2)."""
        return ((xy - np.array(self.origin)) / np.array(self.step)).T[::-1]


def resample(
    image: np.ndarray,
    source: PixelGrid,
    target: PixelGrid,
    back: Callable[[np.ndarray], np.ndarray],
    *,
    order: int = LINEAR,
    fill: float = np.nan,
) -> np.ndarray:
    """*image* on *source* as it looks on *target*.

    Parameters
    ----------
    image
        (rows, columns) or (rows, columns, channels).
    back
        Takes points (n, 2) of the target's frame to the source's.
    order
        Of the spline: 0 takes the nearest pixel, for labels; 1 is linear.
    fill
        Where *image* says nothing.

    Returns
    -------
    float64 (rows, columns[, channels]) of *target*.

    Raises
    ------
    DataError
        The image does not have the shape of *source*.
    """
    image = np.asarray(image)
    if image.shape[:2] != tuple(source.shape) or image.ndim not in (2, 3):
        raise DataError(f"an image of {source.shape[0]} x {source.shape[1]} pixels", found=f"shape {image.shape}")
    layers = image[:, :, None] if image.ndim == 2 else image
    out = np.empty((*target.shape, layers.shape[2]))
    for begin in range(0, target.shape[0], ROWS):
        rows = slice(begin, begin + ROWS)
        at = source.index(back(target.centres(rows)))
        for channel in range(layers.shape[2]):
            layer = layers[:, :, channel].astype(np.float64)
            read = map_coordinates(layer, at, order=order, mode="constant", cval=fill)
            out[rows, :, channel] = read.reshape(-1, target.shape[1])
    return out[:, :, 0] if image.ndim == 2 else out
