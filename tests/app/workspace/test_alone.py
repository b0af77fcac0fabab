"""A sample with one section alone: its features come from that section, until the other comes."""

from __future__ import annotations

import pytest

from core.errors import SpatialMetaError
from spatialmeta_app.jobs import JobStore
from spatialmeta_app.services import projects, steps
from spatialmeta_app.workspace import Workspace
from tests.app.workspace.test_joined import keep


@pytest.mark.parametrize("section", ["st", "sm"])
def test_the_features_take_the_section_that_there_is(workspace: Workspace, store: JobStore, sample, section) -> None:
    assert workspace.alone(sample) is None
    with pytest.raises(SpatialMetaError, match="before 'features'"):
        workspace.inputs_of(sample, "features")
    made = keep(workspace, sample, section)
    assert workspace.alone(sample) == made
    assert workspace.inputs_of(sample, "features") == {"joint": made}
    here = {"project": sample.project, "sample": sample.id}
    assert steps.view(workspace, store, **here, step="features").ready
    aligned = steps.view(workspace, store, **here, step="align")
    assert (aligned.missing, aligned.alone) == (("sm" if section == "st" else "st",), section)
    keep(workspace, sample, "features")
    assert workspace.status(sample)["features"] == "done"
    assert workspace.joint(sample).step == "features"
    assert projects.next_page(workspace.status(sample)) == "integrate"


def test_the_partner_takes_over_when_it_is_reassigned(workspace: Workspace, store: JobStore, sample) -> None:
    keep(workspace, sample, "sm")
    keep(workspace, sample, "features")
    keep(workspace, sample, "st")
    assert workspace.alone(sample) is None
    assert workspace.status(sample)["features"] == "stale"
    for step in ("align", "reassign"):
        keep(workspace, sample, step)
    view = steps.view(workspace, store, project=sample.project, sample=sample.id, step="features")
    assert view.chosen.stale == ("Reassign changed: it takes the place of the SM section.",)
    keep(workspace, sample, "features")
    assert workspace.status(sample)["features"] == "done"


def test_an_empty_sample_begins_with_its_files_whatever_the_page(workspace, store: JobStore, sample) -> None:
    for step in ("align", "reassign", "features", "integrate"):
        view = steps.view(workspace, store, project=sample.project, sample=sample.id, step=step)
        assert view.missing == ("st", "sm")


def test_its_script_begins_with_the_section(workspace: Workspace, sample) -> None:
    for step in ("sm", "features", "integrate"):
        keep(workspace, sample, step)
    commands = [c for c in steps.script(list(workspace.choices(sample).values())).splitlines() if "core" in c]
    assert commands[0] == "python -m core features SM.h5ad --section sm --out FEATURES.h5ad"
    assert len(commands) == 2
