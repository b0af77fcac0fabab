"""A sample that joins others: its steps, what makes it stale, a copy of its project."""

from __future__ import annotations

import pytest

from core.errors import SpatialMetaError
from spatialmeta_app.jobs import JobStore
from spatialmeta_app.services import joining, steps
from spatialmeta_app.workspace import Workspace


@pytest.fixture
def parts(workspace: Workspace, project):
    """Two samples with a chain of results each, as far as Reassign."""
    made = [workspace.create_sample(project, name) for name in ("a", "b")]
    for sample in made:
        for step in ("st", "sm", "align", "reassign"):
            keep(workspace, sample, step)
    return made


def keep(workspace: Workspace, sample, step: str):
    inputs = {name: result.id for name, result in workspace.inputs_of(sample, step).items()}
    return workspace.add_result(sample, step, writer=lambda _: {"n_obs": 1}, config={}, inputs=inputs)


def test_it_begins_with_the_reassignments_of_its_parts(workspace, project, parts) -> None:
    joined = workspace.create_sample(project, "both", parts=parts)
    assert workspace.sample(joined).parts == tuple(p.id for p in parts)
    assert list(workspace.status(joined)) == ["reassign", "features", "integrate", "cluster"]
    assert {n: r.sample for n, r in workspace.inputs_of(joined, "reassign").items()} == {p.id: p.id for p in parts}
    with pytest.raises(SpatialMetaError, match="joined"):
        workspace.inputs_of(joined, "align")
    keep(workspace, joined, "reassign")
    keep(workspace, joined, "features")
    assert workspace.status(joined) == {
        "reassign": "done", "features": "done", "integrate": "missing", "cluster": "missing",
    }  # fmt: skip
    assert workspace.joint(joined).step == "features"


def test_a_part_that_changes_makes_it_stale(workspace, project, parts, store: JobStore) -> None:
    joined = workspace.create_sample(project, "both", parts=parts)
    keep(workspace, joined, "reassign")
    before = workspace.chosen(parts[1], "reassign")
    keep(workspace, parts[1], "reassign")
    assert workspace.status(joined)["reassign"] == "stale"
    view = steps.view(workspace, store, project=project.id, sample=joined.id, step="reassign")
    assert view.ready
    assert view.chosen.stale == ("Reassign of b changed: it was run again.",)
    workspace.choose(before)
    assert workspace.status(joined)["reassign"] == "done"
    keep(workspace, parts[0], "align")  # the part's own reassignment is out of date now, and with it the joint one
    assert workspace.status(joined)["reassign"] == "stale"
    workspace.delete_sample(parts[0])
    assert workspace.status(joined)["reassign"] == "stale"
    with pytest.raises(SpatialMetaError, match="reassign"):
        workspace.inputs_of(joined, "reassign")


def test_a_copy_joins_the_copies(workspace, project, parts) -> None:
    keep(workspace, workspace.create_sample(project, "both", parts=parts), "reassign")
    copied = workspace.copy_project(project, "bob")
    a, b, joined = [s for s in workspace.samples(copied) if s.name in ("a", "b", "both")]
    assert joined.parts == (a.id, b.id)
    assert workspace.status(joined)["reassign"] == "done"


def test_joining_is_a_job_of_the_new_sample(workspace, project, parts, store: JobStore) -> None:
    assert joining.candidates(workspace, parts[0].id) == [parts[1]]
    joined = joining.join(workspace, store, parts[0].id, [parts[1].id], " ", user="ada")
    assert joined.name == "a + b"
    (job,) = store.jobs(project)
    assert (job.kind, job.sample) == ("reassign", joined.id)
    assert joining.candidates(workspace, parts[0].id) == [parts[1]]  # a joined sample is no part of another
    with pytest.raises(SpatialMetaError, match="Tick"):
        joining.join(workspace, store, parts[0].id, [], "x", user="ada")
    workspace.rename_sample(parts[1], "a")
    with pytest.raises(SpatialMetaError, match="different names"):
        joining.join(workspace, store, parts[0].id, [parts[1].id], "x", user="ada")
    with pytest.raises(SpatialMetaError, match="two samples"):
        workspace.create_sample(project, "x", parts=[parts[0]])
