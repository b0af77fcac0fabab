from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from core.analysis.trajectories import path_length, profile, project_on_path
from core.errors import DataError

BEND = np.array([[0.0, 0], [10, 0], [10, 10]])


@settings(deadline=None, max_examples=150)
@given(path=hnp.arrays(np.float64, (6, 2), elements=st.integers(-20, 20)), seed=st.integers(0, 1000))
def test_equals_shapely(path: np.ndarray, seed: int) -> None:
    assume((np.diff(path, axis=0) != 0).any())
    line = shapely.LineString(path)
    xy = np.random.default_rng(seed).uniform(-25, 25, (100, 2))
    points = shapely.points(xy)
    found = project_on_path(xy, path)
    np.testing.assert_allclose(found.distance, shapely.distance(line, points), atol=1e-9)
    assert path_length(path) == pytest.approx(line.length)
    # several places may be equally near where the line crosses or doubles itself: compare the places, not their names
    there = shapely.line_interpolate_point(line, found.position)
    np.testing.assert_allclose(shapely.distance(there, points), found.distance, atol=1e-9)
    if line.is_simple and not line.is_closed:
        np.testing.assert_allclose(found.position, shapely.line_locate_point(line, points), atol=1e-6)


def test_closed_form_on_a_bend() -> None:
    xy = np.array([[-3.0, 4], [4, -2], [4, 2], [12, 7], [10, 25], [10, 10]])
    found = project_on_path(xy, BEND)
    np.testing.assert_allclose(found.position, [0, 4, 4, 17, 20, 20])
    np.testing.assert_allclose(found.distance, [5, 2, 2, 2, 15, 0])
    assert found.segment.tolist() == [0, 0, 0, 1, 1, 1]
    # y points down: travelling to the right, larger y is on the right hand
    assert found.side.tolist() == [1, -1, 1, -1, 0, 0]


def test_last_segment_counts_and_direction_matters() -> None:
    xy = np.array([[10.5, 9.0]])
    assert project_on_path(xy, BEND).segment.tolist() == [1]
    forth, back = project_on_path(xy, BEND), project_on_path(xy, BEND[::-1])
    assert forth.position + back.position == pytest.approx(path_length(BEND))
    assert forth.side == -back.side


def test_doubled_vertices_are_skipped_but_counted() -> None:
    doubled = BEND[[0, 0, 1, 1, 1, 2]]
    found = project_on_path(np.array([[4.0, 1], [11, 8]]), doubled)
    np.testing.assert_allclose(found.position, [4, 18])
    assert found.segment.tolist() == [1, 4]


def test_corridor_is_the_full_width() -> None:
    found = project_on_path(np.array([[5.0, 2], [5, -2], [5, 2.1], [-1, 0], [-3, 0]]), BEND)
    assert found.inside(4.0).tolist() == [True, True, False, True, False]


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    xy = np.random.default_rng(0).uniform(-5, 15, (101, 2))
    whole = project_on_path(xy, BEND)
    monkeypatch.setattr("core.analysis.trajectories.BLOCK_NUMBERS", 20)
    np.testing.assert_array_equal(project_on_path(xy, BEND).position, whole.position)


def test_paths_without_length_are_refused() -> None:
    with pytest.raises(DataError, match="two different points"):
        project_on_path(BEND, np.ones((3, 2)))
    with pytest.raises(DataError, match="finite"):
        project_on_path(BEND, np.array([[0.0, 0], [np.nan, 1]]))
    assert len(project_on_path(np.empty((0, 2)), BEND).position) == 0


def test_a_straight_line_is_reproduced_without_bias() -> None:
    t = np.random.default_rng(0).uniform(0, 100, 300)
    found = profile(np.column_stack([3 - 0.2 * t, np.full(300, 7.0)]), t, length=100)
    np.testing.assert_allclose(found.mean[0], 3 - 0.2 * found.grid, atol=1e-9)
    np.testing.assert_allclose(found.mean[1], 7)
    np.testing.assert_allclose(found.high - found.low, 0, atol=1e-6)
    assert (found.grid[0], found.grid[-1], found.n) == (0, 100, 300)


def test_estimate_equals_weighted_least_squares() -> None:
    rng = np.random.default_rng(1)
    t, y = np.sort(rng.uniform(0, 10, 80)), rng.normal(size=80)
    found = profile(y, t, length=10, n_grid=5, bandwidth=1.5)
    for i, x in enumerate(found.grid):
        u = (t - x) / 1.5
        w = np.where(np.abs(u) <= 4.3, np.exp(-0.5 * u**2), 0)
        design = np.column_stack([np.ones(80), t - x])
        expected = np.linalg.lstsq(design * np.sqrt(w)[:, None], y * np.sqrt(w), rcond=None)[0][0]
        assert found.mean[0, i] == pytest.approx(expected)


@pytest.mark.parametrize("noise", ["even", "growing"])
def test_band_holds_the_truth_95_times_in_100(noise: str) -> None:
    rng = np.random.default_rng(2)
    t = rng.uniform(0, 100, 400)
    spread = np.where(noise == "even", 1.0, 0.2 + t / 50)
    truth = 5 + 0.1 * t
    y = truth[:, None] + rng.normal(size=(400, 300)) * spread[:, None]
    found = profile(y, t, length=100, n_grid=21)
    expected = 5 + 0.1 * found.grid
    covered = ((found.low <= expected) & (expected <= found.high)).mean()
    assert 0.92 < covered < 0.97


def test_sparse_values_and_the_corridor() -> None:
    rng = np.random.default_rng(3)
    t, y = rng.uniform(0, 10, 60), rng.poisson(1.0, (60, 4)).astype(float)
    inside = rng.random(60) > 0.3
    t[5] = np.nan
    use = inside & np.isfinite(t)
    found = profile(sparse.csr_matrix(y), t, inside, length=10)
    expected = profile(y[use], t[use], length=10)
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.low, expected.low)
    assert found.n == use.sum()


def test_gaps_are_shown_as_unknown() -> None:
    t = np.concatenate([np.linspace(0, 10, 30), np.linspace(90, 100, 30)])
    found = profile(np.ones(60), t, length=100, bandwidth=2.0)
    assert np.isnan(found.mean[0, 50])
    assert np.isfinite(found.mean[0, [0, -1]]).all()


def test_all_spots_at_one_place() -> None:
    found = profile(np.array([1.0, 2, 3]), np.full(3, 5.0), length=10)
    assert np.nanmax(found.mean) == pytest.approx(2)


def test_too_few_spots() -> None:
    with pytest.raises(DataError, match="Widen the corridor"):
        profile(np.ones(5), np.arange(5.0), np.array([True, True, False, False, False]))
    with pytest.raises(DataError, match="bandwidth"):
        profile(np.ones(5), np.arange(5.0), bandwidth=-1)
