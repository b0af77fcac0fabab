"""Space: neighbour graphs, spatial autocorrelation, and the scale (µm per pixel)."""

from core.spatial.autocorrelation import Autocorrelation, combined, gearys_c, morans_i
from core.spatial.graph import (
    check_coordinates,
    grid_graph,
    hexagonal_grid,
    knn_graph,
    nearest,
    neighbour_graph,
    row_standardised,
    smallest_distance,
)

__all__ = [
    "Autocorrelation",
    "check_coordinates",
    "combined",
    "gearys_c",
    "grid_graph",
    "hexagonal_grid",
    "knn_graph",
    "morans_i",
    "nearest",
    "neighbour_graph",
    "row_standardised",
    "smallest_distance",
]
