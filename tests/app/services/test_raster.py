"""Pictures of very many spots, against plotly's own colour scales, numpy's percentiles and shapely's discs."""

from __future__ import annotations

import io

import numpy as np
import plotly.colors
import pytest
import shapely
from PIL import Image

from core.errors import DataError
from spatialmeta_app.figures.palettes import SCALES, hex_stops
from spatialmeta_app.services import raster

WIDE, TALL = 30, 20
VIRIDIS = hex_stops("viridis")


def grid() -> np.ndarray:
    """Middles of unit squares, row by row: a picture of 30 x 20 pixels has one spot in each."""
    r, c = np.divmod(np.arange(WIDE * TALL), WIDE)
    return np.column_stack([c + 0.5, r + 0.5]).astype(np.float32)


def values(seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).gamma(1.0, 3.0, WIDE * TALL).astype(np.float32)
    found[7] = np.nan
    return found


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def expected(found: np.ndarray, span) -> np.ndarray:
    """The colours of a scale of 128 steps, by plotly."""
    share = np.clip(np.floor((found - span[0]) / (span[1] - span[0]) * 128), 0, 127) / 127
    texts = plotly.colors.sample_colorscale(list(SCALES["viridis"]), np.nan_to_num(share))
    return np.array([plotly.colors.unlabel_rgb(text) for text in texts])


def whole(size=(WIDE, TALL), **more) -> raster.Canvas:
    return raster.Canvas((0, 0, WIDE, TALL), size, diameter=1.0, **more)


@pytest.mark.parametrize("log", [False, True])
def test_one_spot_a_pixel_has_the_colours_of_plotly(log: bool) -> None:
    found = values()
    shown = np.log1p(found) if log else found
    span = tuple(np.nanpercentile(shown, (2, 98)))
    limits = raster.limits(found, (2, 98), log=log)
    np.testing.assert_allclose(limits, span, rtol=1e-5)
    image = opened(raster.paint(grid(), raster.continuous(found, VIRIDIS, limits, log=log), whole()))
    assert image.shape == (TALL, WIDE, 4)
    pixels = image.reshape(-1, 4)
    assert (pixels[:, 3] == 255).all()
    known = np.isfinite(found)
    assert np.abs(pixels[known, :3] - expected(shown, limits)[known]).max() <= 1
    assert tuple(pixels[7, :3]) == tuple(bytes.fromhex(raster.NO_VALUE[1:]))


def test_a_zoom_shows_larger_squares_and_turns_up_side_down_where_asked() -> None:
    found = values()
    painting = raster.continuous(found, VIRIDIS, (0.0, 10.0))
    image = opened(raster.paint(grid(), painting, raster.Canvas((10, 5, 20, 15), (100, 100), diameter=1.0)))
    small = opened(raster.paint(grid(), painting, whole()))
    np.testing.assert_array_equal(image, np.kron(small[5:15, 10:20], np.ones((10, 10, 1), dtype=np.uint8)))
    up = opened(raster.paint(grid(), painting, whole(up=True)))
    np.testing.assert_array_equal(up, small[::-1])


def test_spots_smaller_than_a_pixel_are_averaged() -> None:
    codes = np.random.default_rng(1).integers(0, 128, WIDE * TALL)
    painting = raster.Painting(codes, np.repeat(np.arange(129, dtype=np.uint8)[:, None], 3, axis=1), ordered=True)
    image = opened(raster.paint(grid(), painting, whole((WIDE // 2, TALL // 2))))
    means = codes.reshape(TALL // 2, 2, WIDE // 2, 2).mean(axis=(1, 3))
    assert np.abs(image[:, :, 0] - means).max() <= 0.5


@pytest.mark.parametrize("count", [1, 400])  # painted spot by spot, and all spots pixel by pixel
def test_a_disc_is_a_disc(count: int) -> None:
    place = np.array([[15.2, 9.6]])
    away = np.full((count - 1, 2), [-0.4, -0.4])
    painting = raster.categorical(np.zeros(count, dtype=np.uint16), ["#ff0000"])
    canvas = raster.Canvas((0, 0, 30, 20), (300, 200), diameter=4.0, round_=True)
    image = opened(raster.paint(np.vstack([place, away]), painting, canvas))[60:, 40:, 3] > 0
    y, x = np.mgrid[60:200, 40:300] / 10 + 0.05
    disc = shapely.Point(*place[0]).buffer(2.0, quad_segs=256)
    np.testing.assert_array_equal(image, shapely.contains_xy(disc, x, y))


def test_hidden_categories_and_spots_outside_the_selection() -> None:
    codes = (np.arange(WIDE * TALL) % 3).astype(np.uint16)
    codes[0] = 65535
    painting = raster.categorical(codes, ["#ff0000", "#00ff00", "#0000ff"])
    chosen = grid()[:, 0] < 15
    image = opened(raster.paint(grid(), painting, whole(), dimmed=~chosen, hidden=[1])).reshape(-1, 4)
    assert (image[codes == 1, 3] == 0).all()
    others = codes != 1
    assert (image[others & chosen, 3] == 255).all()
    assert (image[others & ~chosen, 3] == round(255 * raster.DIM)).all()
    np.testing.assert_array_equal(np.unique(image[(codes == 2) & chosen, :3], axis=0), [[0, 0, 255]])
    assert painting.missing


def test_a_selection_of_numbers_keeps_its_colours_and_the_rest_is_faint() -> None:
    found, span = values(), (0.0, 9.0)
    dimmed = np.random.default_rng(2).random(found.size) < 0.5
    dimmed[7] = True
    painting = raster.continuous(found, VIRIDIS, span)
    png = raster.paint(grid(), painting, whole(), dimmed=dimmed)
    assert Image.open(io.BytesIO(png)).mode == "P"  # a byte a pixel
    pixels, colours = opened(png).reshape(-1, 4), expected(found, span)
    assert np.abs(pixels[~dimmed, :3] - colours[~dimmed]).max() <= 1
    rest = dimmed & np.isfinite(found)
    step = np.abs(np.diff(raster.continuous(found, VIRIDIS, span).palette[:-1].astype(int), axis=0)).max()
    assert np.abs(pixels[rest, :3] - colours[rest]).max() <= step + 1
    assert tuple(pixels[7]) == (*bytes.fromhex(raster.NO_VALUE.removeprefix("#")), round(255 * raster.DIM))
    np.testing.assert_array_equal(pixels[:, 3], np.where(dimmed, round(255 * raster.DIM), 255))


def test_many_categories_are_painted_in_full_colour() -> None:
    rng = np.random.default_rng(2)
    colours = ["#" + bytes(c).hex() for c in rng.integers(0, 256, (600, 3), dtype=np.uint8)]
    codes = np.arange(WIDE * TALL).astype(np.uint16)
    image = opened(raster.paint(grid(), raster.categorical(codes, colours), whole())).reshape(-1, 4)
    np.testing.assert_array_equal(image[:, :3], [list(bytes.fromhex(c[1:])) for c in colours])


def test_two_features_have_the_corners_of_the_square_legend() -> None:
    a, b = np.array([0.0, 0, 1, 1, np.nan]), np.array([0.0, 1, 0, 1, 0])
    painting = raster.bivariate(a, b, [(0, 1), (0, 1)], log=False)
    corners = ["#e8e8ec", "#0082c8", "#f38214", "#400c48", raster.NO_VALUE]
    assert ["#" + bytes(c).hex() for c in painting.palette[painting.codes]] == corners


@pytest.mark.parametrize(
    "query", [{"box": "0,0,1", "size": "9,9"}, {"box": "0,0,1,1", "size": "99999,9"}, {"box": "1,0,0,1", "size": "9,9"}]
)
def test_what_can_not_be_painted_is_refused(query) -> None:
    with pytest.raises(DataError):
        raster.canvas_from(query)
