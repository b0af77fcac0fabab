"""A smooth, invertible deformation of the plane: the end of a flow along a velocity. Numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from core.errors import DataError
from core.registration.transforms import register

#: rounds of the inverse of one time step, each of which shrinks the error by the steepness or more
ROUNDS = 200
EXACT = 1e-9  # of the distance of the nodes: where the rounds of the inverse end
CHUNK = 200_000  # points at once


@register
@dataclass(frozen=True, eq=False)
class Diffeomorphism:
    """varphi(p) = x(1) with dx/dt = v(t, x), x(0) = p (LDDMM: Beg et al., Int. J. Comput. Vis. 61:139, 2005).

    v is constant within each of equal time steps, which are taken at once (Euler); bilinear between the nodes of a
    grid and constant beyond it. The inverse undoes step by step what was done, so it is that of this very map and not
    of the flow that it approximates.

    Attributes
    ----------
    origin
        [x, y] of the first node.
    pitch
        Distance of neighbouring nodes, in the unit of the points.
    velocity
        (times, 2, rows, columns): x and y at each node, in that unit for the whole time from 0 to 1.

    Raises
    ------
    ValueError
        The velocity has another shape.
    DataError
        It is so steep that a time step has no inverse.
    """

    origin: tuple[float, float]
    pitch: float
    velocity: np.ndarray
    kind: ClassVar[str] = "diffeomorphism"

    def __post_init__(self) -> None:
        velocity = np.array(self.velocity, dtype=np.float64)
        if velocity.ndim != 4 or velocity.shape[1] != 2 or min(velocity.shape) < 1 or min(velocity.shape[2:]) < 2:
            raise ValueError(f"velocity of shape {velocity.shape}, not (times, 2, rows, columns)")
        object.__setattr__(self, "velocity", velocity)
        steep = steepness(velocity, self.pitch)
        if not steep < 1:
            raise DataError(
                "a deformation that can be undone",
                found=f"neighbours that move apart by {steep:.2g} of their distance in one time step",
                mend="Use more time steps, or a smoother deformation.",
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Diffeomorphism):
            return NotImplemented
        same = self.origin == other.origin and self.pitch == other.pitch
        return same and np.array_equal(self.velocity, other.velocity)

    __hash__ = None

    @property
    def times(self) -> int:
        return len(self.velocity)

    def forward(self, xy: np.ndarray) -> np.ndarray:
        """*xy* (n, 2), as (n, 2)."""
        xy = np.asarray(xy, dtype=np.float64)
        for velocity in self.velocity:
            xy = xy + self._read(velocity, xy) / self.times
        return xy

    def inverse(self, xy: np.ndarray) -> np.ndarray:
        """The points (n, 2) that :meth:`forward` takes to *xy* (n, 2)."""
        xy = np.asarray(xy, dtype=np.float64)
        parts = [self._undone(xy[begin : begin + CHUNK]) for begin in range(0, len(xy), CHUNK)]
        return np.concatenate(parts) if parts else xy

    def jacobian_determinant(self, xy: np.ndarray) -> np.ndarray:
        """Local change of area at *xy* (n, 2), as (n,); 0 or less where the map folds."""
        xy = np.asarray(xy, dtype=np.float64)
        determinant = np.ones(len(xy))
        for velocity in self.velocity:
            (dxx, dxy), (dyx, dyy) = (g / self.times for g in self._slopes(velocity, xy))
            determinant *= (1 + dxx) * (1 + dyy) - dxy * dyx
            xy = xy + self._read(velocity, xy) / self.times
        return determinant

    def to_dict(self) -> dict[str, Any]:
        origin = [float(v) for v in self.origin]
        return {"kind": self.kind, "origin": origin, "pitch": float(self.pitch), "velocity": self.velocity}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Diffeomorphism:
        x, y = np.asarray(values["origin"], dtype=np.float64)
        velocity = np.asarray(values["velocity"], dtype=np.float64)
        return cls((float(x), float(y)), float(values["pitch"]), velocity)

    def scaled(self, factor: float, centre: np.ndarray) -> Diffeomorphism:
        """The same deformation of points p / *factor* + *centre*, for p the points of this one.

        Rounded to about a hundred thousandth of the old unit, so that it is short as text.
        """
        x, y = np.array(self.origin) / factor + centre
        velocity = np.round(self.velocity / factor, 5 + int(np.ceil(np.log10(factor))))
        return Diffeomorphism((float(x), float(y)), self.pitch / factor, velocity)

    def _undone(self, xy: np.ndarray) -> np.ndarray:
        for velocity in self.velocity[::-1]:
            before = xy
            for _ in range(ROUNDS):  # x -> xy - v(x) / times contracts, see steepness
                after = xy - self._read(velocity, before) / self.times
                change = np.abs(after - before).max(initial=0.0)
                before = after
                if change <= EXACT * self.pitch:
                    break
            xy = before
        return xy

    def _cell(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Column and row (n, 2) of the node above and to the left of *xy*, the place in its cell in [0, 1] (n, 2), and
        whether that lies on the grid along each axis (n, 2)."""
        nodes = np.array(self.velocity.shape[:1:-1])
        at = (xy - np.array(self.origin)) / self.pitch
        low = np.clip(np.floor(at).astype(np.int64), 0, nodes - 2)
        part = at - low
        return low, np.clip(part, 0, 1), (part >= 0) & (part <= 1)

    def _read(self, velocity: np.ndarray, xy: np.ndarray) -> np.ndarray:
        low, part, _ = self._cell(xy)
        (a, b), (c, d) = _corners(velocity, low)
        x, y = part.T
        return ((1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)).T

    def _slopes(self, velocity: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """d velocity[i] / d xy[j] at *xy*, (2, 2, n)."""
        low, part, inside = self._cell(xy)
        (a, b), (c, d) = _corners(velocity, low)
        x, y = part.T
        along_x = ((1 - y) * (b - a) + y * (d - c)) * inside[:, 0]
        along_y = ((1 - x) * (c - a) + x * (d - b)) * inside[:, 1]
        return np.stack([along_x, along_y], axis=1) / self.pitch


def steepness(velocity: np.ndarray, pitch: float) -> float:
    """Upper bound of how much more one time step moves a point than another, over their distance.

    *velocity* (times, 2, rows, columns) as in :class:`Diffeomorphism`. Below 1, every time step has an inverse.
    """
    step = velocity / (len(velocity) * pitch)
    across = (np.diff(step, axis=3) ** 2).sum(axis=1)  # squared lengths, one an edge
    down = (np.diff(step, axis=2) ** 2).sum(axis=1)
    across, down = np.maximum(across[:, 1:], across[:, :-1]), np.maximum(down[:, :, 1:], down[:, :, :-1])
    return float(np.sqrt((across + down).max()))


def _corners(velocity: np.ndarray, low: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Values (2, n) of *velocity* (2, rows, columns) at the four corners of the cells at *low*."""
    column, row = low.T
    upper = velocity[:, row, column], velocity[:, row, column + 1]
    return upper, (velocity[:, row + 1, column], velocity[:, row + 1, column + 1])
