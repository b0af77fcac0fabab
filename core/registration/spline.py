"""Thin-plate spline through pairs of points: the smoothest map that takes each onto its partner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from core.registration.transforms import register

NEWTON_STEPS = 40
#: the inverse is good to this share of the extent of the target points
EXACT = 1e-9
CHUNK = 20_000  # points at once: 20,000 x 100 pairs take 16 MB


@register
@dataclass(frozen=True)
class ThinPlateSpline:
    """phi(p) = A p + b + sum_i w_i U(|p - source_i|), U(r) = r^2 log r, with phi(source_i) = target_i and the least
    bending energy (Bookstein, IEEE PAMI 11:567, 1989).

    Attributes
    ----------
    source, target
        (n, 2) as tuples of [x, y], at least 3 that do not lie on one line; SM and ST coordinates.
    """

    source: tuple[tuple[float, float], ...]
    target: tuple[tuple[float, float], ...]
    kind: ClassVar[str] = "thin_plate_spline"

    @classmethod
    def through(cls, source: np.ndarray, target: np.ndarray) -> ThinPlateSpline:
        """Of source (n, 2) and target points (n, 2)."""
        return cls(*(tuple((float(x), float(y)) for x, y in points) for points in (source, target)))

    @cached_property
    def _frame(self) -> tuple[np.ndarray, float]:
        """Centre and extent of the source: the equations are solved in these units, where they are well conditioned."""
        source = np.array(self.source)
        return source.mean(axis=0), float(np.ptp(source, axis=0).max())

    @cached_property
    def _parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Knots (n, 2) in units of the frame, weights (n, 2), and [b; A^T] (3, 2)."""
        centre, extent = self._frame
        knots, n = (np.array(self.source) - centre) / extent, len(self.source)
        linear = np.column_stack([np.ones(n), knots])
        system = np.block([[_kernel(knots, knots), linear], [linear.T, np.zeros((3, 3))]])
        solved = np.linalg.solve(system, np.vstack([np.array(self.target), np.zeros((3, 2))]))
        return knots, solved[:n], solved[n:]

    def forward(self, xy: np.ndarray) -> np.ndarray:
        """*xy* (n, 2) in the ST frame, as (n, 2)."""
        knots, weights, affine = self._parameters
        centre, extent = self._frame
        points = (np.asarray(xy, dtype=np.float64) - centre) / extent
        parts = [_kernel(p, knots) @ weights + affine[0] + p @ affine[1:] for p in _chunks(points)]
        return np.concatenate(parts)

    def jacobian(self, xy: np.ndarray) -> np.ndarray:
        """d phi / d p at *xy* (n, 2), as (n, 2, 2)."""
        knots, weights, affine = self._parameters
        centre, extent = self._frame
        parts = []
        for points in _chunks((np.asarray(xy, dtype=np.float64) - centre) / extent):
            offset = points[:, None] - knots
            squared = (offset**2).sum(axis=2)
            # dU/dp = (2 log r + 1) (p - knot), which goes to 0 with r
            slope = np.log(squared, out=np.zeros_like(squared), where=squared > 0) + (squared > 0)
            parts.append(np.einsum("nk,nkj,ki->nij", slope, offset, weights) + affine[1:].T)
        return np.concatenate(parts) / extent

    def jacobian_determinant(self, xy: np.ndarray) -> np.ndarray:
        """At every point, as (n,); a change of its sign is a fold."""
        return np.linalg.det(self.jacobian(xy))

    def inverse(self, xy: np.ndarray) -> np.ndarray:
        """ST coordinates *xy* (n, 2) in the SM frame, (n, 2), by Newton's method from the affine part.

        Where the map folds a point has several origins, or none: one is returned, or the nearest that was met.
        """
        _, _, affine = self._parameters
        centre, extent = self._frame
        goal = np.asarray(xy, dtype=np.float64)
        found = np.linalg.solve(affine[1:].T, (goal - affine[0]).T).T * extent + centre
        miss = np.linalg.norm(self.forward(found) - goal, axis=1)
        tolerance = EXACT * float(np.ptp(np.array(self.target), axis=0).max())
        share = np.ones(len(goal))  # of Newton's step: halved where it leads further away
        for _ in range(NEWTON_STEPS):
            open_ = np.flatnonzero((miss > tolerance) & (share > 1e-4))
            if len(open_) == 0:
                break
            step = np.linalg.pinv(self.jacobian(found[open_])) @ (goal[open_] - self.forward(found[open_]))[..., None]
            tried = found[open_] + share[open_, None] * step[..., 0]
            now = np.linalg.norm(self.forward(tried) - goal[open_], axis=1)
            better = now < miss[open_]
            found[open_[better]], miss[open_[better]] = tried[better], now[better]
            share[open_] = np.where(better, 1.0, share[open_] / 2)
        return found

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "source": [list(p) for p in self.source], "target": [list(p) for p in self.target]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ThinPlateSpline:
        points = (np.asarray(values[name], dtype=np.float64).reshape(-1, 2) for name in ("source", "target"))
        return cls.through(*points)


def _kernel(points: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """U(r) = r^2 log r between points (n, 2) and knots (k, 2), as (n, k)."""
    squared = ((points[:, None] - knots) ** 2).sum(axis=2)
    return 0.5 * squared * np.log(squared, out=np.zeros_like(squared), where=squared > 0)


def _chunks(points: np.ndarray) -> list[np.ndarray]:
    return np.array_split(points, max(1, -(-len(points) // CHUNK)))
