"""Where a section is cut by the border of what was measured: there its outline says nothing about the tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Shortest straight run along a side of the bounding box that counts as a cut, as a share of that side. A convex
#: section touches its bounding box too, but only over a short stretch.
SHORTEST_CUT = 0.15
STRAIGHT = 0.5  # depth within which points follow a straight side in any direction, spot distances
SHORTEST_SIDE = 6.0  # of those, spot distances
MOST_GROWTH = 1.4  # of a straight side's run within four times that depth
MOSTLY = 0.7  # of the run has to be outline: two lobes that touch a line are no side


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


def find_frame(outline_xy: np.ndarray, *, tolerance: float, limit_xy: np.ndarray | None = None) -> Frame:
    """Sides of the bounding box along which the section is cut.

    Parameters
    ----------
    outline_xy
        (n, 2) evenly spaced points.
    tolerance
        How far from the side a point may lie to follow it.
    limit_xy
        (k, 2) measured points beyond which nothing could be measured; a side is cut where they follow it. None: not
        known; a side is cut where the outline follows it for longer than a curve would.
    """
    low, high = outline_xy.min(axis=0), outline_xy.max(axis=0)
    normals, offsets = [], []
    for axis, sign in ((0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0)):
        side = high[axis] if sign > 0 else low[axis]
        length, depth = (high - low)[1 - axis], (high - low)[axis]
        points = outline_xy if limit_xy is None else limit_xy
        # Measured points lie up to one point distance inside the outline, which runs around their cells.
        near = np.abs(points[:, axis] - side) <= (tolerance if limit_xy is None else tolerance + 1)
        # A curve of radius r leaves its tangent by the tolerance after sqrt(2 r tolerance): longer runs are straight.
        bow = 2 * np.sqrt(tolerance * depth)
        shortest = max(SHORTEST_CUT * length, 1.5 * bow if limit_xy is None else 0.0)
        if near.any() and np.ptp(points[near, 1 - axis]) > shortest:
            normals.append(np.eye(2)[axis] * sign)
            offsets.append(sign * side)
    return Frame(np.array(normals).reshape(-1, 2), np.array(offsets))


def straight_sides(outline_xy: np.ndarray) -> Frame:
    """Straight sides of the convex hull in any direction: cuts, or borders that happen to be straight.

    A curve leaves its tangent with the square of the way: within four times the depth its run is twice as long. A cut
    ends in corners, so its run hardly grows.

    Parameters
    ----------
    outline_xy
        (n, 2) evenly spaced points, spot distances.
    """
    found: list[tuple[float, np.ndarray]] = []
    spacing = float(np.median(np.linalg.norm(np.diff(outline_xy, axis=0), axis=1)))
    for angle in np.deg2rad(np.arange(0, 360, 2)):
        normal, along = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        depth = (outline_xy @ normal).max() - outline_xy @ normal
        run, longer = (outline_xy[depth <= limit] @ along for limit in (STRAIGHT, 4 * STRAIGHT))
        length = np.ptp(run)
        least = max(SHORTEST_SIDE, SHORTEST_CUT * np.ptp(outline_xy @ along))
        if length >= least and np.ptp(longer) <= MOST_GROWTH * length and len(run) * spacing >= MOSTLY * length:
            found.append((length, normal))
    normals: list[np.ndarray] = []
    for _, normal in sorted(found, key=lambda one: -one[0]):  # the directions beside it see the same side
        if all(normal @ other < np.cos(np.deg2rad(20)) for other in normals):
            normals.append(normal)
    chosen = np.array(normals).reshape(-1, 2)
    return Frame(chosen, (outline_xy @ chosen.T).max(axis=0))


def at_capture_limit(array_row: np.ndarray, array_col: np.ndarray) -> np.ndarray:
    """Which Visium spots (n,) are the outermost of the capture area, by their place in its array.

    6.5 mm: 78 rows x 128 columns; 11 mm: 128 x 224.
    """
    rows, columns = (78, 128) if array_row.max() < 78 and array_col.max() < 128 else (128, 224)
    edge_row = (array_row <= 0) | (array_row >= rows - 1)
    return edge_row | (array_col <= 1) | (array_col >= columns - 2)
