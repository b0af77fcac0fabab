"""Resumable uploads: announce, send pieces, ask for the offset after a cut, finish."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flask

from core.errors import SpatialMetaError
from spatialmeta_app.api.errors import json_body
from spatialmeta_app.services import imports
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import Upload
from spatialmeta_app.workspace.uploads import CHUNK

bp = flask.Blueprint("uploads", __name__, url_prefix="/api/uploads")


@bp.post("")
def start() -> tuple[dict[str, Any], int]:
    """``{project, sample, slot, filename, size}`` -> 201 ``{id, offset, chunk, path}``."""
    body = json_body("project", "sample", "slot", "filename", "size")
    upload = backend().workspace.uploads.start(
        str(body["project"]),
        None if body["sample"] is None else str(body["sample"]),
        str(body["slot"]),
        str(body["filename"]),
        body["size"],
        user=current_user(),
    )
    return _described(upload, 0) | {"chunk": CHUNK}, 201


@bp.get("/<upload_id>")
def state(upload_id: str) -> dict[str, Any]:
    """Where to go on: ``{id, offset, size, state, path …}``."""
    uploads = backend().workspace.uploads
    upload = uploads.get(upload_id)
    return _described(upload, uploads.offset(upload)) | {"chunk": CHUNK}


@bp.patch("/<upload_id>")
def append(upload_id: str) -> dict[str, Any]:
    """Body bytes that belong at the header ``Upload-Offset``; 409 with ``current``, the right offset, otherwise."""
    uploads = backend().workspace.uploads
    upload = uploads.get(upload_id)
    try:
        offset = int(flask.request.headers.get("Upload-Offset", ""))
    except ValueError:
        raise SpatialMetaError("the header Upload-Offset with a whole number") from None
    return {"id": upload.id, "offset": uploads.append(upload, offset, flask.request.stream)}


@bp.post("/<upload_id>/finish")
def finish(upload_id: str) -> dict[str, Any]:
    """All bytes have arrived: sync, keep and import. The body may say ``{image_scale}``, a number or null; without it
    that of the import before stays."""
    b, known = backend(), {}
    body = flask.request.get_json(silent=True) or {}
    if "image_scale" in body:
        known["image_scale"] = _scale(body["image_scale"])
    upload = b.workspace.uploads.finish(upload_id)
    imports.arrived(b.workspace, b.jobs, upload, user=current_user(), **known)
    return _described(upload, upload.size)


def _scale(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise SpatialMetaError("an image scale above 0, or none", found=repr(value)[:80])
    return float(value)


@bp.delete("/<upload_id>")
def delete(upload_id: str) -> tuple[str, int]:
    """Forget an upload and its bytes."""
    backend().workspace.uploads.delete(upload_id)
    return "", 204


def _described(upload: Upload, offset: int) -> dict[str, Any]:
    shown = {k: v for k, v in dataclasses.asdict(upload).items() if k != "user"}
    return shown | {"offset": offset, "path": upload.path}
