"""What every page and route works with, made once per process."""

from __future__ import annotations

from dataclasses import dataclass

import flask

from spatialmeta_app.config import Settings
from spatialmeta_app.jobs import JobStore
from spatialmeta_app.workspace import Annotations, Workspace

EXTENSION = "spatialmeta"


@dataclass(frozen=True)
class Backend:
    """Handles on the data directory; none of them holds a user's data."""

    settings: Settings
    workspace: Workspace
    annotations: Annotations
    jobs: JobStore


def make_backend(settings: Settings) -> Backend:
    """The backend of one data directory, which is made where it is missing."""
    workspace = Workspace(settings)
    return Backend(settings, workspace, Annotations(workspace), JobStore(settings))


def backend() -> Backend:
    """The backend of the running application."""
    return flask.current_app.extensions[EXTENSION]
