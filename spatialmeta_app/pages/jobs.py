"""`/p/<project>/jobs`: all jobs of a project, their logs, stop and run again."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update

from spatialmeta_app.components import jobs as component
from spatialmeta_app.components.panel import missing
from spatialmeta_app.components.shell import Place
from spatialmeta_app.ids import Jobs, Shell
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user
from spatialmeta_app.workspace import NotFound

dash.register_page(__name__, path_template="/p/<project>/jobs", title="Jobs · SpatialMETA")

LOG_CHARACTERS = 20_000


def layout(project: str = "", **_query: str) -> html.Div:
    """The table and, beside it, one job."""
    try:
        found = backend().workspace.project(project)
    except NotFound as error:
        return missing(error)
    heading = html.H1(["Jobs of ", found.name], className="sm-title")
    centre = html.Div([heading, html.Div(id=Jobs.TABLE)], className="sm-panel sm-fill sm-scroll")
    return html.Div(
        [
            html.Div([centre], className="sm-centre"),
            html.Div(id=Jobs.DETAILS, className="sm-right"),
            dcc.Store(id=Jobs.CHOSEN),
        ],
        className="sm-columns sm-jobs",
    )


@callback(
    Output(Jobs.TABLE, "children"),
    Output(Jobs.DETAILS, "children"),
    Input(Shell.JOBS, "data"),
    Input(Jobs.CHOSEN, "data"),
    State(Shell.URL, "pathname"),
)
def refresh(_jobs: Any, chosen: str | None, pathname: str) -> tuple[Any, Any]:
    """The table follows the jobs, the log with it."""
    place = Place.from_path(pathname)
    if place is None:
        return no_update, no_update
    store, workspace = backend().jobs, backend().workspace
    found = store.jobs(place.project)
    samples = {s.id: s.name for s in workspace.samples(place.project)}
    job = next((j for j in found if j.id == chosen), None) or (found[0] if found else None)
    log = store.log(job, LOG_CHARACTERS) if job else ""
    shown = job.id if job else None
    resumable = {j.id for j in found if store.resumable(j)}
    return component.table(found, samples, current_user(), shown, resumable), component.details(job, log)


@callback(
    Output(Jobs.CHOSEN, "data"),
    Output(Shell.SUBMITTED, "data", allow_duplicate=True),
    Input({Jobs.ACTION: ALL, "job": ALL}, "n_clicks"),
    prevent_initial_call=True,
)
def act(clicks: list[int]) -> tuple[Any, Any]:
    """Show, stop, or do again with the same settings."""
    if not any(clicks) or not any(t["value"] for t in ctx.triggered):
        return no_update, no_update
    store, job = backend().jobs, ctx.triggered_id["job"]
    action = ctx.triggered_id[Jobs.ACTION]
    if action == "cancel":
        store.cancel(job)
    elif action == "resume":
        store.resume(job)
    elif action == "again":
        job = again(job)
    return job, f"{action} {job}"


def again(job: str) -> str:
    """A new job with the kind, settings and files of *job*; returns its id."""
    old = backend().jobs.get(job)
    made = backend().jobs.submit(
        old.kind,
        project=old.project,
        sample=old.sample,
        user=current_user(),
        config=old.config,
        inputs=old.inputs,
        resources=old.resources,
    )
    return made.id
