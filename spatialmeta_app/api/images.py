"""Pictures of a result: the histology under the spots."""

from __future__ import annotations

import flask

from spatialmeta_app.services.backend import backend

bp = flask.Blueprint("images", __name__, url_prefix="/api/image")

YEAR_S = 365 * 24 * 3600


@bp.get("/<result_id>/<path:name>")
def image(result_id: str, name: str) -> flask.Response:
    """A file of the result's ``image/`` folder, never of another; kept by the browser for good."""
    path = backend().workspace.path(result_id, f"image/{name}")
    folder = backend().workspace.path(result_id, "image")
    if not path.is_relative_to(folder) or not path.is_file():
        flask.abort(404)
    response = flask.send_file(path, max_age=YEAR_S, conditional=True)
    response.cache_control.public, response.cache_control.private = False, True
    response.cache_control.immutable = True
    return response
