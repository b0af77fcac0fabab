"""Bootstrap and its icons, from the installed Bootstrap-Flask package: nothing is asked of another host."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, send_from_directory

PREFIX = "/vendor/bootstrap"
YEAR_S = 365 * 24 * 3600

blueprint = Blueprint("vendor", __name__)


def folder() -> Path:
    """The Bootstrap 5 files, found without importing the package (it would bring its form library along)."""
    spec = find_spec("flask_bootstrap")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The package bootstrap-flask is not installed; install requirements again.")
    return Path(spec.submodule_search_locations[0]) / "static" / "bootstrap5"


def stylesheets() -> list[str]:
    """Addresses of the style sheets, with Bootstrap's size as version, so that an update is not hidden by the cache."""
    names = ("css/bootstrap.min.css", "css/font/bootstrap-icons.min.css")
    return [f"{PREFIX}/{name}?v={(folder() / name).stat().st_size}" for name in names]


@blueprint.get(f"{PREFIX}/<path:name>")
def bootstrap(name: str) -> Response:
    """One file; 404 outside the folder."""
    response = send_from_directory(folder(), name, max_age=YEAR_S)
    response.cache_control.immutable = True
    return response
