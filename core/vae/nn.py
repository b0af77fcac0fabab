"""Small building blocks. Layer normalisation, not batch normalisation: a minibatch of one spot is legal, and a
spot's embedding does not depend on its company."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mlp(nn.Sequential):
    """*n_layers* of linear, layer norm, ReLU and dropout."""

    def __init__(self, n_in: int, n_hidden: int, n_layers: int, dropout: float) -> None:
        layers: list[nn.Module] = []
        for k in range(n_layers):
            layers += [nn.Linear(n_in if k == 0 else n_hidden, n_hidden), nn.LayerNorm(n_hidden), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        if not on_cpu(x):
            return super().forward(x)
        from core.vae import compiled

        linears = [layer for layer in self if isinstance(layer, nn.Linear)]
        norms = [layer for layer in self if isinstance(layer, nn.LayerNorm)]
        for linear, norm in zip(linears, norms, strict=True):
            x = compiled.hidden_layer(x, linear, norm, self.dropout if self.training else 0.0)
        return x


def on_cpu(x: Tensor) -> bool:
    """Whether the compiled loops (:mod:`core.vae.compiled`) may take *x*."""
    return x.device.type == "cpu" and x.dtype == torch.float32


class BatchEmbedding(nn.Module):
    """Learned vectors of the levels of any number of batch columns, side by side.

    Parameters
    ----------
    levels
        Number of levels of each column.
    size
        Length of each column's vectors.
    """

    def __init__(self, levels: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, size) for n in levels)
        self.width = size * len(levels)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (rows, columns), int64, to (rows, width). A code of -1 stands for the mean of all levels."""
        parts = [self._look_up(table, codes[:, k]) for k, table in enumerate(self.tables)]
        return torch.cat(parts, dim=1) if parts else torch.zeros(len(codes), 0, device=codes.device)

    @staticmethod
    def _look_up(table: nn.Embedding, codes: Tensor) -> Tensor:
        known = table(codes.clamp_min(0))
        return torch.where((codes < 0)[:, None], table.weight.mean(0), known)
