"""Log-likelihoods, as sums over a minibatch.

These plain forms in torch are what the model means, and what other devices and precisions run. In float32 on the CPU
the same values come with their derivatives from :mod:`core.vae.compiled`, in a fraction of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, softplus

LOG_THETA_LIMIT = 8.0  # beyond, NB is Poisson, and float32 loses lgamma's differences
LOG_VARIANCE_LIMIT = 8.0
ZI_LIMIT = 30.0


@dataclass(frozen=True)
class Rows:
    """Measured values (rows, features) and the sum of each row (rows,)."""

    values: Tensor
    totals: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device) -> Rows:
        return Rows(self.values.to(device), self.totals.to(device))

    def log_totals(self) -> Tensor:
        """Shape (rows,); finite for an empty row."""
        return self.totals.clamp_min(1e-6).log()


def zinb_nll(counts: Rows, rate: Tensor, log_theta: Tensor, zi_logits: Tensor) -> Tensor:
    """Negative log-likelihood of the zero-inflated negative binomial with mean softmax(*rate*) times the row's total.

    P(x) = pi [x = 0] + (1 - pi) NB(x; mu, theta), with pi = sigmoid(zi_logits) and variance mu + mu² / theta. The
    parameters may describe the same counts *repeats* times (from the joint and from a single-modality embedding),
    stacked by rows.

    Parameters
    ----------
    counts
        Shape (n, p).
    rate, zi_logits
        Logits, shape (repeats * n, p).
    log_theta
        Shape (p,), one dispersion per feature, or (repeats * n, p).

    Returns
    -------
    Sums over all entries, one per repeat, shape (repeats,).
    """
    stacked = (-1, *counts.values.shape)
    log_mu = log_softmax(rate, dim=-1).view(stacked) + counts.log_totals()[:, None]
    log_theta = log_theta if log_theta.dim() == 1 else log_theta.view(stacked)
    return -zinb_log_probability(counts.values, log_mu, log_theta, zi_logits.view(stacked)).sum((1, 2))


def zinb_log_probability(x: Tensor, log_mu: Tensor, log_theta: Tensor, zi_logits: Tensor) -> Tensor:
    """Of each entry; the shapes are broadcast to that of *log_mu* (..., p)."""
    log_theta = log_theta.clamp(-LOG_THETA_LIMIT, LOG_THETA_LIMIT)
    zi_logits = zi_logits.clamp(-ZI_LIMIT, ZI_LIMIT)
    x, log_theta = x.expand_as(log_mu), log_theta.expand_as(log_mu)
    theta = log_theta.exp()
    log_r = -softplus(log_mu - log_theta)  # r = theta / (theta + mu): NB(0) = r^theta
    nb_zero = theta * log_r
    zero = torch.logaddexp(logsigmoid(zi_logits), logsigmoid(-zi_logits) + nb_zero)
    positive = logsigmoid(-zi_logits) + nb_zero + x * (log_mu - log_theta + log_r)
    at = x > 0  # elsewhere the gamma functions, which are slow, cancel
    gammas = torch.lgamma(x[at] + theta[at]) - torch.lgamma(theta[at]) - torch.lgamma(x[at] + 1)
    return torch.where(at, positive, zero).index_put((at,), gammas, accumulate=True)


def gaussian_nll(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution with a learned variance.

    The learned quantity is the logarithm of the variance, not of the standard deviation. *x* (n, p); the others
    (repeats * n, p). Returns sums, shape (repeats,).
    """
    stacked = (-1, *x.shape)
    log_variance = log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT).view(stacked)
    squares = (x - mean.view(stacked)).square() * torch.exp(-log_variance)
    return 0.5 * (math.log(2 * math.pi) + log_variance + squares).sum((1, 2))
