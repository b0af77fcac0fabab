"""Transforms: formula, inverses, ways through JSON and h5ad."""

from __future__ import annotations

import json
from dataclasses import asdict

import anndata as ad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.registration import (
    Affine,
    Composition,
    Orientation,
    Quality,
    RegistrationResult,
    Similarity,
    manual_base,
    manual_transform,
    transform_from_dict,
)

numbers = st.floats(-1e4, 1e4)
scales = st.floats(0.01, 1e3)
similarities = st.builds(
    Similarity,
    rotation_deg=st.floats(-360, 360),
    flip=st.booleans(),
    scale_x=scales,
    scale_y=scales,
    source=st.tuples(numbers, numbers),
    target=st.tuples(numbers, numbers),
)
POINTS = np.array([[0.0, 0.0], [3.0, -4.0], [120.0, 77.5], [-9.0, 1e3]])


@given(similarities)
def test_similarity_and_its_inverse(transform: Similarity) -> None:
    there = transform.forward(POINTS)
    np.testing.assert_allclose(transform.inverse(there), POINTS, atol=1e-6 * (1 + np.abs(there).max()))
    assert np.sign(transform.jacobian_determinant(POINTS)).tolist() == [-1.0 if transform.flip else 1.0] * 4


@given(similarities, similarities)
def test_composition_is_one_after_the_other(first: Similarity, second: Similarity) -> None:
    both = Composition((first, second))
    np.testing.assert_allclose(both.forward(POINTS), second.forward(first.forward(POINTS)))
    determinant = np.linalg.det(second.matrix @ first.matrix)
    np.testing.assert_allclose(both.jacobian_determinant(POINTS), determinant, rtol=1e-6)


@given(similarities)
def test_way_through_json(transform: Similarity) -> None:
    affine = Affine.of(transform.matrix, transform.offset)
    both = Composition((transform, affine))
    again = transform_from_dict(json.loads(json.dumps(both.to_dict(), allow_nan=False)))
    assert again == both


def test_quarter_turn_is_clockwise_on_the_screen() -> None:
    turn = Similarity(90.0, False, 1.0, 1.0, (0.0, 0.0), (0.0, 0.0))
    np.testing.assert_allclose(turn.forward(np.array([[1.0, 0.0]])), [[0.0, 1.0]], atol=1e-12)  # right -> down


def test_mirror_comes_before_the_turn() -> None:
    transform = Similarity(90.0, True, 2.0, 3.0, (1.0, 1.0), (10.0, 20.0))
    # (3, 2) - source = (2, 1); mirrored (-2, 1); scaled (-4, 3); turned (-3, -4); moved (7, 16)
    np.testing.assert_allclose(transform.forward(np.array([[3.0, 2.0]])), [[7.0, 16.0]])


@pytest.mark.parametrize("values", [{}, {"kind": "teleport"}, {"kind": "affine"}, {"kind": "affine", "rows": [1, 2]}])
def test_unknown_or_broken_is_refused(values: dict) -> None:
    with pytest.raises(DataError):
        transform_from_dict(values)


def result() -> RegistrationResult:
    transform = Composition((Similarity(30.0, True, 2.0, 2.5, (1.0, 2.0), (3.0, 4.0)), Affine(((1, 0, 5), (0, 1, 6)))))
    return RegistrationResult(
        transform,
        um_per_px=0.5,
        quality=Quality(12.0, 40.0, 0.97, 1.0),
        orientation=Orientation("search", 0.8, 210.0, True, False, "outline"),
        history=np.array([3.0, 2.0, 1.5]),
        stopped="converged",
    )


def test_result_through_h5ad(tmp_path) -> None:
    adata = ad.AnnData(np.zeros((1, 1)))
    adata.uns["alignment"] = result().to_dict()
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = RegistrationResult.from_dict(ad.read_h5ad(tmp_path / "a.h5ad").uns["alignment"])
    np.testing.assert_allclose(again.forward(POINTS), result().forward(POINTS))
    np.testing.assert_allclose(again.inverse(again.forward(POINTS)), POINTS, atol=1e-9)
    np.testing.assert_equal(asdict(again.quality), asdict(result().quality))  # NaN where there are no landmarks
    assert again.orientation == result().orientation
    np.testing.assert_array_equal(again.history, result().history)


def test_result_through_json_without_runner_up() -> None:
    plain = RegistrationResult(result().transform, 0.5, Quality(1.0, 2.0, 0.9, 1.0))
    again = RegistrationResult.from_dict(json.loads(json.dumps(plain.to_dict(), allow_nan=False)))
    assert np.isnan(again.orientation.runner_up_rotation_deg)
    assert again.transform == plain.transform


def rectangle(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.column_stack([x.ravel(), y.ravel()]).astype(float)


def test_manual_base_puts_centre_on_centre_with_equal_areas() -> None:
    st_xy, sm_xy = rectangle(40, 20) * 10 + [100, 50], rectangle(20, 10)
    base = manual_base(st_xy, sm_xy)
    assert base.scale == pytest.approx(20.0, rel=1e-3)
    assert base.source == (9.5, 4.5)
    assert base.target == (295.0, 145.0)


def test_manual_transform_is_the_formula_of_the_page() -> None:
    st_xy, sm_xy = rectangle(40, 20) * 10, rectangle(20, 10)
    transform = manual_transform(
        st_xy, sm_xy, flip=True, rotation_deg=30.0, scale_x=1.1, scale_y=0.9, shift_px=(7.0, -3.0)
    )
    base = manual_base(st_xy, sm_xy)
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    stretched = (sm_xy - base.source) * [-1, 1] * [1.1, 0.9] * base.scale
    expected = np.column_stack([c * stretched[:, 0] - s * stretched[:, 1], s * stretched[:, 0] + c * stretched[:, 1]])
    np.testing.assert_allclose(transform.forward(sm_xy), expected + np.array(base.target) + [7, -3])
