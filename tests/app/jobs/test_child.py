"""The real child on real steps."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import threading
from importlib.metadata import version

import anndata
import numpy as np
import pytest

from core import io as core_io
from core.analysis.annotations import write_annotations
from core.analysis.placements import placement_test
from core.context import Context, Share
from core.datasets import SimulateConfig, simulate
from core.errors import Cancelled
from core.reassignment import reassign
from spatialmeta_app.jobs import compare
from spatialmeta_app.jobs.child import ChildContext
from spatialmeta_app.jobs.perform import perform
from spatialmeta_app.jobs.runner import Runner
from spatialmeta_app.jobs.supervise import supervise
from spatialmeta_app.workspace import CHAIN, Workspace
from tests.app.jobs.conftest import gone, wait_for


@pytest.fixture(scope="module")
def pair():
    return simulate(SimulateConfig(spots=120, genes=30, metabolites=12))


@pytest.fixture
def upload(workspace, project, sample):
    """Put bytes into the project as a finished upload; gives the path for a job's inputs."""

    def upload(data: bytes, name: str, slot: str = "st") -> str:
        begun = workspace.uploads.start(project.id, sample.id, slot, name, len(data), user="ada")
        workspace.uploads.append(begun, 0, io.BytesIO(data))
        return workspace.uploads.finish(begun).path

    return upload


@pytest.fixture
def do(store, settings, submit):
    """Run one job in a real child, as the runner would; gives the outcome and the lines."""

    def do(kind, *, inputs=None, cancelled=lambda: False, **config):
        job = submit(kind, inputs=inputs or {}, **config)
        lines = []
        spec = Runner(settings)._write_spec(store.claim("test"))
        outcome = supervise(spec, lines.append, cancelled)
        if outcome.state == "died":
            print(store.log(job))
        store.finish(job, outcome.state if outcome.state != "died" else "failed", result=outcome.result)
        return outcome, lines

    return do


@pytest.fixture
def saved(upload, tmp_path):
    """Upload an AnnData."""

    def saved(adata, name: str, slot: str = "st") -> str:
        core_io.write_h5ad(adata, tmp_path / "x.h5ad")
        return upload((tmp_path / "x.h5ad").read_bytes(), name, slot)

    return saved


def test_an_import_keeps_data_view_image_and_checks(workspace, sample, do, saved, pair):
    path = saved(pair.st, "st.h5ad")
    outcome, lines = do("st", inputs={"file": path})
    assert outcome.state == "done", outcome
    result = workspace.result(outcome.result)
    assert workspace.chosen(sample, "st") == result
    assert result.inputs == {"file": path}
    assert result.summary["n_obs"] == pair.st.n_obs
    assert {check["level"] for check in result.summary["checks"]} <= {"ok", "warning"}
    assert result.versions["anndata"] == version("anndata")
    stored = anndata.read_h5ad(workspace.path(result, "data.h5ad"))
    assert (stored.X != pair.st.X).nnz == 0
    assert workspace.path(result, "image/overview.jpg").stat().st_size > 0
    assert workspace.path(result, "view/meta.json").exists()
    assert [line["message"] for line in lines if line["type"] == "progress"][-1] == "writing the result"


def test_both_ion_modes_are_imported_as_one_section(workspace, do, saved, pair):
    negative = pair.sm.copy()
    negative.var["polarity"] = "negative"
    inputs = {"file": saved(pair.sm, "sm.h5ad", "sm"), "negative": saved(negative, "negative.h5ad", "negative")}
    outcome, _ = do("sm", inputs=inputs)
    assert outcome.state == "done", outcome
    result = workspace.result(outcome.result)
    stored = anndata.read_h5ad(workspace.path(result, "data.h5ad"))
    assert stored.n_vars == 2 * pair.sm.n_vars
    assert stored.var["polarity"].value_counts().to_dict() == dict.fromkeys(("positive", "negative"), pair.sm.n_vars)
    assert result.inputs == inputs


@pytest.fixture
def bring_in(workspace, settings, submit):
    """Import a file; gives the AnnData that is kept, and what the checks say of its shapes."""

    def bring_in(kind: str, file: str):
        job = submit(kind)
        spec = {"job": job.id, "kind": kind, "project": job.project, "sample": job.sample, "user": "ada", "config": {}}
        spec |= {"inputs": {"file": file}, "attempt": 1, "settings": {"data": str(settings.data)}}
        result = workspace.result(perform(spec, Context(), lambda: None))
        says = [c["found"] for c in result.summary["checks"] if c["title"] == "Regions and trajectories"]
        return anndata.read_h5ad(workspace.path(result, "data.h5ad")), says

    return bring_in


def test_a_saved_file_restores_its_shapes_in_a_new_project(annotations, sample, bring_in, saved, pair):
    joint = reassign(pair.st, _aligned(pair))
    ring = [[0, 0], [2000.125, 0.1], [2000, 3000], [0, 0]]
    region = {
        "kind": "region",
        "group": "Areas",
        "name": "left",
        "class": "striatum",
        "color": "#ff0000",
        "locked": True,
    }
    path = {"kind": "trajectory", "name": "mid", "color": "#ffffff", "width_um": 300}
    drawn = [
        (region, {"type": "MultiPolygon", "coordinates": [[ring], [[[9, 9], [10, 9], [10, 10.5], [9, 9]]]]}),
        (path, {"type": "LineString", "coordinates": [[0.1, 0.2], [1 / 3, 7]]}),
    ]
    features = [{"type": "Feature", "id": p["name"], "properties": p, "geometry": g} for p, g in drawn]
    document = {"type": "FeatureCollection", "features": features}
    file = saved(write_annotations(joint, document), "saved.h5ad")
    st, says = bring_in("st", file)
    assert says == ["2 restored from the file."]
    assert annotations.head(sample).document == document
    assert list(st.var_names) == list(pair.st.var_names)  # of the joint object the genes alone
    np.testing.assert_array_equal(st.X.toarray(), joint[:, joint.var["type"] == "ST"].X.toarray())
    annotations.commit(sample, document | {"features": []}, base=1, user="ada")
    _, says = bring_in("st", file)
    assert "which stay" in says[0]
    assert annotations.head(sample).document["features"] == []
    assert list(bring_in("sm", file)[0].var_names) == list(pair.sm.var_names)


def test_a_blocking_check_is_kept_with_the_result(workspace, sample, do, saved, pair):
    broken = pair.sm.copy()
    broken.X.data[0] = np.nan
    broken.layers.clear()
    outcome, _ = do("sm", inputs={"file": saved(broken, "sm.h5ad", "sm")})
    assert outcome.state == "done", outcome
    assert workspace.status(sample)["sm"] == "blocked"
    outcome, _ = do("align")
    assert outcome.state == "failed"


@pytest.mark.parametrize("data", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_can_not_be_read_is_one_message_and_no_result(workspace, sample, upload, do, data):
    outcome, _ = do("st", inputs={"file": upload(data, "st.h5ad")})
    assert outcome.state == "failed"
    assert outcome.error.startswith("Expected")
    assert "Traceback" not in outcome.error
    assert workspace.results(sample) == []


@pytest.fixture
def allowed(settings, pair, tmp_path):
    """Settings with a folder to import from, which holds ``st.h5ad``."""
    root = tmp_path / "shared"
    root.mkdir()
    core_io.write_h5ad(pair.samples[0].st, root / "st.h5ad")
    return dataclasses.replace(settings, import_roots=str(root))


def test_a_file_of_the_server_is_copied_by_its_import(workspace, sample, submit, store, allowed):
    taken = Workspace(allowed).server_folders.take(sample.project, f"{allowed.import_roots}/st.h5ad", sample=sample.id)
    submit("st", inputs={"file": taken.path})
    spec, lines = Runner(allowed)._write_spec(store.claim("test")), []
    assert supervise(spec, lines.append, lambda: False).state == "done"
    told = [line for line in lines if line["type"] == "progress"]
    fractions = [line["fraction"] for line in told]
    assert fractions == sorted(fractions)
    assert workspace.uploads.get(taken).state == "done"
    assert workspace.chosen(sample, "st").summary["n_obs"] > 100


@pytest.mark.parametrize("inputs", [{}, {"file": "../../etc/passwd"}, {"file": "uploads/x/y"}])
def test_inputs_that_are_none_are_refused(do, inputs):
    outcome, _ = do("st", inputs=inputs)
    assert outcome.state == "failed"
    assert outcome.error.startswith("Expected")


def test_settings_that_are_none_are_refused(workspace, sample, do):
    for step in ("st", "sm"):
        workspace.add_result(sample, step, writer=lambda d: {}, config={}, inputs={})
    align = workspace.chosen(sample, "sm").id
    workspace.add_result(sample, "align", writer=lambda d: {}, config={}, inputs={"sm": align})
    outcome, _ = do("reassign", no_such_setting=1)
    assert outcome.state == "failed"
    assert "no_such_setting" in outcome.error


def test_reassign_runs_on_the_chosen_results(workspace, aligned, do):
    sample = aligned
    outcome, _ = do("reassign", k=4)
    assert outcome.state == "done", outcome
    result = workspace.result(outcome.result)
    assert result.inputs == {"st": workspace.chosen(sample, "st").id, "sm": workspace.chosen(sample, "align").id}
    assert result.config["k"] == 4
    assert set(result.summary["features"]) == {"ST", "SM"}


@pytest.fixture
def aligned(workspace, sample, pair):
    """The sample has a pair that lies where it truly lies."""
    for step, adata in (("st", pair.st), ("sm", pair.sm), ("align", _aligned(pair))):
        workspace.add_result(sample, step, writer=_writer(adata), config={}, inputs=_inputs(workspace, sample, step))
    return sample


def test_an_export_has_the_newest_joint_result_and_the_annotations(workspace, annotations, aligned, do, store):
    sample = aligned
    outcome, _ = do("export")
    assert outcome.state == "failed"
    assert "joint result" in outcome.error
    do("reassign")
    joint = anndata.read_h5ad(workspace.path(workspace.joint(sample), "data.h5ad"))
    x = joint.obsm["spatial"][:, 0].mean()
    ring = [[0, 0], [x, 0], [x, 1e6], [0, 1e6], [0, 0]]
    region = {"id": "a", "properties": {"kind": "region", "name": "left", "color": "#000000"}}
    region |= {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    annotations.commit(sample, {"type": "FeatureCollection", "features": [region]}, base=0, user="ada")

    outcome, _ = do("export", parts=["annotations"])
    assert outcome.state == "done", outcome
    assert outcome.result == "section 1.h5ad"
    job = next(job for job in store.jobs() if job.result == outcome.result)
    exported = anndata.read_h5ad(store.download(job))
    expected = np.where(joint.obsm["spatial"][:, 0] < x, "left", None)
    found = exported.obs["roi_regions"].astype(object).where(exported.obs["roi_regions"].notna(), None)
    assert found.tolist() == expected.tolist()
    assert (exported.layers["counts"] != joint.layers["counts"]).nnz == 0
    assert "normalized" not in exported.layers
    assert do("export", parts=["everything"])[0].state == "failed"


def test_markers_are_a_file_with_p_values_of_random_places(workspace, aligned, do, store):
    do("reassign")
    result = workspace.chosen(aligned, "reassign")
    joint = anndata.read_h5ad(workspace.path(result, "data.h5ad"))
    group = joint.obsm["spatial"][:, 0] < np.quantile(joint.obsm["spatial"][:, 0], 0.3)
    ask = {"result": result.id, "group": compare.pack(group), "other": None, "layer": "counts", "permutations": 999}
    outcome, lines = do("markers", **ask)
    assert outcome.state == "done", outcome
    assert any("comparing, feature" in line.get("message", "") for line in lines)  # the last word
    found = json.loads(store.download(next(job for job in store.jobs() if job.kind == "markers")).read_text())
    counts = joint.layers["counts"].copy()
    counts.data = np.nan_to_num(counts.data)
    expected = placement_test(counts, joint.obsm["spatial"], group, n_permutations=999)
    for row in found["rows"]:
        assert row["p_spatial"] == pytest.approx(expected.p[joint.var_names.get_loc(row["name"])])
        assert row["auc"] - 0.5 == pytest.approx(expected.shift[joint.var_names.get_loc(row["name"])], abs=1e-5)


def _inputs(workspace, sample, step):
    return {name: workspace.chosen(sample, source).id for name, source in CHAIN[step].items()}


def _aligned(pair):
    aligned = pair.sm.copy()
    aligned.obsm["spatial"] = np.array(aligned.obsm["true_st_xy"])
    return aligned


def _writer(adata):
    def write(directory):
        core_io.write_h5ad(adata, directory / "data.h5ad")

    return write


def test_a_job_that_wrote_its_result_before_it_was_killed_does_not_write_a_second(workspace, sample, settings, submit):
    job = submit("st")
    before = workspace.add_result(sample, "st", writer=lambda d: {}, config={}, inputs={}, job=job.id)
    spec = {"job": job.id, "kind": "st", "project": job.project, "sample": job.sample, "user": "ada", "config": {}}
    spec |= {"inputs": {}, "attempt": 2, "settings": {"data": str(settings.data)}}
    assert perform(spec, Context(), lambda: None) == before.id


def test_the_child_dies_with_whoever_started_it(settings, store, submit, tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'spatialmeta_app.jobs.child'], stdin=subprocess.PIPE)\n"
        "print(p.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_for(lambda: gone(pid))


class Lines:
    """A channel that remembers."""

    def __init__(self):
        self.sent = []

    def send(self, kind, **values):
        self.sent.append({"type": kind, **values})


@pytest.fixture
def context(tmp_path):
    return ChildContext(Lines(), tmp_path, threading.Event())


def test_every_number_is_sent_and_of_words_the_newest(context):
    for i in range(100):
        context.progress(i / 100, f"word {i}")
    for i in range(200):
        context.progress(i / 200, "training", loss=float(i))
    context.progress(1.0, "saved", loss=float("nan"))
    context.flush()
    sent = context._channel.sent
    losses = [line["numbers"]["loss"] for line in sent if line["numbers"]]
    assert losses == [*map(float, range(200)), None]
    assert len(sent) - len(losses) < 20
    assert json.dumps(sent)


def test_previews_are_copies_and_the_newest_wins(context, tmp_path):
    xy = np.zeros((5, 2), dtype=np.float32)
    for i in range(50):
        xy[:] = i
        context.preview("overlay", xy=xy)
    xy[:] = -1
    context.flush()
    with np.load(tmp_path / "previews" / "overlay.npz") as file:
        np.testing.assert_array_equal(file["xy"], np.full((5, 2), 49, dtype=np.float32))
    assert len([line for line in context._channel.sent if line["type"] == "preview"]) < 20


def test_cancelled_raises_only_where_a_step_asks(context):
    context.stop_if_cancelled()
    context._asked.set()
    assert context.cancelled()
    with pytest.raises(Cancelled):
        context.stop_if_cancelled()
    with pytest.raises(Cancelled):
        Share(context, 0.0, 0.5).stop_if_cancelled()


def test_a_share_is_a_part_of_the_bar(context):
    Share(context, 0.5, 0.7, prefix="align: ").progress(0.5, "turning", loss=1.0)
    context.flush()
    line = context._channel.sent[-1]
    assert line["fraction"] == pytest.approx(0.6)
    assert line["message"] == "align: turning"
