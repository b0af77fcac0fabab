"""`/p/<project>/<sample>/reassign`: the aligned SM pixels are resampled onto the ST spots."""

from __future__ import annotations

from typing import Any

import dash
import numpy as np
from dash import Input, Output, State, callback, ctx, no_update

from spatialmeta_app.components import reassign as component
from spatialmeta_app.figures import histograms, looks, maps
from spatialmeta_app.ids import Reassign, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import results
from spatialmeta_app.services.backend import backend

STEP = component.STEP
VERSION = Steps.of(Steps.VERSION, STEP)

dash.register_page(__name__, path_template="/p/<project>/<sample>/reassign", title="Reassign · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page, or what has to be done first."""
    return _steps.page(STEP, project, sample, component.layout)


def _coverage(version: dict | None) -> results.Coverage | None:
    workspace = backend().workspace
    return results.coverage(workspace, workspace.result(version["result"])) if version and version["result"] else None


@callback(
    Output(Reassign.MAP, "figure"),
    Output(Reassign.DISTANCES, "figure"),
    Output(Reassign.COVERAGE, "children"),
    Input(VERSION, "data"),
    State(Shell.URL, "pathname"),
)
def show(version: dict | None, pathname: str) -> tuple[Any, Any, Any]:
    """Coverage map, distances and totals of the run in use."""
    found = _coverage(version)
    if found is None:
        return (
            looks.empty("Run Reassign to see how many SM pixels each spot averages."),
            looks.empty(""),
            component.coverage(None),
        )
    counts = np.where(found.count > 0, found.count, np.nan)
    image = results.histology(backend().workspace, _steps.sample(pathname))
    noun = component.NOUNS[found.moved]
    figure = maps.numbers(
        found.plan.xy,
        counts,
        label=f"{noun}s",
        missing=f"no {noun} within reach",
        um_per_px=found.um_per_px,
        image=maps.histology(**image) if image else None,
    )
    distances = histograms.histogram(found.distances_um, label="distance (µm)", counted="links", height=132)
    return figure, distances, component.coverage(found)


@callback(
    Output(Reassign.SPOT, "children"),
    Output(Reassign.NUMBER, "value"),
    Input(Reassign.MAP, "clickData"),
    Input(Reassign.NUMBER, "value"),
    Input(VERSION, "data"),
)
def show_spot(clicked: dict | None, number: int | None, version: dict | None) -> tuple[Any, Any]:
    """The pixels of the spot that was clicked or typed."""
    found = _coverage(version)
    if found is None:
        return None, no_update
    if ctx.triggered_id == Reassign.MAP and clicked:
        number = clicked["points"][0]["customdata"]
    audit = results.audit(found, int(number or 0))
    reach = found.plan.reach * found.um_per_px
    figure = maps.links(audit.xy_um, audit.pixels_xy_um, audit.weights, around=audit.around_um, reach=reach, height=200)
    return component.spot(audit, figure, component.NOUNS[found.moved]), audit.spot
