"""Projects as the start page and the pickers show them."""

from __future__ import annotations

import pytest

from core.errors import SpatialMetaError
from spatialmeta_app.services import projects
from spatialmeta_app.workspace import DEMO, ForbiddenError, NotFound, Workspace

DONE = dict.fromkeys(("st", "sm", "align", "reassign", "features", "integrate", "cluster"), "done")


def add(workspace: Workspace, sample, step: str, inputs: dict[str, str] | None = None, **files: bytes):
    """A result whose directory holds *files* (names with '__' for '/')."""

    def write(directory) -> dict:
        for name, content in files.items():
            path = directory / name.replace("__", "/").replace("_jpg", ".jpg")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return {"n_obs": 10, "n_vars": 3}

    return workspace.add_result(sample, step, writer=write, config={}, inputs=inputs or {})


@pytest.mark.parametrize(
    ("change", "page"),
    [
        ({}, "explore"),
        ({"sm": "missing"}, "data"),
        ({"st": "blocked"}, "data"),
        ({"align": "missing", "reassign": "missing"}, "align"),
        ({"integrate": "missing"}, "integrate"),
        ({"reassign": "stale"}, "explore"),
    ],
)
def test_work_goes_on_where_it_stopped(change: dict[str, str], page: str) -> None:
    assert projects.next_page(DONE | change) == page


def test_a_new_project_opens_on_the_data_page_of_its_first_sample(workspace: Workspace) -> None:
    address = projects.create(workspace, "  Brain  ", "ada")
    (card,) = projects.cards(workspace, "ada")
    assert card.href == address
    assert card.project.name == "Brain"
    assert card.samples == 1
    assert projects.cards(workspace, "eve") == []


def test_a_card_shows_the_histology_else_a_map(workspace: Workspace, sample) -> None:
    assert projects.picture(workspace, sample) == projects.Picture()
    sm = add(workspace, sample, "sm")
    assert projects.picture(workspace, sample).values == f"/api/view/{sm.id}/obs/total_sm"
    add(workspace, sample, "st")
    assert projects.picture(workspace, sample).values.endswith("/obs/total_st")
    st = add(workspace, sample, "st", image__overview_jpg=b"jpeg")
    assert projects.picture(workspace, sample).image == f"/api/image/{st.id}/overview.jpg"


def test_names_for_the_pickers(workspace: Workspace, project, sample) -> None:
    second = workspace.create_sample(project, "section 2")
    other = workspace.create_project("liver", "ada")
    found = projects.names(workspace, project.id, second.id, "ada")
    assert found.sample == second
    assert found.samples == (sample, second)
    assert found.others == ((other.name, "/"),)
    assert projects.names(workspace, project.id, None, "ada").sample is None
    assert projects.suggested_name(found, "project") == project.name
    assert projects.suggested_name(found, "sample") == "section 2"
    assert projects.suggested_name(found, "new-sample") == "Sample 3"


def test_a_sample_of_another_project_is_not_found(workspace: Workspace, project, sample) -> None:
    other = workspace.create_project("liver", "ada")
    with pytest.raises(NotFound):
        projects.names(workspace, other.id, sample.id, "ada")


def test_names_are_kept_and_new_samples_opened(workspace: Workspace, project, sample) -> None:
    here = {"project": project.id, "sample": sample.id}
    assert projects.keep_name(workspace, "project", "Nigra", **here) is None
    assert projects.keep_name(workspace, "sample", "B1", **here) is None
    address = projects.keep_name(workspace, "new-sample", "A1", **here)
    assert workspace.project(project).name == "Nigra"
    assert [s.name for s in workspace.samples(project)] == ["B1", "A1"]
    assert address == f"/p/{project.id}/{workspace.samples(project)[1].id}/data"
    with pytest.raises(SpatialMetaError):
        projects.keep_name(workspace, "project", "   ", **here)


def test_the_demonstration_is_shared_copied_and_never_changed(workspace: Workspace) -> None:
    assert projects.demo_address(workspace) is None
    demo = workspace.create_project("Demonstration", DEMO, id=DEMO)
    sample = workspace.create_sample(demo, "Simulated section")
    assert projects.demo_address(workspace) is None
    st, sm = add(workspace, sample, "st"), add(workspace, sample, "sm")
    align = add(workspace, sample, "align", {"st": st.id, "sm": sm.id})
    add(workspace, sample, "reassign", {"st": st.id, "sm": align.id})
    assert projects.demo_address(workspace) == f"/p/{DEMO}/{sample.id}/explore"

    address = projects.walk_through(workspace, "ada")
    copy = next(c.project for c in projects.cards(workspace, "ada") if not c.project.demo)
    assert copy.name == "Demonstration, my copy"
    assert address.startswith(f"/p/{copy.id}/")
    assert address.endswith("/data")
    with pytest.raises(ForbiddenError):
        projects.keep_name(workspace, "new-sample", "x", project=DEMO, sample=sample.id)


def test_only_its_maker_deletes_a_project(workspace: Workspace, project) -> None:
    with pytest.raises(ForbiddenError):
        projects.delete(workspace, project.id, "eve")
    projects.delete(workspace, project.id, "ada")
    assert projects.cards(workspace, "ada") == []
