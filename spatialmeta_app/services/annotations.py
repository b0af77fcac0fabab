"""Numbers of regions and trajectories over the spots of a result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core import keys
from core.analysis import regions, shapes, trajectories
from core.analysis.annotations import region_columns, trajectory_columns
from core.errors import DataError, SpatialMetaError
from spatialmeta_app.services.selections import in_geometry
from spatialmeta_app.workspace.views import View

MOST_PROFILES = 12
GRID = 100


def measure(view: View, document: Mapping[str, Any], um_per_px: float | None) -> dict[str, dict[str, Any]]:
    """Size of every shape of an annotation document, by its id.

    Regions: ``{spots, area_mm2, perimeter_mm, slot}``; trajectories: ``{spots, length_mm, slot}``, spots being those
    in the corridor. ``slot`` is the obs column that a saved file will have. Lengths are None
    where the scale is not known; a shape that can not be measured (a path of one point) has ``{spots: 0, error}``.
    """
    features = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(features, list):
        raise DataError("a GeoJSON FeatureCollection", found=type(document).__name__)
    slots = _slots(document)
    found = {}
    for feature in features:
        kind = feature["properties"]["kind"]
        try:
            sizes = (_region if kind == "region" else _trajectory)(view, feature, um_per_px)
        except SpatialMetaError as error:
            sizes = {"spots": 0, "area_mm2": None, "perimeter_mm": None, "length_mm": None, "error": error.message}
        found[feature["id"]] = sizes | {"slot": slots[feature["id"]]}
    return found


def _slots(document: Mapping[str, Any]) -> dict[str, str]:
    by_kind = {k: [f for f in document["features"] if f["properties"]["kind"] == k] for k in ("region", "trajectory")}
    of_group = dict(zip(regions.groups_of(document), region_columns(document), strict=True))
    slots = {f["id"]: of_group[f["properties"].get("group") or regions.DEFAULT_GROUP] for f in by_kind["region"]}
    pairs = zip(by_kind["trajectory"], trajectory_columns(document), strict=True)
    return slots | {f["id"]: position for f, (position, _) in pairs}


def _region(view: View, feature: Mapping[str, Any], um: float | None) -> dict[str, Any]:
    spots, area, perimeter = _sizes(view.directory, json.dumps(feature["geometry"]))
    if um is None:
        return {"spots": spots, "area_mm2": None, "perimeter_mm": None}
    return {"spots": spots, "area_mm2": area * um**2 / 1e6, "perimeter_mm": perimeter * um / 1e3}


@lru_cache(maxsize=8192)  # of a thousand regions one changes at a time
def _sizes(directory: Path, geometry: str) -> tuple[int, float, float]:
    """Spots, area and perimeter (pixels) of a region."""
    region = json.loads(geometry)
    return int(in_geometry(View(directory), region).sum()), shapes.area(region), shapes.perimeter(region)


def _trajectory(view: View, feature: Mapping[str, Any], um: float | None) -> dict[str, Any]:
    path = line(feature["geometry"]["coordinates"])
    width = width_px(feature["properties"].get("width_um"), um)
    inside = projection(view, path)[1].inside(width)
    length = None if um is None else trajectories.path_length(path) * um / 1e3
    return {"spots": int(inside.sum()), "length_mm": length}


def line(coordinates: Any) -> np.ndarray:
    """The points of a path, float64 (m, 2).

    Raises
    ------
    DataError
        Fewer than two points, or something that is no list of [x, y].
    """
    try:
        path = np.asarray(coordinates, dtype=np.float64)
    except (TypeError, ValueError):
        path = np.empty(0)
    if path.ndim != 2 or path.shape[1] != 2 or len(path) < 2 or not np.isfinite(path).all():
        raise DataError("a path of at least two points [x, y]", found=repr(coordinates)[:80])
    return path


def width_px(width_um: Any, um_per_px: float | None) -> float:
    """Full width of a corridor in pixels; where the scale is not known, the number is taken as pixels."""
    if isinstance(width_um, bool) or not isinstance(width_um, int | float) or not width_um > 0:
        raise DataError("a corridor width above zero", found=repr(width_um))
    return float(width_um) / (um_per_px or 1.0)


def projection(view: View, path: np.ndarray) -> tuple[np.ndarray, trajectories.Projection]:
    """Rows of the spots that have a place, and where they lie relative to the path."""
    xy = np.asarray(view.obsm(keys.SPATIAL), dtype=np.float64)[:, :2]
    placed = np.flatnonzero(np.isfinite(xy).all(axis=1))
    return placed, trajectories.project_on_path(xy[placed], path)


@dataclass(frozen=True)
class Profiles:
    """Features along a path: ``position_mm`` (n_grid,); ``mean``, ``low``, ``high`` (n_features, n_grid)."""

    names: tuple[str, ...]
    position_mm: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    spots: int


def profiles(
    view: View,
    coordinates: Any,
    *,
    width_um: float,
    features: Sequence[int],
    layer: str | None,
    scaled: bool,
    um_per_px: float | None,
) -> Profiles:
    """Smooth of features along a path with its 95 % band; see :func:`core.analysis.trajectories.profile`.

    Parameters
    ----------
    coordinates
        Points of the path in full-resolution pixels, in the direction of travel.
    scaled
        Bring the mean of each feature to [0, 1], so that features of different units share one axis.

    Raises
    ------
    DataError
        No feature, or too few spots in the corridor.
    """
    if not features:
        raise DataError("at least one gene or metabolite", mend="Add one below the profile.")
    um = um_per_px or 1.0
    placed, where = projection(view, line(coordinates))
    inside = where.inside(width_px(width_um, um_per_px))
    length = trajectories.path_length(line(coordinates)) * um
    curves = []
    for index in list(features)[:MOST_PROFILES]:
        values = np.asarray(view.feature(int(index), layer), dtype=np.float64)[placed]
        use = inside & np.isfinite(values)
        found = trajectories.profile(np.where(use, values, 0.0), where.position * um, use, length=length, n_grid=GRID)
        curves.append([found.mean[0], found.low[0], found.high[0]])
    stacked = np.array([to_unit(curve) for curve in curves] if scaled else curves)
    names = tuple(str(view.features["name"][int(i)]) for i in list(features)[:MOST_PROFILES])
    mean, low, high = stacked[:, 0], stacked[:, 1], stacked[:, 2]
    return Profiles(names, np.linspace(0.0, length, GRID) / 1e3, mean, low, high, int(inside.sum()))


def to_unit(curve: Sequence[np.ndarray]) -> np.ndarray:
    """Rows (mean, then low, high …; each (n_grid,)) on the scale where the first runs from 0 to 1."""
    curve = np.asarray(curve)
    known = curve[0][np.isfinite(curve[0])]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (curve - low) / ((high - low) or 1.0)
