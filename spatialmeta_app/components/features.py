"""The Features page: quality of the spots, map of one feature, table of Moran's I."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from core import keys
from core.options import Option, options
from core.pipeline import STEPS
from core.preprocessing.filters import THRESHOLDS
from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import head, icon, panel
from spatialmeta_app.components.thumbs import thumb
from spatialmeta_app.ids import Features
from spatialmeta_app.services.projects import Picture
from spatialmeta_app.services.results import ROWS, FeatureRow

STEP = "features"
MORAN = "Moran's I"
KINDS = (keys.ST, keys.SM)
TITLES = {keys.ST: "Genes", keys.SM: "Metabolites"}
#: settings that concern one modality
OF_KIND = {keys.ST: ("n_genes", "remove_families", "gene_target"), keys.SM: ("n_metabolites",)}
COLUMNS = (("name", "Feature"), ("rank", "#"), ("morans_i", "I"), ("fdr", "FDR"))


def layout(
    values: dict[str, Any] | None, source: str = "", available: Sequence[str] = (), kinds: Sequence[str] = KINDS
) -> html.Div:
    """Settings, map, quality of the spots, table.

    Parameters
    ----------
    source
        The result whose spots are filtered: the step's input.
    available
        Its obs columns: a quality that it does not have is not offered.
    kinds
        Its modalities: what concerns another is not asked.
    """
    absent = [name for kind, names in OF_KIND.items() if kind not in kinds for name in names]
    place = "pixel" if tuple(kinds) == (keys.SM,) else "spot"
    left = steps.settings(STEP, STEPS[STEP].Config, values=values, without=(*THRESHOLDS, *absent), place=place)
    centre = [
        html.Div(
            [
                html.Div([head("Map"), _map_by()], className="sm-toolbar"),
                html.Div(
                    steps.graph(id=Features.MAP, label="Map of the feature or quality chosen"), className="sm-canvas"
                ),
            ],
            className="sm-panel sm-fill sm-flush",
        ),
        panel(f"Quality of the {place}s", quality(values, source, available, f"{place}s")),
    ]
    right = [
        panel(
            "Moran's I",
            steps.graph(
                id=Features.MORAN, height=150, label="Histogram of Moran's I of genes and metabolites with the cut"
            ),
        ),
        html.Section(panel("Features", *_table_tools(kinds), class_name="sm-settings"), className="sm-grow"),
        steps.runs_panel(STEP),
    ]
    page = steps.page(STEP, left=left, centre=centre, right=right)
    return html.Div(
        [dcc.Store(id=Features.ORDER, data={"by": "morans_i", "descending": True}), dcc.Store(id=Features.SHOWN), page]
    )


def _map_by() -> html.Label:
    return steps.labelled("What the map shows", dbc.Select(id=Features.MAP_BY, size="sm", className="sm-inline"))


def map_options(quality: Mapping[str, str], feature: str | None) -> list[dict[str, str]]:
    """Choices of the map: the feature that was picked in the table, and the qualities."""
    picked = [{"label": feature, "value": "feature"}] if feature else []
    return picked + [{"label": title[:1].upper() + title[1:], "value": name} for name, title in quality.items()]


def _table_tools(kinds: Sequence[str]) -> list[Any]:
    buttons = dbc.RadioItems(
        id=Features.KIND,
        options=[{"label": TITLES[kind], "value": kind} for kind in kinds],
        value=kinds[0],
        inline=True,
        className="sm-tabs",
    )
    field = dbc.Input(id=Features.SEARCH, type="search", placeholder="Search", size="sm", debounce=0.25)
    search = steps.labelled("Search features", field)
    return [
        html.Div([buttons, search], className="sm-row mb-2"),
        html.Div(
            id=Features.TABLE, className="sm-scroll", tabIndex="0", role="region", **{"aria-label": "Table of features"}
        ),
        html.Div(
            dbc.Pagination(id=Features.PAGE, max_value=1, active_page=1, size="sm", fully_expanded=False),
            className="mt-2",
        ),
    ]


def table(
    rows: Sequence[FeatureRow],
    total: int,
    order: Mapping[str, Any],
    *,
    pinned: set[str],
    dropped: set[str],
    result: str = "",
    samples: int = 1,
) -> html.Div:
    """A page of features with small maps, and buttons to sort, to show one on the map, and to pin or drop it.

    *result* is where the maps' values come from; with several *samples* a column says in how many it is variable.
    """
    if not total:
        return html.Div("No feature fits.", className="sm-muted")
    columns = COLUMNS if samples < 2 else (*COLUMNS, ("samples", "n"))
    head_cells = [_header(column, title, order) for column, title in columns]
    picture = html.Th(html.Span("Map", className="visually-hidden"))
    header = html.Thead(html.Tr([picture, *head_cells, html.Th("In", title="Goes into the model")]))
    names = [column for column, _ in columns]
    body = html.Tbody([_row(row, names, result=result, pinned=pinned, dropped=dropped) for row in rows])
    count = html.Div(f"{total:,} features" + (f", {ROWS} a page" if total > ROWS else ""), className="sm-note mt-1")
    return html.Div([html.Table([header, body], className="sm-table sm-dense"), count])


def _header(column: str, title: str, order: Mapping[str, Any]) -> html.Th:
    active = order["by"] == column
    arrow = icon("caret-down-fill" if order["descending"] else "caret-up-fill") if active else None
    direction = ("descending" if order["descending"] else "ascending") if active else "none"
    button = html.Button([title, arrow], id={"features-sort": column}, className="sm-sort", n_clicks=0)
    about = {"title": "Samples in which it is variable"} if column == "samples" else {}
    return html.Th(button, className="" if column == "name" else "sm-num", **about, **{"aria-sort": direction})


def _row(row: FeatureRow, columns: Sequence[str], *, result: str, pinned: set[str], dropped: set[str]) -> html.Tr:
    name = html.Button(
        row.name,
        id={"features-mark": "show", "name": row.name},
        className="sm-link sm-clip",
        n_clicks=0,
        title=row.name,
    )
    base = f"/api/view/{result}"
    picture = Picture(xy=f"{base}/obsm/{keys.SPATIAL}", values=f"{base}/feature/{row.index}")
    why = html.Span(row.excluded, className="sm-why sm-clip", title=row.excluded) if row.excluded else None
    texts = {
        "rank": f"{row.rank:,}" if row.rank else "–",
        "morans_i": f"{row.morans_i:.3f}" if row.morans_i is not None else "–",
        "fdr": "–" if row.fdr is None else f"{row.fdr:.1g}" if row.fdr > 0 else "≈ 0",
        "samples": f"{row.samples}" if row.samples is not None else "–",
    }
    return html.Tr(
        [
            html.Td(html.Div(thumb(picture, f"Map of {row.name}"), className="sm-mini") if result else None),
            html.Td([name, why], className="sm-name"),
            *(html.Td(texts[column], className="sm-num") for column in columns if column != "name"),
            html.Td(_marks(row, pinned, dropped), className="sm-marks"),
        ],
        className="" if row.selected else "sm-out",
        title=row.excluded or None,
    )


def _marks(row: FeatureRow, pinned: set[str], dropped: set[str]) -> list[Any]:
    state = icon("check2", className="sm-ok") if row.selected else icon("dash", className="sm-muted")
    word = html.Span("selected" if row.selected else "not selected", className="visually-hidden")
    return [
        state,
        word,
        _mark("pin", "pin-angle", row.name, row.name in pinned),
        _mark("drop", "x-lg", row.name, row.name in dropped),
    ]


def _mark(kind: str, icon_name: str, name: str, on: bool) -> html.Button:
    verb = {"pin": "Always select", "drop": "Never select"}[kind]
    return html.Button(
        icon(icon_name), id={"features-mark": kind, "name": name}, className="sm-icon sm-small", n_clicks=0,
        title=f"{verb} {name} in the next run", **{"aria-label": f"{verb} {name}", "aria-pressed": str(on).lower()},
    )  # fmt: skip


def quality(values: Mapping[str, Any] | None, source: str, available: Sequence[str], places: str) -> html.Div:
    """A histogram and a slider for each threshold; assets/quality.js draws and counts the *places*."""
    known = {o.name: o for o in options(STEPS[STEP].Config) if o.name in THRESHOLDS}
    shown = {name: (values or {}).get(name, option.default) for name, option in known.items()}
    metrics = [
        {"setting": name, "column": column, "side": side, "start": known[name].default}
        for name, (column, side, _) in THRESHOLDS.items()
        if column in available
    ]
    if not metrics:
        return html.Div(f"Run the step before again to see the quality of its {places}.", className="sm-muted")
    fields = html.Div(
        [_threshold(known[m["setting"]], shown[m["setting"]]) for m in metrics], className="sm-qc-metrics"
    )
    chart = html.Canvas(className="sm-qc-map", role="img", **{"aria-label": f"Map of the {places} that stay"})
    count = html.Div(f"Reading the {places} …", className="sm-qc-count sm-note sm-num", role="status")
    data = {"data-result": source, "data-places": places, "data-metrics": json.dumps(metrics)}
    return html.Div([html.Div([count, fields]), chart], id=Features.QC, className="sm-qc", **data)


def _threshold(option: Option, value: float) -> html.Div:
    field = dbc.Input(
        id={"form": STEP, "option": option.name}, type="number", value=value, min=option.minimum, max=option.maximum,
        step="any", size="sm", debounce=True,
    )  # fmt: skip
    return html.Div(
        [
            html.Span(option.label, title=option.help, className="sm-clip"),
            html.Span(className="sm-qc-missed"),
            steps.labelled(option.label, field),
            html.Canvas(role="img", **{"aria-label": f"Histogram: {option.label}"}),
            steps.labelled(f"Slider: {option.label}", dcc.Input(type="range", min=0, max=1000, step=1, value=0)),
        ],
        className="sm-qc-metric",
        **{"data-setting": option.name},
    )
