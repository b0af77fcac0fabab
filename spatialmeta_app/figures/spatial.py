"""The spatial view as it is before the browser fills it.

Coordinates, colours and the histology's address come over ``/api/view`` and ``/api/image``, once; this figure says only
how spots look and that the picture is a bare plane: no axes, no margins, nothing that Plotly would do by itself.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

UNSELECTED_OPACITY = 0.16


def spatial_figure() -> go.Figure:
    """An empty plane with y downwards, as ``obsm['spatial']``."""
    return go.Figure([spots(size=4)], plane(y_range=(1.0, 0.0)))


def spots(*, size: float) -> go.Scattergl:
    """The one trace of a view. Codes of a palette colour it (``assets/explore-colour.js``).

    One trace for all spots: several would need equal ``zorder``, else Plotly drops the layout images.
    """
    return go.Scattergl(
        x=[],
        y=[],
        mode="markers",
        marker={"size": size, "color": [], "line": {"width": 0}, "showscale": False, "opacity": 1},
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": UNSELECTED_OPACITY}},
        hoverinfo="skip",
        showlegend=False,
    )


def plane(*, y_range: tuple[float, float]) -> dict[str, Any]:
    """A layout that is only a coordinate system; the browser sets both ranges from one scale, so aspect is equal."""
    bare = {"visible": False, "fixedrange": True, "autorange": False, "showgrid": False, "zeroline": False}
    return {
        "template": go.layout.Template(),  # none: the default one is larger than all the rest
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {**bare, "range": [0.0, 1.0]},
        "yaxis": {**bare, "range": list(y_range)},
        "autosize": False,
        "dragmode": False,
        "hovermode": False,
        "showlegend": False,
        "images": [],
    }
