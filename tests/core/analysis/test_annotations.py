from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import shapely
from anndata import AnnData, read_h5ad
from shapely.geometry import shape

from core import keys
from core.analysis.annotations import read_annotations, slots_written, without_annotations, write_annotations
from core.errors import DataError
from core.reassignment import reassign
from tests.core.pairs import pair


@pytest.fixture(scope="module")
def joint() -> AnnData:
    return reassign(*pair())


def region(key: str, name: str, group: str, ring: list) -> dict:
    properties = {"kind": "region", "name": name, "color": "#0a7", "group": group, "locked": True}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "id": key, "properties": properties, "geometry": geometry}


def path(key: str, name: str, line: list, width: float) -> dict:
    properties = {"kind": "trajectory", "name": name, "color": "#a07", "width_um": width}
    geometry = {"type": "LineString", "coordinates": line}
    return {"type": "Feature", "id": key, "properties": properties, "geometry": geometry}


@pytest.fixture
def document() -> dict:
    triangle = [[1000, 1000], [2500.123456789012, 1000], [1000, 2600.5], [1000, 1000]]
    box = [[2030, 1810], [3310, 1810], [3310, 2710], [2030, 2710], [2030, 1810]]
    return {
        "type": "FeatureCollection",
        "name": "my work",
        "features": [
            region("r1", "cortex/left", "Areas", triangle),
            path("t1", "mid line", [[1000, 1900], [2000, 1900.25], [3500, 2500]], 300.0),
            region("r2", "µ 'quoted'", "areas", box),
            path("t2", "Mid-line", [[1200, 1100], [1200, 2700]], 100),
            region("r3", "deep", "Areas", box),
        ],
    }


def test_columns_equal_shapely(joint: AnnData, document: dict) -> None:
    found = write_annotations(joint, document)
    points = shapely.points(joint.obsm[keys.SPATIAL])
    triangle = shape(document["features"][0]["geometry"])
    box = shape(document["features"][4]["geometry"])
    sure = shapely.distance(triangle.boundary, points) > 1e-6
    expected = np.where(shapely.contains(box, points), "deep", np.where(shapely.contains(triangle, points), "c", ""))
    classes = found.obs["roi_areas"].astype(object).fillna("").replace("cortex/left", "c")
    np.testing.assert_array_equal(classes[sure], expected[sure])
    assert found.obs["roi_areas_2"].notna().sum() == shapely.contains(box, points).sum()
    line = shape(document["features"][1]["geometry"])
    away = shapely.distance(line, points) * 0.5
    distance = found.obs["toi_mid_line_distance_um"].to_numpy()
    np.testing.assert_array_equal(np.isnan(distance), away > 150)
    np.testing.assert_allclose(distance[away <= 150], away[away <= 150])
    along = shapely.line_locate_point(line, points) * 0.5
    np.testing.assert_allclose(found.obs["toi_mid_line_position_um"][away <= 150], along[away <= 150])
    assert "toi_mid_line_2_position_um" in found.obs


def test_document_is_restored_exactly_after_saving(joint: AnnData, document: dict, tmp_path) -> None:
    write_annotations(joint, document).write_h5ad(tmp_path / "a.h5ad")
    again = read_h5ad(tmp_path / "a.h5ad")
    assert read_annotations(again) == document
    assert json.dumps(read_annotations(again)) == json.dumps(document)
    assert again.obs["roi_areas"].dtype == "category"


def test_renamed_categories_are_so_in_the_file_and_as_before_without_annotations(joint: AnnData, tmp_path) -> None:
    """By scanpy's convention: `uns['<column>_colors']` has a colour for each category, in their order."""
    joint = joint.copy()
    letters = np.array(["a", "b", "c", "d"])[np.arange(joint.n_obs) % 4]
    joint.obs["kind"] = pd.Categorical(np.where(np.arange(joint.n_obs) < 5, None, letters))
    joint.uns["kind_colors"] = ["#000001", "#000002", "#000003", "#000004"]
    joint.obs["plain"] = letters
    looks = {"kind": {"b": {"name": "Striatum"}, "d": {"name": "Striatum"}, "c": {"name": "a c", "color": "#123456"}}}
    looks |= {"plain": {"a": {"color": "#abcdef"}}, "gone": {"x": {"name": "y"}}}
    document = {"type": "FeatureCollection", "features": [], "categories": looks}
    write_annotations(joint, document).write_h5ad(tmp_path / "a.h5ad")
    again = read_h5ad(tmp_path / "a.h5ad")
    assert list(again.obs["kind"].cat.categories) == ["a", "Striatum", "a c"]
    assert list(again.uns["kind_colors"]) == ["#000001", "#000002", "#123456"]
    expected = joint.obs["kind"].astype(object).map({"a": "a", "b": "Striatum", "c": "a c", "d": "Striatum"})
    assert (again.obs["kind"].astype(object).fillna("-") == expected.fillna("-")).all()
    assert list(again.obs["plain"].cat.categories) == ["a", "b", "c", "d"]
    assert again.uns["plain_colors"][0] == "#abcdef"
    assert len(again.uns["plain_colors"]) == 4
    assert read_annotations(again) == document
    before = without_annotations(again)
    assert list(before.obs["kind"].astype(object).fillna("-")) == list(joint.obs["kind"].astype(object).fillna("-"))
    assert list(before.uns["kind_colors"]) == joint.uns["kind_colors"]
    assert list(before.obs["plain"]) == list(letters)
    assert "plain_colors" not in before.uns
    twice = write_annotations(again, document)
    assert list(twice.obs["kind"].cat.categories) == ["a", "Striatum", "a c"]


def test_geojson_in_um(joint: AnnData, document: dict) -> None:
    ours = write_annotations(joint, document).uns[keys.UNS]
    regions = json.loads(ours[keys.REGIONS]["um"])["features"]
    assert len(regions) == 3
    for feature in regions:
        assert feature["properties"]["area_um2"] == pytest.approx(shape(feature["geometry"]).area)
    first = shape(document["features"][0]["geometry"])
    assert regions[0]["properties"]["area_um2"] == pytest.approx(first.area / 4)
    (line, _) = json.loads(ours[keys.TRAJECTORIES]["um"])["features"]
    assert line["properties"]["length_um"] == pytest.approx(shape(line["geometry"]).length)


def test_writing_again_replaces_what_was_written(joint: AnnData, document: dict) -> None:
    first = write_annotations(joint, document)
    second = write_annotations(first, document | {"features": document["features"][:1]})
    assert [c for c in second.obs if c.startswith(("roi_", "toi_"))] == ["roi_areas"]
    assert keys.TRAJECTORIES not in second.uns[keys.UNS]
    bare = without_annotations(first)
    assert list(bare.obs.columns) == list(joint.obs.columns)
    assert set(bare.uns[keys.UNS]) == set(joint.uns[keys.UNS])
    assert "roi_areas" in first.obs
    assert keys.REGIONS not in joint.uns[keys.UNS]


def test_empty_documents(joint: AnnData) -> None:
    empty = {"type": "FeatureCollection", "features": []}
    assert read_annotations(joint) == empty
    assert read_annotations(write_annotations(joint, empty)) == empty


def test_slots(joint: AnnData, document: dict) -> None:
    written = write_annotations(joint, document)
    slots = slots_written(document)
    for column in set(written.obs.columns) - set(joint.obs.columns):
        assert f"obs['{column}']" in slots
    assert len(slots) == 2 + 4 + 2


def test_plain_geojson_is_read_as_well(joint: AnnData, document: dict) -> None:
    """A file that another program wrote has no note of the order."""
    adata = write_annotations(joint, document)
    plain = {"type": "FeatureCollection", "features": document["features"][:1]}
    adata.uns[keys.UNS][keys.REGIONS] = {"px": json.dumps(plain)}
    assert len(read_annotations(adata)["features"]) == 3
    adata.uns[keys.UNS][keys.REGIONS] = {"px": "no json"}
    with pytest.raises(DataError, match="GeoJSON"):
        read_annotations(adata)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d | {"type": "Feature"}, "FeatureCollection"),
        (lambda d: d["features"][0]["properties"].update(kind="cell") or d, "kind"),
        (lambda d: d["features"][0]["properties"].update(name=" ") or d, "name"),
        (lambda d: d["features"][1]["properties"].update(width_um=0) or d, "width"),
        (lambda d: d["features"][1].update(geometry=d["features"][0]["geometry"]) or d, "LineString"),
    ],
)
def test_refusals(joint: AnnData, document: dict, change, word: str) -> None:
    with pytest.raises(DataError, match=word):
        write_annotations(joint, change(document))
