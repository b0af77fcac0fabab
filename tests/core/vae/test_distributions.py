"""Likelihoods against scipy, the published formula and finite differences; compiled loops against the plain form."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, gammaln

from core.vae.compiled import Heads
from core.vae.distributions import Rows, gaussian_nll, zinb_log_probability, zinb_nll
from core.vae.modality import Gaussian, Modality, Transform, Zinb


def rows_of(counts: np.ndarray, dtype: torch.dtype = torch.double) -> Rows:
    values = torch.from_numpy(counts).to(dtype)
    return Rows(values, values.sum(1))


def draw(seed: int, n: int = 7, p: int = 5, repeats: int = 1, by_spot: bool = False):
    """Counts within and beyond the table of the compiled loops, and parameters in float64."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.choice([2.0, 30.0], p), (n, p)) * (rng.random((n, p)) < 0.5)
    rate = torch.from_numpy(rng.normal(0.5, 1.5, (repeats * n, p)))
    log_theta = torch.from_numpy(rng.normal(0, 1.5, (repeats * n, p) if by_spot else p))
    zi_logits = torch.from_numpy(rng.normal(-1, 2.0, (repeats * n, p)))
    return counts, rate, log_theta, zi_logits


def published(counts: np.ndarray, mu: np.ndarray, log_theta: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """Lopez et al. 2018 (scVI), supplement; the form that scvi-tools evaluates. Negative log-likelihood by entry."""
    x, theta = counts, np.exp(log_theta)
    nb_zero = theta * (log_theta - np.log(theta + mu))
    zero = np.logaddexp(0, nb_zero - pi) - np.logaddexp(0, -pi)
    positive = -pi - np.logaddexp(0, -pi) + nb_zero + x * (np.log(mu) - np.log(theta + mu))
    positive += gammaln(x + theta) - gammaln(theta) - gammaln(x + 1)
    return -np.where(x < 1e-8, zero, positive)


def mean_of(rate: torch.Tensor, counts: np.ndarray) -> np.ndarray:
    totals = np.maximum(counts.sum(1, keepdims=True), 1e-6)
    return torch.softmax(rate, 1).numpy() * np.tile(totals, (len(rate) // len(counts), 1))


class Loops(torch.autograd.Function):
    """The heads of a decoder by the compiled loops, in the place of what torch makes of them."""

    @staticmethod
    def forward(ctx, heads, rows, transform, hidden, *parameters):
        ctx.slopes = {p: torch.zeros_like(p) for p in parameters}
        ctx.loops = Heads(heads, ctx.slopes)
        return -torch.tensor(ctx.loops.forward(hidden.detach(), rows, transform, len(hidden) // len(rows)))

    @staticmethod
    def backward(ctx, grad):
        return None, None, None, ctx.loops.backward((-grad).tolist()), *ctx.slopes.values()


def nll(heads: torch.nn.Module, hidden: torch.Tensor, rows: Rows, transform: Transform, *others) -> torch.Tensor:
    """By the loops in single precision, else as written in torch."""
    if hidden.dtype == torch.double:
        return heads.nll(hidden, rows, transform)
    return Loops.apply(heads, rows, transform, hidden, *heads.parameters(), *others)


def compiled_zinb(rows: Rows, rate: torch.Tensor, log_theta: torch.Tensor, zi_logits: torch.Tensor) -> torch.Tensor:
    """What training on the CPU evaluates: the heads of a decoder, made to pass on what they get."""
    p, by_spot = rate.shape[1], log_theta.dim() > 1
    parts = [rate, zi_logits, log_theta] if by_spot else [rate, zi_logits]
    heads = Zinb(
        p * len(parts), Modality("ST", "zinb", "log1p", tuple(map(str, range(p))), dispersion=by_spot and "spot")
    )
    with torch.no_grad():
        for k, layer in enumerate([heads.rate, heads.dropout_logits, heads.log_theta][: len(parts)]):
            layer.weight.zero_()[:, k * p : (k + 1) * p].fill_diagonal_(1.0)
            layer.bias.zero_()
    if not by_spot:
        del heads.log_theta
        heads.log_theta = log_theta
    hidden, others = torch.cat(parts, dim=1), () if by_spot else (log_theta,)
    return nll(heads, hidden, rows, Transform("log1p", p), *others)


FORMS = {torch.double: zinb_nll, torch.float: compiled_zinb}


@given(seed=st.integers(0, 10_000), by_spot=st.booleans())
@settings(max_examples=20, deadline=None)
def test_zinb_is_scipys_negative_binomial_with_inflation(seed, by_spot):
    counts, log_mu, log_theta, zi_logits = draw(seed, by_spot=by_spot)
    mu, theta, pi = log_mu.exp().numpy(), log_theta.exp().numpy(), expit(zi_logits.numpy())
    expected = np.log(pi * (counts == 0) + (1 - pi) * stats.nbinom.pmf(counts, theta, theta / (theta + mu)))
    found = zinb_log_probability(torch.from_numpy(counts).double(), log_mu, log_theta, zi_logits)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", FORMS)
@pytest.mark.parametrize("by_spot", [False, True])
@pytest.mark.parametrize("scale", [1, 0.7])  # fractions, as split counts are, need the gamma functions themselves
@pytest.mark.parametrize("seed", range(3))
def test_zinb_is_the_published_formula(dtype, by_spot, scale, seed):
    counts, *parameters = draw(seed, n=40, p=33, repeats=2, by_spot=by_spot)
    counts = counts * scale
    rate, log_theta, zi_logits = parameters
    expected = published(np.tile(counts, (2, 1)), mean_of(rate, counts), log_theta.numpy(), zi_logits.numpy())
    found = FORMS[dtype](rows_of(counts, dtype), *(p.to(dtype) for p in parameters)).detach()
    np.testing.assert_allclose(found.numpy(), expected.reshape(2, -1).sum(1), rtol=1e-5)


@pytest.mark.parametrize("by_spot", [False, True])
def test_zinb_gradient_by_finite_differences(by_spot):
    counts, *parameters = draw(5, n=4, p=3, repeats=2, by_spot=by_spot)
    for p in parameters:
        p.requires_grad_(True)
    rows = rows_of(counts)
    assert torch.autograd.gradcheck(lambda *a: zinb_nll(rows, *a), parameters)


def gradients(counts: np.ndarray, parameters: list[torch.Tensor], dtype: torch.dtype) -> list[np.ndarray]:
    """Value by repeat, and derivatives of a weighted sum of them."""
    given = [p.to(dtype).requires_grad_(True) for p in parameters]
    value = FORMS[dtype](rows_of(counts, dtype), *given)
    (value * torch.tensor([1.0, 0.3], dtype=dtype)).sum().backward()
    return [value.detach().numpy(), *(g.grad.numpy() for g in given)]


@pytest.mark.parametrize("by_spot", [False, True])
@pytest.mark.parametrize("scale", [1, 0.37, 1000])
def test_compiled_zinb_has_the_gradient_of_the_plain_one(by_spot, scale):
    """The plain one in float64 is the reference; n and p are multiples of no block or vector."""
    counts, *parameters = draw(2, n=71, p=37, repeats=2, by_spot=by_spot)
    counts = counts * scale
    found = gradients(counts, parameters, torch.float)
    for one, other in zip(found, gradients(counts, parameters, torch.double), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6 * np.abs(other).max())


def extremes(dtype: torch.dtype) -> tuple[Rows, list[torch.Tensor]]:
    """A row without counts, a large count, dispersions and logits beyond their limits."""
    counts = np.array([[0, 1, 5_000_000], [0, 0, 0], [3, 0, 20]])
    rate = torch.tensor([[-300.0, -30.0, 12.0], [12.0, -5.0, 0.0], [0.0, 200.0, 0.0]])
    log_theta = torch.tensor([-9.0, 7.9, 20.0])
    zi_logits = torch.tensor([[40.0, 29.0, -40.0], [-40.0, 0.0, 40.0], [29.0, -29.0, 31.0]])
    return rows_of(counts, dtype), [p.to(dtype).requires_grad_(True) for p in (rate, log_theta, zi_logits)]


@pytest.mark.parametrize("by_spot", [False, True])
def test_zinb_at_extremes(by_spot):
    results = []
    for dtype in (torch.float, torch.double):
        rows, (rate, log_theta, zi_logits) = extremes(dtype)
        theta = log_theta.expand(3, 3) if by_spot else log_theta
        value = FORMS[dtype](rows, rate, theta, zi_logits)
        value.sum().backward()
        results.append([value.detach().numpy(), *(p.grad.numpy() for p in (rate, log_theta, zi_logits))])
    for compiled, plain in zip(*results, strict=True):
        assert np.isfinite(compiled).all()
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-6 * np.abs(plain).max())


@pytest.mark.parametrize("where", range(3))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_zinb_of_no_number_is_no_number(where, bad):
    counts, *parameters = draw(1)
    parameters = [p.float() for p in parameters]
    parameters[where].view(-1)[3] = bad
    found = compiled_zinb(rows_of(counts, torch.float), *parameters)
    assert not np.isfinite(found.item()) or (np.isinf(bad) and where > 0)  # limits make infinity a number again


@pytest.mark.parametrize("by_spot", [False, True])
def test_compiled_heads_have_the_gradient_of_the_plain_ones(by_spot):
    """By the layers' weights and what comes into them, in random layers."""
    counts = draw(4, n=50, p=37)[0]
    torch.manual_seed(0)
    heads = Zinb(
        11, Modality("ST", "zinb", "log1p", tuple(map(str, range(37))), dispersion="spot" if by_spot else "gene")
    )
    hidden = torch.randn(100, 11)
    results = []
    for dtype in FORMS:
        layers, given = copy.deepcopy(heads).to(dtype), hidden.to(dtype).requires_grad_(True)
        value = nll(layers, given, rows_of(counts, dtype), Transform("log1p", 37))
        (value * torch.tensor([0.2, 3.0], dtype=dtype)).sum().backward()
        results.append([given.grad, *(p.grad for p in layers.parameters())])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled.double(), plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


def test_gaussian_is_scipys_normal_with_the_root_of_the_variance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 41))
    mean, log_variance = rng.normal(size=(2, 12, 41))
    expected = -stats.norm.logpdf(np.tile(x, (2, 1)), mean, np.sqrt(np.exp(log_variance))).reshape(2, -1).sum(1)
    found = gaussian_nll(*(torch.from_numpy(v) for v in (x, mean, log_variance)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_compiled_gaussian_is_the_plain_one():
    """Value and gradient, also where the variance is beyond its limits."""
    rng = np.random.default_rng(1)
    counts, transform = rng.gamma(1, 5, size=(70, 41)), Transform("log1p", 41)
    torch.manual_seed(0)
    heads, hidden = Gaussian(5, Modality("SM", "gaussian", "log1p", tuple(map(str, range(41))))), torch.randn(140, 5)
    with torch.no_grad():
        heads.log_variance.weight *= 12
    results = []
    for dtype in FORMS:
        layers, given = copy.deepcopy(heads).to(dtype), hidden.to(dtype).requires_grad_(True)
        value = nll(layers, given, rows_of(counts, dtype), transform)
        (value * torch.tensor([1.0, 0.3], dtype=dtype)).sum().backward()
        results.append([value.detach(), given.grad, *(p.grad for p in layers.parameters())])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled.double(), plain, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))
