"""Adam (Kingma & Ba 2015) through torch's function. The class torch.optim.Adam loads the compiler of torch when it is
made, which takes seconds and 150 MB, and is not used here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from core.vae.sharing import Share, alone, slice_of


class Adam:
    """Moments of *parameters* that are trained together, with :meth:`step` and a state that can be stored.

    The values of all parameters are moved into one vector, and so are their gradients and moments: one call of
    torch moves them all, and threads can share the work.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self._values = self.vector()
        for mine, p in zip(self.views(self._values), self.parameters, strict=True):
            p.data = mine.copy_(p.data)
        self._means, self._squares = self.vector(), self.vector()
        self._steps = 0

    def vector(self) -> Tensor:
        """Zeros, one for each value of the parameters."""
        return torch.zeros(sum(p.numel() for p in self.parameters), device=self.parameters[0].device)

    def views(self, vector: Tensor) -> list[Tensor]:
        """*vector* cut into the parameters' shapes and orders in memory."""
        starts = torch.tensor([0] + [p.numel() for p in self.parameters[:-1]]).cumsum(0).tolist()
        return [vector.as_strided(p.shape, p.stride(), at) for p, at in zip(self.parameters, starts, strict=True)]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], share: Share = alone) -> None:
        """Move the parameters against the sum of *gradients*, vectors of which the first becomes that sum; *share* may
        spread the work."""
        self._steps += 1
        share(lambda part, parts: self._move(gradients, slice_of(len(self._values), part, parts)))

    def _move(self, gradients: Sequence[Tensor], which: slice) -> None:
        total = gradients[0][which]
        for other in gradients[1:]:
            total += other[which]
        adam(
            [self._values[which]],
            [total],
            [self._means[which]],
            [self._squares[which]],
            [],
            [torch.tensor(self._steps - 1.0, device=total.device)],  # it counts on by itself
            fused=total.device.type in {"cpu", "cuda"},
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, Any]:
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._means.copy_(state["means"])
        self._squares.copy_(state["squares"])
        self._steps = state["steps"]
