"""The Features page: table of Moran's I, histograms, map of one feature or of the quality of the spots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from core import keys
from core.pipeline import STEPS
from spatialmeta_app.components import steps
from spatialmeta_app.components.panel import head, icon, panel
from spatialmeta_app.ids import Features
from spatialmeta_app.services.results import ROWS, FeatureRow

STEP = "features"
MORAN = "Moran's I"
COLUMNS = (("name", "Feature"), ("morans_i", "I"), ("fdr", "FDR"), ("spots", "Spots"))


def layout(values: dict[str, Any] | None) -> html.Div:
    """Settings, map with histograms, table."""
    left = steps.settings(STEP, STEPS[STEP].Config, values=values)
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
        panel("Quality of the spots", html.Div(id=Features.QC, className="sm-multiples")),
    ]
    right = [
        panel(
            "Moran's I",
            steps.graph(
                id=Features.MORAN, height=150, label="Histogram of Moran's I of genes and metabolites with the cut"
            ),
        ),
        html.Section(panel("Features", *_table_tools(), class_name="sm-settings"), className="sm-grow"),
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


def _table_tools() -> list[Any]:
    kinds = dbc.RadioItems(
        id=Features.KIND,
        options=[{"label": "Genes", "value": keys.ST}, {"label": "Metabolites", "value": keys.SM}],
        value=keys.ST,
        inline=True,
        className="sm-tabs",
    )
    field = dbc.Input(id=Features.SEARCH, type="search", placeholder="Search", size="sm", debounce=0.25)
    search = steps.labelled("Search features", field)
    return [
        html.Div([kinds, search], className="sm-row mb-2"),
        html.Div(
            id=Features.TABLE, className="sm-scroll", tabIndex="0", role="region", **{"aria-label": "Table of features"}
        ),
        html.Div(
            dbc.Pagination(id=Features.PAGE, max_value=1, active_page=1, size="sm", fully_expanded=False),
            className="mt-2",
        ),
    ]


def table(
    rows: Sequence[FeatureRow], total: int, order: Mapping[str, Any], pinned: set[str], dropped: set[str]
) -> html.Div:
    """A page of features with buttons to sort, to show one on the map, and to pin or drop it."""
    if not total:
        return html.Div("No feature fits.", className="sm-muted")
    header = html.Thead(
        html.Tr(
            [*(_header(column, title, order) for column, title in COLUMNS), html.Th("In", title="Goes into the model")]
        )
    )
    body = html.Tbody([_row(row, pinned, dropped) for row in rows])
    count = html.Div(f"{total:,} features" + (f", {ROWS} a page" if total > ROWS else ""), className="sm-note mt-1")
    return html.Div([html.Table([header, body], className="sm-table sm-dense"), count])


def _header(column: str, title: str, order: Mapping[str, Any]) -> html.Th:
    active = order["by"] == column
    arrow = icon("caret-down-fill" if order["descending"] else "caret-up-fill") if active else None
    direction = ("descending" if order["descending"] else "ascending") if active else "none"
    button = html.Button([title, arrow], id={"features-sort": column}, className="sm-sort", n_clicks=0)
    return html.Th(button, className="" if column == "name" else "sm-num", **{"aria-sort": direction})


def _row(row: FeatureRow, pinned: set[str], dropped: set[str]) -> html.Tr:
    name = html.Button(
        row.name,
        id={"features-mark": "show", "name": row.name},
        className="sm-link sm-clip",
        n_clicks=0,
        title=row.name,
    )
    score = f"{row.morans_i:.3f}" if row.morans_i is not None else "–"
    fdr = f"{row.fdr:.1g}" if row.fdr is not None else "–"
    spots = f"{row.spots:,}" if row.spots is not None else "–"
    return html.Tr(
        [
            html.Td(name, className="sm-name"),
            html.Td(score, className="sm-num"),
            html.Td(fdr, className="sm-num"),
            html.Td(spots, className="sm-num"),
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


def quality(figures: Sequence[tuple[str, Any]]) -> list[html.Div]:
    """Histograms side by side: (what it shows, figure)."""
    return [
        steps.graph(figure, id=f"{Features.QC}-{i}", height=104, label=f"Histogram: {title}")
        for i, (title, figure) in enumerate(figures)
    ]
