"""The loss of a minibatch and its gradients by torch's automatic differentiation: :class:`core.vae.module.Module` as it
is written, on any device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from core.vae.adam import Adam
from core.vae.data import Dataset
from core.vae.losses import with_loss
from core.vae.module import Module
from core.vae.sharing import alone


class ByAutograd:
    def __init__(self, module: Module, dataset: Dataset, optimizer: Adam, *, mixed: bool = False) -> None:
        self._module, self._dataset = module, dataset
        self._device = next(module.parameters()).device
        self._mixed = mixed  # products in bfloat16, which has float32's range: no loss scaling
        self.gradients, self.share = [optimizer.vector()], alone
        for p, slope in zip(optimizer.parameters, optimizer.views(self.gradients[0]), strict=True):
            p.grad = slope

    def __enter__(self) -> ByAutograd:
        return self

    def __exit__(self, *_: object) -> None:
        self._module.zero_grad()

    def differentiate(self, spots: np.ndarray, *, kl_share: float) -> dict[str, float]:
        self._module.train()
        self.gradients[0].zero_()
        terms = self._terms(spots, kl_share)
        terms["loss"].backward()
        return _numbers(terms)

    @torch.no_grad()
    def evaluate(self, spots: np.ndarray) -> dict[str, float]:
        self._module.eval()
        return _numbers(self._terms(spots, 1.0))

    def _terms(self, spots: np.ndarray, kl_share: float) -> dict[str, Tensor]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            terms = self._module(self._dataset.take(spots, self._device))
        return with_loss(terms, self._module.weights(kl_share=kl_share))


def _numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    values = torch.stack([t.detach() for t in terms.values()]).tolist()  # one wait for the device, not one per term
    return dict(zip(terms, values, strict=True))
