"""The loss of a minibatch and its gradients by hand, in float32 on the CPU: what :class:`core.vae.step.ByAutograd`
gives, in two thirds of the time, and in shares that threads work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from core.vae import loops
from core.vae.adam import Adam
from core.vae.compiled import Gradients, Heads, Hidden, Layer
from core.vae.data import Dataset
from core.vae.losses import mmd
from core.vae.module import LOG_SIGMA_LIMIT, SIGMA_FLOOR, Module
from core.vae.step import Numbers, weights_of

FEWEST = 32  # spots that are worth a thread


class ByHand:
    """In shares of rows: a thread takes one from the measured values to the gradients, and torch uses no threads of
    its own meanwhile, which would wait for each other after every product. The random numbers are drawn before."""

    def __init__(self, module: Module, dataset: Dataset, optimizer: Adam) -> None:
        self._module, self._dataset, self._optimizer = module, dataset, optimizer
        self._parts: list[_Part] = []
        self._vectors: list[Tensor] = []
        self.gradients = self._vectors

    def __enter__(self) -> ByHand:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        # each thread of OpenMP's has a number of its own
        settle = {"initializer": torch.set_num_threads, "initargs": (1,)}
        self._pool = ThreadPoolExecutor(self._threads - 1, "step", **settle) if self._threads > 1 else None
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)
        if self._pool is not None:
            self._pool.shutdown()

    def share(self, work: Callable[[int, int], None]) -> None:
        self._run(work, self._threads)

    def _run(self, work: Callable[[int, int], None], times: int) -> None:
        others = [self._pool.submit(work, k, times) for k in range(1, times)]
        work(0, times)
        for other in others:
            other.result()

    def differentiate(self, spots: np.ndarray, *, kl_share: float) -> Numbers:
        return self._loss(spots, kl_share, training=True)

    def evaluate(self, spots: np.ndarray) -> Numbers:
        return self._loss(spots, 1.0, training=False)

    def _loss(self, spots: np.ndarray, kl_share: float, *, training: bool) -> Numbers:
        module, config = self._module, self._module.config
        weights = weights_of(config, module.modalities, kl_share=kl_share)
        noise = torch.randn(len(spots), config.n_latent)
        drops = config.n_layers * len(module.modalities) if training and config.dropout else 0
        uniforms = self._uniforms(drops, len(spots), config.n_hidden)
        parts = self._some(min(self._threads, -(-len(spots) // FEWEST)))
        rows = [slice(*(k * len(spots) // len(parts) for k in (i, i + 1))) for i in range(len(parts))]

        def encode(k: int, _: int) -> None:
            parts[k].encode(spots[rows[k]], noise[rows[k]], [u[rows[k]] for u in uniforms])

        def decode(k: int, _: int) -> None:
            parts[k].decode()
            if training:
                parts[k].backward(weights, len(spots), slope[rows[k]])

        self._run(encode, len(parts))
        apart, slope = self._mmd(torch.cat([part.z for part in parts]), spots)
        slope *= weights["mmd"]
        self._run(decode, len(parts))
        terms = {name: sum(part.sums[name] for part in parts) / len(spots) for name in parts[0].sums} | {"mmd": apart}
        return {"loss": sum(weights[name] * value for name, value in terms.items()), **terms}

    @staticmethod
    def _uniforms(*shape: int) -> np.ndarray:
        """By numpy, which takes a tenth of the time, from a seed by torch, whose state is stored with a training."""
        seed = int(torch.randint(2**62, ()))
        return np.random.Generator(np.random.SFC64(seed)).random(shape, dtype=np.float32)

    def _some(self, n: int) -> list[_Part]:
        while len(self._parts) < n:
            self._vectors.append(self._optimizer.vector())
            views = self._optimizer.views(self._vectors[-1])
            self._parts.append(
                _Part(self._module, self._dataset, dict(zip(self._optimizer.parameters, views, strict=True)))
            )
        self.gradients = self._vectors[:n]
        return self._parts[:n]

    def _mmd(self, z: Tensor, spots: np.ndarray) -> tuple[float, Tensor]:
        """Between the samples, with its derivative by *z*. It compares all rows with all others."""
        levels = self._module.batch_levels
        if not levels or not self._module.config.weight_mmd:
            return 0.0, torch.zeros_like(z)
        value = mmd(z.requires_grad_(True), torch.from_numpy(self._dataset.batch[spots, 0]), levels[0])
        value.backward()
        return value.item(), z.grad


class _Part:
    """What one thread does with its rows; the names are those of :meth:`Module.forward`."""

    def __init__(self, module: Module, dataset: Dataset, gradients: Gradients) -> None:
        self._module, self._dataset, self._gradients = module, dataset, gradients
        self._names = [m.name for m in module.modalities]
        self._encoders = [Hidden(module.encoders[name], gradients) for name in self._names]
        self._joint_mean, self._joint_log_sigma, *self._single_mean = (
            Layer(layer, gradients)
            for layer in (module.joint_mean, module.joint_log_sigma, *module.single_mean.values())
        )
        sets = [module.decoders] if module.single_decoders is None else [module.decoders, module.single_decoders]
        self._decoders = [
            [(Hidden(d[name]["body"], gradients), Heads(d[name]["heads"], gradients)) for d in sets]
            for name in self._names
        ]
        self._repeats = 2 if self._single_mean else 1

    @torch.no_grad()
    def encode(self, spots: np.ndarray, noise: Tensor, uniforms: Sequence[np.ndarray]) -> None:
        """Rows to :attr:`z`."""
        module, latent, layers = self._module, self._module.config.n_latent, self._module.config.n_layers
        self._minibatch = self._dataset.take(spots, torch.device("cpu"))
        inputs = module.inputs(self._minibatch)
        self._hidden = [
            encoder.forward(inputs[name], uniforms[k * layers : (k + 1) * layers])
            for k, (name, encoder) in enumerate(zip(self._names, self._encoders, strict=True))
        ]
        self._joint = torch.cat(self._hidden, dim=1)
        mean, log_spread = self._joint_mean(self._joint), self._joint_log_sigma(self._joint)
        single = torch.empty(len(self._single_mean), len(spots), latent)
        for k, head in enumerate(self._single_mean):
            single[k] = head(self._hidden[k])
        batch, spread = module.batch(self._minibatch.batch), torch.empty_like(mean)
        self._sources = torch.empty(len(self._names), self._repeats, len(spots), latent + batch.shape[1])
        self._drawn = [values.numpy() for values in (mean, log_spread, spread, noise, single)]
        given = (mean, log_spread, noise, single, batch)
        limits, found = (LOG_SIGMA_LIMIT, SIGMA_FLOOR), (spread.numpy(), self._sources.numpy())
        self._apart = loops.latent_rows(*(values.numpy() for values in given), *limits, *found)
        self.z = self._sources[0, 0, :, :latent]

    @torch.no_grad()
    def decode(self) -> None:
        """Rows to :attr:`sums`, the terms of the loss over them."""
        module, several = self._module, self._module.config.weight_single
        self.sums = dict(zip(("kl", "agreement"), self._apart, strict=True))
        for name, decoders, source in zip(self._names, self._decoders, self._sources, strict=True):
            rows, values = self._minibatch.targets[name], []
            for (body, heads), x in zip(decoders, self._for_each(decoders, source), strict=True):
                values += heads.forward(body.forward(x), rows, module.transforms[name])
            self.sums[name.lower()] = -values[0] - several * sum(values[1:])

    @staticmethod
    def _for_each(decoders: Sequence, source: Tensor) -> Sequence[Tensor]:
        """*source* (repeats, rows, width) as one decoder sees it, or each of two."""
        return [source.view(-1, source.shape[-1])] if len(decoders) == 1 else source

    @torch.no_grad()
    def backward(self, weights: Mapping[str, float], n: int, d_z: Tensor) -> None:
        """Gradients of the terms with these weights, as means over *n* spots; *d_z* is what comes from elsewhere."""
        d_sources = torch.empty_like(self._sources)
        for name, decoders, d_source in zip(self._names, self._decoders, d_sources, strict=True):
            weight = -weights[name.lower()] / n  # the heads have the likelihood, not its negative
            by_repeat = [weight, weight * self._module.config.weight_single][: self._repeats]
            each = [by_repeat] if len(decoders) == 1 else [[w] for w in by_repeat]
            for (body, heads), w, d_x in zip(decoders, each, self._for_each(decoders, d_source), strict=True):
                body.backward(heads.backward(w), d_x)
        self._backward_to_inputs(d_sources, d_z, weights["kl"] / n, weights["agreement"] / n)

    def _backward_to_inputs(self, d_sources: Tensor, d_z: Tensor, kl: float, agreement: float) -> None:
        mean, *_, single = self._drawn
        d_mean, d_log_spread, d_single, d_head = (torch.empty(a.shape) for a in (mean, mean, single, single))
        d_batch = torch.empty(len(mean), self._module.batch.width)
        wanted = (d_mean, d_log_spread, d_single, d_head, d_batch)
        settings = (LOG_SIGMA_LIMIT, SIGMA_FLOOR, kl, agreement)
        loops.latent_slopes(d_sources.numpy(), d_z.numpy(), *self._drawn, *settings, *(a.numpy() for a in wanted))
        self._batch_slopes(d_batch)
        self._joint_mean.slopes(self._joint, d_mean)
        self._joint_log_sigma.slopes(self._joint, d_log_spread)
        d_joint = torch.addmm(d_mean @ self._joint_mean.weight, d_log_spread, self._joint_log_sigma.weight)
        for k, d_hidden in enumerate(d_joint.split(self._module.config.n_hidden, dim=1)):
            d_hidden = d_hidden.contiguous()  # noqa: PLW2901
            if self._single_mean:
                head = self._single_mean[k]
                head.slopes(self._hidden[k], d_head[k])
                d_hidden.addmm_(d_single[k], head.weight)
            self._encoders[k].backward(d_hidden)

    def _batch_slopes(self, slope: Tensor) -> None:
        codes, tables = self._minibatch.batch, self._module.batch.tables
        for k, (table, part) in enumerate(zip(tables, slope.chunk(max(1, len(tables)), dim=1), strict=False)):
            self._gradients[table.weight].zero_().index_add_(0, codes[:, k], part)
