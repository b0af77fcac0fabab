"""The likelihoods of :mod:`core.vae.distributions` by compiled loops, in float32 on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear

from core.vae import kernels
from core.vae.distributions import LOG_THETA_LIMIT, LOG_VARIANCE_LIMIT, ZI_LIMIT, Rows

Given = tuple[np.ndarray, np.ndarray]  # what a layer gives but for its bias (repeats * n, p), and the bias (p,)
BLOCK = 32  # rows that a thread works on at once; sums are by block, so that they do not depend on the threads


def zinb_nll(counts: Rows, hidden: Tensor, rate: Linear, zi_logits: Linear, log_theta: Linear | Tensor) -> Tensor:
    """:func:`core.vae.distributions.zinb_nll` of what the layers give for *hidden* (repeats * n, width)."""
    evaluate = functools.partial(_zinb, counts.values.numpy(), counts.log_totals().numpy())
    layers, others = [rate, zi_logits], []
    (layers if isinstance(log_theta, Linear) else others).append(log_theta)
    return _nll(evaluate, hidden, layers, others)


def gaussian_nll(x: Tensor, hidden: Tensor, mean: Linear, log_variance: Linear) -> Tensor:
    """:func:`core.vae.distributions.gaussian_nll` of what the layers give for *hidden* (repeats * n, width)."""
    return _nll(functools.partial(_gaussian, x.numpy()), hidden, [mean, log_variance], [])


def _nll(evaluate: Callable, hidden: Tensor, layers: Sequence[Linear], others: Sequence[Tensor]) -> Tensor:
    weights = [w for layer in layers for w in (layer.weight, layer.bias)]
    return _Heads.apply(evaluate, len(layers), hidden, *weights, *others)


class _Heads(torch.autograd.Function):
    """The last layers of a decoder and the log-likelihood of what they give, with derivatives by hand.

    What the layers give is large and read once: its derivatives take its place, and the weights that the loss gives
    the repeats go into the narrow side of the products, so that nothing large is copied or scaled.
    """

    @staticmethod
    def forward(ctx, evaluate, n_layers, hidden, *parameters):
        layers, others = parameters[: 2 * n_layers], parameters[2 * n_layers :]
        given = [hidden @ weight.t() for weight in layers[::2]]  # the loops add the bias
        pairs = zip(map(_array, given), map(_array, layers[1::2]), strict=True)
        values, slopes = evaluate(*pairs, *map(_array, others))
        ctx.n_layers = n_layers
        ctx.save_for_backward(hidden, *layers[::2], *map(torch.from_numpy, slopes))
        return -torch.from_numpy(values).float()

    @staticmethod
    def backward(ctx, grad):
        """Slopes of layers: (repeats * n, p); of other parameters: (repeats, p)."""
        hidden, *rest = ctx.saved_tensors
        weights, slopes, others = rest[: ctx.n_layers], rest[ctx.n_layers : 2 * ctx.n_layers], rest[2 * ctx.n_layers :]
        by_row = -grad.repeat_interleave(len(hidden) // len(grad))
        weighted, d_hidden, d_layers = hidden * by_row[:, None], torch.zeros_like(hidden), []
        for weight, slope in zip(weights, slopes, strict=True):
            d_layers += [slope.t() @ weighted, by_row @ slope]
            d_hidden.addmm_(slope, weight)
        return None, None, d_hidden.mul_(by_row[:, None]), *d_layers, *(-grad @ slope for slope in others)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def _zinb(
    x: np.ndarray, log_totals: np.ndarray, rate: Given, zi_logits: Given, log_theta: Given | np.ndarray
) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    """Log-likelihood by repeat, and its derivatives by the last three."""
    by_spot = isinstance(log_theta, tuple)
    if by_spot:
        log_theta, bias = log_theta
        log_theta += bias
    n, p = x.shape
    rows = len(rate[0])
    repeats, blocks = rows // n, _blocks(rows, n)
    values = np.zeros((len(blocks), 2))
    d_theta = np.empty_like(log_theta) if by_spot else np.zeros((len(blocks), 1, p), np.float32)

    def work(k: int) -> None:
        block = blocks[k]
        if by_spot:
            kernels.gamma_by_spot(x, log_theta, LOG_THETA_LIMIT, *block, d_theta, values[k, 1:])
        slope, logs = (d_theta, log_theta) if by_spot else (d_theta[k], log_theta[None])
        limits = LOG_THETA_LIMIT, ZI_LIMIT
        kernels.zinb_rows(x, log_totals, *rate, logs, *zi_logits, *limits, *block, slope, values[k])

    _in_threads(work, len(blocks))
    values = values.sum(1).reshape(repeats, -1).sum(1)
    if not by_spot:
        value, d_gamma = _gamma_by_feature(x, log_theta)
        values += value
        d_theta = d_theta.reshape(repeats, -1, p).sum(1) + d_gamma
    return values, (rate[0], zi_logits[0], d_theta)


def _gamma_by_feature(x: np.ndarray, log_theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Value, and derivative by log theta, which is 0 beyond its limits."""
    slope = np.empty(len(log_theta))
    limited = np.clip(log_theta, -LOG_THETA_LIMIT, LOG_THETA_LIMIT)
    value = kernels.gamma_by_feature(x, np.exp(limited), slope)
    return value, np.where(limited == log_theta, slope, 0).astype(np.float32)


def _gaussian(x: np.ndarray, mean: Given, log_variance: Given) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    """Log-likelihood by repeat, and its derivatives by the last two."""
    n, rows = len(x), len(mean[0])
    blocks = _blocks(rows, n)
    values = np.zeros((len(blocks), 1))

    def work(k: int) -> None:
        kernels.gaussian_rows(x, *mean, *log_variance, LOG_VARIANCE_LIMIT, *blocks[k], values[k])

    _in_threads(work, len(blocks))
    return values.reshape(rows // n, -1).sum(1), (mean[0], log_variance[0])


def _blocks(rows: int, n: int) -> list[tuple[int, int]]:
    """(start, stop) of blocks of at most BLOCK rows; none goes across a multiple of *n*."""
    return [
        (start, min(start + BLOCK, first + n))
        for first in range(0, rows, n)
        for start in range(first, first + n, BLOCK)
    ]


def _in_threads(work: Callable[[int], None], times: int) -> None:
    """Call *work* with 0 to *times* - 1, in as many threads as torch uses."""
    threads = min(torch.get_num_threads(), times)
    if threads < 2:
        for k in range(times):
            work(k)
        return
    others = [_pool(threads - 1).submit(_all, work, range(start, times, threads)) for start in range(1, threads)]
    _all(work, range(0, times, threads))
    for other in others:
        other.result()


def _all(work: Callable[[int], None], which: Sequence[int]) -> None:
    for k in which:
        work(k)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="likelihood")
