"""Samples that are joined: what is asked before, and that each keeps its own picture under its own spots."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from core import keys
from core.context import Context
from core.joining import ConcatConfig
from core.pipeline import STEPS
from spatialmeta_app.jobs import JobStore
from spatialmeta_app.jobs.task import Task
from spatialmeta_app.jobs.work import run
from spatialmeta_app.services import joining, pictures, steps
from spatialmeta_app.workspace import NotFound, Result, Sample, Workspace, WorkspaceError
from tests.app.explored import add_result, make_joint


def a_sample(workspace: Workspace, project, name: str, *, um_per_px: float, columns: slice, width: int) -> Sample:
    """With an ST section on a picture of *width* pixels, and a reassignment of the features in *columns*."""
    joint = make_joint()[:, columns].copy()
    joint.uns[keys.UNS][keys.UM_PER_PX] = um_per_px
    joint.uns[keys.UNS_SPATIAL]["s"]["images"] = {"lowres": np.zeros((60, width, 3), np.uint8)}
    sample = workspace.create_sample(project, name)
    st = add_result(workspace, sample, "st", joint, {})
    align = add_result(workspace, sample, "align", joint, {"st": st.id})
    made = add_result(workspace, sample, "reassign", joint, {"st": st.id, "sm": align.id})
    joint.write_h5ad(workspace.path(made) / "data.h5ad")
    return sample


@pytest.fixture
def parts(workspace: Workspace) -> list[Sample]:
    project = workspace.create_project("Two", "ada")
    first = a_sample(workspace, project, "left/1", um_per_px=0.5, columns=slice(0, 4), width=70)
    return [first, a_sample(workspace, project, "right", um_per_px=1.0, columns=slice(1, 5), width=90)]


@pytest.fixture
def joined(workspace: Workspace, store: JobStore, parts: list[Sample], tmp_path: Path) -> Result:
    sample = joining.join(workspace, store, parts[0].id, [parts[1].id], "both", user="ada")
    job = store.jobs(sample.project)[0]
    given = {"job": job.id, "kind": job.kind, "project": job.project, "sample": job.sample, "user": job.user}
    task = Task(
        **given, config=job.config, inputs={}, attempt=1, folder=tmp_path / "job", workspace=workspace,
        context=Context(), begin_saving=lambda: None,
    )  # fmt: skip
    return run(task)


def test_every_spot_lies_on_its_own_picture(workspace: Workspace, joined: Result, parts: list[Sample]) -> None:
    made = anndata.read_h5ad(workspace.path(joined, "data.h5ad"))
    found = pictures.of_result(workspace, joined)
    assert [p["url"].split("/")[3] for p in found] == [workspace.chosen(p, "st").id for p in parts]
    for picture, name, width in zip(found, ("left_1", "right"), (7000, 9000), strict=True):
        own = (made.obs[keys.SAMPLE] == name).to_numpy()
        layout, xy = made.obsm[keys.SPATIAL_LAYOUT][own], made.obsm[keys.SPATIAL][own]
        corner, size = [picture["x"], picture["y"]], [picture["width"], picture["height"]]
        np.testing.assert_allclose((layout - corner) / size, xy / [width, 6000], rtol=1e-6)


def test_later_steps_show_the_pictures_and_a_deleted_part_has_none(
    workspace: Workspace, joined: Result, parts: list[Sample]
) -> None:
    later = add_result(workspace, workspace.sample(joined.sample), "features", make_joint(), {"joint": joined.id})
    assert pictures.of_result(workspace, later) == pictures.of_result(workspace, joined)
    workspace.rename_sample(parts[0], "another name")  # the layout knows the name of the day
    assert len(pictures.of_result(workspace, later)) == 2
    copied = workspace.copy_project(joined.project, "bob")
    same = next(s for s in workspace.samples(copied) if s.parts)
    assert len(pictures.of_result(workspace, workspace.chosen(same, "reassign"))) == 2
    workspace.delete_sample(parts[1])
    assert len(pictures.of_result(workspace, later)) == 1


def test_tiles_are_as_sharp_as_on_the_section_itself() -> None:
    levels = [{"level": 0, "scale": 0.7, "columns": 10, "rows": 9}]
    tiles = {"size": 512, "overview": 0.2, "levels": levels, "base": "/t"}
    picture = {"url": "/x", "x": 0.0, "y": 0.0, "width": 7000.0, "height": 6000.0, "tiles": tiles}
    moved = pictures.moved(picture, {"scale": 2.0, "x": 100.0, "y": -50.0})
    assert (moved["x"], moved["y"], moved["width"], moved["height"]) == (100.0, -50.0, 14000.0, 12000.0)
    level = moved["tiles"]["levels"][0]
    # 512 pixels of the picture are 512 / 0.7 of the section's own, which is twice that of the layout's
    assert moved["tiles"]["size"] / level["scale"] == pytest.approx(2 * 512 / 0.7)
    assert moved["tiles"]["overview"] == 0.1


def test_the_report_says_what_each_loses(workspace: Workspace, joined: Result) -> None:
    report = {part.name: part.lost for part in joining.report(workspace, joined)}
    assert report == {"left_1": ("Pcp4",), "right": ("tau",)}


def test_the_tolerance_travels_from_the_page_to_the_command_line(
    workspace: Workspace, store: JobStore, parts: list[Sample]
) -> None:
    config = ConcatConfig(mz_tolerance_ppm=5)
    sample = joining.join(workspace, store, parts[0].id, [parts[1].id], "both", config=config, user="ada")
    job = store.jobs(sample.project)[0]
    assert job.config == {"mz_tolerance_ppm": 5}
    assert steps.config_of("reassign", job.config) == config
    assert steps.config_kind("reassign", ["k", "weighting"]) is STEPS["reassign"].Config
    words = steps.command_line("reassign", config, parts=3)
    assert words.endswith("core concat JOINT_1.h5ad JOINT_2.h5ad JOINT_3.h5ad --out JOINT.h5ad --mz-tolerance-ppm=5")


def test_refusals(workspace: Workspace, store: JobStore, parts: list[Sample]) -> None:
    with pytest.raises(WorkspaceError, match="another sample"):
        joining.join(workspace, store, parts[0].id, [], "", user="ada")
    empty = workspace.create_sample(parts[0].project, "empty")
    with pytest.raises(WorkspaceError, match="Reassign it first"):
        joining.join(workspace, store, parts[0].id, [empty.id], "", user="ada")
    with pytest.raises(NotFound):
        joining.join(workspace, store, parts[0].id, ["none"], "", user="ada")
