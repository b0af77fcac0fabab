"""Files that export jobs wrote, and trained models."""

from __future__ import annotations

import flask

from core import keys
from spatialmeta_app.services.backend import backend
from spatialmeta_app.workspace import NotFound

bp = flask.Blueprint("downloads", __name__, url_prefix="/api/download")


@bp.get("/<job_id>")
def download(job_id: str) -> flask.Response:
    """The file of an export job; can be resumed (ranges)."""
    job = backend().jobs.get(job_id)
    path = backend().jobs.download(job)
    if path is None:
        raise NotFound("a finished export", found=f"{job.kind}, {job.state}", mend="Export again.")
    return flask.send_file(path, as_attachment=True, download_name=path.name, conditional=True, max_age=0)


@bp.get("/model/<result_id>")
def model(result_id: str) -> flask.Response:
    """The trained model of a run of Integrate, for `python -m core encode`."""
    workspace = backend().workspace
    path = workspace.path(workspace.result(result_id), keys.MODEL_FILE)
    return flask.send_file(path, as_attachment=True, download_name=path.name, conditional=True, max_age=0)
