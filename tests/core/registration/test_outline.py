"""Outlines, against shapely and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import Polygon

from core.errors import DataError
from core.registration.frame import at_capture_limit, find_frame, straight_sides
from core.registration.outline import alpha_shape, centroid, outline, point_distance, signed_area


def square_grid(n: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2).astype(float)


def hexagonal_grid(n: int) -> np.ndarray:
    row, column = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    return np.column_stack([(column + 0.5 * (row % 2)).ravel(), (row * np.sqrt(3) / 2).ravel()])


@pytest.mark.parametrize("grid", [square_grid(81) - 40, hexagonal_grid(93) - [46, 40]], ids=["square", "hexagonal"])
def test_disc(grid: np.ndarray) -> None:
    radius = 30.3
    shape = alpha_shape(grid[np.hypot(*grid.T) <= radius])
    assert len(shape.rings) == 1
    assert shape.area == pytest.approx(np.pi * radius**2, rel=0.01)
    rim = outline(shape, spacing=1.0, smoothing=1.0)
    distance = np.hypot(*rim.xy.T)
    assert distance.mean() == pytest.approx(radius, abs=0.15)
    assert distance.std() < 0.2
    np.testing.assert_allclose(rim.centre, 0, atol=0.1)


def test_l_shape_has_the_area_of_its_cells() -> None:
    grid = square_grid(40)
    kept = grid[(grid[:, 0] < 20) | (grid[:, 1] < 20)]
    shape = alpha_shape(kept)
    assert shape.area == pytest.approx(len(kept), rel=1e-3)
    inner = Polygon([(0, 0), (39, 0), (39, 19), (19, 19), (19, 39), (0, 39)])
    found = Polygon(shape.pieces[0].xy)
    assert found.is_valid
    assert found.symmetric_difference(inner).area < 1.0


def test_uneven_pixels_are_one_section() -> None:
    shape = alpha_shape(square_grid(30) * [1.0, 2.5])
    assert len(shape.rings) == 1
    assert shape.area == pytest.approx(30 * 30 * 2.5, rel=1e-3)


def test_hole_is_found_and_not_on_the_outline() -> None:
    grid = square_grid(50)
    shape = alpha_shape(grid[np.hypot(*(grid - 25).T) > 8])
    assert len(shape.holes) == 1
    assert shape.holes[0].area == pytest.approx(np.pi * 8.5**2, rel=0.06)
    assert (np.hypot(*(outline(shape, spacing=1.0).xy - 25).T) > 20).all()


def test_pieces_by_area_and_debris_left_out() -> None:
    large, small = square_grid(30), square_grid(12) + np.array([50, 0])
    debris = square_grid(3) + np.array([0, 50])
    shape = alpha_shape(np.vstack([small, debris, large]))
    assert [round(ring.area) for ring in shape.pieces] == [29**2, 11**2]
    assert set(outline(shape, spacing=1.0).piece) == {0, 1}


def test_pieces_that_touch_in_one_point_stay_closed_rings() -> None:
    shape = alpha_shape(np.vstack([square_grid(10), square_grid(10) + 9]), circumradius=0.8)
    assert sum(ring.area for ring in shape.rings) == pytest.approx(2 * 81, abs=2)
    assert all(Polygon(ring.xy).is_valid for ring in shape.rings)


def test_points_missing_here_and_there_do_not_tear_the_section() -> None:
    grid = square_grid(40)
    rng = np.random.default_rng(0)
    kept = grid[rng.uniform(size=len(grid)) > 0.1]
    shape = alpha_shape(kept)
    assert len(shape.pieces) == 1
    assert shape.pieces[0].area == pytest.approx(39**2, rel=0.03)


def test_samples_are_even() -> None:
    rim = outline(alpha_shape(square_grid(40)), spacing=0.5).xy
    step = np.hypot(*(np.roll(rim, -1, axis=0) - rim).T)
    assert step.mean() == pytest.approx(0.5, rel=0.02)
    assert step.max() < 0.52


def test_area_and_centroid_against_shapely() -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) * (3 + np.cos(3 * angle))[:, None] + [100, -7]
    polygon = Polygon(ring)
    assert signed_area(ring) == pytest.approx(polygon.area)
    np.testing.assert_allclose(centroid(ring), polygon.centroid.coords[0])


def test_point_distance_of_a_grid() -> None:
    assert point_distance(square_grid(10) * 3) == 3


@pytest.mark.parametrize(
    "xy",
    [square_grid(3), np.column_stack([np.arange(50.0), np.arange(50.0)]), np.full((40, 2), np.nan)],
    ids=["few", "line", "nan"],
)
def test_no_outline_is_a_clear_error(xy: np.ndarray) -> None:
    with pytest.raises(DataError, match="Expected"):
        alpha_shape(xy)


def cut_disc() -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    disc = 30 * np.column_stack([np.cos(angle), np.sin(angle)])
    return np.clip(disc, [-np.inf, -np.inf], [20, np.inf])


def test_frame_finds_the_cut_side_only() -> None:
    frame = find_frame(cut_disc(), tolerance=0.75)
    np.testing.assert_array_equal(frame.normals, [[1, 0]])
    np.testing.assert_allclose(frame.beyond(np.array([[25.0, 0.0], [10.0, 0.0]])), [5, -10])


def test_frame_of_a_whole_section_is_empty() -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    frame = find_frame(30 * np.column_stack([np.cos(angle), np.sin(angle)]), tolerance=0.75)
    assert len(frame.offsets) == 0
    assert (frame.beyond(np.zeros((2, 2))) < 0).all()


def test_frame_by_known_limits() -> None:
    disc = cut_disc()
    on_side = disc[disc[:, 0] >= 20] - [0.5, 0]
    assert len(find_frame(disc, tolerance=0.75, limit_xy=on_side).offsets) == 1
    assert len(find_frame(disc, tolerance=0.75, limit_xy=np.zeros((0, 2))).offsets) == 0


def test_capture_limit_of_both_slides() -> None:
    row, column = np.array([0, 30, 77, 40, 40]), np.array([30, 30, 30, 0, 127])
    assert at_capture_limit(row, column).tolist() == [True, False, True, True, True]
    assert at_capture_limit(np.array([77, 127]), np.array([127, 50])).tolist() == [False, True]


@pytest.mark.parametrize("cut", [None, 10.0, 47.0, 200.0])
def test_straight_sides_are_those_of_a_cut_ellipse(cut: float | None) -> None:
    """Every hull direction is looked at: a cut at any angle is found with its normal, a curve is none."""
    y, x = np.mgrid[-20:20:0.4, -28:28:0.4]
    xy = np.column_stack([x.ravel(), y.ravel()])
    xy = xy[np.hypot(xy[:, 0] / 26, xy[:, 1] / 17) < 1]
    if cut is not None:
        normal = np.array([np.cos(np.deg2rad(cut)), np.sin(np.deg2rad(cut))])
        xy = xy[xy @ normal < 8]
    frame = straight_sides(outline(alpha_shape(xy), spacing=0.5, smoothing=1.0).xy)
    assert len(frame.offsets) == (cut is not None)
    if cut is not None:
        assert np.degrees(np.arccos(min(1.0, float(frame.normals[0] @ normal)))) < 3
        assert frame.offsets[0] == pytest.approx(8, abs=0.7)
