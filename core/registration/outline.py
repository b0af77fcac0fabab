"""The outline of a section from the points that were measured on it: an alpha shape, evenly sampled.

Kernels on arrays; a unit of length is whatever the points come in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import Delaunay, QhullError, cKDTree

from core.errors import DataError

#: Triangles up to this circumradius, in point distances, belong to the section. A square grid has 0.71, a hexagonal one
#: 0.58, a square grid with one point missing 1.0. Larger ones would fill concave corners.
CIRCUMRADIUS = 1.5
MIN_POINTS = 12  # fewer boundary points are no outline; a biopsy of 50 spots has 16
TOO_SMALL = "A section this small or scattered can not be aligned; check that the file has all of its spots or pixels."
MIN_PIECE = 0.05  # smaller pieces, as a share of the largest one's area, are debris


@dataclass(frozen=True)
class Ring:
    """A closed boundary.

    Attributes
    ----------
    xy
        (n, 2), in order; the last point is joined to the first.
    hole
        Whether the section lies outside the ring.
    """

    xy: np.ndarray
    hole: bool

    @property
    def area(self) -> float:
        """Enclosed area, positive."""
        return abs(signed_area(self.xy))

    @property
    def length(self) -> float:
        return float(np.hypot(*(np.roll(self.xy, -1, axis=0) - self.xy).T).sum())


@dataclass(frozen=True)
class Shape:
    """The alpha shape of a section.

    Attributes
    ----------
    rings
        Boundaries of the pieces by area, largest first; then holes.
    cell
        Area that one measured point stands for.
    """

    rings: tuple[Ring, ...]
    cell: float

    @property
    def pieces(self) -> tuple[Ring, ...]:
        return tuple(ring for ring in self.rings if not ring.hole)

    @property
    def holes(self) -> tuple[Ring, ...]:
        return tuple(ring for ring in self.rings if ring.hole)

    @property
    def area(self) -> float:
        """Area of the pieces, their rims widened to the cells of the outermost points, holes filled."""
        return sum(ring.area + self.rim(ring) * ring.length for ring in self.pieces)

    def rim(self, ring: Ring) -> float:
        """How far the section reaches beyond the ring through its outermost points, on average.

        By Pick's theorem the cells of all points cover (boundary points / 2 + 1) cells more than the ring encloses.
        """
        return self.cell * (len(ring.xy) / 2 + 1) / ring.length


def point_distance(xy: np.ndarray) -> float:
    """Median distance of the points *xy* (n, 2) from their nearest neighbour."""
    distance = cKDTree(xy).query(xy, k=2)[0][:, 1]
    return float(np.median(distance))


def alpha_shape(xy: np.ndarray, *, circumradius: float = CIRCUMRADIUS) -> Shape:
    """Pieces and holes of the section on which *xy* (n, 2) were measured.

    Parameters
    ----------
    circumradius
        Delaunay triangles with a larger one, in point distances, are left out.

    Raises
    ------
    DataError
        Fewer than 12 points on the boundary, or all points on one line.
    """
    xy = np.unique(_finite(xy), axis=0)
    if len(xy) < MIN_POINTS:
        raise DataError(f"at least {MIN_POINTS} points on a section", found=f"{len(xy)}", mend=TOO_SMALL)
    xy, unscale = _even_axes(xy)
    try:
        triangles = Delaunay(xy).simplices
    except QhullError:
        raise DataError("points that cover an area", found="points on one line") from None
    pitch = point_distance(xy)
    radius, area = _circumradius(xy[triangles]), _triangle_area(xy[triangles])
    kept = radius <= circumradius * pitch
    triangles = np.where((area > 0)[:, None], triangles, triangles[:, ::-1])[kept]  # all counter-clockwise
    if len(triangles) == 0:
        raise DataError("points that lie close to each other", found="points without neighbours")
    rings = _rings(xy * unscale, _boundary_edges(triangles))
    if max(len(ring.xy) for ring in rings) < MIN_POINTS:
        longest = max(len(ring.xy) for ring in rings)
        raise DataError(f"an outline of at least {MIN_POINTS} points", found=f"{longest}", mend=TOO_SMALL)
    cell = 2 * float(np.median(np.abs(area[kept]))) * float(np.prod(unscale))
    return Shape(_without_debris(rings), cell)


@dataclass(frozen=True)
class Outline:
    """Evenly spaced points on the rims of the pieces of a section.

    Attributes
    ----------
    xy
        (n, 2).
    piece
        (n,) index of the ring that each point lies on.
    area, centre
        Area of all pieces and its centre of gravity (2,).
    """

    xy: np.ndarray
    piece: np.ndarray
    area: float
    centre: np.ndarray


def outline(shape: Shape, *, spacing: float, smoothing: float = 0.0) -> Outline:
    """Sample the rims of *shape*, widened to where the section truly ends.

    Parameters
    ----------
    spacing
        Distance between neighbouring points along the rim.
    smoothing
        Standard deviation of a Gaussian along the rim that evens out the steps of the grid, in the same unit.
    """
    rims, areas, centres = [], [], []
    for ring in shape.pieces:
        rim = _widened(_resampled(ring.xy, spacing), shape.rim(ring), smoothing / spacing)
        rims.append(_resampled(rim, spacing))
        areas.append(abs(signed_area(rim)))
        centres.append(centroid(rim))
    piece = np.repeat(np.arange(len(rims)), [len(rim) for rim in rims])
    return Outline(np.vstack(rims), piece, float(sum(areas)), np.average(centres, axis=0, weights=areas))


def signed_area(ring: np.ndarray) -> float:
    """Shoelace formula for a closed ring (n, 2); positive where it turns from x to y."""
    x, y = (ring - ring.mean(axis=0)).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def centroid(ring: np.ndarray) -> np.ndarray:
    """Centre of gravity (2,) of the area that a closed ring (n, 2) encloses."""
    base = ring.mean(axis=0)
    here = ring - base
    there = np.roll(here, -1, axis=0)
    cross = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    return base + ((here + there) * cross[:, None]).sum(axis=0) / (3 * cross.sum())


def _finite(xy: np.ndarray) -> np.ndarray:
    xy = np.asarray(xy, dtype=np.float64)[:, :2]
    return xy[np.isfinite(xy).all(axis=1)]


def _even_axes(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """*xy* with equal steps along x and y, and the factors (2,) that undo it.

    A raster whose pixels are longer than wide would otherwise lose triangles to the circumradius. Only rasters, whose
    coordinates repeat along both axes, are changed; on hexagonal spots the steps differ by sqrt(3) by design.
    """
    levels = [np.unique(np.round(xy[:, axis], 6)) for axis in (0, 1)]
    if any(len(level) < 2 or len(level) > len(xy) / 4 for level in levels):
        return xy, np.ones(2)
    step = np.array([np.median(np.diff(level)) for level in levels])
    on_grid = len(np.unique(np.round((xy - xy.min(axis=0)) / step).sum(axis=1) % 2)) == 2
    ratio = step.max() / step.min()
    if not on_grid or ratio < 1.05:
        return xy, np.ones(2)
    return xy / step * step.min(), step / step.min()


def _triangle_area(corners: np.ndarray) -> np.ndarray:
    """Signed area of triangles (n, 3, 2), as (n,)."""
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2


def _circumradius(corners: np.ndarray) -> np.ndarray:
    """Radius of the circle through each triangle of *corners* (n, 3, 2), as (n,)."""
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    area = np.abs(_triangle_area(corners))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(area > 0, sides.prod(axis=1) / (4 * area), np.inf)


def _boundary_edges(triangles: np.ndarray) -> np.ndarray:
    """Directed edges (n, 2) that only one of the counter-clockwise *triangles* (m, 3) has."""
    edges = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    base = edges.max() + 1
    code, reverse = edges[:, 0] * base + edges[:, 1], edges[:, 1] * base + edges[:, 0]
    return edges[~np.isin(code, reverse)]


def _rings(xy: np.ndarray, edges: np.ndarray) -> list[Ring]:
    """Walk directed *edges* into closed rings; where the section touches itself in one point, rings are split."""
    following: dict[int, list[int]] = {}
    for start, end in edges.tolist():
        following.setdefault(start, []).append(end)
    rings = []
    while following:
        path, place = [next(iter(following))], {}
        place[path[0]] = 0
        while True:
            ends = following[path[-1]]
            end = ends.pop()
            if not ends:
                del following[path[-1]]
            if end not in place:
                place[end] = len(path)
                path.append(end)
                continue
            loop = path[place[end] :]
            rings.append(Ring(xy[loop], hole=signed_area(xy[loop]) < 0))
            for vertex in loop[1:]:
                del place[vertex]
            path = path[: place[end] + 1]
            if len(path) == 1 and path[0] not in following:
                break
    return rings


def _without_debris(rings: list[Ring]) -> tuple[Ring, ...]:
    rings = sorted(rings, key=lambda ring: (ring.hole, -ring.area))
    largest = rings[0].area
    return tuple(ring for ring in rings if ring.hole or ring.area >= MIN_PIECE * largest)


def _resampled(ring: np.ndarray, spacing: float) -> np.ndarray:
    """Points about *spacing* apart along a closed ring, at least 8, as (m, 2)."""
    closed = np.vstack([ring, ring[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.linspace(0, along[-1], max(8, round(along[-1] / spacing)), endpoint=False)
    return np.column_stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)])


def _widened(ring: np.ndarray, distance: float, smoothing: float) -> np.ndarray:
    """*ring* (n, 2) moved outwards by *distance* along its normal; *smoothing* in samples."""
    smooth = gaussian_filter1d(ring, smoothing, axis=0, mode="wrap") if smoothing > 0 else ring
    tangent = gaussian_filter1d(np.roll(smooth, -1, axis=0) - np.roll(smooth, 1, axis=0), 2.0, axis=0, mode="wrap")
    normal = np.column_stack([tangent[:, 1], -tangent[:, 0]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return smooth + normal * distance * np.sign(signed_area(ring))
