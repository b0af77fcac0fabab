"""Callbacks of the frame around all pages."""

from __future__ import annotations

from dash import ClientsideFunction, Input, Output, callback, clientside_callback

from spatialmeta_app.components import shell
from spatialmeta_app.ids import Shell

clientside_callback(
    ClientsideFunction("shell", "toast"),
    Output(Shell.ALERT, "data", allow_duplicate=True),
    Input(Shell.ALERT, "data"),
    prevent_initial_call=True,
)


@callback(Output(Shell.STEPPER, "children"), Input(Shell.URL, "pathname"), Input(Shell.JOBS_ENDED, "data"))
def show_steps(pathname: str, _ended: object) -> object:
    """The steps with their marks, fresh whenever a job of the project has ended."""
    place = shell.Place.from_path(pathname)
    return shell.stepper(place, {}) if place and place.sample else None


@callback(Output(Shell.UNDO, "disabled"), Output(Shell.REDO, "disabled"), Input(Shell.URL, "pathname"))
def enable_history(pathname: str) -> tuple[bool, bool]:
    """Undo belongs to Explore, which sets both by itself once it knows its revisions; elsewhere both are off."""
    place = shell.Place.from_path(pathname)
    off = place is None or place.page != "explore"
    return off, off
