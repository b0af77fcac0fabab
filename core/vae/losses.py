"""Terms of the loss that act on the latent space, and the sum of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

#: widths of the Gaussian kernels, as in scArches (Lotfollahi et al. 2022; trVAE, 2020)
KERNEL_WIDTHS = (
    *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0),
    *(1e2, 1e3, 1e4, 1e5, 1e6),
)

Number = TypeVar("Number", float, Tensor)

NEXT_TO_NOTHING = -80.0  # the exponential of less is rounded with much ado


def kl_to_standard_normal(mean: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mean, sigma²) || N(0, 1)), summed over all entries. *sigma* is the standard deviation."""
    return 0.5 * (mean.square() + sigma.square() - 1 - 2 * sigma.log()).sum()


def gaussian_kernels(x: Tensor, widths: tuple[float, ...] = KERNEL_WIDTHS) -> Tensor:
    """Sum over *widths* w of exp(-d² / 2w) between all rows of *x* (n, d), shape (n, n)."""
    norms = x.square().sum(1)
    squared = (norms[:, None] + norms[None] - 2 * x @ x.T).clamp_min(0)
    squared = squared.fill_diagonal_(0.0)  # but for rounding, which the narrowest kernels would see
    return _SumOfKernels.apply(squared, widths)


class _SumOfKernels(torch.autograd.Function):
    """Its derivative is summed beside it: the (n, n, widths) exponentials are neither kept nor passed through again."""

    @staticmethod
    def forward(ctx, squared, widths):
        value, slope = torch.zeros_like(squared), torch.zeros_like(squared)
        for width in widths:
            each = (squared * (-0.5 / width)).clamp_(min=NEXT_TO_NOTHING).exp_()
            value += each
            slope.add_(each, alpha=-0.5 / width)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


def mmd(x: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Squared maximum mean discrepancy with multi-scale Gaussian kernels, summed over all pairs of groups.

    Parameters
    ----------
    x
        Latent values, shape (n, d).
    group
        Group of each row, int64, shape (n,). Pairs with a group that has no row here count nothing.
    """
    member = torch.nn.functional.one_hot(group, n_groups).to(x.dtype)
    size = member.sum(0)
    present = (size > 0).to(x.dtype)
    share = member / size.clamp_min(1)
    between = share.T @ gaussian_kernels(x) @ share  # mean kernel of each pair of groups
    within = between.diagonal()
    pairs = within[:, None] + within[None] - 2 * between
    return 0.5 * (pairs * present[:, None] * present[None]).sum()


def with_loss(terms: Mapping[str, Number], weights: Mapping[str, float]) -> dict[str, Number]:
    """The terms and, first, their weighted sum as ``loss``."""
    return {"loss": sum(weights[name] * value for name, value in terms.items()), **terms}
