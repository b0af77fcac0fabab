"""Curves of a running or finished optimisation: one small panel a term, since their scales have nothing in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spatialmeta_app.figures import looks

History = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def small_multiples(
    history: History,
    *,
    x_title: str = "epoch",
    titles: Mapping[str, str] | None = None,
    columns: int = 2,
    height: int | None = None,
) -> go.Figure:
    """One panel for each term of *history* (term -> x values, y values), trace ``i`` being term ``i``: the browser
    appends to the traces by their number while the job runs. ``val_<term>`` is drawn into the panel of ``<term>``.
    """
    panels = [term for term in history if not is_validation(term, history)]
    if not panels:
        return looks.empty("Curves appear with the first numbers of a run.", height)
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    names = titles or {}
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[names.get(p, p.replace("_", " ")) for p in panels],
        vertical_spacing=min(0.24, 0.42 / rows),
        horizontal_spacing=0.09,
    )
    for term, (x, y) in history.items():
        validation = is_validation(term, history)
        place = panels.index(term.removeprefix("val_") if validation else term)
        color = looks.WARN if validation else looks.ACCENT
        figure.add_trace(_line(term, x, y, color), row=place // columns + 1, col=place % columns + 1)
    figure.update_layout(looks.layout(height, margin={"l": 8, "r": 8, "t": 24, "b": 8}))
    figure.update_xaxes(looks.axis())
    figure.update_yaxes(looks.axis(nticks=4))
    figure.update_xaxes(title={"text": x_title, "standoff": 4}, row=rows)
    figure.update_annotations(font={**looks.FONT, "size": 12}, yshift=2)
    return figure


def is_validation(term: str, history: Mapping[str, object]) -> bool:
    """Whether *term* is the validation curve of another term of the same *history*."""
    return term.startswith("val_") and term.removeprefix("val_") in history


def _line(term: str, x: Sequence[float], y: Sequence[float], color: str) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=term,
        mode="lines",
        line={"color": color, "width": 1.6},
        hovertemplate=f"{term} %{{y:.4g}}<extra></extra>",
    )
