"""Histograms as SVG bars; the counting is done here, so the browser gets some dozens of numbers."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from spatialmeta_app.figures import looks


def histogram(
    values: np.ndarray,
    *,
    label: str,
    counted: str = "spots",
    bins: int = 40,
    color: str = looks.ACCENT,
    cut: float | None = None,
    cut_label: str = "",
    height: int = 150,
    small: bool = False,
) -> go.Figure:
    """Counts of *values* (any shape; what is not finite is left out) in equal bins, with a line at *cut*.

    *label* names the quantity with its unit, *counted* what is counted; *small* leaves out the counts' axis.
    """
    counts, edges = bin_counts(values, bins=bins, include=cut)
    if counts.sum() == 0:
        return looks.empty(f"No values of {label}", height)
    figure = go.Figure(
        _bars(counts, edges, name=label, color=color, counted=counted),
        looks.layout(
            height,
            bargap=0.06,
            xaxis=looks.axis(label, tickangle=0, nticks=4 if small else 8),
            yaxis=looks.axis(counted, rangemode="tozero", nticks=5, visible=not small),
        ),
    )
    if cut is not None:
        _cut_line(figure, cut, cut_label)
    return figure


def stacked_by_kind(
    groups: dict[str, np.ndarray],
    *,
    label: str,
    counted: str,
    cuts: dict[str, float] | None = None,
    bins: int = 50,
    height: int = 170,
) -> go.Figure:
    """One histogram a group over common bins, drawn over each other; *cuts* has a line for each named group."""
    finite = {name: v[np.isfinite(v)] for name, v in groups.items()}
    everything = np.concatenate([np.empty(0), *finite.values()])
    if everything.size == 0:
        return looks.empty(f"No values of {label}", height)
    _, edges = bin_counts(everything, bins=bins)
    colors = dict(zip(finite, (looks.GENE, looks.METABOLITE, *looks.CATEGORIES), strict=False))
    bars = [
        _bars(np.histogram(v, edges)[0], edges, name=name, color=colors[name], counted=counted)
        for name, v in finite.items()
    ]
    figure = go.Figure(
        bars,
        looks.layout(
            height,
            barmode="overlay",
            bargap=0.06,
            showlegend=True,
            legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
            xaxis=looks.axis(label),
            yaxis=looks.axis(counted, rangemode="tozero", type="linear"),
        ),
    )
    figure.update_traces(opacity=0.75)
    for name, cut in (cuts or {}).items():
        _cut_line(figure, cut, name, color=colors.get(name, looks.WARN))
    return figure


def bin_counts(values: np.ndarray, *, bins: int, include: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges over the finite *values*; the range holds *include* too, so that a cut is always seen."""
    finite = np.asarray(values, dtype=float).ravel()
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return np.zeros(1, dtype=int), np.array([0.0, 1.0])
    low, high = float(finite.min()), float(finite.max())
    if include is not None:
        low, high = min(low, include), max(high, include)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.histogram(finite, bins=bins, range=(low, high))


def _bars(counts: np.ndarray, edges: np.ndarray, *, name: str, color: str, counted: str) -> go.Bar:
    middle = (edges[:-1] + edges[1:]) / 2
    return go.Bar(
        x=middle,
        y=counts,
        width=np.diff(edges) * 0.94,
        name=name,
        marker={"color": color, "line": {"width": 0}},
        hovertemplate="%{x:.4g}: %{y:,} " + counted + "<extra></extra>",
    )


def _cut_line(figure: go.Figure, cut: float, label: str, *, color: str = looks.WARN) -> None:
    figure.add_shape(
        type="line", x0=cut, x1=cut, y0=0, y1=1, yref="paper", line={"color": color, "width": 1.5, "dash": "dot"}
    )
    if label:
        figure.add_annotation(
            x=cut,
            y=1,
            yref="paper",
            text=label,
            showarrow=False,
            xanchor="left",
            yanchor="top",
            xshift=4,
            font=looks.FONT,
        )
