"""What training needs of a minibatch: its loss and gradients, by torch's automatic differentiation or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from core.vae.adam import Adam
from core.vae.autograd import ByAutograd
from core.vae.byhand import ByHand, covers
from core.vae.data import Dataset
from core.vae.module import Module
from core.vae.sharing import Share


class Step(Protocol):
    """What the training needs; used within ``with``."""

    gradients: Sequence[Tensor]  # vectors (see Adam.views) whose sum is the gradient of what was differentiated last
    share: Share

    def __enter__(self) -> Step: ...

    def __exit__(self, *error: object) -> None: ...

    def differentiate(self, spots: np.ndarray, *, kl_share: float) -> dict[str, float]:
        """Means over the given spots, int64 (n,), of each term and of their weighted sum, ``loss``, with dropout and
        this share of the weight of KL; its gradient is left in :attr:`gradients`."""
        ...

    def evaluate(self, spots: np.ndarray) -> dict[str, float]:
        """The same without dropout and gradient, with the full weight of KL."""
        ...


def make_step(module: Module, dataset: Dataset, optimizer: Adam, *, mixed: bool) -> Step:
    """By hand on the CPU, where all likelihoods have loops; *mixed*: wide products of bfloat16 numbers."""
    if next(module.parameters()).device.type == "cpu" and covers(module):
        return ByHand(module, dataset, optimizer, mixed=mixed)
    return ByAutograd(module, dataset, optimizer, mixed=mixed)
