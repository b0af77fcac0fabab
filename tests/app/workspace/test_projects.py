from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from anndata import AnnData

from core import io
from core.errors import StorageError
from spatialmeta_app.workspace import DEMO, ForbiddenError, NotFound, Workspace, WorkspaceError


def write_data(text: str = "data"):
    def writer(directory):
        (directory / "data.h5ad").write_text(text)
        (directory / "view").mkdir()
        (directory / "view" / "meta.json").write_text("{}")
        return {"n_obs": 3}

    return writer


def add(workspace, sample, step, **inputs):
    return workspace.add_result(sample, step, writer=write_data(), config={}, inputs=inputs)


def test_what_is_swept_while_it_is_written_never_shows_in_part(workspace, sample, monkeypatch):
    """The sweep is halted in its middle, and the writer ends meanwhile."""
    swept = []

    def remove(folder, **_):
        (folder / "data.h5ad").unlink()  # the first of its files; the rest when the writer has ended
        swept.append(folder)

    def writer(directory):
        answer = write_data()(directory)
        monkeypatch.setattr("shutil.rmtree", remove)
        workspace.sweep()
        monkeypatch.undo()
        return answer

    with pytest.raises(StorageError, match=r"runner .* cleared it away.*Try again"):
        workspace.add_result(sample, "st", writer=writer, config={}, inputs={})
    assert len(swept) == 1
    assert workspace.results(sample) == []
    workspace.sweep()
    assert list(swept[0].parent.iterdir()) == []
    add(workspace, sample, "st")
    assert len(workspace.results(sample)) == 1


def test_a_sweep_under_a_writer_that_says_it_in_its_own_words(workspace, sample):
    def writer(directory):
        workspace.sweep()
        io.write_h5ad(AnnData(np.zeros((2, 2))), directory / "data.h5ad")

    with pytest.raises(StorageError, match=r"runner .* cleared it away.*Try again"):
        workspace.add_result(sample, "st", writer=writer, config={}, inputs={})


def test_a_disk_that_refuses_is_told_from_a_full_one(workspace, sample):
    def writer(directory):
        raise OSError(errno.EACCES, "Permission denied")

    with pytest.raises(StorageError, match="let it write there") as refusal:
        workspace.add_result(sample, "st", writer=writer, config={}, inputs={})
    assert "Free disk space" not in refusal.value.message


def test_projects_list_ones_own_newest_first_then_the_demonstration(workspace):
    workspace.create_project("Demonstration", DEMO, id=DEMO)
    first = workspace.create_project("one", "ada")
    second = workspace.create_project("two", "ada")
    workspace.create_project("other", "bob")
    assert [p.id for p in workspace.projects("ada")] == [second.id, first.id, DEMO]
    assert len({first.id, second.id}) == 2
    assert len(first.id) == 24


def test_unknown_ids_say_so(workspace):
    for call in (workspace.project, workspace.sample, workspace.result, workspace.uploads.get):
        with pytest.raises(NotFound):
            call("../../etc/passwd")


@pytest.mark.parametrize("name", ["", "  ", "\n\t", "\x00"])
def test_names_must_not_be_empty(workspace, name):
    with pytest.raises(WorkspaceError):
        workspace.create_project(name, "ada")


def test_names_become_one_short_line(workspace):
    project = workspace.create_project("  a\nb\x07 <script>" + "x" * 500, "ada")
    assert project.name.startswith("a b <script>xxx")
    assert len(project.name) == 120
    assert workspace.rename_project(project, "c").name == "c"


def test_the_demonstration_can_not_be_changed_but_copied(workspace, annotations):
    demo = workspace.create_project("Demonstration", DEMO, id=DEMO)
    sample = workspace.create_sample(demo, "s")
    result = add(workspace, sample, "st")
    for call in (
        lambda: workspace.delete_project(demo),
        lambda: workspace.rename_project(demo, "mine"),
        lambda: workspace.delete_sample(sample),
        lambda: workspace.rename_sample(sample, "mine"),
        lambda: workspace.choose(result),
        lambda: annotations.commit(sample, {"type": "FeatureCollection", "features": []}, base=0, user="ada"),
    ):
        with pytest.raises(ForbiddenError):
            call()
    copy = workspace.copy_project(demo, "ada")
    assert copy.owner == "ada"
    assert workspace.status(workspace.samples(copy)[0])["st"] == "done"


def test_a_result_holds_its_record_and_becomes_the_chosen_one(workspace, sample):
    result = workspace.add_result(
        sample, "st", writer=write_data("abc"), config={"a": 1}, inputs={"file": "x"}, seed=3, versions={"core": "1"}
    )
    assert workspace.chosen(sample, "st") == result == workspace.result(result.id)
    written = json.loads(workspace.path(result, "result.json").read_text())
    assert written["hashes"] == {"data.h5ad": hashlib.sha256(b"abc").hexdigest()}
    assert written["config"] == {"a": 1}
    assert written["seed"] == 3
    assert written["summary"] == {"n_obs": 3}
    assert result.bytes == sum(p.stat().st_size for p in workspace.path(result).rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["../result.json", "/etc/passwd", "view/../../x", "..", "nothing"])
def test_paths_stay_inside_the_result(workspace, sample, name):
    result = add(workspace, sample, "st")
    with pytest.raises(NotFound):
        workspace.path(result, name)


def test_a_link_out_of_the_result_is_not_followed(workspace, sample):
    result = add(workspace, sample, "st")
    (workspace.path(result) / "out").symlink_to("/etc/passwd")
    with pytest.raises(NotFound):
        workspace.path(result, "out")


def test_later_results_become_stale_when_an_input_changes_and_fresh_again_when_it_is_chosen_again(workspace, sample):
    st, sm = add(workspace, sample, "st"), add(workspace, sample, "sm")
    align = add(workspace, sample, "align", st=st.id, sm=sm.id)
    add(workspace, sample, "reassign", st=st.id, sm=align.id)
    assert [workspace.status(sample)[s] for s in ("st", "sm", "align", "reassign", "features")] == [
        "done", "done", "done", "done", "missing",
    ]  # fmt: skip
    add(workspace, sample, "sm")
    assert workspace.status(sample)["align"] == "stale"
    assert workspace.status(sample)["reassign"] == "stale"
    assert workspace.joint(sample) is None
    workspace.choose(sm)
    assert workspace.status(sample)["reassign"] == "done"
    assert workspace.joint(sample).step == "reassign"


def test_a_blocking_check_stops_later_steps(workspace, sample):
    add(workspace, sample, "st")
    checks = [{"level": "blocking", "title": "Coordinates", "found": "none", "mend": "Give some."}]
    workspace.add_result(sample, "sm", writer=lambda d: {"checks": checks}, config={}, inputs={})
    assert workspace.status(sample)["sm"] == "blocked"
    with pytest.raises(WorkspaceError, match="'sm' before 'align'"):
        workspace.inputs_of(sample, "align")


def test_a_missing_step_stops_later_steps(workspace, sample):
    with pytest.raises(WorkspaceError, match="'reassign' before 'features'"):
        workspace.inputs_of(sample, "features")


def test_only_results_that_are_not_in_use_can_be_deleted(workspace, sample):
    old, new = add(workspace, sample, "st"), add(workspace, sample, "st")
    folder = workspace.path(old)
    with pytest.raises(WorkspaceError):
        workspace.delete_result(new)
    workspace.delete_result(old)
    assert not folder.exists()
    assert workspace.results(sample) == [new]


def test_a_copy_shares_bytes_has_its_own_ids_and_outlives_the_original(workspace, project, sample, annotations):
    st, sm = add(workspace, sample, "st"), add(workspace, sample, "sm")
    add(workspace, sample, "align", st=st.id, sm=sm.id)
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    feature = {
        "type": "Feature",
        "id": "a",
        "properties": {"kind": "trajectory", "name": "t", "width_um": 5},
        "geometry": line,
    }
    annotations.commit(sample, {"type": "FeatureCollection", "features": [feature]}, base=0, user="ada")

    copy = workspace.copy_project(project, "bob")
    twin = workspace.samples(copy)[0]
    assert workspace.status(twin)["align"] == "done"
    copied = workspace.chosen(twin, "align")
    assert copied.inputs == {name: workspace.chosen(twin, name).id for name in ("st", "sm")}
    assert json.loads(workspace.path(copied, "result.json").read_text())["sample"] == twin.id
    assert json.loads(workspace.path(copied, "result.json").read_text())["project"] == copy.id
    original = workspace.path(workspace.chosen(sample, "align"), "data.h5ad")
    assert workspace.path(copied, "data.h5ad").stat().st_ino == original.stat().st_ino
    assert annotations.head(twin).document["features"][0]["id"] == "a"

    workspace.delete_project(project)
    assert not original.exists()
    assert workspace.path(copied, "data.h5ad").read_text() == "data"
    assert annotations.undo(twin, "bob").document["features"] == []


def test_deleting_a_project_removes_everything_of_it(workspace, project, sample, store, settings):
    add(workspace, sample, "st")
    job = store.submit("st", project=project, sample=sample, user="ada", config={})
    workspace.delete_project(project)
    assert not (settings.data / "projects" / project.id).exists()
    assert not store.exists(job)
    with pytest.raises(NotFound):
        workspace.sample(sample)


def test_deleting_a_sample_leaves_the_others(workspace, project, sample):
    other = workspace.create_sample(project, "section 2")
    kept = add(workspace, other, "st")
    gone = workspace.path(add(workspace, sample, "st"))
    workspace.delete_sample(sample)
    assert not gone.exists()
    assert workspace.chosen(other, "st") == kept


def test_a_writer_that_fails_leaves_nothing(workspace, sample, settings):
    def writer(directory):
        (directory / "data.h5ad").write_text("half")
        raise OSError(28, "No space left on device")

    before = add(workspace, sample, "st")
    with pytest.raises(StorageError, match=r"No space left.*Free disk space"):
        workspace.add_result(sample, "st", writer=writer, config={}, inputs={})
    assert workspace.results(sample) == [before]
    assert [p.name for p in workspace.path(before).parent.iterdir()] == [before.id]


def test_a_result_of_a_sample_deleted_meanwhile_leaves_nothing(workspace, project, sample, settings):
    def writer(directory):
        workspace.database.rows("SELECT 1")
        with workspace.database.write() as db:
            db.execute("DELETE FROM samples WHERE id = ?", (sample.id,))
        return {}

    with pytest.raises(NotFound):
        workspace.add_result(sample, "st", writer=writer, config={}, inputs={})
    assert list((settings.data / "projects").glob("*/samples/*/results/*")) == []


KILLED = """
import sys, time
from pathlib import Path
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Workspace
data, sample = sys.argv[1:]
def writer(directory):
    (directory / "data.h5ad").write_bytes(bytes(1 << 20))
    print("writing", flush=True)
    time.sleep(60)
Workspace(Settings(data=Path(data))).add_result(sample, "st", writer=writer, config={}, inputs={})
"""


def test_a_process_killed_while_writing_leaves_no_result(workspace, sample, settings):
    command = [sys.executable, "-c", KILLED, str(settings.data), sample.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert workspace.results(sample) == []
    visible = [p for p in (settings.data / "projects").glob("*/samples/*/results/*") if not p.name.startswith(".new-")]
    assert visible == []
    assert add(workspace, sample, "st") == workspace.chosen(sample, "st")


def _add_many(settings, sample, n):
    workspace = Workspace(settings)
    for _ in range(n):
        add(workspace, sample, "st")


def test_several_processes_write_at_the_same_time(workspace, sample, settings):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_many, args=(settings, sample.id, 15)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0, 0, 0]
    results = workspace.results(sample)
    assert len(results) == 45
    assert workspace.chosen(sample, "st") in results


def test_bytes_used_counts_half_uploads_in_full(workspace, project, sample):
    result = add(workspace, sample, "st")
    workspace.uploads.start(project.id, sample.id, "st", "a.h5ad", 1000, user="ada")
    assert workspace.bytes_used(project) == result.bytes + 1000


def test_results_are_newest_first(workspace, sample):
    first = add(workspace, sample, "st")
    time.sleep(0.01)
    second = add(workspace, sample, "st")
    assert workspace.results(sample, "st") == [second, first]
    assert dataclasses.replace(second, id=first.id) != first
