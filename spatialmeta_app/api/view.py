"""The typed arrays of a result, and what is asked about a selection of its spots.

Arrays are raw little-endian bytes. A result never changes, so its arrays may be kept by the browser for good.
"""

from __future__ import annotations

import json
from typing import Any

import flask
import numpy as np

from core.errors import SpatialMetaError
from spatialmeta_app.api.errors import json_body
from spatialmeta_app.figures.palettes import SCALES
from spatialmeta_app.services import align, annotations, explore, paths, raster, selections, unseen
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace.records import Result
from spatialmeta_app.workspace.views import View

bp = flask.Blueprint("view", __name__, url_prefix="/api/view")

YEAR_S, HOUR_S = 365 * 24 * 3600, 3600


@bp.get("/<result_id>/meta")
def meta(result_id: str) -> flask.Response:
    """What is in a result; may change with the sample's other results (its histology), so it is asked each time."""
    result = backend().workspace.result(result_id)
    return flask.jsonify(explore.describe(backend().workspace, result))


@bp.get("/<result_id>/obsm/<name>")
def obsm(result_id: str, name: str) -> flask.Response:
    """f4, the first two columns: x, y of every spot."""
    return _kept(_view(result_id).obsm(name)[:, :2], "<f4")


@bp.get("/<result_id>/obs/<path:column>")
def obs(result_id: str, column: str) -> flask.Response:
    """f4 numbers, or u2 codes of categories (65535: none)."""
    found = _view(result_id).obs(column)
    return _kept(found.values, "<f4" if found.categories is None else "<u2")


@bp.get("/<result_id>/feature/<int:index>")
def feature(result_id: str, index: int) -> flask.Response:
    """f4 values of one gene or metabolite in every spot; ``?layer=``."""
    return _kept(_view(result_id).feature(index, flask.request.args.get("layer") or None), "<f4")


@bp.get("/<result_id>/names")
def names(result_id: str) -> flask.Response:
    """JSON list of the names of the spots."""
    return flask.jsonify(_view(result_id).names.tolist())


@bp.get("/<result_id>/components")
def components(result_id: str) -> flask.Response:
    """f4 (n, 3): scores of an SM section on its first principal components."""
    return _kept(align.component_scores(_view(result_id).directory), "<f4")


@bp.get("/<result_id>/search")
def search(result_id: str) -> flask.Response:
    """``?q=`` -> ``{hits}``: features and columns that fit, best first."""
    return flask.jsonify(hits=explore.search(_view(result_id), flask.request.args.get("q", "")[:200]))


@bp.route("/<result_id>/raster", methods=["GET", "POST"])
def picture(result_id: str) -> flask.Response:
    """PNG of what a view of a large result shows; a form where the query would be too long for an address.

    See :func:`raster.from_query` and :func:`raster.canvas_from`; besides ``space`` (of obsm), ``hidden`` (codes) and
    ``steps`` (a selection: all others are faint). ``X-Scale`` in the header is for the legend: ``{limits, missing}``.
    """
    view, query = _view(result_id), flask.request.values.to_dict()
    painting, canvas = raster.from_query(view, query, SCALES), raster.canvas_from(query)
    hidden = [int(code) for code in query.get("hidden", "").split(",") if code]
    dimmed = ~selections.chosen_spots(view, json.loads(query["steps"])) if query.get("steps") else None
    png = raster.paint(view.obsm(query.get("space", "spatial")), painting, canvas, dimmed=dimmed, hidden=hidden)
    response = flask.Response(png, mimetype="image/png", headers={"X-Scale": json.dumps(raster.describe(painting))})
    response.cache_control.private = True
    response.cache_control.max_age = HOUR_S
    return response


@bp.get("/<result_id>/at")
def at(result_id: str) -> dict[str, Any]:
    """``?x=&y=&reach=&space=`` and ``feature`` with ``layer``, or ``column`` -> ``{value}`` of the nearest spot within
    *reach*, a category as its code; nothing where there is none."""
    query = flask.request.args
    x, y, reach = (raster.numbers(query.get(name, ""), 1)[0] for name in ("x", "y", "reach"))
    return unseen.value_at(_view(result_id), (x, y), reach, of=query, space=query.get("space", "spatial"))


@bp.post("/<result_id>/limits")
def limits(result_id: str) -> dict[str, Any]:
    """``{of, clip, log}`` -> ``{limits}``: one range for features of several results, for which one scale is to hold.
    *of*: ``{result, feature, layer}`` or ``{result, column}`` each."""
    body = json_body("of", "clip")
    low, high = raster.numbers(",".join(str(v) for v in body["clip"]), 2)
    return {"limits": unseen.shared_limits(backend().workspace, body["of"], (low, high), log=bool(body.get("log")))}


@bp.post("/<result_id>/selection")
def selection(result_id: str) -> dict[str, Any]:
    """``{steps, value, column}`` -> spots, area, means, categories of a selection, and the spots as bits."""
    body, result = json_body("steps"), backend().workspace.result(result_id)
    um = explore.um_per_px(backend().workspace, result)
    value, column = body.get("value"), body.get("column")
    return selections.summarise(_view(result), body["steps"], um=um, value=value, column=column)


@bp.get("/<result_id>/measures")
def measures(result_id: str) -> dict[str, Any]:
    """``{measures: {id: sizes}}`` of the regions and trajectories of its sample, as they are saved now."""
    result = backend().workspace.result(result_id)
    document = backend().annotations.head(result.sample).document
    um = explore.um_per_px(backend().workspace, result)
    return {"measures": annotations.measure(_view(result), document, um)}


@bp.post("/<result_id>/outline")
def outline(result_id: str) -> dict[str, Any]:
    """``{steps}`` -> ``{geometries}``: polygons around the chosen spots."""
    return {"geometries": selections.outline_of(_view(result_id), json_body("steps")["steps"])}


@bp.post("/<result_id>/regions")
def regions(result_id: str) -> dict[str, Any]:
    """``{column}`` -> ``{regions}``: an outline for each category of a column of obs."""
    return {"regions": selections.regions_of_column(_view(result_id), str(json_body("column")["column"]))}


@bp.post("/<result_id>/markers")
def markers(result_id: str) -> dict[str, Any]:
    """``{steps, against, layer, permutations}`` -> ``{rows, …}`` of a selection against another or the rest; where that
    takes long ``{job}``, whose file (``/api/download/<job>``) has the same."""
    body, result = json_body("steps", "layer"), backend().workspace.result(result_id)
    return selections.markers(
        backend(), result, body["steps"], layer=str(body["layer"]), against=body.get("against"),
        permutations=body.get("permutations", 0), user=current_user(),
    )  # fmt: skip


@bp.post("/<result_id>/along")
def along(result_id: str) -> dict[str, Any]:
    """``{line, width_um, layer, kind, features, limit}`` -> the features that change most along a path."""
    body, um = json_body("line", "width_um"), _um(result_id)
    return paths.top_features(
        _view(result_id), body["line"], width_um=body["width_um"], layer=body.get("layer"), um_per_px=um,
        kind=body.get("kind"), features=body.get("features"), limit=body.get("limit", paths.ROWS),
    )  # fmt: skip


@bp.post("/<result_id>/profile")
def profile(result_id: str) -> dict[str, Any]:
    """``{line, width_um, features, layer, scaled}`` -> the numbers of a profile."""
    body, um = json_body("line", "width_um", "features"), _um(result_id)
    return paths.profile_table(
        _view(result_id), body["line"], width_um=body["width_um"], features=body["features"],
        layer=body.get("layer"), scaled=bool(body.get("scaled")), um_per_px=um,
    )  # fmt: skip


@bp.post("/<result_id>/list")
def listed(result_id: str) -> dict[str, Any]:
    """``{text}`` -> ``{features, missing}``: what a list of names means."""
    return paths.find_list(_view(result_id), str(json_body("text")["text"])[:20_000])


def _um(result_id: str) -> float | None:
    return explore.um_per_px(backend().workspace, backend().workspace.result(result_id))


def _view(result: str | Result) -> View:
    return explore.view_of(backend().workspace, result)


def _kept(values: np.ndarray, dtype: str) -> flask.Response:
    """Bytes that the browser keeps: the address has the id of a result, which never changes."""
    data = np.ascontiguousarray(values, dtype=dtype).tobytes()
    response = flask.Response(data, mimetype="application/octet-stream")
    response.cache_control.private = True
    response.cache_control.max_age = YEAR_S
    response.cache_control.immutable = True
    response.add_etag()
    return response.make_conditional(flask.request)


@bp.errorhandler(KeyError)
@bp.errorhandler(ValueError)
@bp.errorhandler(TypeError)
@bp.errorhandler(AttributeError)
def malformed(error: Exception) -> flask.Response:
    """A body of the wrong shape is the request's fault, not the program's."""
    from spatialmeta_app.api.errors import answer

    flask.current_app.logger.warning("request not understood", exc_info=error)
    return answer(SpatialMetaError("a request as docs/architecture.md describes it", found=repr(error)[:200]))
