"""The loss of a minibatch with its gradients: by torch's automatic differentiation, or by hand on the CPU.

:class:`ByAutograd` runs :class:`core.vae.module.Module` as it is written, on any device. :mod:`core.vae.byhand` gives
the same loss and gradients on the CPU, where a step is so short that keeping a graph is a good part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core.vae.adam import Adam
from core.vae.config import IntegrateConfig
from core.vae.data import Dataset
from core.vae.modality import Modality
from core.vae.module import Losses, Module
from core.vae.sharing import Share, alone

Numbers = dict[str, float]  # means over spots by term, and 'loss', their weighted sum


class Step(Protocol):
    """What the training needs; used within ``with``."""

    gradients: Sequence[Tensor]  # vectors (see Adam.views) whose sum is the gradient of what was differentiated last
    share: Share

    def __enter__(self) -> Step: ...

    def __exit__(self, *error: object) -> None: ...

    def differentiate(self, spots: np.ndarray, *, kl_share: float) -> Numbers:
        """The loss of the given spots, int64 (n,), with dropout and this share of the weight of KL; its gradient is
        left in :attr:`gradients`."""
        ...

    def evaluate(self, spots: np.ndarray) -> Numbers:
        """The loss without dropout, with the full weight of KL."""
        ...


def make_step(module: Module, dataset: Dataset, optimizer: Adam) -> Step:
    """By hand on the CPU, where all likelihoods have loops."""
    if next(module.parameters()).device.type == "cpu":
        from core.vae.byhand import ByHand, covers

        if covers(module):
            return ByHand(module, dataset, optimizer)
    return ByAutograd(module, dataset, optimizer)


def weights_of(config: IntegrateConfig, modalities: Sequence[Modality], *, kl_share: float) -> dict[str, float]:
    """Of the terms of the loss."""
    others = {"kl": config.weight_kl * kl_share, "mmd": config.weight_mmd, "agreement": config.weight_agreement}
    return {m.name.lower(): m.weight for m in modalities} | others


class ByAutograd:
    def __init__(self, module: Module, dataset: Dataset, optimizer: Adam) -> None:
        self._module, self._dataset = module, dataset
        self._device = next(module.parameters()).device
        self.gradients, self.share = [optimizer.vector()], alone
        for p, slope in zip(optimizer.parameters, optimizer.views(self.gradients[0]), strict=True):
            p.grad = slope

    def __enter__(self) -> ByAutograd:
        return self

    def __exit__(self, *_: object) -> None:
        self._module.zero_grad()

    def differentiate(self, spots: np.ndarray, *, kl_share: float) -> Numbers:
        self._module.train()
        self.gradients[0].zero_()
        terms, loss = self._loss(spots, kl_share)
        loss.backward()
        return self._numbers(terms, loss)

    @torch.no_grad()
    def evaluate(self, spots: np.ndarray) -> Numbers:
        self._module.eval()
        return self._numbers(*self._loss(spots, 1.0))

    def _loss(self, spots: np.ndarray, kl_share: float) -> tuple[dict[str, Tensor], Tensor]:
        with self._precision():
            terms = _terms(self._module(self._dataset.take(spots, self._device)))
        weights = weights_of(self._module.config, self._module.modalities, kl_share=kl_share)
        return terms, sum(weights[name] * value for name, value in terms.items())

    def _precision(self) -> AbstractContextManager:
        if self._device.type == "cuda":  # bfloat16 has float32's range: no loss scaling is needed
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    @staticmethod
    def _numbers(terms: Mapping[str, Tensor], loss: Tensor) -> Numbers:
        every = {"loss": loss, **terms}
        values = torch.stack([t.detach() for t in every.values()]).tolist()  # one wait for the device, not one per term
        return dict(zip(every, values, strict=True))


def _terms(losses: Losses) -> dict[str, Tensor]:
    others = {"kl": losses.kl, "mmd": losses.mmd, "agreement": losses.agreement}
    return {name.lower(): value for name, value in losses.reconstruction.items()} | others
