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
    """Rows of a sparse matrix: ``dense.view(-1)[index] == values``, zero elsewhere.

    Attributes
    ----------
    index
        Positions of the stored entries in the row-major dense matrix, int64, shape (stored,). Each at most once.
    values
        Entries, float, shape (stored,). No zeros where counts are meant.
    shape
        (rows, features).
    """

    index: Tensor
    values: Tensor
    shape: tuple[int, int]

    def dense(self) -> Tensor:
        """Dense copy, shape (rows, features)."""
        out = self.values.new_zeros(self.shape[0] * self.shape[1])
        out[self.index] = self.values
        return out.view(self.shape)

    def with_values(self, values: Tensor) -> SparseRows:
        return SparseRows(self.index, values, self.shape)

    @property
    def rows(self) -> Tensor:
        return torch.div(self.index, self.shape[1], rounding_mode="floor")

    @property
    def columns(self) -> Tensor:
        return self.index % self.shape[1]

    def row_sums(self) -> Tensor:
        """Shape (rows,)."""
        return self.values.new_zeros(self.shape[0]).index_add_(0, self.rows, self.values)


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
    return _ZinbNll.apply(counts.index, counts.values, counts.shape, log_mu, log_theta, zi_logits)


class _ZinbNll(torch.autograd.Function):
    """With a = log mu - log theta, r = theta / (theta + mu): softplus(a) = -log r and sigmoid(a) = 1 - r."""

    @staticmethod
    def forward(ctx, index, x, shape, log_mu, log_theta, zi_logits):
        n, p = shape
        repeats = log_mu.shape[0] // n
        at = torch.cat([index + k * n * p for k in range(repeats)]) if repeats > 1 else index
        theta = log_theta.exp()
        a = log_mu - log_theta
        minus_log_r = softplus(a)
        u = torch.addcmul(-zi_logits, theta.expand_as(a), minus_log_r, value=-1)  # log of NB(0) over odds of inflation
        q = softplus(-zi_logits)
        log_zero = softplus(u)
        log_zero.view(-1)[at] = u.view(-1)[at]  # a positive count can not be inflation
        likelihood = (log_zero - q).view(repeats, -1).sum(1)
        stored = _Stored(at, x, repeats, p, a, minus_log_r, log_theta)
        likelihood = likelihood + stored.likelihood()
        if any(ctx.needs_input_grad[3:]):
            ctx.save_for_backward(*_gradients(stored, theta, a, minus_log_r, u, log_zero, zi_logits, q, repeats))
        ctx.repeats = repeats
        return -likelihood

    @staticmethod
    def backward(ctx, grad):
        d_mu, d_theta, d_zi = ctx.saved_tensors
        scale = -grad.view(-1, 1, 1)

        def scaled(d: Tensor) -> Tensor:
            return (d.view(ctx.repeats, -1, d.shape[-1]) * scale).view(d.shape)

        by_feature = d_theta.dim() == 3  # (repeats, 1, p): already summed over rows
        d_theta = (d_theta * scale).sum((0, 1)) if by_feature else scaled(d_theta)
        return None, None, None, scaled(d_mu), d_theta, scaled(d_zi)


class _Stored:
    """What is needed at the stored (positive) counts only, each shape (repeats * stored,)."""

    def __init__(self, at, x, repeats, p, a, minus_log_r, log_theta):
        self.at, self.repeats = at, repeats
        self.columns = at % p
        self.x = x.repeat(repeats)
        self.log_share = a.view(-1)[at] - minus_log_r.view(-1)[at]  # log(mu / (theta + mu))
        if log_theta.dim() == 1:  # the same for each repeat: the gamma functions are evaluated once
            self.theta = log_theta.exp()[at[: x.numel()] % p]
            self.gamma_repeats, self.x_gamma = repeats, x
        else:
            self.theta = log_theta.reshape(-1)[at].exp()
            self.gamma_repeats, self.x_gamma = 1, self.x

    def likelihood(self) -> Tensor:
        gammas = torch.lgamma(self.x_gamma + self.theta) - torch.lgamma(self.theta) - torch.lgamma(self.x_gamma + 1)
        each = self.x * self.log_share + gammas.repeat(self.gamma_repeats)
        return each.view(self.repeats, -1).sum(1)

    def x_times_r(self) -> Tensor:
        return self.x * -torch.expm1(self.log_share)

    def digammas(self) -> Tensor:
        difference = torch.digamma(self.x_gamma + self.theta) - torch.digamma(self.theta)
        return (self.theta * difference).repeat(self.gamma_repeats)


def _gradients(stored, theta, a, minus_log_r, u, log_zero, zi_logits, q, repeats):
    """Derivatives of the log-likelihood by log mu, log theta and zi_logits. At x > 0 the weight of NB is 1."""
    share = (a - minus_log_r).exp_()  # mu / (theta + mu)
    weight = (u - log_zero).exp_()  # probability that a zero is NB's; exp(0) = 1 at positive counts
    d_zi = (-zi_logits - q).exp_().sub_(weight)
    weight_theta = weight.mul_(theta)
    d_mu = (weight_theta * share).neg_()
    x_r = stored.x_times_r()
    d_mu.view(-1)[stored.at] += x_r
    d_theta = share.sub_(minus_log_r).mul_(weight_theta)
    extra = stored.digammas() - x_r
    if theta.dim() == 1:
        p = theta.shape[0]
        d_theta = d_theta.view(repeats, -1, p).sum(1)
        which = stored.columns.view(repeats, -1) + p * torch.arange(repeats, device=a.device)[:, None]
        d_theta.view(-1).index_add_(0, which.view(-1), extra)
        return d_mu, d_theta[:, None], d_zi
    d_theta.view(-1)[stored.at] += extra
    return d_mu, d_theta, d_zi


def gaussian_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution with a learned variance, element by element.

    All of shape (..., p); the learned quantity is the logarithm of the variance, not of the standard deviation.
    """
    return 0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance))
