"""The preview of the file, against the file that the export job writes; small files; storage."""

from __future__ import annotations

import csv
import json

import anndata
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import Point, Polygon

from core import keys
from core.analysis.geojson import from_geojson
from core.context import Context
from core.quality import write_quality
from spatialmeta_app.jobs.export import PARTS, export, spots
from spatialmeta_app.jobs.task import Task
from spatialmeta_app.services import export as service
from spatialmeta_app.services.backend import Backend
from spatialmeta_app.workspace import WorkspaceError

CORNERS = [[400, 400], [1500, 400], [1500, 1500], [400, 1500], [400, 400]]
DOCUMENT = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "a",
            "properties": {"kind": "region", "name": "Left", "color": "#ff0000", "group": "regions"},
            "geometry": {"type": "Polygon", "coordinates": [CORNERS]},
        },
        {
            "type": "Feature",
            "id": "b",
            "properties": {"kind": "trajectory", "name": "Midline", "color": "#00ff00", "width_um": 300},
            "geometry": {"type": "LineString", "coordinates": [[500, 600], [2500, 600]]},
        },
    ],
}


@pytest.fixture
def here(settings, workspace, annotations, store) -> Backend:
    return Backend(settings, workspace, annotations, store)


@pytest.fixture
def annotated(annotations, sample, selected):
    annotations.commit(sample, DOCUMENT, base=0, user="ada")
    return selected


def test_without_a_joint_result_there_is_nothing(here, sample) -> None:
    assert service.contents(here, sample.id) is None
    assert service.files(here, sample.id) == {}


def test_parts_are_those_of_the_job() -> None:
    assert tuple(service.PARTS) == PARTS


def task_of(here, sample, folder) -> Task:
    values = {"job": "j", "kind": "export", "project": sample.project, "sample": sample.id, "user": "ada"}
    return Task(
        **values, config={}, inputs={}, attempt=1, folder=folder, workspace=here.workspace, context=Context(),
        begin_saving=lambda: None,
    )  # fmt: skip


def test_the_preview_lists_the_slots_of_the_file(here, sample, annotated, tmp_path) -> None:
    preview = service.contents(here, sample.id)
    file = anndata.read_h5ad(tmp_path / "download" / export(task_of(here, sample, tmp_path)))
    named = {slot.name for slot in preview.slots}
    written = {f"obs['{c}']" for c in file.obs} | {f"var['{c}']" for c in file.var}
    written |= {f"obsm['{c}']" for c in file.obsm} | {f"layers['{c}']" for c in file.layers}
    assert written <= named
    assert not {n for n in named if n.startswith(("obs[", "var[", "obsm[", "layers["))} - written
    assert (preview.n_obs, preview.n_vars) == file.shape
    assert [r["name"] for r in preview.history] == ["reassign", "features"]


def test_the_table_of_spots_has_regions_as_shapely_sees_them(here, sample, annotated, tmp_path) -> None:
    name = spots(task_of(here, sample, tmp_path))
    assert name == "section 1_spots.csv"
    table = pd.read_csv(tmp_path / "download" / name, index_col="spot")
    assert list(table.index) == list(annotated.obs_names)
    np.testing.assert_allclose(table[["x_px", "y_px"]], annotated.obsm[keys.SPATIAL], rtol=1e-6)
    inside = [Polygon(CORNERS).contains(Point(p)) for p in annotated.obsm[keys.SPATIAL]]
    np.testing.assert_array_equal(table["roi_regions"].notna(), inside)
    assert table["toi_midline_position_um"].notna().any()


def test_the_table_is_empty_where_a_spot_was_kept_without_values(here, sample, keep, reassigned, tmp_path) -> None:
    counts = np.array([[3.0, 0.0, 2.5], [0.0, 0.0, 4.0], [5.0, 1.0, 0.0]], dtype=np.float32)
    obs = pd.DataFrame({"n_sm_pixels": [4, 2, 0], "n_st_spots": [1, 0, 2]}, index=["a", "b", "c"])
    joint = anndata.AnnData(counts, obs, pd.DataFrame({"type": ["ST", "ST", "SM"]}, index=["G1", "G2", "m1"]))
    joint.obsm[keys.SPATIAL] = np.arange(6.0).reshape(3, 2)
    write_quality(joint)
    keep("features", joint)
    text = (tmp_path / "download" / spots(task_of(here, sample, tmp_path))).read_text()
    rows = {row["spot"]: row for row in csv.DictReader(text.splitlines())}
    assert [rows[n]["n_genes"] for n in "abc"] == ["1", "", "2"]
    assert [rows[n]["n_metabolites"] for n in "abc"] == ["1", "1", ""]
    assert [rows[n]["sm_total"] for n in "abc"] == ["2.5", "4.0", ""]
    assert [rows[n]["mito_share"] for n in "ac"] == ["0", "0"]  # measured, and none


def test_small_files(here, sample, annotated) -> None:
    assert set(service.files(here, sample.id)) == {"geojson", "transform", "spots", "script"}
    name, text = service.file(here, sample.id, "geojson")
    assert name == "section_1_annotations.geojson"
    assert from_geojson(text, width_um=1).features == DOCUMENT["features"]
    assert json.loads(service.file(here, sample.id, "transform")[1])["quality"]["dice"] == 0.91
    assert "python -m core features" in service.file(here, sample.id, "script")[1]
    with pytest.raises(WorkspaceError):
        service.file(here, sample.id, "../etc/passwd")


def test_storage_counts_runs_and_bytes(here, sample, annotated, workspace) -> None:
    rows = {title: (number, size) for title, number, size in service.storage(workspace, sample.id)}
    assert rows["Features"] == (1, workspace.chosen(sample, "features").bytes)
    assert rows["Uploaded files"] == (0, 0)
    assert "Integrate" not in rows
