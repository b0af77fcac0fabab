"""What jobs do, for pages that ask once a second."""

from __future__ import annotations

import json
import time
import zipfile
import zlib
from typing import Any

import flask
import numpy as np

from core.errors import SpatialMetaError
from spatialmeta_app.jobs import Job
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import NotFound
from spatialmeta_app.workspace.records import DEMO

bp = flask.Blueprint("jobs", __name__, url_prefix="/api/jobs")

MOST_JOBS = 200


@bp.get("")
def changed() -> flask.Response:
    """``?project=&since=`` -> ``{seq, now, jobs, waiting}``: those that changed after *since*, newest first; 304 where
    nothing did. *now* is the server's time, s; *waiting* says of queued jobs by id what they wait for.

    Without a project: one's own jobs, of all projects.
    """
    project = flask.request.args.get("project") or None
    since = _number("since")
    store = backend().jobs
    seq = store.seq()  # read first: a change in between is told twice, not never
    user = None if project else current_user()
    jobs = store.jobs(project, since, user)[:MOST_JOBS]
    waiting = {job: place._asdict() for job, place in sorted(store.waiting().items())}
    response = flask.jsonify(seq=seq, now=time.time(), jobs=[shown(job) for job in jobs], waiting=waiting)
    newest = max((job.seq for job in jobs), default=since)
    response.set_etag(f"{newest}-{len(jobs)}-{since}-{zlib.crc32(json.dumps(waiting).encode())}")
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(flask.request)


@bp.get("/<job_id>")
def one(job_id: str) -> dict[str, Any]:
    """One job."""
    return shown(backend().jobs.get(job_id))


@bp.post("/<job_id>/cancel")
def cancel(job_id: str) -> dict[str, Any]:
    """Ask for its end."""
    store = backend().jobs
    if store.get(job_id).user == DEMO:
        raise SpatialMetaError("a job of your own", found="the demonstration's", mend="It ends by itself in a minute.")
    return shown(store.cancel(job_id))


@bp.post("/<job_id>/resume")
def resume(job_id: str) -> dict[str, Any]:
    """Let a cancelled job go on where it stopped."""
    return shown(backend().jobs.resume(job_id))


@bp.get("/<job_id>/log")
def log(job_id: str) -> flask.Response:
    """What the child wrote, as text; ``?tail=`` characters of the end."""
    store = backend().jobs
    text = store.log(store.get(job_id), _number("tail") or None)
    return flask.Response(text, mimetype="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@bp.get("/<job_id>/events")
def events(job_id: str) -> dict[str, Any]:
    """``?since=`` -> ``{events}`` with numbers (loss curves), oldest first."""
    store = backend().jobs
    return {"events": store.events(store.get(job_id), _number("since"))}


@bp.get("/<job_id>/preview/<name>")
def preview(job_id: str, name: str) -> flask.Response:
    """The newest preview: the arrays' bytes one after the other, little-endian, row by row; the header ``X-Arrays`` is
    JSON ``[{name, dtype, shape, offset, nbytes}]``. 304 while there is no newer one."""
    folder = backend().jobs.folder(backend().jobs.get(job_id)) / "previews"
    path = folder / f"{name}.npz"
    if path.parent != folder or not path.is_file():
        raise NotFound("a preview of this job", found=repr(name), mend="It may not have begun yet.")
    stamp = path.stat()
    response = flask.Response(mimetype="application/octet-stream")
    response.set_etag(f"{stamp.st_mtime_ns:x}-{stamp.st_ino:x}")
    response.headers["Cache-Control"] = "private, no-cache"
    if not flask.request.if_none_match.contains(response.get_etag()[0]):
        arrays = _arrays(path)
        response.set_data(b"".join(arrays.values()))
        response.headers["X-Arrays"] = json.dumps(_description(arrays), separators=(",", ":"))
    return response.make_conditional(flask.request)


def _arrays(path: Any) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        raise NotFound("a preview of this job", found="a broken one", mend="Wait for the next.") from None
    return {name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")) for name, a in arrays.items()}


def _description(arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    described, offset = [], 0
    for name, array in arrays.items():
        about = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape)}
        described.append(about | {"offset": offset, "nbytes": array.nbytes})
        offset += array.nbytes
    return described


def shown(job: Job) -> dict[str, Any]:
    """A job as the browser sees it: without the id of the person, which is their cookie."""
    values = job.to_dict()
    values["mine"] = values.pop("user") == current_user()
    values["resumable"] = backend().jobs.resumable(job)
    return values


def _number(name: str) -> int:
    text = flask.request.args.get(name, "0") or "0"
    if not text.isdecimal():
        raise SpatialMetaError(f"a whole number for '{name}'", found=repr(text[:40]))
    return int(text[:18])
