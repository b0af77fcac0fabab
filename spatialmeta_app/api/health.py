"""Whether the server lives, and whether it can do its work."""

from __future__ import annotations

import flask

from core.errors import StorageError
from spatialmeta_app.jobs.alive import alive
from spatialmeta_app.services.backend import backend

bp = flask.Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> flask.Response:
    """The process answers."""
    return flask.jsonify(status="ok")


@bp.get("/readyz")
def readyz() -> flask.Response:
    """The database takes changes and a runner gave a sign of life; 503 with what is wrong otherwise."""
    state = {"database": _writable(), "runner": alive(backend().settings)}
    response = flask.jsonify(status="ok" if all(state.values()) else "not ready", **state)
    response.status_code = 200 if all(state.values()) else 503
    return response


def _writable() -> bool:
    try:
        with backend().workspace.database.write() as db:
            db.execute("UPDATE counters SET value = value WHERE name = 'seq'")
    except StorageError:
        return False
    return True
