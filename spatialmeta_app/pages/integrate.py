"""`/p/<project>/<sample>/integrate`: the conditional VAE, and the clusters that follow it."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, ClientsideFunction, Input, Output, State, callback, clientside_callback, ctx, no_update

from core import keys
from core.vae.config import PRESETS
from spatialmeta_app.components import integrate as component
from spatialmeta_app.figures import curves, looks, maps
from spatialmeta_app.ids import Integrate, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import comparison, results
from spatialmeta_app.services.backend import backend
from spatialmeta_app.services.steps import Run
from spatialmeta_app.workspace.records import Result

STEP, FOLLOWING = component.STEP, component.FOLLOWING

dash.register_page(__name__, path_template="/p/<project>/<sample>/integrate", title="Integrate · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page, or what has to be done first."""

    def build(values: dict[str, Any] | None) -> Any:
        workspace = backend().workspace
        clusters = workspace.choices(sample).get(FOLLOWING)
        place = results.place_of(results.open_view(workspace, workspace.inputs_of(sample, STEP)["joint"]))
        return component.layout(values, clusters.config if clusters else None, f"/p/{project}/{sample}", place)

    return _steps.page(STEP, project, sample, build)


clientside_callback(
    ClientsideFunction("steps", "then"),
    Output(Steps.of(Steps.THEN, STEP), "data"),
    Input({"form": FOLLOWING, "option": ALL}, "value"),
    State({"form": FOLLOWING, "option": ALL}, "id"),
)


@callback(Output(Integrate.PRESET, "children"), Input({"form": STEP, "option": "preset"}, "value"))
def show_preset(name: str) -> list[Any]:
    """What the preset stands for."""
    return component.preset(name, PRESETS.get(name, {}))


@callback(Output(Integrate.SUMMARY, "children"), Input(Steps.of(Steps.VERSION, STEP), "data"))
def show_summary(version: dict | None) -> Any:
    """How the training of the run in use ended."""
    workspace = backend().workspace
    if not version or not version["result"]:
        return component.summary(None, None)
    result = workspace.result(version["result"])
    has_model = (workspace.path(result) / keys.MODEL_FILE).is_file()
    model = f"/api/download/model/{result.id}" if has_model else None
    return component.summary(results.notes(workspace, result, keys.TRAINING), result.duration_s, model)


@callback(
    Output(Integrate.COMPARED, "data"),
    Input(Steps.of(Steps.COMPARE, STEP) | {"result": ALL}, "n_clicks"),
    Input(Integrate.COMPARE_END, "n_clicks"),
    prevent_initial_call=True,
)
def choose_compared(clicks: list[int | None], _end: int | None) -> Any:
    """Compare another run with the one in use; Close ends it."""
    if ctx.triggered_id == Integrate.COMPARE_END:
        return None
    return ctx.triggered_id["result"] if any(clicks) else no_update


@callback(
    Output(Integrate.TRAINING, "hidden"),
    Output(Integrate.COMPARISON, "hidden"),
    Output(Integrate.COMPARED_TITLE, "children"),
    Output(Integrate.COMPARED_TABLE, "children"),
    Output(Integrate.COMPARED_CURVES, "figure"),
    Input(Integrate.COMPARED, "data"),
    Input(Steps.of(Steps.VERSION, STEP), "data"),
    State(Shell.URL, "pathname"),
)
def show_comparison(other: str | None, _version: Any, pathname: str) -> tuple[Any, ...]:
    """Two runs in the place of one."""
    view = _steps.state(STEP, pathname) if other else None
    found = comparison.compare(backend().workspace, view, other) if view else None
    if found is None:
        return False, True, "", None, looks.BLANK
    overlays = {term: term.removesuffix(comparison.OTHER) for term in found.curves if term.endswith(comparison.OTHER)}
    overlays |= {"validation": "loss", f"validation{comparison.OTHER}": "loss"}
    figure = curves.small_multiples(
        found.curves, titles=results.TERM_TITLES, overlays=overlays, columns=3, dashed=comparison.OTHER
    )
    title = f"Run {found.used.number}, in use, and run {found.other.number}, dashed"
    return True, False, title, component.comparison(found), figure


@callback(
    Output(Integrate.CLUSTERS, "figure"),
    Output(Integrate.UMAP, "figure"),
    Input(Steps.of(Steps.VERSION, FOLLOWING), "data"),
    Input(Integrate.COMPARED, "data"),
    State(Shell.URL, "pathname"),
)
def show_clusters(version: dict | None, other: str | None, pathname: str) -> tuple[Any, Any]:
    """The clusters in use, on the section and in the UMAP; the sections of both runs while two are compared."""
    workspace = backend().workspace
    view = _steps.state(STEP, pathname) if other else None
    found = comparison.compare(workspace, view, other) if view else None
    if found is not None:
        return _section(found.used), _section(found.other)
    if not version or not version["result"]:
        return looks.empty("Clusters come<br>after the training."), looks.empty("")
    clusters = workspace.result(version["result"])
    return _map(clusters, spatial=True), _map(clusters, spatial=False)


def _section(run: Run) -> Any:
    clusters = comparison.clusters_of(backend().workspace, run.result)
    if clusters is None:
        return looks.empty(f"Run {run.number} has not been clustered.")
    title = {"text": f"Run {run.number}", "x": 0, "y": 1, "xref": "paper", "yref": "paper", "showarrow": False}
    return _map(clusters, spatial=True).add_annotation(**title, font=looks.FONT)


def _map(clusters: Result, *, spatial: bool) -> Any:
    view = results.open_view(backend().workspace, clusters)
    codes, names = results.category(view, keys.LEIDEN)
    xy = results.coordinates(view) if spatial else view.obsm(keys.X_UMAP)
    return maps.categories(xy, codes, names, size=3, um_per_px=view.meta["um_per_px"], spatial=spatial)
