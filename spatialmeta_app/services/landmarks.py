"""Landmark pairs of the Align page: judged, read from a file; and two runs held against each other."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import keys
from core.errors import DataError
from core.registration import landmarks
from spatialmeta_app.services import align, results, steps
from spatialmeta_app.workspace import WorkspaceError

if TYPE_CHECKING:
    from spatialmeta_app.workspace import Workspace

Rows = list[list[float]]


def judge(workspace: Workspace, sample: str, rows: Rows, kind: str, *, frame: str) -> dict[str, Any]:
    """How well a map of *kind* fits the pairs: ``um`` and ``left_out_um`` of each, and the map for the overlay.

    The map is ``matrix`` [a, b, c, d, e, f] as a canvas takes it, or for a spline ``xy``, the moved pixels as base64 of
    float32 (n, 2). Where the pairs do not determine it there is ``said`` instead.
    """
    chosen = workspace.choices(sample)
    marks = landmarks.from_rows(rows)
    um = float(results.open_view(workspace, chosen["st"]).meta["um_per_px"] or 1.0)
    try:
        transform = landmarks.fit_landmarks(marks, kind)
    except DataError as error:
        return {"said": error.message if rows else "", "um": [], "left_out_um": []}
    found = {
        "um": (landmarks.residuals(transform, marks) * um).tolist(),
        "left_out_um": [None if np.isnan(v) else float(v * um) for v in landmarks.leave_one_out(marks, kind)],
        "said": "",
    }
    if kind != "spline":
        return found | {"matrix": [*transform.matrix.T.ravel().tolist(), *transform.offset.tolist()]}
    raw = np.asarray(results.open_view(workspace, chosen["sm"]).obsm(frame), dtype=float)[:, :2]
    determinant = transform.jacobian_determinant(raw)
    folds = bool(determinant.min() < 0 < determinant.max())
    moved = transform.forward(raw).astype("<f4").tobytes()
    return found | {"xy": base64.b64encode(moved).decode(), "said": FOLDS if folds else ""}


FOLDS = "The spline folds: two places of SM come to lie on one. Look for a pair that is wrong."


def read(workspace: Workspace, sample: str, text: str) -> Rows:
    """The pairs in a CSV, see :func:`core.registration.landmarks.from_csv`.

    Raises
    ------
    DataError
        It is no landmark CSV of this section.
    """
    st = workspace.choices(sample).get("st")
    if st is None:
        raise WorkspaceError("an ST section", found="none", mend="Upload one first.")
    view = results.open_view(workspace, st)
    scales = _picture_scales(view.directory.parent / "data.h5ad")
    return landmarks.from_csv(text, st_xy=results.coordinates(view), scales=scales).rows.tolist()


def _picture_scales(path: Path) -> list[float]:
    import h5py

    with h5py.File(path, "r") as file:
        pictures = file.get(f"uns/{keys.UNS_SPATIAL}") or {}
        spatial = {
            name: {"scalefactors": {k: float(v[()]) for k, v in one["scalefactors"].items() if v.shape == ()}}
            for name, one in pictures.items()
            if "scalefactors" in one
        }
    return landmarks.picture_scales(spatial)


# two runs


def comparable(workspace: Workspace, sample: str) -> list[tuple[str, str]]:
    """(result, name) of the runs of Align that were made from the SM section in use, newest first."""
    chosen = workspace.choices(sample)
    runs = steps.runs(workspace, sample, "align", chosen)
    return [
        (run.result.id, f"Run {run.number}{' (in use)' if run.chosen else ''}")
        for run in runs
        if "sm" in chosen and run.result.inputs.get("sm") == chosen["sm"].id
    ]


def compare(workspace: Workspace, sample: str, first: str, second: str) -> dict[str, Any]:
    """What assets/align-compare.js draws of two runs."""
    names = dict(comparable(workspace, sample))
    return {
        side: {"url": f"/api/view/{one}/obsm/{keys.SPATIAL}", "name": names[one].split(" (")[0]}
        for side, one in (("a", first), ("b", second))
        if one in names
    }


def differences(workspace: Workspace, first: str, second: str) -> list[tuple[str, Any, Any]]:
    """(setting, of the first, of the second) where the two runs were set differently."""
    one, other = (_settings(workspace.result(r).config) for r in (first, second))
    return [(name, one.get(name), other.get(name)) for name in {**one, **other} if one.get(name) != other.get(name)]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """As a table shows them: landmarks as their number."""
    shown = dict(config)
    shown["landmarks"] = len(landmarks.from_text(shown.get("landmarks") or ""))
    return shown


def runner_up(workspace: Workspace, result: str) -> dict[str, Any]:
    """Settings of a fit that starts in the second-best orientation of *result*.

    Raises
    ------
    WorkspaceError
        It was not searched for.
    """
    noted = results.notes(workspace, workspace.result(result), keys.ALIGNMENT)
    found = noted.get("orientation") or {}
    turn = found.get("runner_up_rotation_deg")
    if not isinstance(turn, int | float):
        raise WorkspaceError("an orientation that was searched for", found="one that was given", mend="Run Align.")
    given = {"flip": bool(found.get("runner_up_flip")), "rotation_deg": float(turn), "scale_x": 1.0, "scale_y": 1.0}
    return given | {"shift_x_um": 0.0, "shift_y_um": 0.0, "landmarks": ""} | align.FIT_FROM
