"""The last layers of a decoder with their likelihood, and the hidden layers, by compiled loops on the CPU, with
derivatives by hand.

What a call writes stays in arrays that the next call of as many rows overwrites: making them, and the array that
shares a tensor's memory, takes as long as many of the products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from core.vae import kernels, loops
from core.vae.distributions import LOG_THETA_LIMIT, LOG_VARIANCE_LIMIT, ZI_LIMIT, Rows
from core.vae.modality import Gaussian, Mse, Transform, Zinb

Gradients = Mapping[nn.Parameter, Tensor]  # where the derivative by a parameter is written
WIDE = 256  # features from which rounding takes less than it saves
KEPT = 4  # numbers of rows whose arrays are kept: of a share, of one of the last minibatch, and of the validation's


class Layer:
    """A linear layer: its parameters without what torch knows of them, and where their derivatives go."""

    def __init__(self, layer: nn.Linear, gradients: Gradients) -> None:
        self._weight, self._bias = layer.weight.detach(), layer.bias.detach()
        self.bias = self._bias.numpy()
        self._d_weight, self._d_bias = gradients[layer.weight], gradients[layer.bias]
        self.d_bias = self._d_bias.numpy()
        self._by_column = not self._d_weight.is_contiguous()  # see core.vae.nn.mlp; a product writes row by row

    def forward(self, x: Tensor, out: Tensor) -> None:
        torch.addmm(self._bias, x, self._weight.t(), out=out)

    def product(self, x: Tensor, out: Tensor) -> None:
        """:meth:`forward` without the bias."""
        torch.mm(x, self._weight.t(), out=out)

    def backward(self, x: Tensor, slope: Tensor, d_x: Tensor | None = None, *, add: bool = False) -> None:
        """Derivatives by the weight from the input and the derivative by the output; those by the input are written
        where they are wanted, or added."""
        self._weight_slope(x, slope, self._d_weight)
        if d_x is not None:
            self.input_slope(slope, d_x, add=add)

    def _weight_slope(self, x: Tensor, slope: Tensor, out: Tensor) -> None:
        if self._by_column:
            torch.mm(x.t(), slope, out=out.t())
        else:
            torch.mm(slope.t(), x, out=out)

    def input_slope(self, slope: Tensor, d_x: Tensor, *, add: bool = False) -> None:
        torch.addmm(d_x, slope, self._weight, beta=int(add), out=d_x)

    def bias_slope(self, slope: Tensor) -> None:
        torch.sum(slope, 0, out=self._d_bias)


class Bfloat16Layer(Layer):
    """The same with products of bfloat16 numbers, of 8 significant bits; what goes in and comes out is float32."""

    def __init__(self, layer: nn.Linear, gradients: Gradients) -> None:
        super().__init__(layer, gradients)
        self._rounded = torch.empty_like(self._weight, dtype=torch.bfloat16)
        self._d_rounded = torch.empty_like(self._rounded)
        self._rooms = lru_cache(KEPT)(self._make_room)

    def _make_room(self, n: int) -> tuple[Tensor, ...]:
        n_out, n_in = self._weight.shape
        return tuple(torch.empty(n, width, dtype=torch.bfloat16) for width in (n_in, n_out, n_in))

    def product(self, x: Tensor, out: Tensor) -> None:
        self._x, (seen, given, _) = x, self._rooms(len(x))
        torch.mm(seen.copy_(x), self._rounded.copy_(self._weight).t(), out=given)
        out.copy_(given)

    def backward(self, x: Tensor, slope: Tensor, d_x: Tensor | None = None, *, add: bool = False) -> None:
        """After :meth:`product`, whose rounded weight it takes, and rounded input where *x* is the same."""
        seen, given, d_seen = self._rooms(len(x))
        self._weight_slope(seen if x is self._x else seen.copy_(x), given.copy_(slope), self._d_rounded)
        self._d_weight.copy_(self._d_rounded)
        if d_x is not None:
            torch.mm(given, self._rounded, out=d_seen)
            d_x.add_(d_seen) if add else d_x.copy_(d_seen)


def _layer(layer: nn.Linear, gradients: Gradients, *, mixed: bool) -> Layer:
    return (Bfloat16Layer if mixed and max(layer.weight.shape) >= WIDE else Layer)(layer, gradients)


class Room:
    """Tensors of given shapes, and the same memory as arrays."""

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self._tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
        self.arrays = {name: tensor.numpy() for name, tensor in self._tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]


class Hidden:
    """The layers that :func:`core.vae.nn.mlp` makes."""

    def __init__(self, body: nn.Sequential, gradients: Gradients, *, mixed: bool = False) -> None:
        self._layers = [_layer(layer, gradients, mixed=mixed) for layer in body if isinstance(layer, nn.Linear)]
        norms = [layer for layer in body if isinstance(layer, nn.LayerNorm)]
        self._norms = [(_array(norm.weight), _array(norm.bias)) for norm in norms]
        self._d_norms = [(gradients[norm.weight].numpy(), gradients[norm.bias].numpy()) for norm in norms]
        self._rate = next((layer.p for layer in body if isinstance(layer, nn.Dropout)), 0.0)
        self._width = len(self._norms[0][0])
        self._rooms = lru_cache(KEPT)(self._make_rooms)

    def _make_rooms(self, n: int) -> list[Room]:
        wide = (n, self._width)
        return [Room(normalised=wide, active=wide, inverse_sd=(n,), d_active=wide) for _ in self._layers]

    def forward(self, x: Tensor, uniforms: Sequence[np.ndarray] = ()) -> Tensor:
        """*uniforms*: random numbers (rows, width) of each layer; nothing is dropped without."""
        self._dropped = self._rate if uniforms else 0.0
        self._seen, rooms = [], self._rooms(len(x))
        for k, (layer, norm, room) in enumerate(zip(self._layers, self._norms, rooms, strict=True)):
            layer.product(x, room["normalised"])
            normalised, active, inverse_sd, _ = room.arrays.values()
            drawn = uniforms[k] if uniforms else active
            loops.norm_rows(normalised, layer.bias, *norm, drawn, self._dropped, active, inverse_sd)
            self._seen.append((x, room))
            x = room["active"]
        return x

    def backward(self, slope: Tensor, d_input: Tensor | None = None) -> None:
        """Derivatives of the parameters from those by the output, which are overwritten; those by the input are
        written where they are wanted."""
        for k, layer in reversed(list(enumerate(self._layers))):
            x, room = self._seen[k]
            normalised, active, inverse_sd, _ = room.arrays.values()
            given, wanted = (active, normalised, inverse_sd, self._norms[k][0]), (layer.d_bias, *self._d_norms[k])
            loops.norm_slopes(slope.numpy(), *given, self._dropped, *wanted)
            d_x = self._seen[k - 1][1]["d_active"] if k else d_input
            layer.backward(x, slope, d_x)
            slope = d_x


class Heads:
    """The output layers of a decoder, and the likelihood of what they give.

    That is large and read once: its derivatives take its place, and the weights of the repeats go into the narrow side
    of the products, so that nothing large is copied or scaled.
    """

    def __init__(self, heads: nn.Module, gradients: Gradients, *, mixed: bool = False) -> None:
        names, self._evaluate = EVALUATIONS[type(heads)]
        outputs = [getattr(heads, name) for name in names]
        linear = [output for output in outputs if isinstance(output, nn.Linear)]
        self._layers, self._shape = [_layer(each, gradients, mixed=mixed) for each in linear], linear[0].weight.shape
        narrow = [output.bias if isinstance(output, nn.Linear) else output for output in outputs]
        self._narrow, self._d_narrow = [_array(p) for p in narrow], [_array(gradients[p]) for p in narrow]
        self._rooms = lru_cache(KEPT)(self._make_rooms)

    def _make_rooms(self, n: int) -> tuple[Room, Room]:
        """Of the outputs, and of what is as wide as the hidden layer."""
        p, width = self._shape
        outputs = {str(k): (n, p) for k in range(len(self._layers))}
        return Room(**outputs), Room(weighted=(n, width), d_hidden=(n, width), by_row=(n, 1))

    def forward(self, hidden: Tensor, rows: Rows, transform: Transform, repeats: int) -> list[float]:
        """Log-likelihood of each repeat; *hidden* (repeats * n, width)."""
        self._hidden, (outputs, _) = hidden, self._rooms(len(hidden))
        self._slopes = [outputs[str(k)] for k in range(len(self._layers))]
        for layer, output in zip(self._layers, self._slopes, strict=True):
            layer.product(hidden, output)
        self._narrow_slopes = np.zeros((len(self._narrow), repeats, rows.values.shape[1]), np.float32)
        given = list(outputs.arrays.values())
        return self._evaluate(rows, transform, given, self._narrow, self._narrow_slopes).tolist()

    def backward(self, weights: Sequence[float]) -> Tensor:
        """Derivatives of the weighted sum of the repeats by the parameters; returned are those by *hidden*."""
        by_repeat, (_, room) = np.array(weights, np.float32), self._rooms(len(self._hidden))
        room.arrays["by_row"].reshape(len(weights), len(self._hidden) // len(weights))[:] = by_repeat[:, None]
        weighted = torch.mul(self._hidden, room["by_row"], out=room["weighted"])
        for k, (layer, slope) in enumerate(zip(self._layers, self._slopes, strict=True)):
            layer.backward(weighted, slope, room["d_hidden"], add=k > 0)
        for wanted, slope in zip(self._d_narrow, self._narrow_slopes, strict=True):
            np.matmul(by_repeat, slope, out=wanted)
        return room["d_hidden"].mul_(room["by_row"])


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


# What follows gives log-likelihoods by repeat, float64. *given* is what the layers give but for their biases, each
# (repeats * n, p): its derivatives take its place. *narrow*, each (p,), are the biases and what else there is one of
# for each feature; derivatives by them are added to *slopes* (of these, repeats, p).


def _zinb(
    rows: Rows, transform: Transform, given: Sequence[np.ndarray], narrow: Sequence[np.ndarray], slopes: np.ndarray
) -> np.ndarray:
    (rate, zi_logits, *by_spot), (rate_bias, zi_bias, log_theta) = given, narrow
    x, log_totals = _array(rows.values), _array(rows.log_totals())
    n, p = x.shape
    repeats = slopes.shape[1]
    values, limits = np.zeros((repeats, 2)), (LOG_THETA_LIMIT, ZI_LIMIT)
    logs = by_spot[0] + log_theta if by_spot else log_theta[None]
    for k in range(repeats):
        part = (k * n, (k + 1) * n)
        by_theta = by_spot[0] if by_spot else slopes[2, k : k + 1]
        if by_spot:
            kernels.gamma_by_spot(x, logs, LOG_THETA_LIMIT, *part, by_theta, values[k, 1:])
        heads = (rate, rate_bias, logs, zi_logits, zi_bias)
        kernels.zinb_rows(x, log_totals, *heads, *limits, *part, by_theta, slopes[0, k], slopes[1, k], values[k])
    if by_spot:
        slopes[2] = by_spot[0].reshape(repeats, n, p).sum(1)
    else:
        value, slope = _gamma_by_feature(x, log_theta)
        values[:, 1] = value
        slopes[2] += slope
    return values.sum(1)


def _gamma_by_feature(x: np.ndarray, log_theta: np.ndarray) -> tuple[float, np.ndarray]:
    """Value, and derivative by log theta, which is 0 beyond its limits."""
    slope = np.empty(len(log_theta))
    limited = np.clip(log_theta, -LOG_THETA_LIMIT, LOG_THETA_LIMIT)
    value = kernels.gamma_by_feature(x, np.exp(limited), slope)
    return value, np.where(limited == log_theta, slope, 0).astype(np.float32)


def _gaussian(
    rows: Rows, transform: Transform, given: Sequence[np.ndarray], narrow: Sequence[np.ndarray], slopes: np.ndarray
) -> np.ndarray:
    x, values = _array(transform(rows.values, rows.totals)), np.zeros((slopes.shape[1], 1))
    (mean, log_variance), biases, n = given, narrow, len(x)
    for k in range(len(values)):
        heads, part = (mean, biases[0], log_variance, biases[1]), (k * n, (k + 1) * n)
        kernels.gaussian_rows(x, *heads, LOG_VARIANCE_LIMIT, *part, slopes[0, k], slopes[1, k], values[k])
    return values[:, 0]


def _mse(
    rows: Rows, transform: Transform, given: Sequence[np.ndarray], narrow: Sequence[np.ndarray], slopes: np.ndarray
) -> np.ndarray:
    x = _array(transform(rows.values, rows.totals))
    apart = given[0].reshape(slopes.shape[1], *x.shape)
    np.subtract(x - narrow[0], apart, out=apart)
    values = -np.square(apart).sum((1, 2), dtype=np.float64)
    apart *= 2
    slopes[0] = apart.sum(1)
    return values


#: the outputs of a likelihood, layers or parameters, and what evaluates them: it overwrites what the layers give
EVALUATIONS: dict[type[nn.Module], tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {
    Zinb: (("rate", "dropout_logits", "log_theta"), _zinb),
    Gaussian: (("location", "log_variance"), _gaussian),
    Mse: (("location",), _mse),
}
