"""Annotations as GeoJSON that QuPath writes and reads, and any other GeoJSON of polygons and lines.

The format: https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html and
``qupath.lib.io.QuPathTypeAdapters``: features with ``properties.objectType`` 'annotation', ``name``, ``color`` and
``classification`` {name, color} with colours [r, g, b], ``isLocked``, ``metadata`` (texts); ids are UUIDs;
coordinates are pixels of the full-resolution image. What QuPath does not know of a feature (its group, the width of a
corridor) travels as one text of its metadata, so that a file comes back as it went.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.analysis.shapes import as_geometry, as_shape
from core.errors import DataError, FormatError

MEMBER = "spatialmeta"  # our entry of a feature's metadata: JSON {id, properties}
DEFAULT_COLOR, PATH_COLOR = "#e69f00", "#ffffff"
CHANNELS = 3


@dataclass(frozen=True)
class Imported:
    """What a file gave: ``features`` of an annotation document, and what was ``skipped``, as (which, why)."""

    features: list[dict[str, Any]]
    skipped: list[tuple[str, str]]


def to_qupath(document: Mapping[str, Any]) -> dict[str, Any]:
    """The FeatureCollection that QuPath opens (File > Import objects), of an annotation document."""
    return {"type": "FeatureCollection", "features": [_written(f) for f in document["features"]]}


def from_geojson(text: str | bytes | Any, *, width_um: float) -> Imported:
    """The regions (polygons) and trajectories (lines) of a GeoJSON file.

    Parameters
    ----------
    text
        JSON, or what it says: a FeatureCollection, a list of features, one feature, or a geometry.
    width_um
        Corridor width of lines that have none.

    Raises
    ------
    FormatError
        It is no GeoJSON at all. A feature that is not usable is reported as skipped, and the others are taken.
    """
    found = _parsed(text)
    features: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    ids: set[str] = set()
    for number, given in enumerate(found, start=1):
        try:
            feature = _read(given, number, width_um)
        except DataError as error:
            skipped.append((_called(given, number), error.message))
            continue
        if feature["id"] in ids:
            feature["id"] = uuid.uuid4().hex[:16]
        ids.add(feature["id"])
        features.append(feature)
    return Imported(features, skipped)


def _written(feature: Mapping[str, Any]) -> dict[str, Any]:
    known = feature["properties"]
    color = _rgb(known.get("color")) or _rgb(DEFAULT_COLOR)
    properties: dict[str, Any] = {"objectType": "annotation", "name": known["name"], "color": color}
    if known.get("class"):
        properties["classification"] = {"name": known["class"], "color": color}
    if known.get("locked"):
        properties["isLocked"] = True
    ours = json.dumps({"id": feature["id"], "properties": known}, ensure_ascii=False)
    properties["metadata"] = {MEMBER: ours}
    return {"type": "Feature", "id": _uuid(feature["id"]), "geometry": feature["geometry"], "properties": properties}


def _uuid(id_: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"spatialmeta:{id_}"))


def _parsed(text: Any) -> list[Any]:
    if isinstance(text, str | bytes):
        try:
            text = json.loads(text)
        except ValueError as error:
            raise FormatError("a GeoJSON file", found=f"no JSON ({error})"[:200]) from None
    if isinstance(text, list):
        return text
    kind = text.get("type") if isinstance(text, dict) else None
    if kind == "FeatureCollection" and isinstance(text.get("features"), list):
        return text["features"]
    if kind == "GeometryCollection" and isinstance(text.get("geometries"), list):
        return [{"type": "Feature", "geometry": g} for g in text["geometries"]]
    if kind == "Feature":
        return [text]
    if kind in ("Polygon", "MultiPolygon", "LineString"):
        return [{"type": "Feature", "geometry": text}]
    raise FormatError("a GeoJSON FeatureCollection, feature or geometry", found=f"type {kind!r}")


def _called(given: Any, number: int) -> str:
    properties = given.get("properties") if isinstance(given, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return f"feature {number}" + (f" '{name}'" if isinstance(name, str) and name else "")


def _read(given: Any, number: int, width_um: float) -> dict[str, Any]:
    if not isinstance(given, dict) or given.get("type") != "Feature":
        raise DataError("a GeoJSON Feature", found=repr(given)[:60])
    said = given.get("properties") if isinstance(given.get("properties"), dict) else {}
    role = said.get("objectType", "annotation")
    if role != "annotation":
        raise DataError("an annotation", found=f"QuPath's {role}")
    geometry, kind = _geometry(given.get("geometry"))
    stored = _stored(said)
    as_kept = said if said.get("kind") in ("region", "trajectory") else {}  # a document of a project, as it is
    properties = dict(stored.get("properties") or as_kept)
    properties |= {"kind": kind, "name": _name(said, kind, number)}
    _class_and_color(properties, said, kind)
    if said.get("isLocked") is True or (said.get("locked") is True and "isLocked" not in said):
        properties["locked"] = True
    else:
        properties.pop("locked", None)
    if kind == "trajectory":
        width = properties.get("width_um")
        good = isinstance(width, int | float) and not isinstance(width, bool) and 0 < width < math.inf
        properties["width_um"] = width if good else width_um
    elif not isinstance(properties.get("group"), str) or not properties["group"].strip():
        properties["group"] = "regions"
    return {"type": "Feature", "id": _id(given.get("id"), stored), "geometry": geometry, "properties": properties}


def _stored(said: Mapping[str, Any]) -> dict[str, Any]:
    """What this program wrote beside QuPath's own properties, {} where it did not."""
    metadata = said.get("metadata")
    try:
        stored = json.loads(metadata[MEMBER]) if isinstance(metadata, dict) else {}
    except (KeyError, TypeError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and isinstance(stored.get("properties", {}), dict) else {}


def _id(given: Any, stored: Mapping[str, Any]) -> str:
    """The id it had here, where it is still that feature: a copy made in QuPath has an id of its own."""
    ours = stored.get("id")
    if isinstance(ours, str) and ours and given == _uuid(ours):
        return ours
    legacy = isinstance(given, str) and given.startswith("Path")  # QuPath 0.2 kept the type there
    return given if isinstance(given, str) and given and not legacy else uuid.uuid4().hex[:16]


def _name(said: Mapping[str, Any], kind: str, number: int) -> str:
    for name in (said.get("name"), _class_name(said)):
        if isinstance(name, str) and name.strip():
            return name.strip()
    return f"{'Region' if kind == 'region' else 'Path'} {number}"


def _class_name(said: Mapping[str, Any]) -> str | None:
    about = said.get("classification")
    if isinstance(about, str):
        return about.strip() or None
    if not isinstance(about, dict):
        return None
    names = about.get("names")  # derived classes: 'Tumor: Positive'
    name = ": ".join(map(str, names)) if isinstance(names, list) and names else about.get("name")
    return str(name).strip() or None if isinstance(name, str) else None


def _class_and_color(properties: dict[str, Any], said: Mapping[str, Any], kind: str) -> None:
    about = said.get("classification") if isinstance(said.get("classification"), dict) else {}
    name = _class_name(said)
    if name:
        properties["class"] = name
    elif "objectType" in said:  # QuPath said that there is none
        properties.pop("class", None)
    for color in (said.get("color"), about.get("color"), about.get("colorRGB"), properties.get("color")):
        if rgb := _rgb(color):
            properties["color"] = "#" + "".join(f"{c:02x}" for c in rgb)
            return
    properties["color"] = DEFAULT_COLOR if kind == "region" else PATH_COLOR


def _rgb(color: Any) -> list[int] | None:
    """[r, g, b] of '#rrggbb', of [r, g, b] or of Java's packed integer (alpha, red, green, blue)."""
    if isinstance(color, bool):
        return None
    if isinstance(color, int):
        return [(color >> shift) & 255 for shift in (16, 8, 0)]
    if isinstance(color, str) and len(color) in (4, 7) and color.startswith("#"):
        digits = color[1:] if len(color) == 7 else "".join(2 * c for c in color[1:])
        try:
            return list(bytes.fromhex(digits))
        except ValueError:
            return None
    if isinstance(color, list) and len(color) == CHANNELS:
        whole = all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= 255 for c in color)
        return list(color) if whole else None
    return None


def _geometry(given: Any) -> tuple[dict[str, Any], str]:
    """A geometry that an annotation document takes, and the kind of feature it makes."""
    kind = given.get("type") if isinstance(given, dict) else None
    coordinates = given.get("coordinates") if kind else None
    if kind == "MultiLineString" and isinstance(coordinates, list) and len(coordinates) == 1:
        kind, coordinates = "LineString", coordinates[0]
    if kind == "LineString":
        return {"type": kind, "coordinates": _line(coordinates, 2)}, "trajectory"
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError("a Polygon, MultiPolygon or LineString", found=str(kind))
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(parts, list) or not parts or not all(isinstance(p, list) and p for p in parts):
        raise DataError("rings as lists of [x, y]", found=repr(coordinates)[:60])
    rings = [[_ring(ring) for ring in part] for part in parts]
    geometry = {"type": kind, "coordinates": rings[0] if kind == "Polygon" else rings}
    shape = as_shape(geometry)
    if not shape.area > 0:
        raise DataError("a region with an area", found="a line or a point")
    mended = None if _is_valid(rings) else as_geometry(shape)  # rings that cross themselves
    return mended or geometry, "region"


def _is_valid(rings: list[list[list[list[float]]]]) -> bool:
    import shapely

    return all(shapely.Polygon(outer, holes).is_valid for outer, *holes in rings)


def _line(points: Any, least: int) -> list[list[float]]:
    try:
        line = [list(point[:2]) for point in points]
        good = all(len(p) == 2 and all(_finite(v) for v in p) for p in line)
    except (TypeError, ValueError):
        line, good = [], False
    if not good or len({tuple(p) for p in line}) < least:
        raise DataError(f"at least {least} different points [x, y]", found=repr(points)[:60])
    return line


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ring(points: Any) -> list[list[float]]:
    ring = _line(points, 3)
    return ring if ring[0] == ring[-1] else [*ring, ring[0]]
