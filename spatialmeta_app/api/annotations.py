"""Regions and trajectories of a sample: read, save, undo, redo. An answer means that it is on disk."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import flask

from core import keys
from core.analysis import geojson, shapes
from core.analysis.annotations import slots_written
from core.errors import SpatialMetaError
from spatialmeta_app.api.errors import json_body
from spatialmeta_app.services import carrying
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.services.steps import submit_file
from spatialmeta_app.workspace import NotFound, Revision
from spatialmeta_app.workspace.annotations import differences

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
    """The newest revision; its number is the ETag, so a poll costs a 304 while nothing changed. Whoever names an older
    one gets what changed since in place of the document."""
    number = backend().annotations.number(sample)
    if flask.request.if_none_match.contains(str(number)):  # asked each second: no document is read for it
        return flask.Response(status=304, headers={"ETag": f'"{number}"', "Cache-Control": "private, no-cache"})
    revision = backend().annotations.head(sample)
    response = flask.jsonify(_since(sample, revision, _known()))
    response.set_etag(str(revision.number))
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@bp.post("")
def commit(sample: str) -> dict[str, Any]:
    """``{base, changes}`` or ``{base, document}`` -> the new revision, without its document, which the sender has; 409
    where somebody saved since revision *base*. Changes: see :func:`spatialmeta_app.workspace.annotations.changed`."""
    body, here = json_body("base"), backend().annotations
    given = {"document": body.get("document"), "changes": body.get("changes")}
    revision = shown(here.commit(sample, **given, base=_base(body), user=current_user()))
    del revision["document"]
    return revision


@bp.post("/undo")
def undo(sample: str) -> dict[str, Any]:
    """``{base}`` -> what leads to the document before the last change; 409 where somebody saved since *base*."""
    base = _base(json_body("base"))
    return _since(sample, backend().annotations.undo(sample, current_user(), base=base), base)


@bp.post("/redo")
def redo(sample: str) -> dict[str, Any]:
    """``{base}`` -> the last undo taken back; 409 as for undo."""
    base = _base(json_body("base"))
    return _since(sample, backend().annotations.redo(sample, current_user(), base=base), base)


@bp.get("/geojson")
def write_geojson(sample: str) -> flask.Response:
    """All regions and trajectories as a file that QuPath opens."""
    text = json.dumps(geojson.to_qupath(backend().annotations.head(sample).document), ensure_ascii=False, indent=1)
    name = f"{keys.slug(backend().workspace.sample(sample).name)}.geojson"
    response = flask.Response(text, mimetype="application/geo+json")
    response.headers.set("Content-Disposition", "attachment", filename=name)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.post("/geojson")
def read_geojson(sample: str) -> dict[str, Any]:
    """``{text, width_um}`` -> ``{features, skipped}`` of a GeoJSON file; nothing is saved by it."""
    body = json_body("text", "width_um")
    found = geojson.from_geojson(body["text"], width_um=float(body["width_um"]))
    return {"features": found.features, "skipped": [{"which": which, "why": why} for which, why in found.skipped]}


@bp.post("/combine")
def combine(sample: str) -> dict[str, Any]:
    """``{operation, geometries}`` -> ``{geometry}``: union, difference (the first without the others) or intersection
    of polygons; null where nothing is left."""
    body = json_body("operation", "geometries")
    return {"geometry": shapes.combine(str(body["operation"]), body["geometries"])}


@bp.post("/stroke")
def stroke(sample: str) -> dict[str, Any]:
    """``{line, radius}`` in pixels -> ``{geometry}``: what a round brush covers."""
    body = json_body("line", "radius")
    return {"geometry": shapes.stroke(body["line"], body["radius"])}


@bp.post("/carry")
def carry(sample: str) -> dict[str, Any]:
    """``{geometries, to}`` -> ``{geometries, aligned}`` through the chosen alignment *aligned*: *to* 'st' from pixels
    of the SM section as measured, or *to* 'sm' from the frame of the ST image. Where shapes lie in a section that is
    not aligned has an answer too: nowhere yet, both null."""
    body, workspace = json_body("geometries", "to"), backend().workspace
    if body["to"] == "sm" and carrying.registration_of(workspace, sample) is None:
        return {"geometries": None, "aligned": None}
    geometries = carrying.carried(workspace, sample, body["geometries"], to=body["to"])
    aligned = workspace.choices(sample)["align"]
    return {"geometries": geometries, "aligned": {"result": aligned.id, "sm": aligned.inputs.get("sm")}}


@bp.post("/save")
def save(sample: str) -> dict[str, Any]:
    """``{}`` -> ``{job, slots}``: queue the writing of the AnnData with all annotations, and the slots it will have."""
    here = backend()
    slots = slots_written(here.annotations.head(sample).document)
    project = here.workspace.sample(sample).project
    job = submit_file(here.jobs, "export", project, sample, {}, user=current_user())
    return {"job": job.id, "slots": slots}


def _base(body: dict[str, Any]) -> int:
    base = body["base"]
    if isinstance(base, bool) or not isinstance(base, int):
        raise SpatialMetaError("the number of a revision as base", found=repr(base)[:40])
    return base


def _known() -> int | None:
    """The revision that the asking page has, by its ETag."""
    tags = [tag for tag in flask.request.if_none_match if tag.isdigit()]
    return int(tags[0]) if tags else None


def _since(sample: str, revision: Revision, base: int | None) -> dict[str, Any]:
    """*revision*, with ``base`` and the ``changes`` since then in place of its document where the page has *base*."""
    answer = shown(revision)
    before = None if base is None else backend().annotations.document(sample, base)
    if before is not None:
        del answer["document"]
        answer |= {"base": base, "changes": differences(before, revision.document)}
    return answer


def shown(revision: Revision) -> dict[str, Any]:
    """A revision as the browser sees it: without the id of the person, which is their cookie."""
    values = dataclasses.asdict(revision)
    values["mine"] = values.pop("user") == current_user()
    return values
