"""Likelihoods against scipy, the published formula, and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, gammaln

from core.vae.distributions import SparseRows, gaussian_nll, zinb_nll


def sparse_rows(counts: np.ndarray, dtype: torch.dtype = torch.double) -> SparseRows:
    dense = torch.from_numpy(counts).to(dtype)
    rows, columns = torch.nonzero(dense, as_tuple=True)
    return SparseRows(dense, dense[rows, columns], columns, dense.sum(1))


def draw(seed: int, n: int = 7, p: int = 5, repeats: int = 1, by_spot: bool = False):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.choice([2.0, 30.0], p), (n, p)) * (rng.random((n, p)) < 0.5)  # within and beyond the table
    log_mu = torch.from_numpy(rng.normal(0.5, 1.5, (repeats * n, p)))
    log_theta = torch.from_numpy(rng.normal(0, 1.5, (repeats * n, p) if by_spot else p))
    zi_logits = torch.from_numpy(rng.normal(-1, 2.0, (repeats * n, p)))
    return counts, log_mu, log_theta, zi_logits


@given(seed=st.integers(0, 10_000), by_spot=st.booleans())
@settings(max_examples=20, deadline=None)
def test_zinb_is_scipys_negative_binomial_with_inflation(seed, by_spot):
    counts, log_mu, log_theta, zi_logits = draw(seed, by_spot=by_spot)
    mu, theta, pi = log_mu.exp().numpy(), log_theta.exp().numpy(), expit(zi_logits.numpy())
    nb = stats.nbinom.pmf(counts, theta, theta / (theta + mu))
    expected = -np.log(pi * (counts == 0) + (1 - pi) * nb).sum()
    assert zinb_nll(sparse_rows(counts), log_mu, log_theta, zi_logits).item() == pytest.approx(expected, rel=1e-10)


def test_zinb_in_float32_is_the_published_formula():
    """Lopez et al. 2018 (scVI), supplement; the form that scvi-tools evaluates."""
    counts, log_mu, log_theta, zi_logits = draw(3, n=40, p=30)
    x, mu, theta, pi = counts, log_mu.exp().numpy(), log_theta.exp().numpy(), zi_logits.numpy()
    nb_zero = theta * (np.log(theta) - np.log(theta + mu))
    zero = np.logaddexp(0, nb_zero - pi) - np.logaddexp(0, -pi)
    positive = -pi - np.logaddexp(0, -pi) + nb_zero + x * (np.log(mu) - np.log(theta + mu))
    positive += gammaln(x + theta) - gammaln(theta) - gammaln(x + 1)
    expected = -np.where(x < 1e-8, zero, positive).sum()
    found = zinb_nll(sparse_rows(counts, torch.float), log_mu.float(), log_theta.float(), zi_logits.float())
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("by_spot", [False, True])
def test_zinb_gradient(by_spot):
    counts, *parameters = draw(5, n=4, p=3, repeats=2, by_spot=by_spot)
    for p in parameters:
        p.requires_grad_(True)
    rows = sparse_rows(counts)
    assert torch.autograd.gradcheck(lambda *a: zinb_nll(rows, *a), parameters)


def test_zinb_takes_fractions_as_the_gamma_functions_do():
    counts, log_mu, log_theta, zi_logits = draw(8)
    counts = counts * 0.7
    by_feature = zinb_nll(sparse_rows(counts), log_mu, log_theta, zi_logits)
    by_spot = zinb_nll(sparse_rows(counts), log_mu, log_theta.expand_as(log_mu).contiguous(), zi_logits)
    torch.testing.assert_close(by_feature, by_spot)


def test_zinb_repeats_are_separate_sums():
    counts, log_mu, log_theta, zi_logits = draw(6, repeats=2)
    rows, n = sparse_rows(counts), len(counts)
    both = zinb_nll(rows, log_mu, log_theta, zi_logits)
    first = zinb_nll(rows, log_mu[:n], log_theta, zi_logits[:n])
    second = zinb_nll(rows, log_mu[n:], log_theta, zi_logits[n:])
    torch.testing.assert_close(both, torch.cat([first, second]))


def test_zinb_is_finite_at_extremes():
    counts = np.array([[0, 1, 5000], [0, 0, 0]])
    log_mu = torch.tensor([[-30.0, -30.0, 12.0], [12.0, -5.0, 0.0]], requires_grad=True)
    log_theta = torch.tensor([-8.0, 8.0, 0.0], requires_grad=True)
    zi_logits = torch.tensor([[40.0, 40.0, -40.0], [-40.0, 0.0, 40.0]], requires_grad=True)
    value = zinb_nll(sparse_rows(counts, torch.float), log_mu, log_theta, zi_logits)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(t.grad).all() for t in (log_mu, log_theta, zi_logits))


def test_gaussian_is_scipys_normal_with_the_root_of_the_variance():
    rng = np.random.default_rng(0)
    x, mean, log_variance = rng.normal(size=(3, 6, 4))
    expected = -stats.norm.logpdf(x, mean, np.sqrt(np.exp(log_variance)))
    found = gaussian_nll(*(torch.from_numpy(v) for v in (x, mean, log_variance)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
