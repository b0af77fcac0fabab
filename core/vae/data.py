"""Minibatches cut from sparse matrices; the matrices are never made dense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from core.vae.distributions import SparseRows

#: a smoothed copy of a matrix is kept when it takes at most this much; else it is computed batch by batch
SMOOTHED_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Minibatch:
    """Rows of all modalities.

    Attributes
    ----------
    targets
        Measured values by modality; what is reconstructed.
    inputs
        What the encoders see: the targets themselves, or smoothed over spatial neighbours.
    batch
        Codes of the batch columns, int64, shape (rows, columns).
    """

    targets: dict[str, SparseRows]
    inputs: dict[str, SparseRows]
    batch: Tensor

    def __len__(self) -> int:
        return len(self.batch)


class Dataset:
    """Sparse matrices of the same spots.

    Parameters
    ----------
    matrices
        CSR by modality, shape (spots, features of the modality), float32.
    batch
        Codes of the batch columns, int64, shape (spots, columns).
    smoother
        Row-stochastic CSR (spots, spots) that makes encoder inputs of values; None: inputs are the values.
    """

    def __init__(
        self, matrices: Mapping[str, sparse.csr_matrix], batch: np.ndarray, smoother: sparse.csr_matrix | None = None
    ) -> None:
        self.matrices = dict(matrices)
        self.batch = np.ascontiguousarray(batch, dtype=np.int64)
        self._smoother = smoother
        self._smoothed = {} if smoother is None else dict(self._smooth_small())

    def __len__(self) -> int:
        return len(self.batch)

    def _smooth_small(self) -> Iterator[tuple[str, sparse.csr_matrix]]:
        for name, matrix in self.matrices.items():
            if matrix.shape[0] * matrix.shape[1] * 8 <= SMOOTHED_BYTES:
                yield name, sparse.csr_matrix(self._smoother @ matrix)

    def take(self, rows: np.ndarray, device: torch.device) -> Minibatch:
        """The minibatch of the given spots, int64 (n,)."""
        targets = {name: _sparse_rows(matrix[rows], device) for name, matrix in self.matrices.items()}
        inputs = targets
        if self._smoother is not None:
            inputs = {name: _sparse_rows(self._smooth(name, rows), device) for name in self.matrices}
        return Minibatch(targets, inputs, torch.from_numpy(self.batch[rows]).to(device))

    def _smooth(self, name: str, rows: np.ndarray) -> sparse.csr_matrix:
        if name in self._smoothed:
            return self._smoothed[name][rows]
        return self._smoother[rows] @ self.matrices[name]


def _sparse_rows(matrix: sparse.csr_matrix, device: torch.device) -> SparseRows:
    dense = torch.from_numpy(matrix.toarray()).to(device)
    values, columns = torch.from_numpy(matrix.data), torch.from_numpy(matrix.indices.astype(np.int64))
    return SparseRows(dense, values.to(device), columns.to(device), dense.sum(1))


def batches(spots: np.ndarray, size: int) -> list[np.ndarray]:
    """*spots* cut into pieces of *size*, the last possibly smaller; no spot is dropped."""
    return [spots[k : k + size] for k in range(0, len(spots), size)]


def column_moments(matrix: sparse.csr_matrix, *, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (1 where it is 0) of each column of x or log1p(x), float64, shape (features,)."""
    n = matrix.shape[0]
    values = np.log1p(matrix.data, dtype=np.float64) if log else matrix.data.astype(np.float64)
    mean = np.bincount(matrix.indices, weights=values, minlength=matrix.shape[1]) / n
    # two passes: the variance of large intensities does not survive E[x²] - E[x]²
    stored = np.bincount(matrix.indices, minlength=matrix.shape[1])
    values -= mean[matrix.indices]
    np.square(values, out=values)
    squares = np.bincount(matrix.indices, weights=values, minlength=matrix.shape[1]) + (n - stored) * mean**2
    sd = np.sqrt(squares / max(n, 1))
    return mean, np.where(sd > 1e-12 * np.maximum(np.abs(mean), 1e-300), sd, 1.0)
