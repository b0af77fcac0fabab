"""From spots back to areas: the outline of a set of spots, so that clusters and categories can become regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from core.errors import DataError
from core.spatial import check_coordinates

#: raster cells per distance between neighbouring spots
CELLS_PER_PITCH = 6
#: how far from a spot its own area reaches, in pitches: corners of a hexagon lie at 0.577
REACH = 0.62
#: how far a straightened outline may lie from the raster's, in pitches; less than half the way to the next spot
TOLERANCE = 0.12
LARGEST_RASTER = 1 << 26


def outline(xy: np.ndarray, chosen: np.ndarray, *, pitch: float | None = None) -> list[dict[str, Any]]:
    """GeoJSON Polygons around the chosen spots: one for each connected part, with holes, largest first.

    Every place belongs to the spot nearest to it (a Voronoi cell, cut at REACH pitches); the polygons are the union of
    the cells of the chosen spots, on a raster, straightened. So they hold the chosen spots and no others.

    Parameters
    ----------
    xy
        All spots, shape (n, 2), in pixels.
    chosen
        bool, shape (n,).
    pitch
        Distance between neighbouring spots; None: the median distance to the nearest other spot.

    Raises
    ------
    DataError
        When nothing is chosen, or the spots lie too far apart for a raster.
    """
    xy, chosen = check_coordinates(xy), np.asarray(chosen, dtype=bool)
    if not chosen.any():
        raise DataError("at least one spot to draw an outline around", found="none")
    tree = cKDTree(xy)
    pitch = typical_pitch(xy) if pitch is None else float(pitch)
    cell = pitch / CELLS_PER_PITCH
    corner = xy[chosen].min(axis=0) - pitch
    shape = np.ceil((xy[chosen].max(axis=0) + pitch - corner) / cell).astype(int)
    if shape.prod() > LARGEST_RASTER:
        raise DataError("spots that lie together", found=f"a raster of {shape[0]:,} x {shape[1]:,} cells")
    inside = _cells_of(tree, chosen, corner, shape, cell=cell, reach=REACH * pitch)
    rings = [corner + ring * cell for ring in boundaries(inside)]
    return _polygons([_straightened(ring, TOLERANCE * pitch) for ring in rings])


def typical_pitch(xy: np.ndarray, sample: int = 2000) -> float:
    """Median distance from a spot to the nearest other one, of at most *sample* spots; 1 for a single spot."""
    xy = np.unique(np.asarray(xy, dtype=np.float64), axis=0)
    if len(xy) < 2:
        return 1.0
    some = xy[:: max(1, len(xy) // sample)]
    return float(np.median(cKDTree(xy).query(some, k=2)[0][:, 1]))


def _cells_of(
    tree: cKDTree, chosen: np.ndarray, corner: np.ndarray, shape: np.ndarray, *, cell: float, reach: float
) -> np.ndarray:
    """Which raster cells (nx, ny) lie nearest to a chosen spot and within *reach* of it."""
    centres = [corner[i] + (np.arange(shape[i]) + 0.5) * cell for i in range(2)]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2)
    _, nearest = tree.query(points, distance_upper_bound=reach)
    known = np.append(chosen, False)  # index n means: nothing within reach
    return known[nearest].reshape(shape)


def boundaries(inside: np.ndarray) -> list[np.ndarray]:
    """Closed lines between cells that are inside and cells that are not, each (m, 2) in cell corners.

    Walking along a line, the inside is on the same hand everywhere; where two cells touch only by a corner they are
    taken as apart.
    """
    padded = np.pad(inside, 1).astype(np.int8)
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for axis in (0, 1):
        change = np.diff(padded, axis=axis)
        for i, j in np.argwhere(change != 0):
            # corner (a, b) of the padded raster is (a - 1, b - 1) of the raster
            a, b = ((i, j - 1), (i, j)) if axis == 0 else ((i - 1, j), (i, j))
            enters = change[i, j] > 0
            start, end = (a, b) if enters == (axis == 0) else (b, a)
            edges.setdefault((int(start[0]), int(start[1])), []).append((int(end[0]), int(end[1])))
    return _walk(edges)


def _walk(edges: dict[tuple[int, int], list[tuple[int, int]]]) -> list[np.ndarray]:
    rings = []
    while edges:
        start = next(iter(edges))
        ring, here, before = [start], start, None
        while True:
            following = edges[here]
            step = following.pop(_turn(before, here, following) if before and len(following) > 1 else 0)
            if not following:
                del edges[here]
            before, here = here, step
            if here == start:
                break
            ring.append(here)
        rings.append(np.array(ring, dtype=np.float64))
    return rings


def _turn(before: tuple[int, int], here: tuple[int, int], following: list[tuple[int, int]]) -> int:
    """At a corner where two lines meet: the one that turns towards the inside, so that the cells stay apart."""
    dx, dy = here[0] - before[0], here[1] - before[1]
    sides = [dx * (q[1] - here[1]) - dy * (q[0] - here[0]) for q in following]
    return int(np.argmin(sides))


def _straightened(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas & Peucker (1973) on a closed line, split at its point farthest from the first."""
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1)))
    closed = np.vstack([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far, len(ring)]] = True
    stack = [(0, far), (far, len(ring))]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        away = _distances(closed[first + 1 : last], closed[first], closed[last])
        worst = int(np.argmax(away))
        if away[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            stack += [(first, middle), (middle, last)]
    return closed[keep]


def _distances(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of *points* (m, 2) to the segment from *a* to *b*."""
    step = b - a
    length = float(step @ step)
    share = np.clip((points - a) @ step / length, 0, 1) if length else np.zeros(len(points))
    return np.hypot(*(points - a - share[:, None] * step).T)


def _signed_area(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def _polygons(rings: list[np.ndarray]) -> list[dict[str, Any]]:
    """Outer lines with the holes that lie in them. Outer lines and holes run in opposite directions."""
    from core.analysis.regions import points_in_polygon

    areas = [_signed_area(ring) for ring in rings]
    largest = max(areas, key=abs)
    outer = sorted((i for i, a in enumerate(areas) if a * largest > 0), key=lambda i: -abs(areas[i]))
    parts = {i: [rings[i]] for i in outer}
    for hole in (i for i, a in enumerate(areas) if a * largest < 0):
        homes = [i for i in outer if points_in_polygon(rings[hole][:1], [rings[i]])[0]]
        if homes:
            parts[homes[-1]].append(rings[hole])
    return [{"type": "Polygon", "coordinates": [ring.round(2).tolist() for ring in parts[i]]} for i in outer]
