from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialmeta_app.figures import looks, maps

XY = np.array([[0.0, 0.0], [1000.0, 0.0], [1000.0, 500.0]])


def test_y_points_down_and_pixels_are_square() -> None:
    figure = maps.numbers(XY, np.arange(3.0), label="counts")
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert figure.layout.yaxis.scaleanchor == "x"


def test_missing_values_are_hollow_and_know_their_row() -> None:
    figure = maps.numbers(XY, np.array([1.0, np.nan, 2.0]), label="counts", missing="no pixel")
    assert list(figure.data[0].customdata) == [0, 2]
    assert list(figure.data[1].customdata) == [1]
    assert figure.data[1].marker.color == "rgba(0,0,0,0)"


def test_categories_are_one_trace_with_their_names() -> None:
    figure = maps.categories(XY, np.array([1, 0, -1]), ["a", "b"], colors=["#111111", "#222222"])
    assert len(figure.data) == 1
    assert list(figure.data[0].text) == ["b", "a", "none"]
    assert list(figure.data[0].marker.color) == ["#222222", "#111111", looks.MUTED]


@pytest.mark.parametrize("side", [10, 20, 60, 140])
def test_dots_of_a_square_grid_keep_apart_and_are_seen(side: int) -> None:
    marker = maps.numbers(np.argwhere(np.ones((side, side))), np.arange(side**2), label="n").data[0].marker
    apart = 600 / side  # pixels between neighbours on a map of 600 pixels
    assert 2 <= marker.size <= apart
    assert marker.size >= min(9, 0.6 * apart)


def test_an_embedding_has_no_scale_bar_and_points_up() -> None:
    figure = maps.categories(XY, np.zeros(3), ["a"], um_per_px=0.5, spatial=False)
    assert not figure.layout.shapes
    assert figure.layout.yaxis.range[0] < figure.layout.yaxis.range[1]


@pytest.mark.parametrize(("width", "bar"), [(1000, 200), (6400, 1000), (260, 50), (0, 1)])
def test_scale_bar(width: float, bar: float) -> None:
    assert maps.scale_bar_um(width) == bar


@given(st.floats(1e-3, 1e9))
def test_a_scale_bar_is_round_and_fits(width: float) -> None:
    bar = maps.scale_bar_um(width)
    assert 0 < bar <= width / 5 * (1 + 1e-9)
    assert bar * 2.5 >= width / 5 * (1 - 1e-9)
    assert f"{bar:.0e}"[0] in "125"


def test_the_bar_is_drawn_to_scale() -> None:
    figure = maps.numbers(XY, np.arange(3.0), label="", um_per_px=2.0)
    shape = figure.layout.shapes[0]
    assert (shape.x1 - shape.x0) * 2.0 == pytest.approx(200)
    assert figure.layout.annotations[0].text == "200 µm"


def test_the_bar_stands_out_from_any_ground() -> None:
    """Contrast as in WCAG 2.2: whatever grey lies below, the bar's fill or its edge has 3:1 against it (1.4.11)."""
    bar = maps.numbers(XY, np.arange(3.0), label="", um_per_px=2.0).layout.shapes[0]
    fill, edge = _luminance(bar.fillcolor), _luminance(bar.line.color)
    ground = np.linspace(0, 1, 101)
    contrast = [np.maximum(c + 0.05, ground + 0.05) / np.minimum(c + 0.05, ground + 0.05) for c in (fill, edge)]
    assert np.max(contrast, axis=0).min() >= 3


def _luminance(color: str) -> float:
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_links_draw_each_pixel_from_the_spot() -> None:
    pixels = np.array([[110.0, 100.0], [100.0, 130.0]])
    figure = maps.links(np.array([100.0, 100.0]), pixels, np.array([0.7, 0.3]), around=np.zeros((0, 2)), reach=100)
    lines = [t for t in figure.data if t.mode == "lines"]
    assert [(t.x[1], t.y[1]) for t in lines] == [(10.0, 0.0), (0.0, 30.0)]
    assert lines[0].line.width > lines[1].line.width


def test_the_histology_spans_its_pixels() -> None:
    pictures = [{"url": "/x.jpg", "x": 10, "y": 20, "width": 2000, "height": 1500, "tiles": None}]
    figure = maps.numbers(XY, np.arange(3.0), label="", images=maps.histology(pictures))
    assert (figure.layout.images[0].x, figure.layout.images[0].y) == (10, 20)
    assert (figure.layout.images[0].sizex, figure.layout.images[0].sizey) == (2000, 1500)
    assert figure.layout.images[0].yref == "y"


@pytest.mark.parametrize("values", [[], [np.nan], [2.0, 2.0], [1.0, 5.0]])
def test_the_colour_range_has_a_width(values: list[float]) -> None:
    low, high = looks.clip_range(np.array(values))
    assert high > low
