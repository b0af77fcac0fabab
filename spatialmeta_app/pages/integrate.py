"""`/p/<project>/<sample>/integrate`: the conditional VAE, and the clusters that follow it."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, ClientsideFunction, Input, Output, State, callback, clientside_callback

from core import keys
from core.vae.config import PRESETS
from spatialmeta_app.components import integrate as component
from spatialmeta_app.figures import looks, maps
from spatialmeta_app.ids import Integrate, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import results
from spatialmeta_app.services.backend import backend

STEP, FOLLOWING = component.STEP, component.FOLLOWING

dash.register_page(__name__, path_template="/p/<project>/<sample>/integrate", title="Integrate · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page, or what has to be done first."""

    def build(values: dict[str, Any] | None) -> Any:
        clusters = backend().workspace.choices(sample).get(FOLLOWING)
        return component.layout(values, clusters.config if clusters else None, f"/p/{project}/{sample}")

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
    return component.summary(results.notes(workspace, result, keys.TRAINING), result.duration_s)


@callback(
    Output(Integrate.CLUSTERS, "figure"),
    Output(Integrate.UMAP, "figure"),
    Input(Steps.of(Steps.VERSION, FOLLOWING), "data"),
    State(Shell.URL, "pathname"),
)
def show_clusters(version: dict | None, pathname: str) -> tuple[Any, Any]:
    """The clusters in use, on the section and in the UMAP."""
    workspace = backend().workspace
    if not version or not version["result"]:
        return looks.empty("Clusters come after the training."), looks.empty("")
    view = results.open_view(workspace, workspace.result(version["result"]))
    codes, names = results.category(view, keys.LEIDEN)
    um = view.meta["um_per_px"]
    section = maps.categories(results.coordinates(view), codes, names, size=3, um_per_px=um)
    return section, maps.categories(view.obsm(keys.X_UMAP), codes, names, size=3, spatial=False)
