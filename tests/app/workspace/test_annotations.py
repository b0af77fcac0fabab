from __future__ import annotations

import copy
import multiprocessing

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.errors import DataError
from spatialmeta_app.workspace import Annotations, Conflict, NotFound, Workspace
from spatialmeta_app.workspace.annotations import changed, differences

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


def document(*names: str) -> dict:
    features = [
        {
            "type": "Feature",
            "id": name,
            "properties": {"kind": "region", "name": name, "group": "regions", "color": "#112233"},
            "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        }
        for name in names
    ]
    return {"type": "FeatureCollection", "features": features}


def names_of(given: dict) -> list[str]:
    return [feature["id"] for feature in given["features"]]


def names(revision) -> list[str]:
    return names_of(revision.document)


def test_a_sample_starts_with_an_empty_document(annotations, sample):
    head = annotations.head(sample)
    assert (head.number, names(head), head.can_undo, head.can_redo) == (0, [], False, False)
    with pytest.raises(NotFound):
        annotations.head("nobody")


def test_commit_undo_redo(annotations, sample):
    annotations.commit(sample, document("a"), base=0, user="ada")
    annotations.commit(sample, document("a", "b"), base=1, user="ada")
    undone = annotations.undo(sample, "bob")
    assert (undone.number, names(undone), undone.can_undo, undone.can_redo, undone.user) == (
        3,
        ["a"],
        True,
        True,
        "bob",
    )
    redone = annotations.redo(sample, "bob")
    assert (redone.number, names(redone), redone.can_redo) == (4, ["a", "b"], False)
    assert [entry["kind"] for entry in annotations.history(sample)] == ["redo", "undo", "commit", "commit"]


def test_changes_make_the_next_document_of_the_one_before(annotations, sample):
    annotations.commit(sample, document("a", "b", "c"), base=0, user="ada")
    b, d = (document(name)["features"][0] for name in "bd")
    b["properties"]["color"] = "#445566"
    saved = annotations.commit(sample, changes={"features": [d, b], "removed": ["a"]}, base=1, user="ada")
    assert saved.document == {"type": "FeatureCollection", "features": [b, *document("c")["features"], d]}
    looks = {"region": {"x": {"name": "y"}}}
    changes = {"features": [], "order": ["d", "c", "b"], "members": {"categories": looks}}
    saved = annotations.commit(sample, changes=changes, base=2, user="ada")
    assert names(saved) == ["d", "c", "b"]
    assert saved.document["categories"] == looks
    assert annotations.head(sample).document == saved.document
    assert names(annotations.undo(sample, "ada")) == ["b", "c", "d"]


@pytest.mark.parametrize(
    "changes", [[], {"features": {}}, {"features": [{"id": "x"}]}, {"order": ["a"]}, {"order": ["a", "a"]}]
)
def test_changes_that_make_no_document_are_refused(annotations, sample, changes):
    annotations.commit(sample, document("a", "b"), base=0, user="ada")
    with pytest.raises(DataError):
        annotations.commit(sample, changes=changes, base=1, user="ada")
    assert names(annotations.head(sample)) == ["a", "b"]


def test_undo_of_what_one_does_not_see_is_refused(annotations, sample):
    annotations.commit(sample, document("a"), base=0, user="ada")
    annotations.commit(sample, document("a", "b"), base=1, user="bob")
    for step in (annotations.undo, annotations.redo):
        with pytest.raises(Conflict) as caught:
            step(sample, "ada", base=1)
        assert caught.value.current.number == 2
    assert names(annotations.undo(sample, "ada", base=2)) == ["a"]
    assert annotations.number(sample) == 3


def test_regions_of_several_parts_with_holes(annotations, sample):
    several = document("a")
    hole = [[2, 2], [4, 2], [4, 4], [2, 2]]
    several["features"][0]["geometry"] = {"type": "MultiPolygon", "coordinates": [[SQUARE, hole], [SQUARE]]}
    assert annotations.commit(sample, several, base=0, user="ada").document == several
    for wrong in ([], [[]], [SQUARE], [[SQUARE, []]], [[[[0, 0], [1, 1]]]], "x"):
        several["features"][0]["geometry"]["coordinates"] = wrong
        with pytest.raises(DataError):
            annotations.commit(sample, several, base=1, user="ada")


def test_a_commit_after_an_undo_ends_redo_and_keeps_what_was_before(annotations, sample):
    annotations.commit(sample, document("a"), base=0, user="ada")
    annotations.commit(sample, document("b"), base=1, user="ada")
    annotations.undo(sample, "ada")
    head = annotations.commit(sample, document("c"), base=3, user="ada")
    assert not head.can_redo
    assert names(annotations.redo(sample, "ada")) == ["c"]
    assert names(annotations.undo(sample, "ada")) == ["a"]


def test_undo_and_redo_at_the_end_do_nothing(annotations, sample):
    assert annotations.undo(sample, "ada").number == 0
    annotations.commit(sample, document("a"), base=0, user="ada")
    assert annotations.redo(sample, "ada").number == 1
    annotations.undo(sample, "ada")
    assert annotations.undo(sample, "ada").number == 2


def test_a_commit_from_an_old_revision_is_a_conflict_that_carries_the_head(annotations, sample):
    annotations.commit(sample, document("a"), base=0, user="ada")
    with pytest.raises(Conflict) as caught:
        annotations.commit(sample, document("b"), base=0, user="bob")
    assert names(caught.value.current) == ["a"]
    assert names(annotations.head(sample)) == ["a"]


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from("cur"), max_size=25))
def test_undo_and_redo_follow_a_plain_stack(workspace, actions):
    """Against the textbook model: two stacks, redo emptied by a commit."""
    annotations = Annotations(workspace)
    sample = workspace.create_sample(workspace.create_project("p", "ada"), "s")
    done, undone, current = [], [], []
    for number, action in enumerate(actions):
        head = annotations.head(sample)
        if action == "c":
            done.append(current)
            undone.clear()
            current = [str(number)]
            head = annotations.commit(sample, document(*current), base=head.number, user="ada")
        elif action == "u":
            head = annotations.undo(sample, "ada")
            if done:
                undone.append(current)
                current = done.pop()
        else:
            head = annotations.redo(sample, "ada")
            if undone:
                done.append(current)
                current = undone.pop()
        assert (names(head), head.can_undo, head.can_redo) == (current, bool(done), bool(undone))


def trajectory(**properties) -> dict:
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    return {"id": "t", "properties": {"kind": "trajectory", "name": "t"} | properties, "geometry": line}


def test_a_trajectory_has_a_width(annotations, sample):
    document = {"type": "FeatureCollection", "features": [trajectory(width_um=12.5)]}
    assert annotations.commit(sample, document, base=0, user="ada").document == document


def _broken(change) -> dict:
    broken = copy.deepcopy(document("a"))
    change(broken)
    return broken


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(type="Feature"),
        lambda d: d.update(features=None),
        lambda d: d["features"].append(d["features"][0]),
        lambda d: d["features"][0].pop("id"),
        lambda d: d["features"][0]["properties"].update(kind="blob"),
        lambda d: d["features"][0]["properties"].update(name=" "),
        lambda d: d["features"][0]["geometry"].update(type="LineString"),
        lambda d: d["features"][0]["geometry"].update(coordinates=[SQUARE[:3]]),
        lambda d: d["features"][0]["geometry"].update(coordinates=[[[0, 0], [1, float("nan")], [1, 1], [0, 0]]]),
        lambda d: d["features"][0]["geometry"].update(coordinates=[[["0", 0], [1, 0], [1, 1], [0, 0]]]),
        lambda d: d["features"][0]["properties"].update(extra=float("inf")),
        lambda d: d["features"][0].update(trajectory()),
        lambda d: d["features"][0].update(trajectory(width_um=0)),
        lambda d: d["features"][0].update(trajectory(width_um=True)),
    ],
)
def test_documents_that_are_none_are_refused(annotations, sample, change):
    with pytest.raises(DataError):
        annotations.commit(sample, _broken(change), base=0, user="ada")
    assert annotations.head(sample).number == 0


def _draw(settings, sample, name, n):
    annotations = Annotations(Workspace(settings))
    saved = 0
    while saved < n:
        head = annotations.head(sample)
        ids = [*names(head), f"{name}{saved}"]
        try:
            annotations.commit(sample, document(*ids), base=head.number, user=name)
            saved += 1
        except Conflict:
            continue


def test_two_people_in_two_processes_lose_nothing(annotations, sample, settings):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_draw, args=(settings, sample.id, name, 10)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    expected = {f"{name}{i}" for name in "ab" for i in range(10)}
    assert set(names(annotations.head(sample))) == expected
    assert annotations.head(sample).number == 20


LETTERS = st.lists(st.sampled_from("abcdef"), unique=True)


@given(LETTERS, LETTERS, st.sets(st.sampled_from("abcdef")), st.booleans())
def test_differences_lead_from_one_document_to_the_other(first, second, moved, members):
    before, after = document(*first), document(*second)
    for feature in after["features"]:
        if feature["id"] in moved:
            feature["properties"]["color"] = "#ffffff"
    if members:
        after["categories"] = {"leiden": {"0": {"name": "Cortex"}}}
    changes = differences(before, after)
    assert changed(before, changes) == after
    travelling = {feature["id"] for feature in changes["features"]}
    assert travelling == (set(second) - set(first)) | (set(second) & moved)  # nothing that both have alike


def test_an_older_document_is_still_there(annotations, sample):
    annotations.commit(sample, document("a"), base=0, user="ada")
    annotations.commit(sample, document("a", "b"), base=1, user="ada")
    annotations.undo(sample, "ada")
    assert [names_of(annotations.document(sample, n)) for n in range(4)] == [[], ["a"], ["a", "b"], ["a"]]
    assert annotations.document(sample, 9) is None
