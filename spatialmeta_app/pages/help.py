"""`/help`: the way of the work, keys, words, settings of the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import dash
from dash import html

from spatialmeta_app.components.explore import TOOLS
from spatialmeta_app.components.panel import panel
from spatialmeta_app.config import PREFIX, Settings

dash.register_page(__name__, path="/help", title="Help · SpatialMETA")

WAY = (
    ("Data", "Drop an ST file, an SM file and, if you have one, the histology. Both are checked; a blocking check says "
             "what was found and how to mend it."),
    ("Align", "Turn and mirror the metabolite section roughly by hand, then let the program fit it to the outline of "
              "the tissue. The overlay moves while it runs; Cancel keeps the best so far."),
    ("Reassign", "Every spot gets the mean of the metabolite pixels around it, within the distance you allow."),
    ("Features", "Genes and metabolites whose values form a pattern in space (Moran's I) go into the model."),
    ("Integrate", "A conditional variational autoencoder learns one embedding from both; clusters follow from it."),
    ("Explore", "Colour the tissue by anything, draw regions and trajectories, compare them. Everything drawn is saved "
                "at once and can be undone."),
    ("Export", "One h5ad file that opens in scanpy and squidpy, tables, figures, and the commands that repeat it."),
)  # fmt: skip

KEYS = (
    ("g then d a r f i e x", "Go to Data, Align, Reassign, Features, Integrate, Explore, Export"),
    ("j", "Show or hide the jobs"),
    ("?", "This page"),
    ("Ctrl Z", "Undo in Explore"),
    ("Ctrl Shift Z", "Redo in Explore"),
    *((key.lower(), f"Explore: {label[0].lower()}{label[1:]}") for _, _, label, key in TOOLS),
    ("arrows, + − 0", "Explore: pan, zoom, show everything, once the view has the focus"),
    ("F2, Delete", "Explore: rename, delete the shape"),
    ("m", "Explore: markers of the selection"),
    ("d, s, h", "Explore: turn the path round, smooth it, rank what changes along it"),
    ("f", "Explore: figure and data as a file"),
    ("Tab, Enter, Esc", "Reach, press, close"),
)

TERMS = (
    ("ST", "Spatial transcriptomics: gene counts per spot, e.g. Visium."),
    ("SM", "Spatial metabolomics: intensities per pixel and m/z, e.g. MALDI."),
    ("Spot, pixel", "The places at which ST and SM were measured."),
    ("m/z", "Mass of an ion over its charge; with its adduct and annotation where they are known."),
    (
        "Full-resolution pixel",
        "The unit of all coordinates: pixels of the microscope image that the ST data came with.",
    ),
    ("Region (ROI)", "A named, closed outline; obs['roi_…'] says which spots lie in it."),
    ("Trajectory (TOI)", "A named path; obs['toi_…_position_um'] says how far along it a spot lies, in µm."),
    ("Moran's I", "How alike neighbours are: 1 smooth pattern, 0 no pattern, below 0 checkerboard."),
    (
        "Modality contribution",
        "How well genes and metabolites each tell a spot from other kinds of spots: 0.5 both alike; sums to 1.",
    ),
    ("Stale", "An earlier step was run again since; run this one again too. Nothing is deleted."),
    ("Blocking check", "Something without which the next steps would give wrong results."),
)


def layout(**_query: str) -> html.Div:
    """Everything on one page."""
    way = html.Ol([html.Li([html.Strong(f"{title}. "), text]) for title, text in WAY], className="sm-help-list")
    return html.Div(
        [
            html.H1("Help", className="sm-title"),
            html.Div(
                [
                    html.Div([panel("The way of the work", way), _keys()], className="sm-stack-gap"),
                    panel("Words", _terms(TERMS)),
                    panel("Settings of this server", _settings(), note="from the environment; read at the start"),
                ],
                className="sm-help-grid",
            ),
        ],
        className="sm-help",
    )


def _keys() -> html.Div:
    return panel("Keys", _terms([(html.Span(k, className="sm-kbd"), v) for k, v in KEYS]))


def _terms(rows: Iterable[tuple[Any, str]]) -> html.Dl:
    return html.Dl([part for k, v in rows for part in (html.Dt(k), html.Dd(v))], className="sm-terms")


def _settings() -> html.Div:
    head = html.Thead(html.Tr([html.Th("Variable"), html.Th("Default"), html.Th("Meaning")]))
    rows = [
        html.Tr(
            [html.Td(html.Code(PREFIX + f.name.upper())), html.Td(_default(f.default)), html.Td(f.metadata["help"])]
        )
        for f in dataclasses.fields(Settings)
    ]
    table = html.Table([head, html.Tbody(rows)], className="sm-table")
    return html.Div(table, className="sm-scroll-x", tabIndex="0", role="region", **{"aria-label": "Settings"})


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) or "–"
