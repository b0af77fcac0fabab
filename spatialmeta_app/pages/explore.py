"""`/p/<project>/<sample>/explore`: look at a sample, draw regions and trajectories."""

from __future__ import annotations

from typing import Any

import dash
import plotly.graph_objects as go
from dash import ClientsideFunction, Input, Output, State, callback, clientside_callback, no_update

from core.errors import SpatialMetaError
from spatialmeta_app.components import alerts
from spatialmeta_app.components import explore as component
from spatialmeta_app.figures import looks, palettes, profile
from spatialmeta_app.ids import Explore, Shell
from spatialmeta_app.services import annotations, explore
from spatialmeta_app.services.backend import backend

dash.register_page(__name__, path_template="/p/<project>/<sample>/explore", title="Explore · SpatialMETA")

clientside_callback(
    ClientsideFunction("explore", "open"),
    Output(Explore.CONTEXT, "modified_timestamp"),
    Input(Explore.CONTEXT, "data"),
)

clientside_callback(
    ClientsideFunction("explore", "controls"),
    Output(Explore.STAGE, "title"),
    Input(Explore.RESULT, "value"),
    Input(Explore.LAYER, "value"),
    Input(Explore.SCALE, "value"),
    Input(Explore.LOW, "value"),
    Input(Explore.HIGH, "value"),
    Input(Explore.LOG, "value"),
    Input(Explore.BIVARIATE, "value"),
    Input(Explore.HISTOLOGY, "value"),
    Input(Explore.SPOTS, "value"),
    Input(Explore.UNIT, "value"),
    Input(Explore.SIZE, "value"),
    Input(Explore.DOT, "value"),
    Input(Explore.GRID, "value"),
)

clientside_callback(
    ClientsideFunction("explore", "width"),
    Output(Explore.TRAJECTORY, "title"),
    Input(Explore.WIDTH, "value"),
    prevent_initial_call=True,
)


def layout(project: str = "", sample: str = "", **query: str) -> Any:
    """The page; what the address asks for is in the first paint already."""
    workspace = backend().workspace
    try:
        if workspace.sample(sample).project != project:
            raise SpatialMetaError("a sample of this project", found="one of another", mend="Follow the link again.")
        shown = explore.shown_results(workspace, sample)
    except SpatialMetaError as error:
        return alerts.inline(error)
    if not shown:
        return component.nothing(project, sample)
    ids = [s.id for s in shown]
    result = query["result"] if query.get("result") in ids else explore.default_result(workspace, sample, shown)
    context = {"project": project, "sample": sample, "result": result, "palettes": palettes.for_browser()}
    context["samples"] = explore.samples(workspace, project)
    return component.page(context, shown, explore.controls_from(query, tuple(palettes.SCALES)))


@callback(Output(Explore.PROFILE, "figure"), Input(Explore.PROFILE_REQUEST, "data"), prevent_initial_call=True)
def show_profile(request: dict[str, Any] | None) -> go.Figure:
    """The profile along the path; what stands in its way is said in its place."""
    if not request:
        return no_update
    workspace = backend().workspace
    result = workspace.result(request["result"])
    try:
        found = annotations.profiles(
            explore.view_of(workspace, result), request["line"], width_um=request["width_um"],
            features=request["features"], layer=request["layer"], scaled=request["scaled"],
            um_per_px=explore.um_per_px(workspace, result),
        )  # fmt: skip
    except SpatialMetaError as error:
        return looks.empty(error.mend or error.message, profile.HEIGHT)
    return profile.profile_figure(
        found.position_mm, found.names, found.mean, found.low, found.high, scaled=request["scaled"]
    )


@callback(
    Output(Explore.RESULT, "options"),
    Input(Shell.JOBS_ENDED, "data"),
    State(Explore.CONTEXT, "data"),
    prevent_initial_call=True,
)
def offer_new_results(_ended: Any, context: dict[str, Any]) -> list[dict[str, str]]:
    """A step that ended while the page is open adds its result to the list; what is shown stays."""
    shown = explore.shown_results(backend().workspace, context["sample"])
    return component.result_options(shown)
