"""Operations on the geometries of regions: union, difference, intersection, brush strokes, area, perimeter, and the way
through an alignment. GeoJSON in, GeoJSON out; the work is done by GEOS through shapely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.analysis.regions import polygons
from core.errors import DataError

if TYPE_CHECKING:
    from shapely import Geometry

#: grid on which results lie, in full-resolution pixels: far below what a hand can draw, and texts stay short
GRID_PX = 0.01
OPERATIONS = ("union", "difference", "intersection")
#: how far a carried edge may lie from the true curve, as a share of the shape's extent
CARRY_TOLERANCE = 1e-3
CARRY_HALVINGS = 6


def combine(operation: str, geometries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Union or intersection of all *geometries*, or the first without the others; None where nothing is left.

    Parameters
    ----------
    geometries
        GeoJSON Polygons or MultiPolygons. Rings that cross themselves hold what an odd number of turns encloses.

    Returns
    -------
    GeoJSON Polygon or MultiPolygon on a grid of GRID_PX.
    """
    import shapely

    if operation not in OPERATIONS:
        raise DataError(f"one of {', '.join(OPERATIONS)}", found=repr(operation)[:40])
    if not geometries:
        raise DataError("at least one region", found="none")
    first, *others = [as_shape(g) for g in geometries]
    if operation == "union":
        return as_geometry(shapely.union_all([first, *others]))
    if operation == "difference":
        return as_geometry(first.difference(shapely.union_all(others)) if others else first)
    for other in others:
        first = first.intersection(other)
    return as_geometry(first)


def stroke(line: Any, radius: float) -> dict[str, Any] | None:
    """What a round brush of *radius* covers on its way along *line* (m >= 1 points [x, y]), as GeoJSON."""
    import shapely

    try:
        points = np.asarray(line, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1:] != (2,) or not len(points) or not np.isfinite(points).all():
        raise DataError("the points [x, y] of a stroke", found=repr(line)[:80])
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius < np.inf:
        raise DataError("a brush radius above zero", found=repr(radius)[:40])
    way = shapely.LineString(points) if len(points) > 1 else shapely.Point(points[0])
    return as_geometry(way.buffer(radius).simplify(radius / 50))


def area(geometry: dict[str, Any]) -> float:
    """Area of a GeoJSON Polygon or MultiPolygon in squared coordinate units; what parts share counts once."""
    return float(as_shape(geometry).area)


def perimeter(geometry: dict[str, Any]) -> float:
    """Length of all edges of a GeoJSON Polygon or MultiPolygon, those of holes too, in coordinate units."""
    return float(as_shape(geometry).length)


def carry(geometry: dict[str, Any], move: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """A GeoJSON geometry (polygons or LineString) through a map of points (n, 2) -> (n, 2).

    A straight edge becomes a curve where the map is not affine: points are added until the curve lies within
    CARRY_TOLERANCE of the shape's extent. An affine map keeps the number of points.
    """
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "LineString":
        return {"type": kind, "coordinates": _carry_line(np.asarray(coordinates, dtype=np.float64), move)}
    parts = [[_carry_line(_closed(ring), move) for ring in part] for part in polygons(geometry)]
    return {"type": kind, "coordinates": parts[0] if kind == "Polygon" else parts}


def as_shape(geometry: dict[str, Any]) -> Geometry:
    """A valid shapely geometry of a GeoJSON Polygon or MultiPolygon, by the even-odd rule."""
    import shapely

    shapes = [shapely.Polygon(outer, holes) for outer, *holes in polygons(geometry)]
    shapes = [s if s.is_valid else shapely.make_valid(s) for s in shapes]
    return shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)


def as_geometry(shape: Geometry) -> dict[str, Any] | None:
    """The polygons of a shapely geometry as GeoJSON on a grid of GRID_PX; None where it has none."""
    import shapely

    parts = [p for p in shapely.get_parts(shapely.set_precision(shape, GRID_PX)) if p.geom_type == "Polygon"]
    parts = sorted((p for p in parts if p.area > 0), key=lambda p: -p.area)
    if not parts:
        return None
    rings = [[_plain(ring) for ring in (p.exterior, *p.interiors)] for p in parts]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _plain(ring: Any) -> list[list[float]]:
    return np.asarray(ring.coords)[:, :2].round(2).tolist()


def _closed(ring: np.ndarray) -> np.ndarray:
    return ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]])


def _carry_line(line: np.ndarray, move: Callable[[np.ndarray], np.ndarray]) -> list[list[float]]:
    moved = np.asarray(move(line), dtype=np.float64)
    for _ in range(CARRY_HALVINGS):
        middles = (line[:-1] + line[1:]) / 2
        there = np.asarray(move(middles), dtype=np.float64)
        away = np.hypot(*(there - (moved[:-1] + moved[1:]) / 2).T)
        bent = np.flatnonzero(away > CARRY_TOLERANCE * max(np.ptp(moved, axis=0).max(), 1e-12))
        if not bent.size:
            break
        line, moved = np.insert(line, bent + 1, middles[bent], axis=0), np.insert(moved, bent + 1, there[bent], axis=0)
    return moved.tolist()
