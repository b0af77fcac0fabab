"""The state of a step follows from the workspace and the job store alone."""

from __future__ import annotations

import shlex
import time

import pytest

from core import pipeline
from core.cli import main
from spatialmeta_app.services import steps
from spatialmeta_app.workspace import WorkspaceError


def view(workspace, store, sample, step):
    return steps.view(workspace, store, project=sample.project, sample=sample.id, step=step)


def test_an_empty_sample_names_what_is_missing(workspace, store, sample) -> None:
    found = view(workspace, store, sample, "reassign")
    assert found.missing == ("st", "sm")  # the files come first, whatever the step
    assert not found.ready
    assert found.chosen is None
    assert steps.PAGES[found.missing[0]] == "data"


@pytest.mark.usefixtures("imported")
def test_a_blocked_import_is_not_ready(workspace, store, sample, keep, st) -> None:
    keep("st", st, checks=[{"level": "blocking", "title": "no counts", "found": "", "mend": ""}])
    found = view(workspace, store, sample, "align")
    assert found.blocked == ("st",)
    assert not found.ready


def test_runs_are_numbered_and_the_newest_is_in_use(workspace, store, sample, keep, reassigned) -> None:
    second = keep("reassign", reassigned, config={"k": 7, "weighting": "mean"})
    newest, oldest = view(workspace, store, sample, "reassign").runs
    assert (newest.number, newest.chosen, newest.result.id) == (2, True, second.id)
    assert newest.changed == {"k": 7}
    assert (oldest.number, oldest.chosen, oldest.changed) == (1, False, {})
    workspace.choose(oldest.result)
    assert view(workspace, store, sample, "reassign").chosen.number == 1


@pytest.mark.usefixtures("selected")
def test_a_stale_result_says_what_changed(workspace, store, sample, keep, reassigned) -> None:
    keep("reassign", reassigned, config={"k": 9, "max_distance_factor": 1.5})
    reasons = view(workspace, store, sample, "features").chosen.stale
    assert reasons == ("Reassign changed: k 5 → 9.",)
    assert view(workspace, store, sample, "reassign").chosen.stale == ()
    assert workspace.status(sample)["features"] == "stale"


@pytest.mark.usefixtures("selected")
def test_staleness_reaches_later_steps(workspace, store, sample, keep, st) -> None:
    keep("st", st)
    reasons = view(workspace, store, sample, "features").chosen.stale
    assert reasons == ("ST section changed: another file was imported.",)


def test_the_job_shown_is_active_or_ended_badly(workspace, store, sample, imported) -> None:
    job = steps.submit(workspace, store, sample.id, "align", pipeline.step("align").config(), user="ada")
    assert view(workspace, store, sample, "align").job.id == job.id
    assert view(workspace, store, sample, "reassign").job is None
    store.claim("runner")
    store.finish(job, "failed", error="no overlap")
    assert view(workspace, store, sample, "align").job.error == "no overlap"
    again = steps.submit(workspace, store, sample.id, "align", pipeline.step("align").config(), user="ada")
    store.claim("runner")
    store.finish(again, "done")
    assert view(workspace, store, sample, "align").job is None


def test_submit_sends_only_what_differs_and_chains(workspace, store, sample, selected) -> None:
    model = pipeline.step("integrate").config({"epochs": 3})
    job = steps.submit(
        workspace, store, sample.id, "integrate", model, user="ada",
        then=("cluster", pipeline.step("cluster").config({"resolution": 0.5})),
    )  # fmt: skip
    following = next(j for j in store.jobs(sample.project) if j.kind == "cluster")
    assert job.config == {"epochs": 3}
    assert (following.after, following.config) == (job.id, {"resolution": 0.5})


def test_submit_refuses_without_inputs(workspace, store, sample) -> None:
    with pytest.raises(WorkspaceError, match="reassign"):
        steps.submit(workspace, store, sample.id, "features", pipeline.step("features").config(), user="ada")


@pytest.mark.parametrize("step", [*pipeline.STEPS])
def test_the_command_line_is_one_that_the_program_knows(step: str, capsys) -> None:
    config = pipeline.step(step).config()
    words = shlex.split(steps.command_line(step, config))
    assert words[:4] == ["python", "-m", "core", step]
    code = main(words[3:])  # the files do not exist: refused, but not for its options
    assert code != 0
    said = capsys.readouterr().err
    assert "unrecognized" not in said
    assert "required" not in said


@pytest.mark.parametrize(
    ("step", "values", "flags"),
    [
        ("reassign", {"k": 7, "weighting": "distance"}, ["--k=7", "--weighting=distance"]),
        ("integrate", {"reconstruct": False}, ["--no-reconstruct"]),
        ("align", {"shift_x_um": -120.5, "flip": True}, ["--flip", "--shift-x-um=-120.5"]),
        ("features", {"gene_target": None}, ["--gene-target="]),
    ],
)
def test_the_command_line_has_what_differs_from_the_defaults(step, values, flags) -> None:
    words = shlex.split(steps.command_line(step, pipeline.step(step).config(values)))
    assert words[-len(flags) :] == flags


def test_the_script_repeats_the_runs_in_use_in_order(workspace, sample, selected) -> None:
    text = steps.script(list(workspace.choices(sample).values()))
    commands = [line.split()[3] for line in text.splitlines() if line.startswith("python")]
    assert commands == ["align", "reassign", "features"]
    assert "--n-genes=2" in text


def test_lineage_goes_back_to_the_imports(workspace, sample, selected) -> None:
    found = steps.lineage(workspace, workspace.chosen(sample, "features"))
    assert [r.step for r in found] == ["st", "sm", "align", "reassign", "features"]


def test_exports_are_found_when_they_are_done(workspace, store, sample) -> None:
    job = steps.submit_file(store, "export", sample.project, sample.id, {"parts": ["images"]}, user="ada")
    assert steps.finished_export(store, sample.project, sample.id) is None
    store.claim("runner")
    store.finish(job, "done", result="x.h5ad")
    assert steps.finished_export(store, sample.project, sample.id).result == "x.h5ad"


@pytest.mark.parametrize(("age", "words"), [(5, "5 s ago"), (65, "1 min ago")])
def test_when(age: float, words: str) -> None:
    now = time.time()
    assert steps.when(now - age, now) == words


def test_when_is_a_time_for_what_is_older() -> None:
    now = time.mktime((2026, 3, 2, 18, 0, 0, 0, 0, -1))
    assert steps.when(now - 3 * 3600, now) == "15:00"
    assert steps.when(now - 30 * 3600, now) == "1 Mar 12:00"
