"""A modality is a value; likelihoods and input transforms are looked up by name.

A third modality (protein, histology features) is one more :class:`Modality` in the list, a further error model one
more entry of :data:`LIKELIHOODS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from core.vae.distributions import Rows, gaussian_nll, zinb_nll


@dataclass(frozen=True)
class Modality:
    """What the module needs to know of one kind of measurement.

    Attributes
    ----------
    name
        As in ``var['type']``, e.g. 'ST'.
    likelihood
        Key of :data:`LIKELIHOODS`.
    input
        Key of :data:`TRANSFORMS`: what the encoder sees.
    features
        Names of its features, in order.
    weight
        Of its reconstruction in the loss.
    dispersion
        'gene' or 'spot'; read by count likelihoods only.
    """

    name: str
    likelihood: str
    input: str
    features: tuple[str, ...]
    weight: float = 1.0
    dispersion: str = "gene"


class Transform(nn.Module):
    """Values of the encoder's input (and of a Gaussian target) from measured ones, and back.

    ``x -> (f(x / total * target) - shift) / scale``, with f and the use of totals by kind; shift and scale are 0 and 1
    where the kind does not standardise.
    """

    def __init__(self, kind: str, n_features: int) -> None:
        super().__init__()
        self.kind = TRANSFORMS[kind]
        self.register_buffer("shift", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("target_total", torch.ones(()))

    def forward(self, x: Tensor, totals: Tensor) -> Tensor:
        """Of measured values (rows, features) and their sums (rows,)."""
        factor = self.target_total / totals.clamp_min(1e-12) if self.kind.rate else torch.ones_like(totals)
        if x.device.type == "cpu" and x.dtype == torch.float32:
            return self._compiled(x.contiguous(), factor)
        x = x * factor[:, None]
        if self.kind.log:
            x = torch.log1p(x)
        return (x - self.shift) / self.scale

    def _compiled(self, x: Tensor, factor: Tensor) -> Tensor:
        """The same in a sixth of the time."""
        from core.vae import loops

        out, of = torch.empty_like(x), (self.shift.numpy(), self.scale.numpy())
        loops.transform_rows(x.numpy(), factor.numpy(), self.kind.log, *of, out.numpy())
        return out

    def inverse(self, x: Tensor) -> Tensor:
        """Measured scale of transformed values (not of rates, whose totals are gone)."""
        x = x * self.scale + self.shift
        return torch.expm1(x) if self.kind.log else x


@dataclass(frozen=True)
class TransformKind:
    rate: bool = False
    log: bool = False
    standardize: bool = False


TRANSFORMS: dict[str, TransformKind] = {
    "log1p": TransformKind(log=True),
    "log1p_rate": TransformKind(rate=True, log=True),
    "standardize": TransformKind(standardize=True),
    "log1p_standardize": TransformKind(log=True, standardize=True),
}


class Likelihood(Protocol):
    """Output heads of a decoder with their error model. ``nll`` gives sums over a minibatch, one per repeat (see
    :func:`core.vae.distributions.zinb_nll`)."""

    def nll(self, hidden: Tensor, rows: Rows, transform: Transform) -> Tensor: ...

    def mean(self, hidden: Tensor) -> Tensor:
        """Expected values: shares of the library for counts, transformed values otherwise; (rows, features)."""
        ...


class Zinb(nn.Module):
    """Counts: mean = softmax times library size; dispersion; dropout logits (paper, eq. 13-15)."""

    def __init__(self, n_in: int, modality: Modality) -> None:
        super().__init__()
        p = len(modality.features)
        self.rate = nn.Linear(n_in, p)
        self.dropout_logits = nn.Linear(n_in, p)
        by_spot = modality.dispersion == "spot"
        self.log_theta = nn.Linear(n_in, p) if by_spot else nn.Parameter(torch.zeros(p))

    def nll(self, hidden: Tensor, rows: Rows, transform: Transform) -> Tensor:
        log_theta = self.log_theta(hidden).float() if isinstance(self.log_theta, nn.Module) else self.log_theta
        return zinb_nll(rows, self.rate(hidden).float(), log_theta, self.dropout_logits(hidden).float())

    def mean(self, hidden: Tensor) -> Tensor:
        return torch.softmax(self.rate(hidden).float(), dim=-1)


class Gaussian(nn.Module):
    """Intensities: mean and variance, both decoded (paper, eq. 16-17)."""

    def __init__(self, n_in: int, modality: Modality) -> None:
        super().__init__()
        self.location = nn.Linear(n_in, len(modality.features))
        self.log_variance = nn.Linear(n_in, len(modality.features))

    def nll(self, hidden: Tensor, rows: Rows, transform: Transform) -> Tensor:
        target = transform(rows.values, rows.totals)
        return gaussian_nll(target, self.location(hidden).float(), self.log_variance(hidden).float())

    def mean(self, hidden: Tensor) -> Tensor:
        return self.location(hidden).float()


class Mse(nn.Module):
    """Intensities: squared error, the paper's ablation."""

    def __init__(self, n_in: int, modality: Modality) -> None:
        super().__init__()
        self.location = nn.Linear(n_in, len(modality.features))

    def nll(self, hidden: Tensor, rows: Rows, transform: Transform) -> Tensor:
        repeats = len(hidden) // len(rows)
        each = (transform(rows.values, rows.totals).repeat(repeats, 1) - self.location(hidden).float()).square()
        return each.view(repeats, -1).sum(1)

    def mean(self, hidden: Tensor) -> Tensor:
        return self.location(hidden).float()


LIKELIHOODS: dict[str, type[nn.Module]] = {"zinb": Zinb, "gaussian": Gaussian, "mse": Mse}
COUNT_LIKELIHOODS = frozenset({"zinb"})
