"""Callbacks of the frame around all pages."""

from __future__ import annotations

from typing import Any

from dash import ALL, ClientsideFunction, Input, Output, State, callback, clientside_callback, ctx, no_update

from spatialmeta_app.components import shell
from spatialmeta_app.components.shell import Place
from spatialmeta_app.ids import Shell
from spatialmeta_app.services import projects
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import NotFound

for function, store in (("toast", Shell.ALERT), ("submitted", Shell.SUBMITTED)):
    clientside_callback(
        ClientsideFunction("shell", function),
        Output(store, "data", allow_duplicate=True),
        Input(store, "data"),
        prevent_initial_call=True,
    )


@callback(
    Output(Shell.STEPPER, "children"),
    Input(Shell.URL, "pathname"),
    Input(Shell.JOBS_ENDED, "data"),
    Input(Shell.CHANGED, "data"),
)
def show_steps(pathname: str, _ended: Any, _changed: Any) -> Any:
    """The steps with their marks, fresh whenever a job of the project has ended or a result was chosen."""
    place = Place.from_path(pathname)
    if place is None or place.sample is None:
        return None
    try:
        return shell.stepper(place, backend().workspace.status(backend().workspace.sample(place.sample)))
    except NotFound:
        return None


@callback(Output(Shell.PLACE, "children"), Input(Shell.URL, "pathname"), Input(Shell.CHANGED, "data"))
def show_place(pathname: str, _changed: Any) -> Any:
    """The two pickers; a form in their place while something is named."""
    place = Place.from_path(pathname)
    if place is None:
        return None
    try:
        names = projects.names(backend().workspace, place.project, place.sample, current_user())
    except NotFound:
        return None
    samples = [(s.name, f"/p/{place.project}/{s.id}/{place.page}") for s in names.samples if s != names.sample]
    return shell.pickers(
        place,
        project=names.project.name,
        sample=names.sample.name if names.sample else None,
        projects=names.others,
        samples=samples,
        writable=not names.project.demo,
    )


@callback(
    Output(Shell.NAME_FORM, "children"),
    Output(Shell.PLACE, "hidden"),
    Input({"rename": ALL, "part": "open"}, "n_clicks"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def ask_name(clicks: list[int], pathname: str) -> tuple[Any, bool]:
    """Open the line in which a project or sample gets its name."""
    if not any(clicks):
        return no_update, no_update
    kind, place = ctx.triggered_id["rename"], Place.from_path(pathname)
    names = projects.names(backend().workspace, place.project, place.sample, current_user())
    return shell.name_form(kind, projects.suggested_name(names, kind)), True


@callback(
    Output(Shell.NAME_FORM, "children", allow_duplicate=True),
    Output(Shell.PLACE, "hidden", allow_duplicate=True),
    Input({"rename": ALL, "part": "cancel"}, "n_clicks"),
    Input(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def close_name(clicks: list[int], _pathname: str) -> tuple[Any, Any]:
    """Close that line again, on Cancel or on another page."""
    if isinstance(ctx.triggered_id, dict) and not any(clicks):  # the button has only just appeared
        return no_update, no_update
    return None, False


@callback(
    Output(Shell.CHANGED, "data"),
    Output(Shell.URL, "pathname", allow_duplicate=True),
    Output(Shell.NAME_FORM, "children", allow_duplicate=True),
    Output(Shell.PLACE, "hidden", allow_duplicate=True),
    Input({"rename": ALL, "part": "save"}, "n_clicks"),
    Input({"rename": ALL, "part": "name"}, "n_submit"),
    State({"rename": ALL, "part": "name"}, "value"),
    State(Shell.CHANGED, "data"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def save_name(clicks: list[int], submits: list[int], values: list[str], changed: int, pathname: str) -> tuple:
    """Keep the name; a new sample is opened."""
    if not any(clicks) and not any(submits):
        return no_update, no_update, no_update, no_update
    place = Place.from_path(pathname)
    address = projects.keep_name(
        backend().workspace, ctx.triggered_id["rename"], values[0] or "", project=place.project, sample=place.sample
    )
    return (changed or 0) + 1, address or no_update, None, False


@callback(Output(Shell.UNDO, "disabled"), Output(Shell.REDO, "disabled"), Input(Shell.URL, "pathname"))
def enable_history(_pathname: str) -> tuple[bool, bool]:
    """Undo belongs to Explore, which enables both by itself once it knows its revisions; elsewhere both are off."""
    return True, True
