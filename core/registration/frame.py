"""Where a section is cut by the border of what was measured: there its outline says nothing about the tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Shortest straight run along a side of the bounding box that counts as a cut, as a share of that side. A convex
#: section touches its bounding box too, but only over a short stretch.
SHORTEST_CUT = 0.15


@dataclass(frozen=True)
class Frame:
    """The sides along which a section is cut, as half-planes.

    Attributes
    ----------
    normals
        (k, 2) unit vectors that point out of the measured area.
    offsets
        (k,): a point p lies beyond side i where normals[i] @ p > offsets[i].
    """

    normals: np.ndarray
    offsets: np.ndarray

    def beyond(self, xy: np.ndarray) -> np.ndarray:
        """How far *xy* (n, 2) lies outside the nearest cut side, as (n,): positive outside, -inf without cuts."""
        if len(self.offsets) == 0:
            return np.full(len(xy), -np.inf)
        return (xy @ self.normals.T - self.offsets).max(axis=1)


def find_frame(outline_xy: np.ndarray, *, tolerance: float) -> Frame:
    """Sides of the bounding box that the outline follows.

    Parameters
    ----------
    outline_xy
        (n, 2) evenly spaced points.
    tolerance
        How far from the side a point may lie to follow it.
    """
    low, high = outline_xy.min(axis=0), outline_xy.max(axis=0)
    normals, offsets = [], []
    for axis, sign in ((0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0)):
        side = high[axis] if sign > 0 else low[axis]
        near = np.abs(outline_xy[:, axis] - side) <= tolerance
        along = outline_xy[near, 1 - axis]
        # A curve of radius r leaves its tangent by the tolerance after sqrt(2 r tolerance): longer runs are straight.
        bow = 2 * np.sqrt(2 * tolerance * (high - low)[axis] / 2)
        if np.ptp(along) > max(SHORTEST_CUT * (high - low)[1 - axis], 1.5 * bow):
            normals.append(np.eye(2)[axis] * sign)
            offsets.append(sign * side)
    return Frame(np.array(normals).reshape(-1, 2), np.array(offsets))
