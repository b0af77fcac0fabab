"""The loss of a minibatch and its gradients by hand on the CPU: what :class:`core.vae.autograd.ByAutograd`
gives, in two thirds of the time, and in shares that threads work on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from core.vae import loops
from core.vae.adam import Adam
from core.vae.compiled import EVALUATIONS, KEPT, Heads, Hidden, Layer, Room
from core.vae.data import Dataset
from core.vae.losses import mmd, with_loss
from core.vae.module import LOG_SIGMA_LIMIT, SIGMA_FLOOR, Module
from core.vae.sharing import Threads, slice_of

FEWEST = 32  # spots that are worth a thread


def covers(module: Module) -> bool:
    return all(type(decoder["heads"]) in EVALUATIONS for decoder in module.decoders.values())


class ByHand:
    """In shares of rows: a thread takes one from the measured values to the gradients. The random numbers are drawn
    before, so they do not depend on the threads; sums over rows do, by rounding."""

    def __init__(self, module: Module, dataset: Dataset, optimizer: Adam, *, mixed: bool = False) -> None:
        self._module, self._dataset, self._optimizer, self._mixed = module, dataset, optimizer, mixed
        self._config = module.config
        self.share = Threads(-(-module.config.batch_size // FEWEST))
        self._parts: list[_Part] = []

    def __enter__(self) -> ByHand:
        self.share.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.share.__exit__(*error)

    @property
    def gradients(self) -> Sequence[Tensor]:
        return [part.gradient for part in self._parts]

    def differentiate(self, spots: np.ndarray, *, kl_share: float) -> dict[str, float]:
        weights = self._module.weights(kl_share=kl_share)
        uniforms = ()
        if self._config.dropout:
            layers = self._config.n_layers * len(self._module.modalities)
            uniforms = self._uniforms(layers, len(spots), self._config.n_hidden)
        terms, d_z = self._forward(spots, uniforms)
        d_z *= np.float32(weights["mmd"])
        by_spot = {name: weight / len(spots) for name, weight in weights.items()}
        self.share(lambda k, parts: self._parts[k].backward(by_spot, d_z[slice_of(len(spots), k, parts)]))
        return with_loss(terms, weights)

    def evaluate(self, spots: np.ndarray) -> dict[str, float]:
        terms, _ = self._forward(spots, ())
        return with_loss(terms, self._module.weights(kl_share=1.0))

    def _forward(self, spots: np.ndarray, uniforms: Sequence[np.ndarray]) -> tuple[dict[str, float], np.ndarray]:
        """Terms of the loss, and the derivative of the MMD by z."""
        noise = torch.randn(len(spots), self._config.n_latent).numpy()
        while len(self._parts) < self.share.parts:
            self._parts.append(_Part(self._module, self._dataset, self._optimizer, mixed=self._mixed))

        def work(k: int, parts: int) -> None:
            rows = slice_of(len(spots), k, parts)
            self._parts[k].forward(spots[rows], noise[rows], [drawn[rows] for drawn in uniforms])

        self.share(work)
        sums = [part.sums for part in self._parts]
        terms = {name: sum(each[name] for each in sums) / len(spots) for name in sums[0]}
        apart, d_z = self._mmd(np.concatenate([part.z for part in self._parts]), spots)
        return {**terms, "mmd": apart}, d_z

    @staticmethod
    def _uniforms(*shape: int) -> np.ndarray:
        """Of 16 bits, by numpy, which takes a fraction of torch's time; the seed is torch's, whose state is stored with
        a training."""
        n, source = math.prod(shape), np.random.SFC64(int(torch.randint(2**62, ())))
        drawn = source.random_raw(-(-n // 4)).view(np.uint16)[:n].reshape(shape)
        return drawn * np.float32(2**-16)

    def _mmd(self, z: np.ndarray, spots: np.ndarray) -> tuple[float, np.ndarray]:
        """Between the samples, with its derivative by *z*. It compares all rows with all others."""
        levels = self._module.batch_levels
        if not levels or not self._config.weight_mmd:
            return 0.0, np.zeros_like(z)
        latent = torch.from_numpy(z).requires_grad_(True)
        value = mmd(latent, torch.from_numpy(self._dataset.batch[spots, 0]), levels[0])
        value.backward()
        return value.item(), latent.grad.numpy()


class _Part:
    """What one thread does with its rows; the names are those of :meth:`Module.forward`."""

    def __init__(self, module: Module, dataset: Dataset, optimizer: Adam, *, mixed: bool) -> None:
        self._module, self._dataset = module, dataset
        self.gradient = optimizer.vector()
        gradients = dict(zip(optimizer.parameters, optimizer.views(self.gradient), strict=True))
        self._d_tables = [gradients[table.weight] for table in module.batch.tables]
        self._names = [m.name for m in module.modalities]
        hidden, heads = (partial(kind, gradients=gradients, mixed=mixed) for kind in (Hidden, Heads))
        self._encoders = [hidden(module.encoders[name]) for name in self._names]
        self._joint_mean, self._joint_log_sigma, *self._single_mean = (
            Layer(layer, gradients)
            for layer in (module.joint_mean, module.joint_log_sigma, *module.single_mean.values())
        )
        sets = [module.decoders] if module.single_decoders is None else [module.decoders, module.single_decoders]
        self._decoders = [[(hidden(d[name]["body"]), heads(d[name]["heads"])) for d in sets] for name in self._names]
        self._repeats = 2 if self._single_mean else 1
        self._rooms = lru_cache(KEPT)(self._make_room)

    def _make_room(self, n: int) -> Room:
        """Of what lies between encoders and decoders; *d_x* is the derivative by *x*."""
        config, m, width = self._module.config, len(self._names), self._module.batch.width
        narrow, single = (n, config.n_latent), (len(self._single_mean), n, config.n_latent)
        sources, hidden = (m, self._repeats, n, config.n_latent + width), config.n_hidden
        shapes = {"mean": narrow, "log_spread": narrow, "single": single, "batch": (n, width), "sources": sources}
        return Room(
            **shapes,
            **{f"d_{name}": shape for name, shape in shapes.items()},
            spread=narrow,
            d_head=single,
            joint=(n, m * hidden),
            d_joint=(n, m * hidden),
            d_hidden=(n, hidden),
        )

    @torch.no_grad()
    def forward(self, spots: np.ndarray, noise: np.ndarray, uniforms: Sequence[np.ndarray]) -> None:
        """Rows to :attr:`z` and :attr:`sums`, the terms of the loss over them."""
        self._room = self._rooms(len(spots))
        self._encode(spots, noise, uniforms)
        self._decode()

    def _encode(self, spots: np.ndarray, noise: np.ndarray, uniforms: Sequence[np.ndarray]) -> None:
        module, layers, room = self._module, self._module.config.n_layers, self._room
        self._minibatch = self._dataset.take(spots, torch.device("cpu"))
        inputs = module.inputs(self._minibatch)
        self._hidden = [
            encoder.forward(inputs[name], uniforms[k * layers : (k + 1) * layers])
            for k, (name, encoder) in enumerate(zip(self._names, self._encoders, strict=True))
        ]
        torch.cat(self._hidden, dim=1, out=room["joint"])
        self._joint_mean.forward(room["joint"], room["mean"])
        self._joint_log_sigma.forward(room["joint"], room["log_spread"])
        for head, hidden, out in zip(self._single_mean, self._hidden, room["single"], strict=False):
            head.forward(hidden, out)
        if self._d_tables:
            room["batch"].copy_(module.batch(self._minibatch.batch))
        at = room.arrays
        self._drawn = at["mean"], at["log_spread"], at["spread"], noise, at["single"]
        given, limits = (at["mean"], at["log_spread"], noise, at["single"], at["batch"]), (LOG_SIGMA_LIMIT, SIGMA_FLOOR)
        self._apart = loops.latent_rows(*given, *limits, at["spread"], at["sources"])
        self.z = at["sources"][0, 0, :, : module.config.n_latent]

    def _decode(self) -> None:
        module, several = self._module, self._module.config.weight_single
        self.sums = dict(zip(("kl", "agreement"), self._apart, strict=True))
        for name, decoders, source in zip(self._names, self._decoders, self._room["sources"], strict=True):
            rows, values, measured = self._minibatch.targets[name], [], self._minibatch.measured.get(name)
            if measured is not None:
                source = source.index_select(1, measured)  # noqa: PLW2901
            for (body, heads), x in zip(decoders, self._for_each(decoders, source), strict=True):
                hidden, repeats = body.forward(x), self._repeats // len(decoders)
                values += heads.forward(hidden, rows, module.transforms[name], repeats)
            self.sums[name.lower()] = -values[0] - several * sum(values[1:])

    @staticmethod
    def _for_each(decoders: Sequence, source: Tensor) -> Sequence[Tensor]:
        """*source* (repeats, rows, width) as one decoder sees it, or each of two."""
        return [source.flatten(0, 1)] if len(decoders) == 1 else source

    @torch.no_grad()
    def backward(self, weights: Mapping[str, float], d_z: np.ndarray) -> None:
        """Gradient of the sums with these weights; *d_z* is what comes from elsewhere."""
        for name, decoders, d_source in zip(self._names, self._decoders, self._room["d_sources"], strict=True):
            weight = -weights[name.lower()]  # the heads have the likelihood, not its negative
            by_repeat = [weight, weight * self._module.config.weight_single][: self._repeats]
            each = [by_repeat] if len(decoders) == 1 else [[w] for w in by_repeat]
            measured = self._minibatch.measured.get(name)
            wanted = d_source if measured is None else d_source[:, : len(measured)].clone()
            for (body, heads), w, d_x in zip(decoders, each, self._for_each(decoders, wanted), strict=True):
                body.backward(heads.backward(w), d_x)
            if measured is not None:
                d_source.zero_().index_copy_(1, measured, wanted)
        self._backward_to_inputs(d_z, weights["kl"], weights["agreement"])

    def _backward_to_inputs(self, d_z: np.ndarray, kl: float, agreement: float) -> None:
        room, settings = self._room, (LOG_SIGMA_LIMIT, SIGMA_FLOOR, kl, agreement)
        wanted = (room.arrays[name] for name in ("d_mean", "d_log_spread", "d_single", "d_head", "d_batch"))
        loops.latent_slopes(room.arrays["d_sources"], d_z, *self._drawn, *settings, *wanted)
        for k, d_table in enumerate(self._d_tables):
            part = room["d_batch"].chunk(len(self._d_tables), dim=1)[k]
            d_table.zero_().index_add_(0, self._minibatch.batch[:, k], part)
        d_joint = room["d_joint"]
        for k, (layer, name) in enumerate(((self._joint_mean, "d_mean"), (self._joint_log_sigma, "d_log_spread"))):
            layer.backward(room["joint"], room[name], d_joint, add=k > 0)
            layer.bias_slope(room[name])
        for k, part in enumerate(d_joint.split(self._module.config.n_hidden, dim=1)):
            d_hidden = room["d_hidden"].copy_(part)
            if self._single_mean:
                head = self._single_mean[k]
                head.backward(self._hidden[k], room["d_head"][k])
                head.bias_slope(room["d_head"][k])
                head.input_slope(room["d_single"][k], d_hidden, add=True)
            self._encoders[k].backward(d_hidden)
