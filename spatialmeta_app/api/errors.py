"""One answer for every error under ``/api/``, and the header that every change needs."""

from __future__ import annotations

import dataclasses
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from core.errors import SpatialMetaError, StorageError
from spatialmeta_app.workspace.errors import ConflictError, ForbiddenError, NotFoundError

HEADER = "X-SpatialMETA"
READING = ("GET", "HEAD", "OPTIONS")
STATUS: tuple[tuple[type[SpatialMetaError], int], ...] = (
    (NotFoundError, 404),
    (ForbiddenError, 403),
    (ConflictError, 409),
    (StorageError, 507),
    (SpatialMetaError, 422),
)


def register(server: flask.Flask) -> None:
    """Install the handlers."""
    server.before_request(refuse_cross_site)
    server.register_error_handler(SpatialMetaError, answer)
    server.register_error_handler(HTTPException, answer_http)
    server.add_url_rule("/api/", "no_api", no_api)
    server.add_url_rule("/api/<path:rest>", "no_api", no_api, methods=("GET", "POST", "PUT", "PATCH", "DELETE"))


def refuse_cross_site() -> flask.Response | None:
    """403 for a change without the header: a form of another site can not set it, and scripts of others may not."""
    request = flask.request
    if not request.path.startswith("/api/") or request.method in READING or request.headers.get(HEADER) == "1":
        return None
    return _json(403, f"the header {HEADER}: 1 with every change", "none", "Send it.")


def no_api(rest: str = "") -> flask.Response:
    """404 for addresses under ``/api/`` that do not exist; Dash would answer them with its page."""
    return _json(404, "an address of the API", f"/api/{rest[:80]}", "")


def answer(error: SpatialMetaError) -> flask.Response:
    """``{"error": {expected, found, mend, message}}``; a conflict also has ``current``: the head, the right offset."""
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    response = _json(status, error.expected, error.found, error.mend, message=error.message)
    if isinstance(error, ConflictError):
        current = error.current
        if dataclasses.is_dataclass(current) and not isinstance(current, type):
            current = dataclasses.asdict(current)
        body = response.get_json() | {"current": current}
        response = flask.jsonify(body)
        response.status_code = status
    return response


def answer_http(error: HTTPException) -> flask.Response | HTTPException:
    """Flask's own errors as JSON under ``/api/``; pages keep theirs."""
    if not flask.request.path.startswith("/api/") or error.code is None:
        return error
    return _json(error.code, "a request this server knows", error.name.lower(), "")


def json_body(*names: str) -> dict[str, Any]:
    """The JSON object of the request; SpatialMetaError where one of *names* is missing."""
    body = flask.request.get_json(silent=True)
    if not isinstance(body, dict) or (missing := [name for name in names if name not in body]):
        found = "no JSON object" if not isinstance(body, dict) else f"no {', '.join(missing)}"
        raise SpatialMetaError(f"a JSON object with {', '.join(names)}", found=found)
    return body


def _json(status: int, expected: str, found: str, mend: str, *, message: str | None = None) -> flask.Response:
    text = message or " ".join(part for part in (f"Expected {expected}.", f"Found {found}.", mend) if part)
    response = flask.jsonify(error={"expected": expected, "found": found, "mend": mend, "message": text})
    response.status_code = status
    return response
