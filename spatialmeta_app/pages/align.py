"""`/p/<project>/<sample>/align`: the SM section is brought into the frame of the ST section."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, ClientsideFunction, Input, Output, State, callback, clientside_callback, ctx, no_update

from core import keys
from core.errors import SpatialMetaError
from core.pipeline import STEPS
from spatialmeta_app.components import alerts, form
from spatialmeta_app.components import align as component
from spatialmeta_app.components import align_findings as findings
from spatialmeta_app.ids import Align, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import align as service
from spatialmeta_app.services import forms, landmarks, results
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


clientside_callback(
    ClientsideFunction("align", "marks"),
    Output(Align.SECOND, "title"),
    Input(Align.MARKS, "data"),
    Input(Align.MARKED, "data"),
    Input(Align.READY, "data"),
)
clientside_callback(
    ClientsideFunction("align", "compared"), Output(Align.COMPARE, "title"), Input(Align.COMPARED, "data")
)


@callback(Output(Align.QUALITY, "children"), Input(VERSION, "data"))
def show_quality(version: dict | None) -> Any:
    """The numbers of the alignment in use."""
    workspace = backend().workspace
    if not version or not version["result"]:
        return findings.quality({}, {})
    result = workspace.result(version["result"])
    about = results.notes(workspace, result, keys.ALIGNMENT)
    return findings.quality(results.alignment_quality(workspace, result), about, result.id)


@callback(
    Output(Align.MARKED, "data"),
    Input(Align.MARKS, "data"),
    Input(Align.MARKS_FIT, "value"),
    State(FRAME, "value"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def judge(rows: list, kind: str, frame: str, pathname: str) -> Any:
    """The errors of the landmarks, and the map that they give."""
    return landmarks.judge(backend().workspace, _steps.sample(pathname), rows, kind, frame=frame)


@callback(
    Output(Align.MARKS, "data"),
    Input(Align.MARKS_FILE, "data"),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def open_marks(file: dict | None, pathname: str) -> Any:
    """The pairs of a CSV in place of those that were there."""
    return landmarks.read(backend().workspace, _steps.sample(pathname), file["text"]) if file else no_update


@callback(
    Output(GIVEN, "data"),
    Input(Align.MANUAL, "data"),
    Input({"form": STEP, "option": "orientation"}, "value"),
    Input(Align.MARKS, "data"),
)
def give(manual: dict | None, orientation: str, rows: list | None) -> dict[str, Any]:
    """The manual values, where the fit is to start from them, and the landmarks, where there are any."""
    start = manual if manual and orientation == service.FIT_FROM["orientation"] else {}
    return start | ({"landmarks": service.as_text(rows)} if rows else {})


@callback(
    Output(JOB, "data", allow_duplicate=True),
    Input(Align.USE, "n_clicks"),
    Input(Align.SAVE, "n_clicks"),
    Input(Align.MARKS_USE, "n_clicks"),
    Input(Align.MARKS_SAVE, "n_clicks"),
    Input({"align-other": ALL}, "n_clicks"),
    State(Align.MANUAL, "data"),
    State(Align.MARKS, "data"),
    State(Align.MARKS_FIT, "value"),
    *form.states(STEP),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def start(*values: Any) -> Any:
    """A run that begins, or is, what was set by hand, by landmarks, or the next best orientation."""
    manual, rows, fit, ids, fields, pathname = values[-6:]
    if not ctx.triggered[0]["value"]:
        return no_update
    try:
        given = _given(ctx.triggered_id, manual or {}, rows or [], fit)
        return _steps.submit(STEP, forms.config(STEPS[STEP].Config, ids, fields, **given), pathname)
    except SpatialMetaError as error:
        alerts.show(alerts.describe(error))
        return None


def _given(pressed: Any, manual: dict, rows: list, fit: str) -> dict[str, Any]:
    """The settings that a button stands for."""
    if isinstance(pressed, dict):
        return landmarks.runner_up(backend().workspace, pressed["align-other"])
    marks = {"landmarks": service.as_text(rows)}
    match pressed:
        case Align.SAVE:
            return manual | marks | service.SAVE
        case Align.MARKS_SAVE:
            return marks | service.BY_LANDMARKS | {"landmark_fit": fit}
        case Align.MARKS_USE:
            return marks | service.WITH_LANDMARKS
        case _:
            return manual | marks | service.FIT_FROM


@callback(
    Output(Align.COMPARE, "hidden"),
    Output(Align.COMPARE_A, "options"),
    Output(Align.COMPARE_B, "options"),
    Output(Align.COMPARE_A, "value"),
    Output(Align.COMPARE_B, "value"),
    Input(VERSION, "data"),
    State(Align.COMPARE_A, "value"),
    State(Align.COMPARE_B, "value"),
    State(Shell.URL, "pathname"),
)
def offer_runs(_version: Any, first: str | None, second: str | None, pathname: str) -> Any:
    """The runs that can be compared: the newest two at first, then what was picked."""
    runs = landmarks.comparable(backend().workspace, _steps.sample(pathname))
    known, options = [result for result, _ in runs], findings.compare_options(runs)
    if len(runs) < 2:
        return True, options, options, None, None
    picked = (first, second) if first in known and second in known else (known[1], known[0])
    return False, options, options, *picked


@callback(
    Output(Align.COMPARED, "data"),
    Output(Align.COMPARE_TABLE, "children"),
    Input(Align.COMPARE_A, "value"),
    Input(Align.COMPARE_B, "value"),
    State(Shell.URL, "pathname"),
)
def compare(first: str | None, second: str | None, pathname: str) -> Any:
    """Two runs beside each other."""
    if not first or not second:
        return {}, None
    workspace = backend().workspace
    numbers = [results.alignment_quality(workspace, workspace.result(one)) for one in (first, second)]
    table = findings.compare_table(*numbers, landmarks.differences(workspace, first, second))
    return landmarks.compare(workspace, _steps.sample(pathname), first, second), table
