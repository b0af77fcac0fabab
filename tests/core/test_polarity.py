from __future__ import annotations

import numpy as np
import pytest

from core import keys
from core.errors import DataError
from core.polarity import matched_pixels, merge_polarities
from tests.core.pairs import section


def modes():
    x, y = np.meshgrid(np.arange(12.0), np.arange(9.0))
    grid = np.column_stack([x.ravel(), y.ravel()])
    positive = section(grid, 5, 0, modality=keys.SM)
    rows = np.random.default_rng(0).permutation(len(grid))[:80]
    negative = section(grid[rows] + 0.2, 4, 1, modality=keys.SM)
    negative.obs_names = [f"n{i}" for i in rows]
    return positive, negative, rows


def test_pixels_are_matched_by_coordinate_and_features_say_their_mode() -> None:
    positive, negative, rows = modes()
    merged = merge_polarities(positive, negative)
    assert merged.n_obs == 80
    kept = np.sort(rows)
    assert merged.obs_names.tolist() == positive.obs_names[kept].tolist()
    np.testing.assert_array_equal(merged.X[:, :5].toarray(), positive.X[kept].toarray())
    np.testing.assert_array_equal(merged.X[:, 5:].toarray(), negative.X[np.argsort(rows)].toarray())
    assert merged.var[keys.POLARITY].tolist() == ["positive"] * 5 + ["negative"] * 4
    assert merged.var_names[5] == "mz0_negative"
    np.testing.assert_allclose(merged.var[keys.MZ], [*positive.var[keys.MZ], *negative.var[keys.MZ]])
    np.testing.assert_array_equal(merged.obsm[keys.SPATIAL], positive.obsm[keys.SPATIAL][kept])
    assert merged.uns[keys.UNS][keys.POLARITY] == {"n_positive": 108, "n_negative": 80, "n_matched": 80}


def test_a_pixel_has_one_partner() -> None:
    a = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    b = np.array([[0.1, 0.0], [0.3, 1.0], [0.9, 0.0]])
    found = matched_pixels(a, b)
    assert [rows.tolist() for rows in found] == [[0, 1], [0, 2]]


def test_refusals() -> None:
    positive, negative, _ = modes()
    apart = negative.copy()
    apart.obsm[keys.SPATIAL] = apart.obsm[keys.SPATIAL] + 1000
    with pytest.raises(DataError, match="same coordinates"):
        merge_polarities(positive, apart)
    negative.var[keys.POLARITY] = "Positive"
    with pytest.raises(DataError, match="Swap"):
        merge_polarities(positive, negative)
