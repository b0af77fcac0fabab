"""Regions and trajectories of a sample: read, save, undo, redo. An answer means that it is on disk."""

from __future__ import annotations

import dataclasses
from typing import Any

import flask

from core.errors import SpatialMetaError
from spatialmeta_app.api.errors import json_body
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import NotFound, Revision

bp = flask.Blueprint("annotations", __name__, url_prefix="/api/annotations/<project>/<sample>")


@bp.url_value_preprocessor
def check_place(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Take the project out of the address: whoever has no link to the project must not reach its sample."""
    project = (values or {}).pop("project", None)
    sample = backend().workspace.sample((values or {})["sample"])
    if sample.project != project:
        raise NotFound("a sample of this project", found="one of another", mend="Follow the link again.")


@bp.get("")
def head(sample: str) -> flask.Response:
    """The newest revision; its number is the ETag, so a poll costs a 304 while nothing changed."""
    revision = backend().annotations.head(sample)
    response = flask.jsonify(shown(revision))
    response.set_etag(str(revision.number))
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(flask.request)


@bp.post("")
def commit(sample: str) -> dict[str, Any]:
    """``{base, document}`` -> the new revision; 409 where somebody saved since revision *base*."""
    body = json_body("base", "document")
    base = body["base"]
    if isinstance(base, bool) or not isinstance(base, int):
        raise SpatialMetaError("the number of a revision as base", found=repr(base)[:40])
    return shown(backend().annotations.commit(sample, body["document"], base=base, user=current_user()))


@bp.post("/undo")
def undo(sample: str) -> dict[str, Any]:
    """Back to the document before the last change."""
    return shown(backend().annotations.undo(sample, current_user()))


@bp.post("/redo")
def redo(sample: str) -> dict[str, Any]:
    """Take the last undo back."""
    return shown(backend().annotations.redo(sample, current_user()))


def shown(revision: Revision) -> dict[str, Any]:
    """A revision as the browser sees it: without the id of the person, which is their cookie."""
    values = dataclasses.asdict(revision)
    values["mine"] = values.pop("user") == current_user()
    return values
