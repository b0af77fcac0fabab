"""The last layers of a decoder with their likelihood, and the hidden layers, by compiled loops in float32 on the CPU,
with derivatives by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from core.vae import kernels, loops
from core.vae.distributions import LOG_THETA_LIMIT, LOG_VARIANCE_LIMIT, ZI_LIMIT, Rows
from core.vae.modality import Gaussian, Mse, Transform, Zinb

Gradients = Mapping[nn.Parameter, Tensor]  # where the derivative by a parameter is written
Given = tuple[np.ndarray, np.ndarray]  # what a layer gives but for its bias (repeats * n, p), and the bias (p,)


class Layer:
    """A linear layer: its parameters without what torch knows of them, and where their derivatives go."""

    def __init__(self, layer: nn.Linear, gradients: Gradients) -> None:
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.transposed, self.bias_array = self.weight.t(), self.bias.numpy()
        self._d_weight, self.d_bias = gradients[layer.weight], gradients[layer.bias]
        self._by_column = not self._d_weight.is_contiguous()
        self._d_transposed = self._d_weight.t()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.transposed)

    def weight_slope(self, x: Tensor, slope: Tensor) -> None:
        """From the input and the derivative by the output."""
        if self._by_column:
            torch.mm(x.t(), slope, out=self._d_transposed)
        else:
            torch.mm(slope.t(), x, out=self._d_weight)

    def slopes(self, x: Tensor, slope: Tensor) -> None:
        self.weight_slope(x, slope)
        torch.sum(slope, 0, out=self.d_bias)


class Hidden:
    """The layers that :func:`core.vae.nn.mlp` makes."""

    def __init__(self, body: nn.Sequential, gradients: Gradients) -> None:
        self._layers = [Layer(layer, gradients) for layer in body if isinstance(layer, nn.Linear)]
        norms = [layer for layer in body if isinstance(layer, nn.LayerNorm)]
        self._norms = [(_array(norm.weight), _array(norm.bias)) for norm in norms]
        self._d_norms = [(gradients[norm.weight].numpy(), gradients[norm.bias].numpy()) for norm in norms]
        self._rate = next((layer.p for layer in body if isinstance(layer, nn.Dropout)), 0.0)

    def forward(self, x: Tensor, uniforms: Sequence[Tensor] = ()) -> Tensor:
        """*uniforms*: random numbers (rows, width) of each layer; nothing is dropped without."""
        self._seen, self._dropped = [], self._rate if uniforms else 0.0
        for k, (layer, norm) in enumerate(zip(self._layers, self._norms, strict=True)):
            raw = x @ layer.transposed
            normalised, out = raw.numpy(), torch.empty_like(raw)
            inverse_sd, active = np.empty(len(x), np.float32), out.numpy()
            drawn = uniforms[k].numpy() if uniforms else active
            loops.norm_rows(normalised, layer.bias_array, *norm, drawn, self._dropped, active, inverse_sd)
            self._seen.append((x, normalised, active, inverse_sd))
            x = out
        return x

    def backward(self, slope: Tensor, d_input: Tensor | None = None) -> None:
        """Derivatives of the parameters from those by the output, which are overwritten; those by the input are
        written where they are wanted."""
        for k, layer in reversed(list(enumerate(self._layers))):
            x, normalised, active, inverse_sd = self._seen[k]
            given, wanted = (
                (active, normalised, inverse_sd, self._norms[k][0]),
                (layer.d_bias.numpy(), *self._d_norms[k]),
            )
            loops.norm_slopes(slope.numpy(), *given, self._dropped, *wanted)
            layer.weight_slope(x, slope)
            if k:
                slope = slope @ layer.weight
            elif d_input is not None:
                torch.mm(slope, layer.weight, out=d_input)


class Heads:
    """The output layers of a decoder, and the likelihood of what they give.

    That is large and read once: its derivatives take its place, and the weights of the repeats go into the narrow side
    of the products, so that nothing large is copied or scaled.
    """

    def __init__(self, heads: nn.Module, gradients: Gradients) -> None:
        names, self._evaluate = EVALUATIONS[type(heads)]
        parameters = [getattr(heads, name) for name in names]
        self._layers = [Layer(p, gradients) for p in parameters if isinstance(p, nn.Linear)]
        others = [p for p in parameters if not isinstance(p, nn.Linear)]
        self._others, self._d_others = [_array(p) for p in others], [gradients[p] for p in others]

    def forward(self, hidden: Tensor, rows: Rows, transform: Transform) -> list[float]:
        """Log-likelihood of each repeat; *hidden* (repeats * n, width)."""
        repeats = len(hidden) // len(rows)
        self._hidden, self._slopes = hidden, [hidden @ layer.transposed for layer in self._layers]
        pairs = ((slope.numpy(), layer.bias_array) for slope, layer in zip(self._slopes, self._layers, strict=True))
        values, self._other_slopes = self._evaluate(rows, transform, repeats, *pairs, *self._others)
        return values

    def backward(self, weights: Sequence[float]) -> Tensor:
        """Derivatives of the weighted sum of the repeats by the parameters; returned are those by *hidden*."""
        by_repeat = torch.tensor(weights, dtype=torch.float32)
        by_row = by_repeat.repeat_interleave(len(self._hidden) // len(weights))
        weighted, d_hidden = self._hidden * by_row[:, None], torch.zeros_like(self._hidden)
        for layer, slope in zip(self._layers, self._slopes, strict=True):
            layer.weight_slope(weighted, slope)
            torch.mv(slope.t(), by_row, out=layer.d_bias)
            d_hidden.addmm_(slope, layer.weight)
        for d_other, slope in zip(self._d_others, self._other_slopes, strict=True):
            torch.mv(torch.from_numpy(slope).t(), by_repeat, out=d_other)
        return d_hidden.mul_(by_row[:, None])


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


Found = tuple[list[float], Sequence[np.ndarray]]  # log-likelihoods by repeat; derivatives (repeats, p) of no layer


def _zinb(  # noqa: PLR0917
    rows: Rows, transform: Transform, repeats: int, rate: Given, zi_logits: Given, log_theta: Given | np.ndarray
) -> Found:
    by_spot = isinstance(log_theta, tuple)
    x, log_totals = _array(rows.values), _array(rows.log_totals())
    n, p = x.shape
    values = np.zeros((repeats, 2))
    if by_spot:
        logs, bias = log_theta
        logs += bias
        slope = np.empty_like(logs)
    else:
        logs, slope = log_theta[None], np.zeros((repeats, p), np.float32)
    for k in range(repeats):
        part, limits = (k * n, (k + 1) * n), (LOG_THETA_LIMIT, ZI_LIMIT)
        if by_spot:
            kernels.gamma_by_spot(x, logs, LOG_THETA_LIMIT, *part, slope, values[k, 1:])
        by_theta = slope if by_spot else slope[k : k + 1]
        kernels.zinb_rows(x, log_totals, *rate, logs, *zi_logits, *limits, *part, by_theta, values[k])
    if by_spot:
        logs[:] = slope  # as of the other layers
        return values.sum(1).tolist(), ()
    value, d_gamma = _gamma_by_feature(x, log_theta)
    return (values.sum(1) + value).tolist(), (slope + d_gamma,)


def _gamma_by_feature(x: np.ndarray, log_theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Value, and derivative by log theta, which is 0 beyond its limits."""
    slope = np.empty(len(log_theta))
    limited = np.clip(log_theta, -LOG_THETA_LIMIT, LOG_THETA_LIMIT)
    value = kernels.gamma_by_feature(x, np.exp(limited), slope)
    return value, np.where(limited == log_theta, slope, 0).astype(np.float32)


def _gaussian(rows: Rows, transform: Transform, repeats: int, mean: Given, log_variance: Given) -> Found:
    x, values = _array(transform(rows.values, rows.totals)), np.zeros((repeats, 1))
    n = len(x)
    for k in range(repeats):
        kernels.gaussian_rows(x, *mean, *log_variance, LOG_VARIANCE_LIMIT, k * n, (k + 1) * n, values[k])
    return values[:, 0].tolist(), ()


def _mse(rows: Rows, transform: Transform, repeats: int, location: Given) -> Found:
    x, (centre, bias) = _array(transform(rows.values, rows.totals)), location
    stacked = centre.reshape(repeats, *x.shape)
    np.subtract(x - bias, stacked, out=stacked)
    values = -np.square(stacked).sum((1, 2), dtype=np.float64)
    centre *= 2
    return values.tolist(), ()


#: the outputs of a likelihood, layers or parameters, and what evaluates them: it overwrites what the layers give
EVALUATIONS: dict[type[nn.Module], tuple[tuple[str, ...], Callable[..., Found]]] = {
    Zinb: (("rate", "dropout_logits", "log_theta"), _zinb),
    Gaussian: (("location", "log_variance"), _gaussian),
    Mse: (("location",), _mse),
}
