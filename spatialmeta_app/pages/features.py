"""`/p/<project>/<sample>/features`: which genes and metabolites go into the model."""

from __future__ import annotations

from typing import Any

import dash
from dash import ALL, Input, Output, State, callback, ctx, no_update

from core import keys
from spatialmeta_app.components import features as component
from spatialmeta_app.figures import histograms, looks, maps
from spatialmeta_app.ids import Features, Shell, Steps
from spatialmeta_app.pages import _steps
from spatialmeta_app.services import features as service
from spatialmeta_app.services import pictures, results
from spatialmeta_app.services.backend import backend

STEP = component.STEP
VERSION = Steps.of(Steps.VERSION, STEP)
PINNED, DROPPED = ({"form": STEP, "option": name} for name in ("pinned", "dropped"))

dash.register_page(__name__, path_template="/p/<project>/<sample>/features", title="Features · SpatialMETA")


def layout(project: str = "", sample: str = "", **_query: str) -> Any:
    """The page, or what has to be done first."""

    def build(values: dict[str, Any] | None) -> Any:
        workspace = backend().workspace
        source = workspace.inputs_of(sample, STEP)["joint"]
        meta = results.open_view(workspace, source).meta
        kinds = [kind for kind in component.KINDS if meta["features"].get(kind)]
        return component.layout(values, source.id, tuple(meta["obs"]), kinds)

    return _steps.page(STEP, project, sample, build)


def _result(version: dict | None, pathname: str) -> Any:
    """The run in use, else its input: quality can be seen before the first run."""
    workspace = backend().workspace
    if version and version["result"]:
        return workspace.result(version["result"])
    return workspace.sources(_steps.sample(pathname))[STEP]["joint"]


def _view(version: dict | None, pathname: str) -> Any:
    result = _result(version, pathname)
    return results.open_view(backend().workspace, result) if result else None


@callback(
    Output(Features.MORAN, "figure"),
    Output(Features.MAP_BY, "options"),
    Output(Features.MAP_BY, "value"),
    Input(VERSION, "data"),
    Input(Features.SHOWN, "data"),
    State(Features.MAP_BY, "value"),
    State(Shell.URL, "pathname"),
)
def show(version: dict | None, feature: str | None, shown: str | None, pathname: str) -> tuple[Any, Any, Any]:
    """Histogram of the run in use, and what the map can show."""
    view = _view(version, pathname)
    if view is None:
        return looks.empty("No result yet."), [], None
    groups, cuts = results.moran_groups(view)
    moran = histograms.stacked_by_kind(groups, label="Moran's I", counted="features", cuts=cuts, height=150)
    quality = results.quality_columns(view)
    options = component.map_options(quality, feature)
    value = "feature" if ctx.triggered_id == Features.SHOWN and feature else shown or options[0]["value"]
    if ctx.triggered_id == Features.SHOWN:
        return no_update, options, value
    return moran, options, value


@callback(
    Output(Features.MAP, "figure"),
    Input(Features.MAP_BY, "value"),
    Input(Features.SHOWN, "data"),
    Input(VERSION, "data"),
    State(Shell.URL, "pathname"),
)
def show_map(by: str | None, feature: str | None, version: dict | None, pathname: str) -> Any:
    """One quality, or the feature picked in the table, on the section."""
    result = _result(version, pathname)
    if result is None or by is None:
        return looks.empty("No result yet.")
    workspace = backend().workspace
    view = results.open_view(workspace, result)
    values, label = service.map_values(view, by, feature)
    xy, images = results.coordinates(view), maps.histology(pictures.of_result(workspace, result))
    figure = maps.numbers(xy, values, label=label, um_per_px=view.meta["um_per_px"], images=images)
    if results.sample_count(view) < 2:
        return figure
    return maps.name_parts(figure, xy, *results.category(view, keys.SAMPLE))


@callback(
    Output(Features.TABLE, "children"),
    Output(Features.PAGE, "max_value"),
    Output(Features.PAGE, "class_name"),
    inputs={
        "version": Input(VERSION, "data"),
        "asked": {
            "kind": Input(Features.KIND, "value"),
            "query": Input(Features.SEARCH, "value"),
            "order": Input(Features.ORDER, "data"),
            "page": Input(Features.PAGE, "active_page"),
        },
        "marks": {"pinned": Input(PINNED, "value"), "dropped": Input(DROPPED, "value")},
        "pathname": State(Shell.URL, "pathname"),
    },
)
def show_table(version: dict | None, asked: dict, marks: dict, pathname: str) -> tuple[Any, int, str]:
    """A page of the table of the run in use."""
    view = _view(version, pathname)
    if view is None or "morans_i" not in view.features:
        return "Run this step to score the features.", 1, "d-none"
    order = asked["order"]
    request = {"kind": asked["kind"], "query": asked["query"] or "", **order}
    rows, total = results.feature_rows(view, **request, page=(asked["page"] or 1) - 1)
    pinned, dropped = service.names(marks["pinned"]), service.names(marks["dropped"])
    about = {"result": version["result"], "samples": results.sample_count(view)}
    table = component.table(rows, total, order, pinned=pinned, dropped=dropped, **about)
    pages = max(1, -(-total // results.ROWS))
    return table, pages, "" if pages > 1 else "d-none"


@callback(
    Output(Features.PAGE, "active_page"),
    Input(Features.KIND, "value"),
    Input(Features.SEARCH, "value"),
    Input(Features.ORDER, "data"),
)
def first_page(_kind: Any, _query: Any, _order: Any) -> int:
    """Another question starts on its first page."""
    return 1


@callback(
    Output(Features.ORDER, "data"),
    Input({"features-sort": ALL}, "n_clicks"),
    State(Features.ORDER, "data"),
    prevent_initial_call=True,
)
def sort(clicks: list[int | None], order: dict) -> Any:
    """Sort by a column, the other way round at the second press."""
    return service.sorted_by(order, ctx.triggered_id["features-sort"]) if any(clicks) else no_update


@callback(
    Output(PINNED, "value"),
    Output(DROPPED, "value"),
    Output(Features.SHOWN, "data"),
    Input({"features-mark": ALL, "name": ALL}, "n_clicks"),
    State(PINNED, "value"),
    State(DROPPED, "value"),
    prevent_initial_call=True,
)
def mark(clicks: list[int | None], pinned: str | None, dropped: str | None) -> tuple[Any, Any, Any]:
    """Pin, drop or show the feature of a row."""
    if not any(clicks):
        return no_update, no_update, no_update
    kind, name = ctx.triggered_id["features-mark"], ctx.triggered_id["name"]
    if kind == "show":
        return no_update, no_update, name
    return *service.marked(kind, name, pinned or "", dropped or ""), no_update
