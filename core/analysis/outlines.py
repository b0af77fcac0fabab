"""From spots back to areas: the outline of a set of spots, so that clusters and categories can become regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
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
    chosen = np.asarray(chosen, dtype=bool)
    if not chosen.any():
        raise DataError("at least one spot to draw an outline around", found="none")
    return outlines(xy, np.where(chosen, 0, -1), 1, pitch=pitch)[0]


def outlines(
    xy: np.ndarray, codes: np.ndarray, count: int, *, pitch: float | None = None
) -> list[list[dict[str, Any]]]:
    """:func:`outline` of the spots of each code in 0 .. *count* - 1; an empty list for a code without a spot.

    *codes*: integers, shape (n,); any other code belongs to no outline.
    """
    xy, codes = check_coordinates(xy), np.asarray(codes, dtype=np.int64)
    codes = np.where((codes >= 0) & (codes < count), codes, -1)
    chosen = codes >= 0
    if not chosen.any():
        return [[] for _ in range(count)]
    pitch = typical_pitch(xy) if pitch is None else float(pitch)
    cell = pitch / CELLS_PER_PITCH
    corner = xy[chosen].min(axis=0) - pitch
    shape = np.ceil((xy[chosen].max(axis=0) + pitch - corner) / cell).astype(int)
    if shape.prod() > LARGEST_RASTER:
        raise DataError("spots that lie together", found=f"a raster of {shape[0]:,} x {shape[1]:,} cells")
    owner = _owners(xy, corner, shape, cell=cell, reach=REACH * pitch)
    code = np.append(codes, -1)[owner]  # index n: nothing within reach
    return [_outline_of(code == k, corner, cell, TOLERANCE * pitch) for k in range(count)]


def _outline_of(inside: np.ndarray, corner: np.ndarray, cell: float, tolerance: float) -> list[dict[str, Any]]:
    """The outline of the raster cells that are inside, within the part of the raster that has any."""
    rows, columns = (np.flatnonzero(inside.any(axis=1 - axis)) for axis in (0, 1))
    if not rows.size:
        return []
    inside = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = corner + np.array([rows[0], columns[0]]) * cell
    return _polygons(boundaries(inside), ndimage.label(inside)[0], corner, cell, tolerance)


def typical_pitch(xy: np.ndarray, sample: int = 2000) -> float:
    """Median distance from a spot to the nearest other one, of at most *sample* spots; 1 for a single spot."""
    xy = np.unique(np.asarray(xy, dtype=np.float64), axis=0)
    if len(xy) < 2:
        return 1.0
    some = xy[:: max(1, len(xy) // sample)]
    return float(np.median(cKDTree(xy).query(some, k=2)[0][:, 1]))


def _owners(xy: np.ndarray, corner: np.ndarray, shape: np.ndarray, *, cell: float, reach: float) -> np.ndarray:
    """Row of the spot nearest to each raster cell (nx, ny); the number of spots where none is within *reach*."""
    centres = [corner[i] + (np.arange(shape[i]) + 0.5) * cell for i in range(2)]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2)
    return cKDTree(xy).query(points, distance_upper_bound=reach)[1].reshape(shape)


def boundaries(inside: np.ndarray) -> list[np.ndarray]:
    """Closed lines between cells that are inside and cells that are not, each (m, 2) in cell corners.

    Walking along a line, the inside is on the same hand everywhere; where two cells touch only by a corner they are
    taken as apart. The cell inside beside the first step of a line is :func:`_first_cells`.
    """
    padded = np.pad(inside, 1).astype(np.int8)
    ends = []
    for axis in (0, 1):
        change = np.diff(padded, axis=axis)
        i, j = np.nonzero(change)
        # corner (a, b) of the padded raster is (a - 1, b - 1) of the raster
        a, b = ((i, j - 1), (i, j)) if axis == 0 else ((i - 1, j), (i, j))
        forth = (change[i, j] > 0) == (axis == 0)
        a, b = np.stack(a, axis=1), np.stack(b, axis=1)
        ends.append(np.stack([np.where(forth[:, None], a, b), np.where(forth[:, None], b, a)], axis=1))
    edges = np.concatenate(ends)  # (n_edges, 2, 2): from a corner to the next
    follows = _following(edges[:, 0], edges[:, 1], inside.shape[1] + 1)
    return [edges[ring, 0].astype(np.float64) for ring in _cycles(follows)]


def _following(start: np.ndarray, end: np.ndarray, width: int) -> np.ndarray:
    """Which edge comes after each one. Where two lines meet at a corner: the one that turns towards the inside, so that
    the cells stay apart. The two that leave such a corner do so in opposite directions."""
    begins, arrives = start @ [width, 1], end @ [width, 1]
    order = np.argsort(begins, kind="stable")
    first = np.searchsorted(begins[order], arrives, side="left")
    last = np.searchsorted(begins[order], arrives, side="right") - 1
    (dx, dy), (ex, ey) = (end - start).T, (end - start)[order[first]].T
    return order[np.where((first < last) & (dx * ey - dy * ex > 0), last, first)]


def _cycles(follows: np.ndarray) -> list[list[int]]:
    """The cycles of a permutation."""
    after, cycles = follows.tolist(), []
    left = bytearray(b"\1") * len(after)
    for begin in range(len(after)):
        k, cycle = begin, []
        while left[k]:
            left[k] = 0
            cycle.append(k)
            k = after[k]
        if cycle:
            cycles.append(cycle)
    return cycles


def _polygons(
    lines: list[np.ndarray], parts: np.ndarray, corner: np.ndarray, cell: float, tolerance: float
) -> list[dict[str, Any]]:
    """The *lines* of :func:`boundaries` put together: each part of the raster has one outer line, its longest way
    round, and its holes. Straightened by Douglas & Peucker (1973)."""
    import shapely

    part = parts[tuple(_first_cells(lines).T)]
    sizes = [len(line) for line in lines]
    rings = shapely.linearrings(
        corner + np.concatenate([np.vstack([line, line[:1]]) for line in lines]) * cell,
        indices=np.repeat(np.arange(len(lines)), np.add(sizes, 1)),
    )
    area = shapely.area(shapely.polygons(rings))
    rings = shapely.simplify(rings, tolerance, preserve_topology=False)
    found: dict[int, list[int]] = {}
    for k in np.argsort(-area, kind="stable"):  # the outer line of a part encloses its holes, so it comes first
        found.setdefault(int(part[k]), []).append(int(k))
    return [
        {"type": "Polygon", "coordinates": [shapely.get_coordinates(rings[k]).round(2).tolist() for k in ks]}
        for ks in found.values()
    ]


def _first_cells(lines: list[np.ndarray]) -> np.ndarray:
    """The cell inside beside the first step of each line; (n, 2)."""
    first, second = (np.array([line[k] for line in lines], dtype=np.int64) for k in (0, 1))
    di, dj = (second - first).T
    # a step towards higher j has the inside at its higher i, one towards higher i at its lower j
    away = np.where(
        (di == 0)[:, None], np.column_stack([(dj > 0) - 1, 0 * dj]), np.column_stack([0 * di, 0 - (di > 0)])
    )
    return np.minimum(first, second) + away
