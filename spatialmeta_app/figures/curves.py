"""Curves of a running or finished optimisation: one small panel a term, since their scales have nothing in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from spatialmeta_app.figures import looks

BETWEEN_PX = 46  # ticks of the panel above and the title of the one below
History = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def small_multiples(
    history: History,
    *,
    x_title: str = "epoch",
    titles: Mapping[str, str] | None = None,
    overlays: Mapping[str, str] | None = None,
    columns: int = 2,
    height: int | None = None,
    dashed: str | None = None,
) -> go.Figure:
    """One panel for each term of *history* (term -> x values, y values), trace ``i`` being term ``i``: the browser
    appends to the traces by their number while the job runs. *overlays* puts a term into the panel of another, as
    ``{"validation": "loss"}``; terms that end in *dashed* are drawn so, in the colour of the term before it.
    """
    into = {term: panel for term, panel in (overlays or {}).items() if panel in history}
    panels = [term for term in history if term not in into]
    if not panels:
        return looks.empty("Curves appear with the first numbers of a run.", height)
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    names = titles or {}
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[names.get(p, p.replace("_", " ")) for p in panels],
        vertical_spacing=BETWEEN_PX / (height - 32) if height else min(0.2, 0.24 / rows),
        horizontal_spacing=0.18 if height else 0.09,  # a column of the page is narrow for the numbers of two axes
    )
    for term, (x, y) in history.items():
        place = panels.index(into.get(term, term))
        other = dashed is not None and term.endswith(dashed)
        own = term.removesuffix(dashed) if other else term
        color = looks.WARN if own in into and into[own] != own else looks.ACCENT
        figure.add_trace(
            _line(term, x, y, color, dash="dash" if other else None), row=place // columns + 1, col=place % columns + 1
        )
    figure.update_layout(looks.layout(height, margin={"l": 8, "r": 8, "t": 24, "b": 8}))
    figure.update_xaxes(looks.axis())
    figure.update_yaxes(looks.axis(nticks=4))
    figure.update_xaxes(title={"text": x_title, "standoff": 4}, row=rows)
    figure.update_annotations(font={**looks.FONT, "size": 12}, yshift=2)
    return figure


def _line(term: str, x: Sequence[float], y: Sequence[float], color: str, dash: str | None = None) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=term,
        mode="lines",
        line={"color": color, "width": 1.6, "dash": dash},
        hovertemplate=f"{term} %{{y:.4g}}<extra></extra>",
    )
