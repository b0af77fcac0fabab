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
    def forward(ctx, index, x, shape, log_mu, log_theta, zi_logits):  # noqa: PLR0917  torch calls it by position
        n, p = shape
        repeats = log_mu.shape[0] // n
        at = torch.cat([index + k * n * p for k in range(repeats)]) if repeats > 1 else index
        theta = log_theta.exp()
        a = log_mu - log_theta
        minus_log_r = softplus(a)
        u = torch.addcmul(-zi_logits, theta.expand_as(a), minus_log_r, value=-1)  # log of NB(0) over odds of inflation
        log_inflated = softplus(-zi_logits)
        log_zero = softplus(u)
        log_zero.view(-1)[at] = u.view(-1)[at]  # a positive count can not be inflation
        likelihood = (log_zero - log_inflated).view(repeats, -1).sum(1)
        log_share = a - minus_log_r  # log(mu / (theta + mu))
        positive = _Positive.gather(at, x, repeats, log_share, log_theta)
        likelihood = likelihood + positive.likelihood()
        if any(ctx.needs_input_grad[3:]):
            d_zi = (-zi_logits - log_inflated).exp_()
            weight = (u - log_zero).exp_()  # probability that a zero is NB's; 1 at positive counts
            d_zi -= weight
            d_mu, d_theta = _gradients(positive, theta, log_share.exp_(), minus_log_r, weight.mul_(theta))
            ctx.save_for_backward(d_mu, d_theta, d_zi)
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


@dataclass(frozen=True)
class _Positive:
    """What is needed at the positive counts only.

    *at*, *x*, *log_share*: shape (repeats * stored,). *theta*, *x_gamma*: shape (stored,) where the dispersion is by
    feature, so that the gamma functions are evaluated once for all repeats; (repeats * stored,) otherwise.
    """

    at: Tensor
    x: Tensor
    log_share: Tensor
    theta: Tensor
    x_gamma: Tensor
    repeats: int

    @classmethod
    def gather(cls, at: Tensor, x: Tensor, repeats: int, log_share: Tensor, log_theta: Tensor) -> _Positive:
        by_feature = log_theta.dim() == 1
        log_theta = log_theta[at[: x.numel()] % len(log_theta)] if by_feature else log_theta.reshape(-1)[at]
        tiled = x.repeat(repeats)
        return cls(at, tiled, log_share.view(-1)[at], log_theta.exp(), x if by_feature else tiled, repeats)

    def _each(self, by_theta: Tensor) -> Tensor:
        return by_theta.repeat(len(self.x) // max(len(by_theta), 1))

    def likelihood(self) -> Tensor:
        """Terms that vanish at x = 0, shape (repeats,)."""
        gammas = torch.lgamma(self.x_gamma + self.theta) - torch.lgamma(self.theta) - torch.lgamma(self.x_gamma + 1)
        return (self.x * self.log_share + self._each(gammas)).view(self.repeats, -1).sum(1)

    def x_times_r(self) -> Tensor:
        return self.x * -torch.expm1(self.log_share)

    def digammas(self) -> Tensor:
        difference = torch.digamma(self.x_gamma + self.theta) - torch.digamma(self.theta)
        return self._each(self.theta * difference)


def _gradients(
    positive: _Positive, theta: Tensor, share: Tensor, minus_log_r: Tensor, weight_theta: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivatives of the log-likelihood by log mu, (repeats * n, p), and by log theta: as log mu, or summed over rows,
    (repeats, 1, p). *share* is mu / (theta + mu) and is overwritten."""
    d_mu = (weight_theta * share).neg_()
    x_r = positive.x_times_r()
    d_mu.view(-1)[positive.at] += x_r
    d_theta = share.sub_(minus_log_r).mul_(weight_theta)
    extra = positive.digammas() - x_r
    if theta.dim() > 1:
        d_theta.view(-1)[positive.at] += extra
        return d_mu, d_theta
    p, repeats = len(theta), positive.repeats
    d_theta = d_theta.view(repeats, -1, p).sum(1)
    block = p * torch.arange(repeats, device=share.device)[:, None]
    d_theta.view(-1).index_add_(0, ((positive.at % p).view(repeats, -1) + block).view(-1), extra)
    return d_mu, d_theta[:, None]


def gaussian_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution with a learned variance, element by element.

    All of shape (..., p); the learned quantity is the logarithm of the variance, not of the standard deviation.
    """
    return 0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * torch.exp(-log_variance))
