"""The routes that Explore works with: arrays, selections, histology, revisions."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import shapely
from PIL import Image
from scipy.spatial import cKDTree

from core import keys
from spatialmeta_app.workspace.annotations import changed
from tests.app.api.conftest import CHANGE
from tests.app.explored import make_sample
from tests.app.services.test_annotations import RING, document, path, region


@pytest.fixture
def made(workspace):
    return make_sample(workspace)


@pytest.fixture
def base(made):
    return f"/api/view/{made.results['cluster'].id}"


def test_arrays_travel_as_raw_bytes_and_are_kept(client, base, made) -> None:
    answer = client.get(f"{base}/obsm/spatial")
    np.testing.assert_array_equal(np.frombuffer(answer.data, "<f4").reshape(-1, 2), made.xy.astype("f4"))
    assert "immutable" in answer.headers["Cache-Control"]
    assert "private" in answer.headers["Cache-Control"]
    again = client.get(f"{base}/obsm/spatial", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    values = np.frombuffer(client.get(f"{base}/feature/1?layer=normalized").data, "<f4")
    np.testing.assert_allclose(values, made.joint.layers[keys.NORMALIZED][:, 1])
    codes = np.frombuffer(client.get(f"{base}/obs/region").data, "<u2")
    np.testing.assert_array_equal(codes, made.joint.obs["region"].cat.codes)
    total = np.frombuffer(client.get(f"{base}/obs/total").data, "<f4")
    np.testing.assert_allclose(total, made.joint.obs["total"])


@pytest.mark.parametrize(
    "address", ["obsm/X_nothing", "obsm/..%2F..%2Fresult.json", "obs/none", "feature/99", "feature/0?layer=../x"]
)
def test_unknown_names_are_404_with_words(client, base, address) -> None:
    answer = client.get(f"{base}/{address}")
    assert answer.status_code == 404
    assert answer.get_json()["error"]["message"]


def test_meta_and_search(client, base, made) -> None:
    assert client.get(f"{base}/meta").get_json()["n_obs"] == made.joint.n_obs
    (hit,) = client.get(f"{base}/search?q=taurine").get_json()["hits"]
    assert hit["name"] == "tau"


def test_the_spot_under_the_pointer_is_the_nearest_one_of_a_kd_tree(client, base, made) -> None:
    tree = cKDTree(made.xy)
    rng = np.random.default_rng(1)
    values, codes = made.joint.layers[keys.NORMALIZED][:, 0], made.joint.obs["region"].cat.codes
    for place in rng.uniform(made.xy.min(axis=0) - 90, made.xy.max(axis=0) + 90, (25, 2)):
        away, row = tree.query(place)
        where = f"x={place[0]}&y={place[1]}&reach=80"
        found = client.get(f"{base}/at?{where}&feature=0&layer=normalized").get_json()
        expected = {"value": pytest.approx(float(values[row]), abs=1e-6)} if away <= 80 else {}
        assert found == expected or np.isnan(values[row])
        category = client.get(f"{base}/at?{where}&column=region").get_json()
        assert category == ({"value": int(codes.iloc[row])} if away <= 80 else {})


def test_one_range_for_several_results_is_numpys_percentile_of_both(client, base, made) -> None:
    of = [
        {"result": made.results["cluster"].id, "feature": 0, "layer": "counts"},
        {"result": made.results["st"].id, "column": "total"},
    ]
    body = {"of": of, "clip": [5, 90], "log": True}
    found = client.post(f"{base}/limits", json=body, headers={"X-SpatialMETA": "1"}).get_json()["limits"]
    both = np.concatenate([made.joint.layers[keys.COUNTS][:, 0], made.joint.obs["total"]])
    np.testing.assert_allclose(found, np.percentile(np.log1p(both), (5, 90)), rtol=1e-5)


def test_histology_is_a_picture_at_its_address(client, base, made) -> None:
    url = client.get(f"{base}/meta").get_json()["images"][0]["url"]
    answer = client.get(url)
    assert answer.mimetype == "image/jpeg"
    assert Image.open(io.BytesIO(answer.data)).size == (70, 60)
    assert "immutable" in answer.headers["Cache-Control"]
    answer.close()
    outside = url.replace("overview.jpg", "..%2Fview%2Fmeta.json")
    assert client.get(outside).status_code == 404
    assert client.get(url.replace("overview.jpg", "../view/meta.json")).status_code == 404


def test_selection_measure_outline_markers(client, base, made) -> None:
    steps = [{"op": "set", "space": "spatial", "geometry": {"type": "Polygon", "coordinates": [RING]}}]
    expected = shapely.contains_xy(shapely.Polygon(RING), made.xy).sum()
    body = {"steps": steps, "value": {"column": "total"}, "column": "region"}
    found = client.post(f"{base}/selection", json=body, headers=CHANGE).get_json()
    assert found["spots"] == expected
    body = {"base": 0, "document": document(region(), path())}
    assert "document" not in client.post(made.annotations, json=body, headers=CHANGE).get_json()
    measured = client.get(f"{base}/measures").get_json()
    assert measured["measures"]["r"]["spots"] == expected
    around = client.post(f"{base}/outline", json={"steps": steps}, headers=CHANGE).get_json()["geometries"]
    assert around[0]["type"] == "Polygon"
    rows = client.post(f"{base}/markers", json={"steps": steps, "layer": "normalized"}, headers=CHANGE).get_json()[
        "rows"
    ]
    assert {"name", "auc", "log2fc", "fdr"} <= set(rows[0])


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("selection", {}),
        ("selection", {"steps": "x"}),
        ("selection", {"steps": [{"op": "set", "geometry": None}]}),
        ("selection", {"steps": [], "value": {"index": "x"}}),
        ("markers", {"steps": [], "layer": "normalized"}),
    ],
)
def test_malformed_questions_are_answered_with_words(client, base, route, body) -> None:
    answer = client.post(f"{base}/{route}", json=body, headers=CHANGE)
    assert answer.status_code == 422
    assert answer.get_json()["error"]["expected"]


def test_revisions_conflicts_undo_and_etag(client, made) -> None:
    url = made.annotations
    first = client.get(url)
    assert first.get_json()["number"] == 0
    assert client.get(url, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    saved = client.post(url, json={"base": 0, "document": document(region())}, headers=CHANGE).get_json()
    assert saved["number"] == 1
    assert saved["mine"]
    assert "user" not in saved  # the id of a person is their cookie
    late = client.post(url, json={"base": 0, "document": document(path())}, headers=CHANGE)
    assert late.status_code == 409
    since = client.get(url, headers={"If-None-Match": first.headers["ETag"]}).get_json()["changes"]
    assert changed(document(), since) == document(region())
    undone = client.post(f"{url}/undo", json={"base": 1}, headers=CHANGE).get_json()
    assert changed(document(region()), undone["changes"]) == document()
    assert (undone["can_undo"], undone["can_redo"]) == (False, True)
    redone = client.post(f"{url}/redo", json={"base": 2}, headers=CHANGE).get_json()
    assert changed(document(), redone["changes"]) == document(region())
    blind = client.post(f"{url}/undo", json={"base": 2}, headers=CHANGE)  # somebody saved since: not theirs to undo
    assert blind.status_code == 409
    assert client.get(url).get_json()["document"] == document(region())


def test_geojson_there_and_back_with_a_report(client, made) -> None:
    url = made.annotations
    client.post(url, json={"base": 0, "document": document(region(), path())}, headers=CHANGE)
    written = client.get(f"{url}/geojson")
    assert "attachment" in written.headers["Content-Disposition"]
    assert [f["properties"]["objectType"] for f in written.get_json()["features"]] == ["annotation", "annotation"]
    file = written.get_json()
    file["features"].append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}})
    read = client.post(f"{url}/geojson", json={"text": json.dumps(file), "width_um": 300}, headers=CHANGE).get_json()
    assert read["features"] == document(region(), path())["features"]
    assert [s["which"] for s in read["skipped"]] == ["feature 3"]
    refused = client.post(f"{url}/geojson", json={"text": "<xml/>", "width_um": 300}, headers=CHANGE)
    assert refused.status_code == 422
    assert "GeoJSON" in refused.get_json()["error"]["expected"]


def test_combinations_and_strokes_are_shapelys(client, made) -> None:
    first, second = shapely.box(0, 0, 10, 10), shapely.box(5, 5, 20, 20)
    shapes = [shapely.geometry.mapping(g) for g in (first, second)]
    for name in ("union", "difference", "intersection"):
        body = {"operation": name, "geometries": shapes}
        found = client.post(f"{made.annotations}/combine", json=body, headers=CHANGE).get_json()["geometry"]
        assert shapely.geometry.shape(found).equals(getattr(first, name)(second))
    body = {
        "operation": "intersection",
        "geometries": [shapes[0], shapely.geometry.mapping(shapely.box(50, 50, 60, 60))],
    }
    assert client.post(f"{made.annotations}/combine", json=body, headers=CHANGE).get_json() == {"geometry": None}
    body = {"line": [[0, 0], [100, 0], [100, 50]], "radius": 10}
    found = client.post(f"{made.annotations}/stroke", json=body, headers=CHANGE).get_json()["geometry"]
    exact = shapely.LineString(body["line"]).buffer(10)
    assert shapely.geometry.shape(found).hausdorff_distance(exact) < 0.5


def test_shapes_without_an_alignment_cannot_be_carried(client, made) -> None:
    body = {"geometries": [{"type": "Polygon", "coordinates": [RING]}], "to": "sm"}
    answer = client.post(f"{made.annotations}/carry", json=body, headers=CHANGE)
    assert answer.get_json() == {"geometries": None, "aligned": None}
    answer = client.post(f"{made.annotations}/carry", json=body | {"to": "st"}, headers=CHANGE)
    assert answer.status_code == 422
    assert "Align" in answer.get_json()["error"]["mend"]


def test_a_column_becomes_regions_that_hold_its_spots(client, base, made) -> None:
    found = client.post(f"{base}/regions", json={"column": "region"}, headers=CHANGE).get_json()["regions"]
    truth = made.joint.obs["region"]
    assert [r["name"] for r in found] == list(truth.cat.categories)
    for one in found:
        inside = shapely.contains_xy(shapely.geometry.shape(one["geometry"]), made.xy)
        np.testing.assert_array_equal(inside, truth == one["name"])
    assert client.post(f"{base}/regions", json={"column": "total"}, headers=CHANGE).status_code == 422


def test_saving_names_the_slots(client, made) -> None:
    client.post(made.annotations, json={"base": 0, "document": document(region(), path())}, headers=CHANGE)
    answer = client.post(f"{made.annotations}/save", json={}, headers=CHANGE).get_json()
    assert "obs['roi_regions']" in answer["slots"]
    assert "uns['spatialmeta']['trajectories']" in answer["slots"]
    assert client.get(f"/api/jobs/{answer['job']}").get_json()["kind"] == "export"


def test_a_sample_is_reached_through_its_project_only(client, made) -> None:
    assert client.get(f"/api/annotations/other/{made.sample.id}").status_code == 404


def test_changes_need_the_header(client, made) -> None:
    assert client.post(made.annotations, json={"base": 0, "document": document()}).status_code == 403


def test_who_knows_a_revision_is_told_what_changed_since(client, made) -> None:
    first, second = document(region(), path()), document(region() | {"id": "other"}, region(), path())
    client.post(made.annotations, json={"base": 0, "document": first}, headers=CHANGE)
    client.post(made.annotations, json={"base": 1, "document": second}, headers=CHANGE)
    assert client.get(made.annotations).get_json()["document"] == second
    assert client.get(made.annotations, headers={"If-None-Match": '"2"'}).status_code == 304
    since = client.get(made.annotations, headers={"If-None-Match": '"1"'}).get_json()
    assert "document" not in since
    assert (since["number"], since["base"]) == (2, 1)
    assert changed(first, since["changes"]) == second
    undone = client.post(f"{made.annotations}/undo", json={"base": 2}, headers=CHANGE).get_json()
    assert "document" not in undone
    assert changed(second, undone["changes"]) == first
    unknown = client.get(made.annotations, headers={"If-None-Match": '"99"'}).get_json()
    assert unknown["document"] == first


@pytest.mark.parametrize("base_revision", [None, "1", True, 1.5])
def test_base_is_a_number(client, made, base_revision) -> None:
    answer = client.post(made.annotations, json={"base": base_revision, "document": document()}, headers=CHANGE)
    assert answer.status_code == 422
