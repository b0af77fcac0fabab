"""Selections of spots: which spots a list of steps chooses, and what is in them.

A selection travels as what was drawn or clicked, never as a list of spots. Works on typed arrays alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core import keys
from core.analysis.outlines import outline, outlines
from core.analysis.regions import points_in_geometry
from core.errors import DataError
from spatialmeta_app.jobs import compare
from spatialmeta_app.services.backend import Backend
from spatialmeta_app.services.explore import pitch_of, view_of
from spatialmeta_app.workspace.records import Result
from spatialmeta_app.workspace.views import MISSING, View

MOST_STEPS = 500
MOST_REGIONS = 1000


def chosen_spots(view: View, steps: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Spots that a list of selection steps chooses; bool (n_obs,).

    A step is ``{op, space, geometry}`` (a GeoJSON polygon in ``obsm[space]``), ``{op, column, codes}`` (categories), or
    ``{op: 'invert'}``; op is set, add, subtract or intersect.
    """
    if not isinstance(steps, list) or len(steps) > MOST_STEPS:
        raise DataError(f"a list of at most {MOST_STEPS} selection steps", found=type(steps).__name__)
    mask = np.zeros(view.meta["n_obs"], dtype=bool)
    for step in steps:
        op = step.get("op") if isinstance(step, Mapping) else None
        if op == "invert":
            mask = ~mask
        elif op == "set":
            mask = _spots_of(view, step)
        elif op == "add":
            mask = mask | _spots_of(view, step)
        elif op == "subtract":
            mask = mask & ~_spots_of(view, step)
        elif op == "intersect":
            mask = mask & _spots_of(view, step)
        else:
            raise DataError("an op of set, add, subtract, intersect or invert", found=repr(op))
    return mask


def _spots_of(view: View, step: Mapping[str, Any]) -> np.ndarray:
    if "column" in step:
        column = view.obs(str(step["column"]))
        if column.categories is None:
            raise DataError("a column with categories", found=str(step["column"]))
        return np.isin(np.asarray(column.values), np.asarray(step.get("codes", []), dtype=np.int64))
    return in_geometry(view, step.get("geometry"), space=str(step.get("space", keys.SPATIAL)))


def in_geometry(view: View, geometry: Any, *, space: str = keys.SPATIAL) -> np.ndarray:
    """Spots inside a polygon of ``obsm[space]``; spots without a place are outside."""
    xy = np.asarray(view.obsm(space), dtype=np.float64)[:, :2]
    placed = np.isfinite(xy[:, 0]) & np.isfinite(xy[:, 1])
    if placed.all():
        return points_in_geometry(xy, geometry)
    mask = np.zeros(len(xy), dtype=bool)
    mask[placed] = points_in_geometry(xy[placed], geometry)
    return mask


def summarise(
    view: View,
    steps: Sequence[Mapping[str, Any]],
    *,
    um: float | None,
    value: Mapping[str, Any] | None,
    column: str | None,
) -> dict[str, Any]:
    """Numbers of a selection: spots, tissue area, mean of the shown feature inside and outside, categories, and the
    spots themselves as bits (``mask``).

    The area is that of the spots: each stands for its share of the tissue (pitch² x √3/2 on Visium's hexagons, pitch²
    on a square raster).
    """
    mask = chosen_spots(view, steps)
    return {
        "spots": int(mask.sum()),
        "area_mm2": None if um is None else float(mask.sum()) * _spot_share(view) * um**2 / 1e6,
        "value": _means(view, mask, value) if value else None,
        "column": column,
        "categories": _shares(view, mask, column) if column else [],
        "mask": compare.pack(mask),
    }


def _spot_share(view: View) -> float:
    """Area of tissue one spot stands for, in squared pixels: a hexagonal grid has its six neighbours equally near."""
    pitch = pitch_of(view.directory)
    return pitch**2 * (np.sqrt(3) / 2 if _is_hexagonal(view.directory) else 1.0)


@lru_cache(maxsize=256)
def _is_hexagonal(directory: Path) -> bool:
    from scipy.spatial import cKDTree

    xy = np.asarray(View(directory).obsm(keys.SPATIAL), dtype=np.float64)[:, :2]
    xy = xy[np.isfinite(xy).all(axis=1)]
    if len(xy) < 8:
        return False
    distances = cKDTree(xy).query(xy[:: max(1, len(xy) // 500)], k=7)[0]
    return bool(np.median(distances[:, 6]) < 1.2 * pitch_of(directory))  # on squares the sixth is at a diagonal: 1.41


def _means(view: View, mask: np.ndarray, value: Mapping[str, Any]) -> dict[str, Any]:
    if "index" in value:
        index = value["index"]
        if isinstance(index, bool) or not isinstance(index, int):
            raise DataError("the index of a feature", found=repr(index)[:40])
        values, name = view.feature(index, value.get("layer")), str(view.features["name"][index])
    else:
        name = str(value.get("column"))
        values = view.obs(name).values
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)

    def mean(part: np.ndarray) -> float | None:
        return float(values[part & known].mean()) if (part & known).any() else None

    return {"name": name, "inside": mean(mask), "outside": mean(~mask)}


def _shares(view: View, mask: np.ndarray, column: str) -> list[dict[str, Any]]:
    found = view.obs(column)
    if found.categories is None:
        return []
    codes = np.asarray(found.values)[mask]
    counts = np.bincount(codes[codes != MISSING], minlength=len(found.categories))
    order = np.argsort(-counts, kind="stable")
    return [{"code": int(k), "name": found.categories[k], "count": int(counts[k])} for k in order if counts[k]]


def outline_of(view: View, steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """GeoJSON polygons around the chosen spots, largest first; empty where nothing is chosen."""
    mask = chosen_spots(view, steps)
    xy = np.asarray(view.obsm(keys.SPATIAL), dtype=np.float64)[:, :2]
    placed = np.isfinite(xy).all(axis=1)
    return outline(xy[placed], mask[placed]) if mask[placed].any() else []


def regions_of_column(view: View, name: str) -> list[dict[str, Any]]:
    """One region for each category of a column of obs that has spots: ``{name, color, geometry}``; several parts make a
    MultiPolygon. ``color`` is None where the data has none."""
    column = view.obs(name)
    if column.categories is None:
        raise DataError("a column with categories", found=f"'{name}', which has numbers", mend="Choose another column.")
    if len(column.categories) > MOST_REGIONS:
        raise DataError(f"a column of at most {MOST_REGIONS} categories", found=f"{len(column.categories):,}")
    xy = np.asarray(view.obsm(keys.SPATIAL), dtype=np.float64)[:, :2]
    placed = np.isfinite(xy).all(axis=1)
    parts_of = outlines(xy[placed], np.asarray(column.values)[placed], len(column.categories))
    found = []
    for code, (category, parts) in enumerate(zip(column.categories, parts_of, strict=True)):
        if parts:
            rings = [part["coordinates"] for part in parts]
            kind = "MultiPolygon" if len(rings) > 1 else "Polygon"
            geometry = {"type": kind, "coordinates": rings if len(rings) > 1 else rings[0]}
            color = column.colors[code] if column.colors else None
            found.append({"name": str(category), "color": color, "geometry": geometry})
    return found


def markers(
    here: Backend, result: Result, steps: Any, *, layer: str, against: Any = None, permutations: int = 0, user: str
) -> dict[str, Any]:
    """What distinguishes a selection from another or from the rest.

    The rows of :func:`spatialmeta_app.jobs.compare.marker_rows`, or ``{job}`` where that takes long: its file has them.

    Parameters
    ----------
    against
        Steps of the selection to compare with; None: the rest.
    """
    view = view_of(here.workspace, result)
    group = chosen_spots(view, steps)
    other = None if against is None else chosen_spots(view, against) & ~group
    if compare.quick(view, layer, permutations):
        return compare.marker_rows(view, group, other, layer=layer)
    compare.check(group, other, permutations)
    config = {
        "result": result.id,
        "layer": layer,
        "group": compare.pack(group),
        "other": None if other is None else compare.pack(other),
        "permutations": permutations,
    }
    job = here.jobs.submit(
        "markers", project=result.project, sample=result.sample, user=user, config=config, priority=1
    )
    return {"job": job.id}
