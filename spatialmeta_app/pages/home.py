"""`/`: my projects, the demonstration, a new project."""

from __future__ import annotations

import dash

from spatialmeta_app.components.panel import columns, empty, panel

dash.register_page(__name__, path="/", title="SpatialMETA")


def layout(**_query: str):
    return columns(
        panel("Projects"),
        panel(None, empty("folder2-open", "No project yet", "Name your first project."), class_name="sm-fill"),
    )
