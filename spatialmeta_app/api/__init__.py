"""The Flask routes beside the pages: files, arrays, jobs. JSON errors, one place that refuses cross-site changes."""

from __future__ import annotations

import importlib
import importlib.util

from flask import Flask

from spatialmeta_app.config import Settings
from spatialmeta_app.services import people
from spatialmeta_app.services.backend import EXTENSION, make_backend

MODULES = ("health", "uploads", "jobs", "downloads", "view", "images", "annotations")


def register(server: Flask, settings: Settings) -> None:
    """Give *server* its backend and all routes; each module of this package has its blueprint as ``bp``."""
    from spatialmeta_app.api import errors

    server.extensions[EXTENSION] = make_backend(settings)
    server.after_request(people.remember)
    errors.register(server)
    for name in MODULES:
        module = f"{__name__}.{name}"
        if importlib.util.find_spec(module) is not None:
            server.register_blueprint(importlib.import_module(module).bp)
