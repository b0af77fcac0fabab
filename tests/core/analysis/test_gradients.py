from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from core.analysis.gradients import natural_spline, trend
from core.errors import DataError


def made(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 2000, n)
    noise = rng.normal(size=(n, 6))
    return noise + np.column_stack([t / 500, np.sin(t / 300), np.zeros((n, 3)), 50 + 0 * t]), t


def test_equals_statsmodels() -> None:
    """The same curve fitted by OLS; the space of natural splines is patsy's, knot for knot."""
    import patsy

    y, t = made()
    found = trend(y, t, df=4)
    knots = np.quantile(t, np.linspace(0.02, 0.98, 5))
    formula = "cr(t, knots=inner, lower_bound=low, upper_bound=high) - 1"
    data = {"t": np.clip(t, knots[0], knots[-1]), "inner": knots[1:-1], "low": knots[0], "high": knots[-1]}
    inside = (t >= knots[0]) & (t <= knots[-1])  # patsy does not go on beyond its bounds
    patsys = np.asarray(patsy.dmatrix(formula, data))[inside]
    ours = add_constant(natural_spline(t, 4))[inside]
    residual = patsys - ours @ np.linalg.lstsq(ours, patsys, rcond=None)[0]
    np.testing.assert_allclose(residual, 0, atol=1e-9)
    for feature in range(y.shape[1]):
        fit = OLS(y[:, feature], add_constant(natural_spline(t, 4))).fit()
        assert found.f[feature] == pytest.approx(fit.fvalue)
        assert found.p[feature] == pytest.approx(fit.f_pvalue)
        assert found.r2[feature] == pytest.approx(fit.rsquared)
    np.testing.assert_allclose(found.fdr, stats.false_discovery_control(found.p))


def test_it_finds_hills_that_a_rank_correlation_misses_and_keeps_its_level() -> None:
    rng = np.random.default_rng(1)
    t = rng.uniform(0, 1, 200)
    hill = np.cos(2 * np.pi * t) + rng.normal(size=200)
    assert trend(hill[:, None], t).p[0] < 1e-6 < stats.spearmanr(hill, t).pvalue
    null = trend(rng.normal(size=(200, 2000)), t).p
    assert stats.kstest(null, "uniform").pvalue > 0.01


def test_sparse_blocks_and_missing_values(monkeypatch: pytest.MonkeyPatch) -> None:
    y, t = made()
    y[y < 0] = 0
    whole = trend(y, t)
    monkeypatch.setattr("core.analysis.gradients.BLOCK_NUMBERS", 2 * len(t))
    np.testing.assert_allclose(trend(sparse.csr_matrix(y), t).f, whole.f)
    y[::3, 1] = np.nan
    gaps = trend(y, t)
    known = np.isfinite(y[:, 1])
    assert gaps.f[1] == pytest.approx(trend(y[known], t[known]).f[1])
    np.testing.assert_allclose(np.delete(gaps.f, 1), np.delete(whole.f, 1))


def test_constants_have_no_p() -> None:
    t = np.arange(40.0)
    found = trend(np.column_stack([np.full(40, 0.1), t**2]), t)
    assert np.isnan(found.p[0])
    assert found.fdr[1] == found.p[1] < 1e-20


@pytest.mark.parametrize("t", [np.arange(11.0), np.repeat([0.0, 1.0], 20)])
def test_too_little_is_said(t: np.ndarray) -> None:
    with pytest.raises(DataError):
        trend(np.zeros((len(t), 1)), t)
