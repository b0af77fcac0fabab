"""What all figures have in common: sizes, fonts, colours that hold on light and on dark ground.

Text and grid lines take their colour from the page (``assets/steps.css``), so a change of theme needs no new figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.palette import CATEGORIES

ACCENT = "#2f6fed"
MUTED = "#9aa4b2"
WARN = "#e8833a"
GENE = "#2f6fed"
METABOLITE = "#e8833a"

FONT = {"family": "Inter, 'Helvetica Neue', Arial, sans-serif", "size": 11, "color": "#7b8794"}
GRID = "rgba(128,140,158,.22)"

#: until a figure arrives: nothing, on the page's ground
BLANK = {
    "data": [],
    "layout": {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
    },
}


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """A plain axis: hairline grid, no zero line, the title with its unit."""
    return {
        "title": {"text": title, "standoff": 6},
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        **more,
    }


def hidden_axis(**more: Any) -> dict[str, Any]:
    """An axis that is only a coordinate system."""
    return {"visible": False, "showgrid": False, "zeroline": False, **more}


def layout(height: int | None = None, **more: Any) -> dict[str, Any]:
    """Layout shared by all figures; transparent, so the panel's ground shows."""
    base: dict[str, Any] = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": FONT,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {"font": {"size": 12}},
        "showlegend": False,
        "colorway": list(CATEGORIES),
    }
    if height is not None:
        base["height"] = height
    return base | more


def empty(message: str, height: int | None = None) -> Any:
    """A figure that says in words why there is nothing to see."""
    import plotly.graph_objects as go

    note = {"text": message, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "font": FONT}
    return go.Figure(layout=layout(height, xaxis=hidden_axis(), yaxis=hidden_axis(), annotations=[note]))


def clip_range(values: np.ndarray, low: float = 2, high: float = 98) -> tuple[float, float]:
    """The range of colours: percentiles of the finite *values*, never of zero width."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return 0.0, 1.0
    a, b = np.percentile(finite, [low, high])
    if b <= a:
        a, b = float(finite.min()), float(finite.max())
    return (float(a), float(b)) if b > a else (float(a), float(a) + 1.0)
