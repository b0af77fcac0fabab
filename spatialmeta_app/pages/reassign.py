"""`/p/<project>/<sample>/reassign`: the aligned SM pixels are resampled onto the ST spots."""

from __future__ import annotations

from typing import Any

import dash
import numpy as np
from dash import Input, Output, State, callback, ctx, no_update

from core import keys
from core.joining import ConcatConfig
from spatialmeta_app.components import form, joined
from spatialmeta_app.components import reassign as component
from spatialmeta_app.figures import histograms, looks, maps
from spatialmeta_app.ids import Joined, Reassign, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import forms, joining, pictures, results
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.people import current_user

STEP = component.STEP
VERSION = Steps.of(Steps.VERSION, STEP)

dash.register_page(__name__, path_template="/p/<project>/<sample>/reassign", title="Reassign · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page, or what has to be done first."""
    workspace = backend().workspace
    if joining.is_joined(workspace, sample):
        view = _steps.state(STEP, f"/p/{project}/{sample}/{STEP}")
        values = view.chosen.result.config if view.chosen else view.job and view.job.config
        return joined.page(joining.part_samples(workspace, workspace.sample(sample)), project, values)

    def build(values: dict[str, Any] | None) -> Any:
        others = joining.candidates(workspace, sample)
        names = [workspace.sample(sample), *others]
        return component.layout(
            values, joined.join_panel(others, joining.suggested_name(workspace, names)) if others else None
        )

    return _steps.page(STEP, project, sample, build)


@callback(
    Output(Shell.URL, "pathname", allow_duplicate=True),
    Input(Reassign.JOIN, "n_clicks"),
    State(Reassign.PARTS, "value"),
    State(Reassign.JOINED_NAME, "value"),
    *form.states(Reassign.JOIN_FORM),
    State(Shell.URL, "pathname"),
    prevent_initial_call=True,
)
def join(  # noqa: PLR0917  Dash hands one argument for each State
    clicks: int | None, others: list[str] | None, name: str | None, ids: list[dict], values: list[Any], pathname: str
) -> Any:
    """A new sample that joins this one with those that are ticked; its page is opened."""
    if not clicks:
        return no_update
    here, (project, sample) = backend(), _steps.place(pathname)
    config, user = forms.config(ConcatConfig, ids, values), current_user()
    made = joining.join(here.workspace, here.jobs, sample, others or [], name or "", config=config, user=user)
    return f"/p/{project}/{made.id}/{STEP}"


@callback(
    Output(Joined.MAP, "figure"),
    Output(Joined.REPORT, "children"),
    Input(VERSION, "data"),
)
def show_joined(version: dict | None) -> tuple[Any, Any]:
    """The samples side by side, and what joining them lost."""
    if not version or not version["result"]:
        return looks.empty("The samples are being joined."), None
    workspace = backend().workspace
    result = workspace.result(version["result"])
    view = results.open_view(workspace, result)
    codes, names = results.category(view, keys.SAMPLE)
    images = maps.histology(pictures.of_result(workspace, result))
    xy = results.coordinates(view)
    figure = maps.categories(xy, codes, names, um_per_px=view.meta["um_per_px"], images=images)
    return maps.name_parts(figure, xy, codes, names), joined.report(
        joining.report(workspace, result), view.meta["n_vars"]
    )


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
    here = backend().workspace
    noun = component.NOUNS[found.moved]
    figure = maps.numbers(
        found.plan.xy,
        counts,
        label=f"{noun}s",
        missing=f"no {noun} within reach",
        um_per_px=found.um_per_px,
        images=maps.histology(pictures.of_result(here, here.result(version["result"]))),
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
