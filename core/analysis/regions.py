"""Regions of interest: which points lie in a polygon, and which class they have.

Boundary rule: a polygon is half open, as pixels are. A point on a left or upper edge (y down) is inside, one on a right
or lower edge is outside; so of two polygons that share an edge, exactly one has each point of it. A point that lies on
an edge within rounding may fall on either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import DataError
from core.spatial import check_coordinates

if TYPE_CHECKING:  # the web process asks for points in polygons only
    import pandas as pd

DEFAULT_GROUP = "regions"


def points_in_polygon(xy: np.ndarray, rings: Sequence[np.ndarray]) -> np.ndarray:
    """Which points lie inside, by the even-odd rule over all rings: holes and several parts need no order.

    Parameters
    ----------
    xy
        Points, shape (n, 2).
    rings
        Closed lines, each of shape (m, 2) with m >= 3; the last point may repeat the first. Rings that overlap
        cancel, so parts of a multipolygon that overlap must be asked one by one (see :func:`points_in_geometry`).

    Returns
    -------
    bool array of shape (n,).
    """
    xy = check_coordinates(xy) if len(xy) else np.empty((0, 2))
    start, end = _edges(rings)
    low, high = np.minimum(start, end).min(axis=0), np.maximum(start, end).max(axis=0)
    x, y = xy.T
    near = np.flatnonzero((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))
    near = near[np.argsort(y[near], kind="stable")]
    inside = np.zeros(len(xy), dtype=bool)
    inside[near] = _crossings_are_odd(x[near], y[near], start, end)
    return inside


def points_in_geometry(xy: np.ndarray, geometry: dict[str, Any]) -> np.ndarray:
    """Which points, shape (n, 2), lie in a GeoJSON Polygon or MultiPolygon; bool of shape (n,)."""
    inside = np.zeros(len(xy), dtype=bool)
    for polygon in polygons(geometry):
        inside |= points_in_polygon(xy, polygon)
    return inside


def polygons(geometry: dict[str, Any]) -> list[list[np.ndarray]]:
    """The rings of every polygon of a GeoJSON Polygon or MultiPolygon, each ring of shape (m, 2).

    Raises
    ------
    DataError
        For another geometry, a ring of fewer than three points, or numbers that are not finite.
    """
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError("a GeoJSON Polygon or MultiPolygon", found=str(kind))
    parts = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    if not parts or not all(parts):
        raise DataError("a polygon with at least one ring", found="none")
    return [[_ring(ring) for ring in part] for part in parts]


def groups_of(document: dict[str, Any]) -> list[str]:
    """Names of the region groups of an annotation document, in the order of their first region."""
    regions = [f["properties"] for f in document.get("features", []) if f["properties"].get("kind") == "region"]
    return list(dict.fromkeys(p.get("group") or DEFAULT_GROUP for p in regions))


def class_of(properties: dict[str, Any]) -> str:
    """The class that a region gives its spots: the one it was given, else its own name."""
    return str(properties.get("class") or properties["name"])


def regions_of(document: dict[str, Any], group: str) -> list[dict[str, Any]]:
    """The regions of one group of an annotation document, in its order."""
    return [
        f
        for f in document.get("features", [])
        if f["properties"].get("kind") == "region" and (f["properties"].get("group") or DEFAULT_GROUP) == group
    ]


def class_colors(document: dict[str, Any], group: str) -> list[str]:
    """Colour of each category of :func:`assign_regions`: that of the class's first region."""
    colors: dict[str, str] = {}
    for feature in regions_of(document, group):
        colors.setdefault(class_of(feature["properties"]), str(feature["properties"].get("color") or "#808080"))
    return list(colors.values())


def assign_regions(xy: np.ndarray, document: dict[str, Any], group: str = DEFAULT_GROUP) -> pd.Categorical:
    """Class of every point in one group of regions; missing outside all of them.

    A spot has one class per group: where regions overlap, the one drawn last (later in the document) wins. The class of
    a region is its ``class``, else its name. Categories are in the order of their first region, also without a spot.

    Parameters
    ----------
    xy
        Shape (n, 2), in the unit of the document (full-resolution pixels).
    document
        Annotation document of docs/architecture.md.
    """
    import pandas as pd

    features = regions_of(document, group)
    names = list(dict.fromkeys(class_of(f["properties"]) for f in features))
    codes = np.full(len(xy), -1, dtype=np.int64)
    for feature in features:
        codes[points_in_geometry(xy, feature["geometry"])] = names.index(class_of(feature["properties"]))
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


def _ring(points: Any) -> np.ndarray:
    try:
        ring = np.asarray(points, dtype=np.float64)[:, :2]
    except (TypeError, ValueError, IndexError):
        raise DataError("rings as lists of [x, y]", found=repr(points)[:80]) from None
    if len(ring) < 3 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise DataError("rings of at least three finite points", found=f"shape {ring.shape}")
    return ring


def _edges(rings: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Start and end points of all edges, both of shape (n_edges, 2); every ring is closed."""
    if len(rings) == 0:
        raise DataError("at least one ring", found="none")
    checked = [_ring(ring) for ring in rings]
    return np.concatenate(checked), np.concatenate([np.roll(ring, -1, axis=0) for ring in checked])


def _crossings_are_odd(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether a ray to the right of each point crosses an odd number of edges; *y* ascends.

    An edge is asked only for the points beside it, which are a slice, so a line that turns back and forth costs little
    more than one that does not.
    """
    # always computed from the upper end downwards, so that two polygons see a shared edge alike
    flip = start[:, 1] > end[:, 1]
    top, bottom = np.where(flip[:, None], end, start), np.where(flip[:, None], start, end)
    first, last = (np.searchsorted(y, ends[:, 1], side="left") for ends in (top, bottom))  # without its lower end
    odd = np.zeros(len(y), dtype=bool)
    for k in np.flatnonzero(first < last):
        beside = slice(first[k], last[k])
        (dx, dy), (x0, y0) = bottom[k] - top[k], top[k]
        odd[beside] ^= dx * (y[beside] - y0) > dy * (x[beside] - x0)  # dy > 0: the edge lies to the right of the point
    return odd
