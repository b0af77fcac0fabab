"""Regions and trajectories of a person, written into an AnnData and read back.

The annotation document is a GeoJSON FeatureCollection in full-resolution pixels (docs/architecture.md).
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from core.analysis.category_looks import COLORS, MEMBER, apply_looks, revert_looks
from core.analysis.regions import assign_regions, class_colors, groups_of
from core.analysis.shapes import area, perimeter
from core.analysis.trajectories import path_length, project_on_path
from core.errors import DataError
from core.spatial.scale import um_per_px

if TYPE_CHECKING:
    from anndata import AnnData

#: entries of uns['spatialmeta']['regions'] and ['trajectories']
PX, UM, COLUMNS = "px", "um", "columns"
#: foreign member of the pixel collections: where each feature stood, and the other members of the document
RESTORE = "spatialmeta"
KINDS = {"region": keys.REGIONS, "trajectory": keys.TRAJECTORIES}


def write_annotations(adata: AnnData, document: dict[str, Any]) -> AnnData:
    """A copy of *adata* with the annotations of *document*, and without those it had.

    Writes ``obs['roi_<group>']`` (categorical, missing outside) with ``uns['roi_<group>_colors']`` as scanpy draws
    them, ``obs['toi_<name>_position_um']`` and
    ``['toi_<name>_distance_um']`` (NaN outside the corridor), and ``uns['spatialmeta']['regions']`` and
    ``['trajectories']``: GeoJSON texts ``px`` and ``um`` and the obs ``columns`` that belong to them. Categories that
    people renamed or recoloured are so in their own columns (:func:`core.analysis.category_looks.apply_looks`).

    Raises
    ------
    DataError
        For a document or a geometry that is not what the contract says, or an object without coordinates.
    """
    features = _features(document)
    if keys.SPATIAL not in adata.obsm:
        raise DataError("coordinates in obsm['spatial']", found=f"obsm with {sorted(adata.obsm)}")
    scale = _scale(adata)
    adata = without_annotations(adata)
    # shapes are drawn where the samples lie side by side, if there are several
    xy = np.asarray(adata.obsm.get(keys.SPATIAL_LAYOUT, adata.obsm[keys.SPATIAL]), dtype=np.float64)[:, :2]
    columns: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for group, column in zip(groups_of(document), region_columns(document), strict=True):
        adata.obs[column] = assign_regions(xy, document, group)
        adata.uns[f"{column}{COLORS}"] = class_colors(document, group)
        columns["region"].append(column)
    paths = [f for f in features if f["properties"]["kind"] == "trajectory"]
    for feature, pair in zip(paths, trajectory_columns(document), strict=True):
        width = feature["properties"].get("width_um")
        if not isinstance(width, int | float) or not width > 0:
            raise DataError(f"a corridor width above zero for '{feature['properties']['name']}'", found=repr(width))
        place = project_on_path(xy, _line(feature))
        inside = place.inside(float(width) / scale)
        for column, values in zip(pair, (place.position, place.distance), strict=True):
            adata.obs[column] = np.where(inside, values * scale, np.nan)
            columns["trajectory"].append(column)
    ours = dict(adata.uns.get(keys.UNS, {}))
    for kind, slot in KINDS.items():
        chosen = [i for i, f in enumerate(features) if f["properties"]["kind"] == kind]
        if chosen or kind == "region":  # the regions' entry also keeps the other members of an empty document
            ours[slot] = _texts(document, chosen, kind, scale) | {COLUMNS: np.array(columns[kind], dtype=str)}
    adata.uns[keys.UNS] = ours
    apply_looks(adata, document)
    return adata


def read_annotations(adata: AnnData) -> dict[str, Any]:
    """The document that :func:`write_annotations` wrote, exactly; an empty one where there is none."""
    members: dict[str, Any] = {}
    placed: list[tuple[int, dict[str, Any]]] = []
    for slot in KINDS.values():
        stored = adata.uns.get(keys.UNS, {}).get(slot)
        if stored is None:
            continue
        try:
            collection = json.loads(str(stored[PX]))
            restore = collection.get(RESTORE, {})
            features = collection["features"]
            places = restore.get("positions", range(len(placed), len(placed) + len(features)))
            placed += zip(places, features, strict=True)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"GeoJSON in uns['{keys.UNS}']['{slot}']['{PX}']", found=str(error)[:200]) from None
        members |= restore.get("members", {})
    features = [feature for _, feature in sorted(placed, key=lambda item: item[0])]
    return {"type": "FeatureCollection", **members, "features": features}


def without_annotations(adata: AnnData) -> AnnData:
    """A copy of *adata* without the annotations that :func:`write_annotations` gave it."""
    ours = dict(adata.uns.get(keys.UNS, {}))
    stale = [c for slot in KINDS.values() for c in ours.pop(slot, {}).get(COLUMNS, ())]
    adata = adata.copy()
    adata.obs = adata.obs.drop(columns=[c for c in stale if c in adata.obs])
    for column in stale:
        adata.uns.pop(f"{column}{COLORS}", None)
    if keys.UNS in adata.uns:
        adata.uns[keys.UNS] = ours
    revert_looks(adata)
    return adata


def region_columns(document: dict[str, Any]) -> list[str]:
    """The obs column of each group, in the order of ``groups_of``; groups whose names fold together are numbered."""
    return _distinct([keys.roi(group) for group in groups_of(document)])


def trajectory_columns(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The obs columns (position, distance) of each trajectory, in the order of the document."""
    names = [
        f["properties"]["name"] for f in document.get("features", []) if f["properties"].get("kind") == "trajectory"
    ]
    slugs = _distinct([keys.slug(name) for name in names])
    return [(keys.toi_position(name), keys.toi_distance(name)) for name in slugs]


def slots_written(document: dict[str, Any]) -> list[str]:
    """The slots that :func:`write_annotations` will write for *document*, as a person reads them."""
    columns = region_columns(document) + [c for pair in trajectory_columns(document) for c in pair]
    kinds = {f["properties"]["kind"] for f in _features(document)}
    looks = [slot for c in document.get(MEMBER, {}) for slot in (f"obs['{c}']", f"uns['{c}{COLORS}']")]
    ours = [f"uns['{keys.UNS}']['{s}']" for k, s in KINDS.items() if k in kinds]
    return [*(f"obs['{c}']" for c in columns), *looks, *ours]


def _features(document: dict[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise DataError("a GeoJSON FeatureCollection", found=type(document).__name__)
    features = document.get("features", [])
    for feature in features:
        properties = feature.get("properties") or {}
        if properties.get("kind") not in KINDS or not str(properties.get("name", "")).strip():
            raise DataError(
                "features with a name and the kind region or trajectory",
                found=f"kind {properties.get('kind')!r}, name {properties.get('name')!r}",
            )
    return features


def _line(feature: dict[str, Any]) -> np.ndarray:
    geometry = feature.get("geometry") or {}
    if geometry.get("type") != "LineString":
        raise DataError("a LineString for a trajectory", found=str(geometry.get("type")))
    return np.asarray([point[:2] for point in geometry["coordinates"]], dtype=np.float64)


def _scale(adata: AnnData) -> float:
    recorded = adata.uns.get(keys.UNS, {}).get(keys.UM_PER_PX)
    return float(recorded) if recorded is not None else um_per_px(adata)[0]


def _distinct(names: list[str]) -> list[str]:
    seen: set[str] = set()
    found = []
    for name in names:
        fresh, number = name, 2
        while fresh in seen:
            fresh, number = f"{name}_{number}", number + 1
        seen.add(fresh)
        found.append(fresh)
    return found


def _texts(document: dict[str, Any], chosen: list[int], kind: str, scale: float) -> dict[str, str]:
    """GeoJSON texts in pixels, with what is needed to restore the document, and in µm, with sizes."""
    features = [document["features"][i] for i in chosen]
    members = {k: v for k, v in document.items() if k not in ("type", "features")}
    restore = {"positions": chosen, "members": members if kind == "region" else {}}
    in_px = {"type": "FeatureCollection", "features": features, RESTORE: restore}
    in_um = {"type": "FeatureCollection", "features": [_in_um(f, kind, scale) for f in features]}
    return {PX: json.dumps(in_px, ensure_ascii=False), UM: json.dumps(in_um, ensure_ascii=False)}


def _in_um(feature: dict[str, Any], kind: str, scale: float) -> dict[str, Any]:
    feature = copy.deepcopy(feature)
    geometry, properties = feature["geometry"], feature["properties"]
    if kind == "region":
        properties |= {"area_um2": area(geometry) * scale**2, "perimeter_um": perimeter(geometry) * scale}
    else:
        properties["length_um"] = path_length(_line(feature)) * scale
    geometry["coordinates"] = _scaled(geometry["coordinates"], scale)
    return feature


def _scaled(coordinates: Any, scale: float) -> Any:
    if isinstance(coordinates, int | float):
        return coordinates * scale
    return [_scaled(part, scale) for part in coordinates]
