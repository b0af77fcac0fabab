"""`/p/<project>/<sample>/align`: the SM section is brought into the frame of the ST section."""

from __future__ import annotations

from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, callback, clientside_callback, ctx, no_update

from core import keys
from core.errors import SpatialMetaError
from core.pipeline import STEPS
from spatialmeta_app.components import alerts, form
from spatialmeta_app.components import align as component
from spatialmeta_app.ids import Align, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import align as service
from spatialmeta_app.services import forms, results
from spatialmeta_app.services.backend import backend

STEP = component.STEP
VERSION, JOB, GIVEN = (Steps.of(part, STEP) for part in (Steps.VERSION, Steps.JOB, Steps.GIVEN))
FRAME = {"form": STEP, "option": component.FRAME}

dash.register_page(__name__, path_template="/p/<project>/<sample>/align", title="Align · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page, or what has to be done first."""

    def build(values: dict[str, Any] | None) -> Any:
        return component.layout(values, service.frames(backend().workspace, sample))

    return _steps.page(STEP, project, sample, build)


clientside_callback(ClientsideFunction("align", "load"), Output(Align.READY, "data"), Input(Align.SCENE, "data"))
clientside_callback(
    ClientsideFunction("align", "colour"),
    Output(Align.LEGEND, "title"),
    Input(Align.COLORED, "data"),
    Input(Align.READY, "data"),
)
clientside_callback(
    ClientsideFunction("align", "follow"), Output(Align.STAGE, "title"), Input(JOB, "data"), Input(Align.READY, "data")
)


@callback(Output(Align.SCENE, "data"), Input(VERSION, "data"), Input(FRAME, "value"), State(Shell.URL, "pathname"))
def show_scene(_version: dict | None, frame: str, pathname: str) -> Any:
    """What the overlay draws."""
    return service.scene(backend().workspace, _steps.sample(pathname), frame=frame)


@callback(
    Output(Align.COLORS, "children"),
    Input(Align.COLOR, "value"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def offer_colors(typed: str | None, pathname: str) -> list[Any]:
    """Colours that fit what was typed."""
    return component.options(service.color_names(backend().workspace, _steps.sample(pathname), typed or ""))


@callback(
    Output(Align.COLORED, "data"), Input(Align.COLOR, "value"), Input(FRAME, "value"), State(Shell.URL, "pathname")
)
def color(typed: str | None, frame: str, pathname: str) -> Any:
    """Where the values of the colour are, once its name is whole."""
    found = service.color(backend().workspace, _steps.sample(pathname), typed or "", frame=frame)
    return no_update if found is None else found


@callback(Output(Align.QUALITY, "children"), Input(VERSION, "data"))
def show_quality(version: dict | None) -> Any:
    """The numbers of the alignment in use."""
    workspace = backend().workspace
    if not version or not version["result"]:
        return component.quality({}, {})
    result = workspace.result(version["result"])
    about = results.notes(workspace, result, keys.ALIGNMENT)
    return component.quality(results.alignment_quality(workspace, result), about)


@callback(
    Output(GIVEN, "data"),
    Input(Align.MANUAL, "data"),
    Input({"form": STEP, "option": "orientation"}, "value"),
)
def give(manual: dict | None, orientation: str) -> dict[str, Any]:
    """The manual values, where the fit is to start from them."""
    return manual if manual and orientation == service.FIT_FROM["orientation"] else {}


@callback(
    Output(JOB, "data", allow_duplicate=True),
    Input(Align.USE, "n_clicks"),
    Input(Align.SAVE, "n_clicks"),
    State(Align.MANUAL, "data"),
    *form.states(STEP),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def start(_use: Any, _save: Any, manual: dict | None, ids: list, values: list, pathname: str) -> Any:
    """A fit from the manual position, or the manual position itself as a run."""
    if not ctx.triggered[0]["value"] or not manual:
        return no_update
    given = manual | (service.SAVE if ctx.triggered_id == Align.SAVE else service.FIT_FROM)
    try:
        return _steps.submit(STEP, forms.config(STEPS[STEP].Config, ids, values, **given), pathname)
    except SpatialMetaError as error:
        alerts.show(alerts.describe(error))
        return None
