"""Samples as one: the panel that joins them, and the page of a joined sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from core.joining import ConcatConfig
from spatialmeta_app.components import steps
from spatialmeta_app.components.form import config_form
from spatialmeta_app.components.panel import button_link, empty, facts, head, panel
from spatialmeta_app.ids import Joined, Reassign
from spatialmeta_app.services.joining import Part
from spatialmeta_app.workspace import Sample

STEP = "reassign"
MOST_LOST = 60  # names listed


def join_panel(others: Sequence[Sample], name: str) -> html.Details:
    """Tick samples to join with this one; folded."""
    boxes = dbc.Checklist(
        id=Reassign.PARTS,
        options=[{"label": s.name, "value": s.id} for s in others],
        value=[],
        className="sm-checklist",
    )
    field = html.Label(
        [html.Span("Name"), dbc.Input(id=Reassign.JOINED_NAME, value=name, size="sm", maxLength=80)],
        className="sm-field-label",
    )
    settings = config_form(ConcatConfig, Reassign.JOIN_FORM)
    button = dbc.Button("Join samples", id=Reassign.JOIN, color="secondary", className="w-100 mt-2", n_clicks=0)
    words = "Makes a new sample of the features that all have, to select, integrate and explore."
    note = html.Div(words, className="sm-note mb-2")
    ticks = html.Div(boxes, role="group", title="Samples to join")
    summary = html.Summary("Join with other samples")
    return html.Details([summary, note, ticks, field, settings, button], className="sm-fold sm-panel")


def page(parts: Sequence[Sample], project: str, values: Mapping[str, Any] | None) -> html.Div:
    """The Reassign page of a joined sample: its parts, their places side by side, what each loses."""
    links = [html.Li(dcc.Link(part.name, href=f"/p/{project}/{part.id}/{STEP}")) for part in parts]
    about = "One joint object of the spots of all, with the features that all have. Coordinates and images stay each "
    about += "sample's own; maps show them side by side."
    before = html.Div([html.P(about, className="sm-note"), html.Ul(links, className="sm-parts")])
    verb = ("Join again", "union")
    left = steps.settings(STEP, ConcatConfig, values=values, title="Joined samples", before=before, verb=verb)
    centre = html.Div(
        [
            html.Div([head("Samples, side by side")], className="sm-toolbar"),
            html.Div(steps.graph(id=Joined.MAP, label="Map of the joined samples"), className="sm-canvas"),
        ],
        className="sm-panel sm-fill sm-flush",
    )
    right = [panel("Features", html.Div(id=Joined.REPORT)), steps.runs_panel(STEP)]
    return steps.page(STEP, left=left, centre=centre, right=right)


def report(parts: Sequence[Part], features: int) -> html.Div:
    """How many features all have, and what each sample loses."""
    rows = [("In all samples", f"{features:,}")]
    rows += [(part.name, f"{part.spots:,} spots, loses {len(part.lost):,}") for part in parts]
    lists = [
        html.Details([html.Summary(f"Lost of {part.name}"), html.Div(_names(part.lost), className="sm-note")])
        for part in parts
        if part.lost
    ]
    return html.Div([facts(rows), *lists])


def _names(lost: Sequence[str]) -> str:
    more = f" and {len(lost) - MOST_LOST:,} more" if len(lost) > MOST_LOST else ""
    return ", ".join(lost[:MOST_LOST]) + more


def no_files(address: str) -> html.Div:
    """In place of the Data and Align pages."""
    way = button_link("Go to Reassign", f"{address}/{STEP}", icon_name="arrow-right")
    words = "Its files and alignments are those of the samples that it joins."
    return html.Div(
        panel(None, empty("union", "A joined sample", words, way), class_name="sm-fill"), className="sm-alone"
    )
