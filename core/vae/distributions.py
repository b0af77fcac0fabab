"""Log-likelihoods, as sums over a minibatch.

The zero-inflated negative binomial is the costly one, and its gamma functions are slow. They are needed only where a
count is positive, as lgamma(0 + theta) - lgamma(theta) = 0; and for whole counts and one dispersion per feature they
are sums of logarithms, ``lgamma(x + theta) - lgamma(theta) = sum over j < x of log(theta + j)``, so that it is enough
to know how many counts of each feature exceed j. The gradient is computed by hand beside the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1 << 16  # entries worked on at once: temporaries stay in the processor's cache
TABLE = 16  # whole counts up to here are summed by table
LARGEST = 80.0  # exp of it is finite in float32


@dataclass(frozen=True)
class SparseRows:
    """Rows of a sparse matrix, and their dense form.

    Attributes
    ----------
    dense
        Shape (rows, features).
    values
        The stored entries, none of them zero, shape (stored,).
    columns
        Their features, int64, shape (stored,).
    totals
        Sum of each row, shape (rows,).
    """

    dense: Tensor
    values: Tensor
    columns: Tensor
    totals: Tensor

    def __len__(self) -> int:
        return len(self.dense)


def zinb_nll(counts: SparseRows, log_mu: Tensor, log_theta: Tensor, zi_logits: Tensor) -> Tensor:
    """Negative log-likelihood of the zero-inflated negative binomial.

    P(x) = pi [x = 0] + (1 - pi) NB(x; mu, theta), with pi = sigmoid(zi_logits) and variance mu + mu² / theta. The
    parameters may describe the same counts *repeats* times (from the joint and from a single-modality embedding),
    stacked by rows.

    Parameters
    ----------
    counts
        Shape (n, p).
    log_mu, zi_logits
        Shape (repeats * n, p).
    log_theta
        Shape (p,), one dispersion per feature, or (repeats * n, p).

    Returns
    -------
    Sums over all entries, one per repeat, shape (repeats,).
    """
    return _ZinbNll.apply(counts, log_mu, log_theta, zi_logits)


class _ZinbNll(torch.autograd.Function):
    """With r = theta / (theta + mu): NB(0) = r^theta, and NB(x) = NB(0) (1 - r)^x times gamma functions.

    Only exp, log, log1p and sigmoid are used: torch's softplus and where take 5 to 10 times as long as exp.
    """

    @staticmethod
    def forward(ctx, counts, log_mu, log_theta, zi_logits):
        x, n, p = counts.dense, *counts.dense.shape
        stacked = (len(log_mu) // n, n, p)
        log_mu, zi_logits = log_mu.view(stacked), zi_logits.view(stacked)
        ctx.by_feature = log_theta.dim() == 1
        log_theta = log_theta if ctx.by_feature else log_theta.view(stacked)
        value, d_theta = _gamma_terms(counts, log_theta.exp())
        d_mu, d_zi = torch.empty_like(log_mu), torch.empty_like(zi_logits)
        if ctx.by_feature:
            d_theta = d_theta.repeat(len(log_mu), 1, 1)
        size = max(1, CHUNK // (len(log_mu) * p))
        for start in range(0, n, size):
            rows = slice(start, start + size)
            part = log_theta if ctx.by_feature else log_theta[:, rows]
            parts = _zinb_rows(x[rows], log_mu[:, rows], part, zi_logits[:, rows])
            value = value + parts[0]
            d_mu[:, rows], d_zi[:, rows] = parts[1], parts[3]
            if ctx.by_feature:
                d_theta += parts[2].sum(1, keepdim=True)
            else:
                d_theta[:, rows] += parts[2]
        ctx.save_for_backward(d_mu, d_theta, d_zi)
        return -value

    @staticmethod
    def backward(ctx, grad):
        d_mu, d_theta, d_zi = (d * -grad.view(-1, 1, 1) for d in ctx.saved_tensors)
        shape = (-1, d_mu.shape[-1])
        d_theta = d_theta.sum((0, 1)) if ctx.by_feature else d_theta.view(shape)
        return None, d_mu.view(shape), d_theta, d_zi.view(shape)


def _zinb_rows(x: Tensor, log_mu: Tensor, log_theta: Tensor, zi_logits: Tensor) -> tuple[Tensor, ...]:
    """Log-likelihood without gamma functions, (repeats,), and its derivatives by log mu, log theta and zi_logits."""
    repeats, theta = len(log_mu), log_theta.exp()
    zero = 1 - x.sign()  # a comparison and its conversion take three times as long
    log_odds = (log_mu - log_theta).clamp_(max=LARGEST)
    odds = log_odds.exp()  # mu / theta
    minus_log_r = torch.log1p(odds)
    log_nb_zero = (minus_log_r * theta).neg_()
    inflated = torch.sigmoid(zi_logits)
    measured = zi_logits.neg().sigmoid_()
    nb = (log_nb_zero * zero).exp_().mul_(measured)  # at positive counts, which are never inflated, NB's share alone
    either = inflated.mul_(zero).add_(nb).clamp_min_(torch.finfo(x.dtype).tiny)
    weight = nb.div_(either)  # probability that a count is NB's
    value = either.log_().view(repeats, -1).sum(1)
    value += log_odds.sub_(minus_log_r).view(repeats, -1) @ x.view(-1)  # x log(mu / (theta + mu))
    value += log_nb_zero.view(repeats, -1) @ (1 - zero).view(-1)
    d_zi = measured.sub_(weight)
    weight *= theta
    share = torch.div(odds, odds + 1, out=log_odds)
    d_mu = share.mul_(weight + x).neg_().add_(x)
    return value, d_mu, weight.mul_(minus_log_r).add_(d_mu).neg_(), d_zi


def _gamma_terms(counts: SparseRows, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of lgamma(x + theta) - lgamma(theta) - lgamma(x + 1), and its derivative by log theta.

    For *theta* (p,): a scalar and (p,). For *theta* (repeats, n, p): (repeats,) and (repeats, n, p).
    """
    x, columns = counts.values, counts.columns
    if theta.dim() == 1:
        value, slope = _by_table(x, columns, theta)
        rest = torch.nonzero((x > TABLE) | (x != x.floor())).view(-1)
        x, columns = x[rest], columns[rest]
        at = theta[columns]
        value = value + (torch.lgamma(x + at) - torch.lgamma(at) - torch.lgamma(x + 1)).sum()
        slope.index_add_(0, columns, torch.digamma(x + at) - torch.digamma(at))
        return value, slope.mul_(theta)
    positive = counts.dense > 0
    derivative = torch.zeros_like(theta)
    values = []
    for k, of_repeat in enumerate(theta):
        at = of_repeat[positive]
        values.append((torch.lgamma(x + at) - torch.lgamma(at) - torch.lgamma(x + 1)).sum())
        derivative[k][positive] = at * (torch.digamma(x + at) - torch.digamma(at))
    return torch.stack(values), derivative


def _by_table(x: Tensor, columns: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The same of those x that are whole numbers from 1 to TABLE: value, and derivative by theta (p,)."""
    p = len(theta)
    place = x.clamp(max=TABLE + 1)
    place = torch.where(place == place.floor(), place, TABLE + 1).sub_(1).long()  # the last place: not for the table
    exact = torch.bincount(columns + p * place, minlength=p * (TABLE + 1)).view(-1, p)[:TABLE].to(theta.dtype)
    above = exact.flip(0).cumsum(0).flip(0)  # above[j]: how many counts of each feature exceed j
    j = torch.arange(TABLE, dtype=theta.dtype, device=theta.device)[:, None]
    shifted = theta + j
    return (above * (shifted.log() - (j + 1).log())).sum(), (above / shifted).sum(0)


def gaussian_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution with a learned variance, element by element.

    All of shape (..., p); the learned quantity is the logarithm of the variance, not of the standard deviation.
    """
    return 0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance))
