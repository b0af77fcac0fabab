from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from core.analysis.placements import Placer, placement_test
from core.context import Context
from core.errors import Cancelled, DataError

SIDE = 40
XY = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2).astype(float) * 100
ROUND = np.hypot(*(XY - XY.mean(axis=0)).T) < 2000  # a tissue with a curved edge
TISSUE = XY[ROUND]
PATCH = np.hypot(*(TISSUE - [1400, 1500]).T) < 560


def fields(n: int, smooth: float, seed: int = 0) -> np.ndarray:
    """Stationary random fields on the tissue, neighbours alike over *smooth* spots; (n_spots, n)."""
    noise = np.random.default_rng(seed).normal(size=(n, SIDE + 40, SIDE + 40))
    maps = [ndimage.gaussian_filter(one, smooth)[20:-20, 20:-20].ravel()[ROUND] for one in noise]
    return np.column_stack(maps)


@pytest.mark.parametrize("smooth", [1.5, 4.0])
def test_it_keeps_its_level_where_wilcoxon_does_not(smooth: float) -> None:
    X = fields(300, smooth)
    found = placement_test(X, TISSUE, PATCH, n_permutations=199)
    wilcoxon = mannwhitneyu(X[PATCH], X[~PATCH]).pvalue
    assert (wilcoxon < 0.05).mean() > 0.4
    # 300 tests at 5 %: 15 expected, 24 are three standard errors more
    assert (found.p < 0.05).mean() < 0.08
    assert (found.p < 0.5).mean() == pytest.approx(0.5, abs=0.1)


def test_it_finds_what_is_in_the_region() -> None:
    X = fields(20, 1.5)
    X = X / X.std(axis=0)
    X[:, :5] += 3.0 * PATCH[:, None]
    found = placement_test(sparse.csr_matrix(X), TISSUE, PATCH, n_permutations=499)
    assert (found.p[:5] == 2 / 500).all()
    assert (found.fdr[:5] < 0.05).all()
    assert np.median(found.p[5:]) > 0.2
    auc = [roc_auc_score(PATCH, column) for column in X.T]
    np.testing.assert_allclose(found.shift, np.array(auc) - 0.5, atol=1e-5)


def test_two_regions_are_compared_with_two_others() -> None:
    other = np.hypot(*(TISSUE - [2700, 2400]).T) < 500
    X = fields(150, 3.0, seed=1)
    raised = X + 0.3 * (X.max() - X.min()) * (PATCH.astype(float) - other)[:, None]
    null = placement_test(X, TISSUE, PATCH, other, n_permutations=199)
    assert (null.p < 0.05).mean() < 0.1
    assert (placement_test(raised, TISSUE, PATCH, other, n_permutations=199).p < 0.05).mean() > 0.9


def test_a_placed_region_has_its_size_and_shape() -> None:
    placer, rng = Placer(TISSUE, [PATCH]), np.random.default_rng(0)
    radius = np.hypot(*(TISSUE[PATCH] - TISSUE[PATCH].mean(axis=0)).T).max()
    centres = []
    for _ in range(50):
        (rows,) = placer.place(rng)
        assert len(set(rows)) == PATCH.sum()
        centre = TISSUE[rows].mean(axis=0)
        centres.append(centre)
        if np.hypot(*(centre - TISSUE.mean(axis=0))) < 1300:  # well inside: still a disc
            assert np.hypot(*(TISSUE[rows] - centre).T).max() < radius + 150
    assert np.std(centres, axis=0).min() > 500


def test_progress_cancel_and_bad_groups() -> None:
    class Told(Context):
        def __init__(self) -> None:
            self.lines: list[tuple[float, str]] = []

        def progress(self, fraction: float, message: str, **_: float) -> None:
            self.lines.append((fraction, message))

    class Stopped(Context):
        def cancelled(self) -> bool:
            return True

    X, told = fields(2, 1.5), Told()
    placement_test(X, TISSUE, PATCH, n_permutations=99, context=told)
    assert told.lines == sorted(told.lines)
    assert (told.lines[1][1], told.lines[-1][1]) == ("placing the region, 20 of 99", "comparing, feature 0 of 2")
    with pytest.raises(Cancelled):
        placement_test(X, TISSUE, PATCH, context=Stopped())
    for group in (np.zeros(len(TISSUE), bool), np.ones(len(TISSUE), bool)):
        with pytest.raises(DataError):
            placement_test(X, TISSUE, group)
