"""Landmarks of the Align page, and its runs compared."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from core import keys
from core.errors import DataError
from core.registration.transforms import Affine
from spatialmeta_app.services import landmarks
from spatialmeta_app.workspace import WorkspaceError

TRUE = Affine.of(np.array([[0.0, -1.5], [1.4, 0.1]]), np.array([900.0, -300.0]))


@pytest.fixture
def rows(sm) -> list[list[float]]:
    chosen = np.asarray(sm.obsm[keys.SPATIAL])[[0, 12, 70, 111, 150]]
    return np.column_stack([chosen, TRUE.forward(chosen)]).tolist()


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_pairs_are_judged_in_um(workspace, sample, sm, rows, kind: str) -> None:
    rows[2][2] += 100  # 50 µm
    found = landmarks.judge(workspace, sample.id, rows, kind, frame=keys.SPATIAL)
    assert found["left_out_um"][2] == pytest.approx(50, rel=1e-3)
    assert found["um"][2] == pytest.approx(0, abs=1e-6) if kind == "spline" else 0 < found["um"][2] < 50
    if kind == "affine":
        a, b, c, d, e, f = found["matrix"]
        raw = np.asarray(sm.obsm[keys.SPATIAL])[:1]
        moved = raw @ np.array([[a, b], [c, d]]) + [e, f]
        assert np.linalg.norm(moved - TRUE.forward(raw)) < 100
    else:
        moved = np.frombuffer(base64.b64decode(found["xy"]), dtype="<f4").reshape(-1, 2)
        assert moved.shape == sm.obsm[keys.SPATIAL].shape
        np.testing.assert_allclose(moved[12], rows[1][2:], rtol=1e-5)


def test_too_few_pairs_say_so(workspace, sample, imported, rows) -> None:
    found = landmarks.judge(workspace, sample.id, rows[:2], "affine", frame=keys.SPATIAL)
    assert "3 landmark pairs" in found["said"]
    assert landmarks.judge(workspace, sample.id, [], "affine", frame=keys.SPATIAL)["said"] == ""


def test_a_file_is_read(workspace, sample, imported, rows) -> None:
    text = "\n".join(["sm_x,sm_y,st_x,st_y", *(",".join(map(str, row)) for row in rows)])
    np.testing.assert_allclose(landmarks.read(workspace, sample.id, text), rows)
    with pytest.raises(DataError, match="columns sm_x"):
        landmarks.read(workspace, sample.id, "a\n1")


def test_runs_are_compared(workspace, sample, imported, keep, sm) -> None:
    first = keep("align", sm, config={"mode": "manual", "flip": True, "landmarks": ""})
    assert landmarks.comparable(workspace, sample.id) == [(first.id, "Run 1 (in use)")]
    second = keep("align", sm, config={"mode": "manual", "flip": False, "landmarks": "[[1,2,3,4],[5,6,7,8]]"})
    assert [name for _, name in landmarks.comparable(workspace, sample.id)] == ["Run 2 (in use)", "Run 1"]
    differ = landmarks.differences(workspace, first.id, second.id)
    assert differ == [("flip", True, False), ("landmarks", 0, 2)]
    sides = landmarks.compare(workspace, sample.id, first.id, second.id)
    assert sides["b"] == {"url": f"/api/view/{second.id}/obsm/spatial", "name": "Run 2"}
    keep("sm", sm)  # pixels of another import are not these
    assert landmarks.comparable(workspace, sample.id) == []


def test_the_runner_up_is_tried(workspace, sample, aligned, keep) -> None:
    with pytest.raises(WorkspaceError):
        landmarks.runner_up(workspace, workspace.chosen(sample, "align").id)
    orientation = {"source": "search", "runner_up_rotation_deg": 152.0, "runner_up_flip": True}
    aligned.uns[keys.UNS][keys.ALIGNMENT] |= {"orientation": orientation}
    given = landmarks.runner_up(workspace, keep("align", aligned).id)
    assert (given["rotation_deg"], given["flip"], given["orientation"]) == (152.0, True, "given")
