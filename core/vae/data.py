"""Minibatches cut from sparse matrices; the matrices are never made dense."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from core.vae.distributions import Rows
from core.vae.sharing import Threads

#: the smoothed inputs of the encoders, which are dense by nature, are kept, in half precision if need be, when they
#: take at most this much; else they are computed batch by batch. The values are the same.
PREPARED_BYTES = 1024**3
#: of inputs that are needed twice, kept meanwhile; more are made twice
KEPT_BYTES = 128 * 1024**2
PIECE = 256  # spots that one thread smooths at once
AT_ONCE = 8 * PIECE  # spots whose inputs are made before they are used


#: values (rows, features) and their sums (rows,) to encoder inputs
Transforming = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Correction:
    """What is taken off the encoder inputs: *shifts* of samples, by modality (samples, features) float32, in the share
    that each sample has in an input. *sample*: code of each spot, int (spots,)."""

    sample: np.ndarray
    shifts: Mapping[str, np.ndarray]

    def of(self, name: str, weights: sparse.csr_matrix, near: np.ndarray) -> Tensor:
        """For inputs made by *weights* (rows, near) of the spots *near*; shape (rows, features)."""
        shifts = self.shifts[name]
        shares = weights @ np.eye(len(shifts), dtype=np.float32)[self.sample[near]]
        return torch.from_numpy(shares) @ torch.from_numpy(shifts)


@dataclass(frozen=True)
class Minibatch:
    """Rows of all modalities.

    Attributes
    ----------
    targets
        Measured values by modality; what is reconstructed.
    inputs
        What the encoders see, transformed, float32; left out where it is the transformed targets.
    batch
        Codes of the batch columns, int64, shape (rows, columns).
    measured
        Which rows the targets are, int64, for modalities that not all rows have.
    """

    targets: dict[str, Rows]
    inputs: dict[str, Tensor]
    batch: Tensor
    measured: dict[str, Tensor] = field(default_factory=dict)

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
    correction
        Taken off the smoothed inputs; None: nothing.
    measured
        By modality, bool (spots,): the encoders see all values, but only these are reconstructed. Left out: all.
    """

    def __init__(
        self,
        matrices: Mapping[str, sparse.csr_matrix],
        batch: np.ndarray,
        smoother: sparse.csr_matrix | None = None,
        correction: Correction | None = None,
        measured: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.matrices = dict(matrices)
        self._measured = {name: which for name, which in (measured or {}).items() if not which.all()}
        self._totals = {name: _totals(matrix) for name, matrix in self.matrices.items()}
        self.batch = np.ascontiguousarray(batch, dtype=np.int64)
        self.smoother, self._correction = smoother, correction
        self._transforms: dict[str, nn.Module] = {}
        self._prepared: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.batch)

    def prepare(self, transforms: Mapping[str, nn.Module]) -> None:
        """Give the transforms by which smoothed values (rows, features) and their sums (rows,) become encoder inputs;
        these are kept where they are small enough."""
        self._transforms = {name: copy.deepcopy(transforms[name]).cpu() for name in self.matrices}
        self._prepared = {}
        if self.smoother is None:
            return
        everything = np.arange(len(self))
        values = len(self) * sum(matrix.shape[1] for matrix in self.matrices.values())
        kind = torch.float32 if values * 4 <= PREPARED_BYTES else torch.float16
        if values * 2 <= PREPARED_BYTES:
            self._prepared = {name: self._smoothed(name, everything).to(kind) for name in self.matrices}

    def take(self, rows: np.ndarray, device: torch.device) -> Minibatch:
        """The minibatch of the given spots, int64 (n,)."""
        measured = {name: np.flatnonzero(which[rows]) for name, which in self._measured.items()}
        taken = {name: rows[measured[name]] if name in measured else rows for name in self.matrices}
        targets = {name: self._rows(name, taken[name]).to(device) for name in self.matrices}
        made = measured if self.smoother is None else self._transforms
        inputs = {name: self._input(name, rows).to(device).float() for name in made}
        known = {name: torch.from_numpy(at).to(device) for name, at in measured.items()}
        return Minibatch(targets, inputs, torch.from_numpy(self.batch[rows]).to(device), known)

    def _rows(self, name: str, rows: np.ndarray) -> Rows:
        """Of a matrix without duplicate entries."""
        from core.vae import loops

        matrix = self.matrices[name]
        values = np.empty((len(rows), matrix.shape[1]), np.float32)
        loops.dense_rows(matrix.indptr, matrix.indices, matrix.data, rows, values)
        return Rows(torch.from_numpy(values), self._totals[name][rows])

    def _input(self, name: str, rows: np.ndarray) -> Tensor:
        if name in self._prepared:
            return self._prepared[name].index_select(0, torch.from_numpy(rows))
        if self.smoother is None:
            all_rows = self._rows(name, rows)
            return self._transforms[name](all_rows.values, all_rows.totals)
        return self._smoothed(name, rows)

    def _smoothed(self, name: str, rows: np.ndarray) -> Tensor:
        return self.inputs_by(self.smoother, name, rows)

    def inputs_by(self, smoother: sparse.csr_matrix, name: str, rows: np.ndarray) -> Tensor:
        """Inputs of one encoder, float16 (rows, features), as another *smoother* would make them."""
        less = None if self._correction is None else partial(self._correction.of, name)
        return smoothed(self.matrices[name], smoother, rows, self._transforms[name], less)


@torch.no_grad()
def smoothed(
    matrix: sparse.csr_matrix,
    smoother: sparse.csr_matrix,
    rows: np.ndarray,
    transform: Transforming,
    less: Callable[[sparse.csr_matrix, np.ndarray], Tensor] | None = None,
) -> Tensor:
    """Smoothed and then transformed values of the given spots, with *less* (see :meth:`Correction.of`)
    taken off, float16, shape (rows, features)."""
    out = torch.empty(len(rows), matrix.shape[1], dtype=torch.float16)
    starts = range(0, len(rows), PIECE)

    def work(part: int, parts: int) -> None:
        for start in starts[part::parts]:
            weights = smoother[rows[start : start + PIECE]]
            near, columns = np.unique(weights.indices, return_inverse=True)
            weights = sparse.csr_matrix((weights.data, columns, weights.indptr), (weights.shape[0], len(near)))
            mixed = torch.from_numpy(_product(weights, matrix, near))
            values = transform(mixed, mixed.sum(1))
            out[start : start + PIECE] = values if less is None else values - less(weights, near)

    with Threads(len(starts)) as share:
        share(work)
    return out


def _product(weights: sparse.csr_matrix, matrix: sparse.csr_matrix, near: np.ndarray) -> np.ndarray:
    """*weights* (rows, near) times the rows *near* of *matrix*, float32 (rows, features)."""
    from core.vae import loops

    values = np.empty((len(near), matrix.shape[1]), np.float32)
    loops.dense_rows(matrix.indptr, matrix.indices, matrix.data, near.astype(np.int64), values)
    mixed = np.empty((weights.shape[0], matrix.shape[1]), np.float32)
    places = (each.astype(np.int64) for each in (weights.indptr, weights.indices))
    loops.mixed_rows(*places, weights.data.astype(np.float32, copy=False), values, mixed)
    return mixed


def _totals(matrix: sparse.csr_matrix) -> Tensor:
    return torch.from_numpy(np.asarray(matrix.sum(1, dtype=np.float64), dtype=np.float32).ravel())


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
