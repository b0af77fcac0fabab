"""GeoJSON as QuPath documents it: a file of every kind of annotation it writes, and our own there and back."""

from __future__ import annotations

import json
import uuid

import pytest

from core.analysis.geojson import from_geojson, to_qupath
from core.errors import FormatError
from spatialmeta_app.workspace.annotations import _checked

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]


def feature(geometry: dict | None, **properties) -> dict:
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(properties, sort_keys=True)))
    return {"type": "Feature", "id": key, "geometry": geometry, "properties": properties}


def polygon(*rings: list) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


#: what QuPath 0.4 to 0.6 write for annotations (QuPathTypeAdapters), and older files
QUPATH = [
    feature(polygon(SQUARE, HOLE), objectType="annotation", name="A", isLocked=True,
            classification={"name": "Tumor", "color": [200, 0, 0]}, measurements={"Area": 96.0}),
    feature({"type": "MultiPolygon", "coordinates": [[SQUARE], [[[20, 20], [30, 20], [30, 30], [20, 20]]]]},
            objectType="annotation", color=[10, 20, 30],
            classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3]}),
    feature({"type": "LineString", "coordinates": [[0, 0], [5, 5.5], [9, 1]]}, objectType="annotation", name="edge"),
    {"type": "Feature", "id": "PathAnnotationObject", "geometry": polygon(SQUARE),
     "properties": {"classification": {"name": "Stroma", "colorRGB": -6895466}, "isLocked": False, "measurements": []}},
]  # fmt: skip


def test_what_qupath_writes_is_read() -> None:
    found = from_geojson(json.dumps({"type": "FeatureCollection", "features": QUPATH}), width_um=200)
    assert found.skipped == []
    tumour, both, line, old = (f["properties"] for f in found.features)
    assert tumour == {"kind": "region", "name": "A", "class": "Tumor", "color": "#c80000", "locked": True,
                      "group": "regions"}  # fmt: skip
    assert (both["name"], both["class"], both["color"]) == ("Tumor: Positive", "Tumor: Positive", "#0a141e")
    assert (line["kind"], line["name"], line["width_um"]) == ("trajectory", "edge", 200)
    assert (old["class"], old["color"]) == ("Stroma", "#96c896")  # -6895466 is 0xff96c896
    assert "locked" not in old
    for given, feature_ in zip(QUPATH, found.features, strict=True):
        assert feature_["geometry"] == given["geometry"]  # to the last digit
    assert [f["id"] for f in found.features[:3]] == [f["id"] for f in QUPATH[:3]]
    _checked({"type": "FeatureCollection", "features": found.features})  # the workspace takes it


def document() -> dict:
    own = {"kind": "region", "group": "Areas", "name": "left", "class": "striatum", "color": "#00aa77", "locked": True}
    path = {"kind": "trajectory", "name": "mid", "color": "#ffffff", "width_um": 312.5, "note": "kept"}
    plain = {"kind": "region", "group": "regions", "name": "µ", "color": "#112233"}
    line = {"type": "LineString", "coordinates": [[0.123456789012345, 1], [7, 8]]}
    shapes = [polygon(SQUARE, HOLE), line, {"type": "MultiPolygon", "coordinates": [[SQUARE]]}]
    named = zip(("aa01", "bb02", "cc03"), (own, path, plain), shapes, strict=True)
    features = [{"type": "Feature", "id": i, "properties": p, "geometry": g} for i, p, g in named]
    return {"type": "FeatureCollection", "features": features}


def test_ours_comes_back_exactly_and_is_what_qupath_expects() -> None:
    text = json.dumps(to_qupath(document()))
    assert from_geojson(text, width_um=1).features == document()["features"]
    for written in json.loads(text)["features"]:
        assert str(uuid.UUID(written["id"])) == written["id"]
        about = written["properties"]
        assert about["objectType"] == "annotation"
        assert all(isinstance(v, str) for v in about["metadata"].values())  # QuPath reads a map of texts
        assert len(about["color"]) == 3
    first = json.loads(text)["features"][0]["properties"]
    assert first["classification"] == {"name": "striatum", "color": [0, 170, 119]}
    assert first["isLocked"] is True
    assert from_geojson(document(), width_um=1).features == document()["features"]  # also as the project keeps it


def test_what_was_changed_in_qupath_counts() -> None:
    changed = to_qupath(document())
    about = changed["features"][0]["properties"]
    about |= {"name": "renamed", "color": [1, 1, 1], "classification": {"name": "cortex", "color": [1, 1, 1]}}
    del about["isLocked"]
    copy = json.loads(json.dumps(changed["features"][0])) | {"id": str(uuid.uuid4())}
    changed["features"].append(copy)
    first, *_, last = from_geojson(changed, width_um=1).features
    assert first["id"] == "aa01"
    assert first["properties"] == {"kind": "region", "group": "Areas", "name": "renamed", "class": "cortex",
                                   "color": "#010101"}  # fmt: skip
    assert last["id"] == copy["id"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (feature({"type": "Point", "coordinates": [1, 2]}, objectType="annotation"), "Point"),
        (feature(None, objectType="annotation"), "None"),
        (feature(polygon(SQUARE), objectType="cell"), "cell"),
        (feature(polygon([[0, 0], [1, 1], [0, 0]])), "3 different points"),
        (feature(polygon([[0, 0], [1, 1], [2, 2], [0, 0]])), "area"),
        (feature(polygon([[0, 0], [1, float("nan")], [2, 2], [0, 0]])), "points"),
        (feature(polygon([[0, 0], ["a", 1], [2, 2], [0, 0]])), "points"),
        (feature({"type": "Polygon", "coordinates": 7}), "rings"),
        ({"type": "Polygon"}, "Feature"),
        ("text", "Feature"),
    ],
)
def test_what_cannot_be_used_is_reported_and_the_rest_is_taken(given, why: str) -> None:
    found = from_geojson([given, feature(polygon(SQUARE), name="good")], width_um=1)
    assert [f["properties"]["name"] for f in found.features] == ["good"]
    ((which, reason),) = found.skipped
    assert which.startswith("feature 1")
    assert why in reason


def test_rings_are_closed_and_mended() -> None:
    opened, bow, deep = (polygon(SQUARE[:4]), polygon([[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]),
                         polygon([[x, y, 7] for x, y in SQUARE]))  # fmt: skip
    first, second, third = from_geojson([feature(g) for g in (opened, bow, deep)], width_um=1).features
    assert first["geometry"]["coordinates"] == third["geometry"]["coordinates"] == [SQUARE]
    assert second["geometry"]["type"] == "MultiPolygon"
    assert len({f["id"] for f in (first, second, third)}) == 3


@pytest.mark.parametrize("text", ["", "no json", "7", '{"type": "Topology"}', "null"])
def test_no_geojson_at_all(text: str) -> None:
    with pytest.raises(FormatError, match="GeoJSON"):
        from_geojson(text, width_um=1)
