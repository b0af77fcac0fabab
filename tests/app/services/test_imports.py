"""Which files an import takes, and what the Data page knows of it."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

from spatialmeta_app.services import imports
from spatialmeta_app.workspace import Upload, Workspace, WorkspaceError
from spatialmeta_app.workspace.viewing import write_view


def upload(slot: str, filename: str, state: str = "done") -> Upload:
    return Upload(filename, "p", "s", slot, filename, 1, state, "ada", 0.0)


def path(name: str) -> str:
    return f"uploads/{name}/{name}"


@pytest.mark.parametrize(
    ("kind", "files", "inputs"),
    [
        ("st", [("st", "a.h5ad")], {"file": path("a.h5ad")}),
        ("st", [("st", "new.h5ad"), ("st", "old.h5ad")], {"file": path("new.h5ad")}),
        ("st", [("st", "ranger.zip")], {"file": path("ranger.zip")}),
        ("st", [("st", "m.h5"), ("st", "s.zip")], {"file": path("m.h5"), "spatial": path("s.zip")}),
        ("st", [("st", "s.zip"), ("st", "m.h5")], {"file": path("m.h5"), "spatial": path("s.zip")}),
        ("st", [("st", "m.h5"), ("st", "s.tar.gz")], {"file": path("m.h5"), "spatial": path("s.tar.gz")}),
        ("st", [("st", "s.tgz"), ("st", "m.h5")], {"file": path("m.h5"), "spatial": path("s.tgz")}),
        (
            "st",
            [("st", "V1_spatial.tar.gz"), ("st", "V1_filtered_feature_bc_matrix.tar.gz")],
            {"file": path("V1_filtered_feature_bc_matrix.tar.gz"), "spatial": path("V1_spatial.tar.gz")},
        ),
        (
            "st",
            [("st", "filtered_gene_bc_matrices.zip"), ("st", "s.zip")],
            {"file": path("filtered_gene_bc_matrices.zip"), "spatial": path("s.zip")},
        ),
        ("st", [("st", "a.h5ad"), ("st", "m.h5")], {"file": path("a.h5ad")}),
        ("st", [("image", "he.png"), ("st", "a.h5ad")], {"file": path("a.h5ad"), "image": path("he.png")}),
        ("sm", [("sm", "peaks.csv")], {"file": path("peaks.csv")}),
        ("sm", [("sm", "a.imzML"), ("ibd", "a.ibd")], {"file": path("a.imzML"), "ibd": path("a.ibd")}),
        ("sm", [("sm", "a.h5ad"), ("ibd", "a.ibd")], {"file": path("a.h5ad")}),
        ("sm", [("negative", "n.h5ad"), ("sm", "a.h5ad")], {"file": path("a.h5ad"), "negative": path("n.h5ad")}),
        ("sm", [("sm", "a.h5ad"), ("negative", "n.h5ad")], {"file": path("a.h5ad"), "negative": path("n.h5ad")}),
        ("sm", [("sm", "new.h5ad"), ("negative", "n.h5ad"), ("sm", "a.h5ad")], {"file": path("new.h5ad")}),
    ],
)
def test_the_newest_files_that_belong_together_are_taken(kind: str, files: list, inputs: dict) -> None:
    assert dict(imports.plan([upload(*f) for f in files], kind).inputs) == inputs


@pytest.mark.parametrize(
    ("kind", "files", "word"),
    [
        ("st", [], ""),
        ("st", [("st", "m.h5")], "spatial folder"),
        ("st", [("st", "filtered_feature_bc_matrix.tar.gz")], "spatial folder"),
        ("st", [("image", "he.png")], ""),
        ("st", [("st", "half.h5ad", "receiving")], ""),
        ("sm", [("sm", "a.imzML")], ".ibd"),
        ("sm", [("ibd", "a.ibd")], ".imzML"),
    ],
)
def test_an_import_waits_for_what_is_missing(kind: str, files: list, word: str) -> None:
    found = imports.plan([upload(*f) for f in files], kind)
    assert not found.inputs
    assert word in found.waits_for


def test_the_scale_goes_with_an_image_only() -> None:
    assert "image_scale" not in imports.plan([upload("st", "a.h5ad")], "st", 0.1).inputs
    both = [upload("st", "a.h5ad"), upload("image", "he.png")]
    assert imports.plan(both, "st", 0.1).inputs["image_scale"] == 0.1


def put(workspace: Workspace, project, sample, slot: str, name: str) -> Upload:
    made = workspace.uploads.start(project.id, sample.id, slot, name, 0, user="ada")
    return workspace.uploads.finish(made)


def test_a_new_import_stops_the_one_before(workspace, store, project, sample) -> None:
    here = {"project": project.id, "sample": sample.id, "kind": "st", "user": "ada"}
    assert imports.start(workspace, store, **here) is None
    put(workspace, project, sample, "st", "a.h5ad")
    first = imports.start(workspace, store, **here)
    newer = put(workspace, project, sample, "st", "b.h5ad")
    second = imports.start(workspace, store, **here)
    assert store.get(first).state == "cancelled"
    assert second.inputs["file"] == newer.path
    key = imports.start(workspace, store, **here | {"kind": "sm", "spatial_key": "grid"})
    assert key is None  # no SM file yet


def test_a_section_is_ready_when_read_and_not_blocked(workspace, store, project, sample) -> None:
    here = {"project": project.id, "sample": sample.id}
    assert not imports.section(workspace, store, kind="st", **here).ready
    put(workspace, project, sample, "st", "a.h5ad")
    job = imports.start(workspace, store, kind="st", user="ada", **here)
    assert imports.section(workspace, store, kind="st", **here).job == job
    store.cancel(job)
    for level, ready in (("warning", True), ("blocking", False)):
        _import(workspace, sample, "st", level)
        found = imports.section(workspace, store, kind="st", **here)
        assert (found.ready, found.blocked, found.job) == (ready, not ready, None)
        assert [f.level for f in found.findings] == [level]


def _import(workspace, sample, step: str, level: str = "ok", config: dict | None = None, **obsm: np.ndarray):
    adata = anndata.AnnData(np.ones((4, 2), dtype=np.float32))
    adata.var["type"] = step.upper()
    for name, values in obsm.items():
        adata.obsm[name] = values

    def write(directory) -> dict:
        write_view(adata, directory / "view")
        return {"n_obs": 4, "n_vars": 2, "checks": [{"level": level, "title": "t", "found": "f", "mend": "m"}]}

    return workspace.add_result(sample, step, writer=write, config=config or {}, inputs={})


def test_coordinates_to_choose_among(workspace, store, project, sample) -> None:
    here = {"project": project.id, "sample": sample.id, "kind": "sm"}
    xy, wide = np.zeros((4, 2)), np.zeros((4, 10))
    _import(workspace, sample, "sm", spatial=xy, grid=xy, X_umap=xy, X_pca=wide)
    found = imports.section(workspace, store, **here)
    assert found.spatial_keys == ("spatial", "grid")
    assert found.spatial_key == "spatial"
    _import(workspace, sample, "sm", config={"spatial_key": "grid"}, spatial=xy, spatial_file=xy, grid=xy)
    found = imports.section(workspace, store, **here)
    assert found.spatial_keys == ("spatial", "grid")
    assert found.spatial_key == "grid"


def test_files_in_use_by_slot(workspace, project, sample) -> None:
    for slot, name in (("st", "a.h5ad"), ("st", "b.h5ad"), ("sm", "a.imzML"), ("ibd", "a.ibd"), ("image", "he.png")):
        put(workspace, project, sample, slot, name)
    held = imports.files_in_use(workspace, project.id, sample.id)
    assert {slot: sorted(u.filename for u in files) for slot, files in held.items()} == {
        "st": ["b.h5ad"],
        "sm": ["a.ibd", "a.imzML"],
        "negative": [],
        "image": ["he.png"],
    }


@pytest.mark.parametrize(
    ("name", "slot"), [("a.imzML", "sm"), ("a.IBD", "ibd"), ("he.TIFF", "image"), ("m.h5", "st"), ("a.h5ad", None)]
)
def test_kind_of_a_file_by_its_ending(name: str, slot: str | None) -> None:
    assert imports.guess_slot(name) == slot


def test_an_import_from_the_server_needs_a_kind(workspace, project, sample) -> None:
    here = {"project": project.id, "sample": sample.id, "path": "/x", "user": "ada"}
    with pytest.raises(WorkspaceError):
        imports.import_from_server(workspace, slot="auto", **here)
