"""Log-likelihoods, as sums over a minibatch.

The zero-inflated negative binomial costs little where counts are sparse: of its terms only
``lgamma(x + theta) - lgamma(theta)``, ``x log(mu / (theta + mu))`` and ``lgamma(x + 1)`` depend on the count, and all
three vanish at x = 0. They are evaluated at the stored entries only, and the gradient is computed by hand beside the
value (one pass, no graph).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus


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
    """With a = log mu - log theta, r = theta / (theta + mu): softplus(a) = -log r and sigmoid(a) = 1 - r."""

    @staticmethod
    def forward(ctx, counts, log_mu, log_theta, zi_logits):
        x, n, p = counts.dense, *counts.dense.shape
        stacked = (len(log_mu) // n, n, p)
        log_mu, zi_logits = log_mu.view(stacked), zi_logits.view(stacked)
        log_theta = log_theta if log_theta.dim() == 1 else log_theta.view(stacked)
        theta = log_theta.exp()
        log_share = log_mu - log_theta
        minus_log_r = softplus(log_share)
        log_share -= minus_log_r  # log(mu / (theta + mu))
        log_odds = (minus_log_r * theta).add_(zi_logits).neg_()  # of NB's zeros against inflated zeros
        minus_log_pi = softplus(-zi_logits)
        # a positive count can not be inflation
        log_any = torch.where(x > 0, log_odds, softplus(log_odds))
        gammas, digammas = _gamma_terms(counts, theta)
        by_repeat = (log_any - minus_log_pi).view(stacked[0], -1).sum(1) + log_share.view(stacked[0], -1) @ x.view(-1)
        ctx.by_feature = theta.dim() == 1
        if any(ctx.needs_input_grad):
            weight = log_odds.sub_(log_any).exp_()  # probability that a zero is NB's; 1 at positive counts
            d_zi = (zi_logits + minus_log_pi).neg_().exp_().sub_(weight)
            weight *= theta
            d_mu = x - (weight + x).mul_(log_share.exp_())
            d_theta = (weight.mul_(minus_log_r)).add_(d_mu).neg_()
            if ctx.by_feature:
                d_theta = d_theta.sum(1, keepdim=True)
            ctx.save_for_backward(d_mu, d_theta.add_(digammas), d_zi)
        return -(by_repeat + gammas)

    @staticmethod
    def backward(ctx, grad):
        d_mu, d_theta, d_zi = (d * -grad.view(-1, 1, 1) for d in ctx.saved_tensors)
        shape = (-1, d_mu.shape[-1])
        d_theta = d_theta.sum((0, 1)) if ctx.by_feature else d_theta.view(shape)
        return None, d_mu.view(shape), d_theta, d_zi.view(shape)


def _gamma_terms(counts: SparseRows, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of lgamma(x + theta) - lgamma(theta) - lgamma(x + 1), by repeat or for all alike, and its derivative by
    log theta, (p,) or (repeats, n, p). Evaluated at positive counts only: elsewhere it is zero."""
    x, columns = counts.values, counts.columns
    if theta.dim() == 1:
        each = torch.lgamma(x + theta[columns]) - torch.lgamma(x + 1) - torch.lgamma(theta)[columns]
        slope = torch.digamma(x + theta[columns]) - torch.digamma(theta)[columns]
        return each.sum(), theta * torch.zeros_like(theta).index_add_(0, columns, slope)
    positive = counts.dense > 0
    derivative = torch.zeros_like(theta)
    sums = []
    for k, t in enumerate(theta):
        at = t[positive]
        sums.append((torch.lgamma(x + at) - torch.lgamma(at) - torch.lgamma(x + 1)).sum())
        derivative[k][positive] = at * (torch.digamma(x + at) - torch.digamma(at))
    return torch.stack(sums), derivative


def gaussian_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution with a learned variance, element by element.

    All of shape (..., p); the learned quantity is the logarithm of the variance, not of the standard deviation.
    """
    return 0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance))
