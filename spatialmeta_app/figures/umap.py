"""The UMAP beside the tissue, linked to it, as it is before the browser fills it."""

from __future__ import annotations

import plotly.graph_objects as go

from spatialmeta_app.figures.spatial import plane, spots


def umap_figure() -> go.Figure:
    """An empty plane with y upwards; colours and selection follow the spatial view."""
    return go.Figure([spots(size=3)], plane(y_range=(0.0, 1.0)))
