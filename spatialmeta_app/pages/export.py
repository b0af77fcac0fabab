"""`/p/<project>/<sample>/export`: one h5ad with everything, small files, the script, storage."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, ClientsideFunction, Input, Output, State, callback, clientside_callback, ctx, dcc, no_update

from core.errors import SpatialMetaError
from spatialmeta_app.components import alerts
from spatialmeta_app.components import export as component
from spatialmeta_app.ids import Export, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import export as service
from spatialmeta_app.services import projects, steps
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user

STEP = component.STEP

dash.register_page(__name__, path_template="/p/<project>/<sample>/export", title="Export · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page; it says itself what is missing."""
    try:
        backend().workspace.sample(sample)
    except SpatialMetaError as error:
        return alerts.inline(error)
    return component.layout()


@callback(
    Output(Export.CONTENTS, "children"),
    Output(Export.WRITE, "disabled"),
    Output(Export.WHY_NOT, "children"),
    Output(Steps.of(Steps.GIVEN, STEP), "data"),
    Input(Export.PARTS, "value"),
    Input(Shell.JOBS_ENDED, "data"),
    State(Shell.URL, "pathname"),
)
def show_contents(parts: list[str], _ended: Any, pathname: str) -> tuple[Any, bool, str, dict[str, Any]]:
    """What the file would hold, and why it can not be written yet; the parts go to the job."""
    project, sample = _steps.place(pathname)
    found = service.contents(backend(), sample)
    page = projects.next_page(backend().workspace.status(sample))
    way = "reassign" if page == "explore" else page  # all is there, but out of date
    listed = component.contents(found, parts, f"/p/{project}/{sample}/{way}")
    return listed, found is None, "" if found else component.NOTHING, {"parts": parts}


@callback(
    Output(Export.FILES, "children"),
    Output(Export.GET, "children"),
    Output(Export.SCRIPT, "children"),
    Output(Export.STORAGE, "children"),
    Input(Shell.JOBS_ENDED, "data"),
    State(Shell.URL, "pathname"),
)
def show_files(_ended: Any, pathname: str) -> tuple[Any, Any, Any, Any]:
    """The file written last, the small files, the script, the storage."""
    here, (project, sample) = backend(), _steps.place(pathname)
    return (
        component.download(steps.finished_export(here.jobs, project, sample)),
        component.files(service.files(here, sample)),
        component.script(service.script(here.workspace, sample)),
        component.storage(service.storage(here.workspace, sample)),
    )


@callback(
    Output(Export.DOWNLOAD, "data"),
    Output(Export.WANTED, "data"),
    Input({"export-get": ALL}, "n_clicks"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def get(clicks: list[int | None], pathname: str) -> tuple[Any, Any]:
    """Hand out a small file, or have it written by a job and fetched when that has ended."""
    if not any(clicks):
        return no_update, no_update
    kind, (project, sample) = ctx.triggered_id["export-get"], _steps.place(pathname)
    if kind in service.BY_JOB:
        return no_update, steps.submit_file(backend().jobs, kind, project, sample, {}, user=current_user()).id
    name, text = service.file(backend(), sample, kind)
    return dcc.send_string(text, name), no_update


clientside_callback(
    ClientsideFunction("steps", "fetched"),
    Output(Export.WAITING, "children"),
    Input(Export.WANTED, "data"),
    Input(Shell.JOBS, "data"),
)
