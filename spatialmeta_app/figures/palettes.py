"""Colours of the Explore page: continuous scales, categories, outlines of regions, lines of profiles."""

from __future__ import annotations

from plotly.colors import sequential

from core.palette import CATEGORIES

#: Perceptually even, and readable by colour-blind people; the first is the default.
SCALES: dict[str, tuple[str, ...]] = {
    "viridis": tuple(sequential.Viridis),
    "cividis": tuple(sequential.Cividis),
    "magma": tuple(sequential.Magma),
    "inferno": tuple(sequential.Inferno),
    "plasma": tuple(sequential.Plasma),
    "blues": ("#f2f6fb", "#c6dbef", "#6baed6", "#2171b5", "#08306b"),
    "greys": ("#f4f4f5", "#bdbdbd", "#737373", "#252525", "#000000"),
}

#: Seen on pink histology as well as on dark spots.
OUTLINES = ("#ff8533", "#3ad0ff", "#ffd60a", "#eeffcc", "#559988", "#9977ff", "#99bb88", "#cc99bb")

#: Lines of a profile: read on light and on dark ground.
LINES = ("#f5802a", "#3d7ff5", "#17a673", "#994477", "#556622", "#ddaadd", "#bb77aa", "#3355cc")


def hex_stops(scale: str) -> list[str]:
    """The stops of a scale as ``#rrggbb``."""
    return [colour.lower() for colour in SCALES[scale]]


def for_browser() -> dict[str, object]:
    """All palettes as JSON, for the scripts that colour in the browser."""
    return {
        "scales": {name: hex_stops(name) for name in SCALES},
        "categories": list(CATEGORIES),
        "outlines": list(OUTLINES),
        "lines": list(LINES),
    }
