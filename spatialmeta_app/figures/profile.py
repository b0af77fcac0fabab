"""Values along a trajectory: one smooth a feature with its confidence band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from spatialmeta_app.figures import looks
from spatialmeta_app.figures.palettes import LINES

HEIGHT = 196


def profile_figure(
    position_mm: np.ndarray,
    names: Sequence[str],
    mean: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    scaled: bool,
    height: int = HEIGHT,
) -> go.Figure:
    """Profiles of features along a path.

    Parameters
    ----------
    position_mm
        Positions along the path in mm, shape (n_grid,).
    mean, low, high
        Smooth and 95 % band, shape (n_features, n_grid); NaN leaves a gap.
    scaled
        Whether each feature was brought to [0, 1]; then the value axis has no unit.
    """
    figure = go.Figure()
    for i, name in enumerate(names):
        colour = LINES[i % len(LINES)]
        figure.add_traces([*_band(position_mm, low[i], high[i], colour), _line(position_mm, mean[i], name, colour)])
    figure.update_layout(
        **looks.layout(
            height,
            margin={"l": 4, "r": 6, "t": 6, "b": 4},
            xaxis=looks.axis("position (mm)", nticks=7, showline=True, showgrid=False),
            yaxis=looks.axis("scaled" if scaled else "", nticks=5, rangemode="tozero"),
            hovermode="x unified",
        )
    )
    return figure


def _line(x: np.ndarray, y: np.ndarray, name: str, colour: str) -> go.Scatter:
    return go.Scatter(x=x, y=y, name=name, mode="lines", line={"color": colour, "width": 2}, hovertemplate="%{y:.3g}")


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> list[go.Scatter]:
    """The area between two lines, cut where the band is not known (a filled line must not jump over a gap)."""
    known = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    return [
        go.Scatter(
            x=np.concatenate([x[a:b], x[a:b][::-1]]),
            y=np.concatenate([high[a:b], low[a:b][::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=_faint(colour),
            hoverinfo="skip",
            showlegend=False,
        )
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _faint(colour: str) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},0.2)"
