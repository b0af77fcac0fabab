"""Adam (Kingma & Ba 2015) through torch's function. The class torch.optim.Adam loads the compiler of torch when it is
made, which takes seconds and 150 MB, and is not used here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.adam import adam


class Adam:
    """Moments of *parameters* that are trained together, with :meth:`step` and a state that can be stored."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        # one count each: a parameter may have no part in a loss
        self.steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have gradients, and forget these."""
        moved = [k for k, p in enumerate(self.parameters) if p.grad is not None]
        lists = (self.parameters, [p.grad for p in self.parameters], self.means, self.squares, [], self.steps)
        adam(
            *([values[k] for k in moved] if values else [] for values in lists),
            fused=self.parameters[0].device.type in {"cpu", "cuda"},
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        for p in self.parameters:
            p.grad = None

    def state(self) -> dict[str, list[torch.Tensor]]:
        return {"means": self.means, "squares": self.squares, "steps": self.steps}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave, in place."""
        for name, values in self.state().items():
            for mine, theirs in zip(values, state[name], strict=True):
                mine.copy_(theirs)
