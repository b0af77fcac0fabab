"""The flow against scipy's integrator and a rotation's closed form; its inverse; images; ways through files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.ndimage import gaussian_filter, map_coordinates

from core import io
from core.errors import DataError
from core.registration import Affine, Composition, Diffeomorphism, PixelGrid, Quality, RegistrationResult
from core.registration.diffeomorphism import steepness
from core.registration.transforms import transform_from_dict

ORIGIN, PITCH = (-30.0, -20.0), 2.0


def random_flow(seed: int, size: float, times: int = 5) -> Diffeomorphism:
    """A smooth velocity of at most *size* on a grid of 31 x 25 nodes."""
    rng = np.random.default_rng(seed)
    velocity = gaussian_filter(rng.normal(size=(times, 2, 25, 31)), (0, 0, 2.5, 2.5))
    return Diffeomorphism(ORIGIN, PITCH, velocity * size / np.abs(velocity).max())


def some_points(seed: int, n: int = 200) -> np.ndarray:
    """Also some beyond the grid."""
    return np.random.default_rng(seed).uniform([-35, -25], [35, 33], (n, 2))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1.3), st.integers(1, 8))
def test_inverse_is_exact(seed: int, size: float, times: int) -> None:
    flow, xy = random_flow(seed, size, times), some_points(seed)
    assert steepness(flow.velocity, PITCH) < 1
    np.testing.assert_allclose(flow.inverse(flow.forward(xy)), xy, atol=1e-6)
    np.testing.assert_allclose(flow.forward(flow.inverse(xy)), xy, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 3))
def test_determinant_is_that_of_differences(seed: int, size: float) -> None:
    flow, xy, h = random_flow(seed, size), some_points(seed), 1e-6
    columns = [(flow.forward(xy + h * e) - flow.forward(xy - h * e)) / (2 * h) for e in np.eye(2)]
    numeric = columns[0][:, 0] * columns[1][:, 1] - columns[0][:, 1] * columns[1][:, 0]
    # the few points within h of an edge between cells, where the derivative jumps, may differ
    assert np.quantile(np.abs(flow.jacobian_determinant(xy) - numeric), 0.97) < 1e-6


def test_flow_of_a_rotation_field() -> None:
    """v = w J p is linear, so that its bilinear interpolation is exact and the flow turns by the angle w."""
    angle = 0.2
    y, x = np.meshgrid(np.arange(-30, 31.0), np.arange(-30, 31.0), indexing="ij")
    flow = Diffeomorphism((-30.0, -30.0), 1.0, np.tile(angle * np.stack([-y, x]), (400, 1, 1, 1)))
    xy = np.random.default_rng(0).uniform(-15, 15, (50, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(flow.forward(xy), xy @ turn.T, atol=2e-3)
    np.testing.assert_allclose(flow.jacobian_determinant(xy), 1, atol=2e-4)


def test_flow_against_scipys_integrator() -> None:
    """One velocity for all times, in 200 steps, beside Runge-Kutta on map_coordinates of the same nodes."""
    field = random_flow(3, 3.0, times=1).velocity[0]
    flow, start = Diffeomorphism(ORIGIN, PITCH, np.tile(field, (200, 1, 1, 1))), some_points(4, 20)

    def velocity(_time: float, flat: np.ndarray) -> np.ndarray:
        at = ((flat.reshape(-1, 2) - ORIGIN) / PITCH).T[::-1]
        return np.column_stack([map_coordinates(part, at, order=1, mode="nearest") for part in field]).ravel()

    end = solve_ivp(velocity, (0, 1), start.ravel(), rtol=1e-6, max_step=0.02).y[:, -1].reshape(-1, 2)
    np.testing.assert_allclose(flow.forward(start), end, atol=5e-3)


def test_too_steep_is_refused() -> None:
    velocity = np.zeros((1, 2, 5, 5))
    velocity[0, 0, :, 2] = -3.0  # neighbours 2 apart, one moves 3 to the left of where the other stays: a fold
    with pytest.raises(DataError, match="can be undone"):
        Diffeomorphism((0.0, 0.0), 2.0, velocity)
    calmer = Diffeomorphism((0.0, 0.0), 2.0, np.repeat(velocity, 2, axis=0))
    assert calmer.jacobian_determinant(np.array([[3.0, 4.0]]))[0] > 0
    with pytest.raises(DataError):
        transform_from_dict({"kind": "diffeomorphism", "origin": [0, 0], "pitch": 1.0, "velocity": [1, 2]})


def test_result_through_json_and_npz(tmp_path: Path) -> None:
    result = made()
    io.write_alignment(result.to_dict(), tmp_path / "a.json")
    assert len((tmp_path / "a.json").read_text()) < 3000
    assert (tmp_path / "a.npz").exists()
    again = RegistrationResult.from_dict(io.read_alignment(tmp_path / "a.json"))
    assert again.transform == result.transform
    assert again.note == "so it is"
    with np.load(tmp_path / "a.npz") as stored:
        assert stored.files == ["transform.parts.0.velocity"]
    (tmp_path / "a.npz").unlink()
    with pytest.raises(DataError, match=r"a\.npz"):
        io.read_alignment(tmp_path / "a.json")
    lists = json.loads(json.dumps(result.to_dict(), default=np.ndarray.tolist))
    assert RegistrationResult.from_dict(lists).transform == result.transform


def test_image_is_read_where_it_comes_from() -> None:
    """A picture given by a formula: each pixel must hold the formula at the point that maps there."""
    result = made()
    sm = PixelGrid((-20.0, -15.0), (0.25, 0.25), (140, 170))
    low = result.forward(sm.centres()).min(axis=0)
    there = PixelGrid((float(low[0]), float(low[1])), (3.0, 2.0), (60, 50))

    def formula(xy: np.ndarray) -> np.ndarray:
        return np.sin(xy[:, 0] / 5) + np.cos(xy[:, 1] / 4)

    image = formula(sm.centres()).reshape(sm.shape)
    seen = result.forward_image(np.stack([image, 2 * image], axis=2), sm, there)
    inside = np.isfinite(seen[:, :, 0])
    expected = formula(result.inverse(there.centres())).reshape(there.shape)
    assert inside.sum() > 500
    np.testing.assert_allclose(seen[inside, 0], expected[inside], atol=2e-3)
    np.testing.assert_allclose(seen[inside, 1], 2 * seen[inside, 0])
    back = result.inverse_image(result.forward_image(image, sm, fine(there)), fine(there), sm)
    known = np.isfinite(back)
    assert known.mean() > 0.5
    np.testing.assert_allclose(back[known], image[known], atol=0.02)
    with pytest.raises(DataError, match="140 x 170"):
        result.forward_image(image[:10], sm, there)


def fine(grid: PixelGrid) -> PixelGrid:
    """The same place at a quarter of the step."""
    return PixelGrid(grid.origin, (grid.step[0] / 4, grid.step[1] / 4), (grid.shape[0] * 4, grid.shape[1] * 4))


def made() -> RegistrationResult:
    transform = Composition((random_flow(5, 2.0), Affine(((2.0, 0.5, 100.0), (-0.4, 3.0, 50.0)))))
    return RegistrationResult(transform, 0.5, Quality(1.0, 2.0, 0.9, 0.8), note="so it is")
