"""Partners in other samples: the spot of each that looks most alike, where both think so.

Spots next to each other share most of what their encoder sees, noise included, so the embedding would set samples
apart even without a batch effect. Here partners see the mean of what each would see, as if samples were moved onto
their barycentre, but no spot must have a partner. Pairs are mutual nearest neighbours (Haghverdi et al., Nat.
Biotechnol. 36, 421-427, 2018): a domain that another sample does not have finds no partner there, since what is nearest
to it has nearer ones itself; where a domain is larger in one sample, the rest of its spots stay by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from core.vae.data import AT_ONCE, Transforming, smoothed
from core.vae.sharing import Threads

ROUNDS = 4  # of pairing and shifting in turn
PAIRED_FROM = 4000  # spots of a sample that its shift is found from
COMPARED = 512  # spots compared with all of another sample at once
FULL_SHARE = 0.25  # of the wanted pairs, with which another sample counts as much as the own


@dataclass(frozen=True)
class Shifts:
    """How each sample's encoder inputs differ from the mean sample's, where the same tissue is compared.

    Attributes
    ----------
    samples
        Names, sorted.
    values
        By modality, float32 (samples, features), on the scale of the encoder's input.
    """

    samples: tuple[str, ...]
    values: dict[str, np.ndarray]

    def of(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of the given samples (names, features); 0 for those that are not among :attr:`samples`."""
        at = np.array([self.samples.index(n) if n in self.samples else -1 for n in names])
        return {m: np.where(at[:, None] >= 0, value[at], 0).astype(np.float32) for m, value in self.values.items()}

    def as_tensors(self) -> dict:
        """Content of a file; :meth:`from_tensors` reads it."""
        values = {name: torch.from_numpy(value) for name, value in self.values.items()}
        return {"samples": list(self.samples), "values": values}

    @classmethod
    def from_tensors(cls, content: Mapping) -> Shifts:
        """Undo :meth:`as_tensors`."""
        return cls(tuple(content["samples"]), {name: value.numpy() for name, value in content["values"].items()})


def mutual_pairs(guide: np.ndarray, sample: np.ndarray, k: int) -> sparse.csr_matrix:
    """Pairs of spots of different samples of which each is among the *k* of that sample nearest to the other.

    *guide* (spots, axes), *sample* codes int (spots,). Symmetric CSR of ones, shape (spots, spots).
    """
    spots = [np.flatnonzero(sample == code) for code in np.unique(sample)]
    places = torch.from_numpy((guide - guide.mean(0)).astype(np.float32))
    rows, columns = [], []
    for own, theirs in permutations(spots, 2):
        mine, near = _nearest(places[own], places[theirs], min(k, len(theirs)))
        rows.append(own[mine])
        columns.append(theirs[near])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    found = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(guide), len(guide)))
    return found.multiply(found.T).tocsr()


def _nearest(own: Tensor, theirs: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of *own* (n, axes) and, of each, the *k* rows of *theirs* (m, axes) nearest to it, and those as near as the
    last. All are compared, by products: with so many axes a tree is no faster, and scikit-learn half as fast."""
    from core.vae import loops

    squares, starts = theirs.square().sum(1), range(0, len(own), COMPARED)
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def work(part: int, parts: int) -> None:
        for start in starts[part::parts]:
            apart = torch.addmm(squares, own[start : start + COMPARED], theirs.t(), alpha=-2).numpy()
            least = np.empty((len(apart), k), np.float32)
            loops.least_values(apart, least)
            near = np.flatnonzero(apart <= least[:, -1:])  # flat: it is faster
            rows, columns = np.divmod(near, len(theirs))
            found[start] = rows + start, columns

    with Threads(len(starts)) as share:
        share(work)
    rows, columns = zip(*(found[start] for start in starts), strict=True)
    return np.concatenate(rows), np.concatenate(columns)


def _contrast(pairs: sparse.csr_matrix, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations of the shifts: the Laplacian of the samples (samples, samples), and the coefficients
    (spots, samples) by which values make the right-hand side."""
    member = np.eye(int(sample.max()) + 1)[sample]
    coefficients = np.asarray(pairs.sum(1)).reshape(-1, 1) * member - pairs @ member
    return member.T @ coefficients, coefficients


def least_squares_shifts(values: np.ndarray, pairs: sparse.csr_matrix, sample: np.ndarray) -> np.ndarray:
    """The shift of each sample (samples, d) that leaves the smallest squared differences of *values* (spots, d)
    between paired spots; their mean is 0. A sample without pairs is not shifted."""
    laplacian, coefficients = _contrast(pairs, sample)
    return np.linalg.pinv(laplacian, hermitian=True) @ (coefficients.T @ values)


def aligned(guides: list[np.ndarray], sample: np.ndarray, k: int) -> np.ndarray:
    """*guides*, each scaled to one variance within samples, side by side and moved onto each other by sample.

    It begins with each sample's mean and goes on with mutual neighbours, so that samples of other compositions are
    not pulled onto each other's means. Shape (spots, axes of all).
    """
    member = sparse.csr_matrix(np.eye(int(sample.max()) + 1)[sample])
    size = np.asarray(member.sum(0)).reshape(-1, 1)
    scaled = []
    for guide in guides:
        within = guide - (member @ ((member.T @ guide) / size))
        scaled.append(guide / max(float(np.sqrt(within.var(axis=0).sum())), 1e-12))
    values = np.hstack(scaled).astype(np.float64)
    shifts = np.asarray(member.T @ values) / size
    few = _some_of_each(sample)
    for _ in range(ROUNDS):
        moved = values[few] - shifts[sample[few]]
        shifts = least_squares_shifts(values[few], mutual_pairs(moved, sample[few], k), sample[few])
    return values - shifts[sample]


def _some_of_each(sample: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.permutation(np.flatnonzero(sample == c))[:PAIRED_FROM] for c in np.unique(sample)])


def across(
    mix: sparse.csr_matrix, guide: np.ndarray, pairs: sparse.csr_matrix, sample: np.ndarray, *, k: int, likeness: float
) -> sparse.csr_matrix:
    """*mix* within samples, and beside it the mean over each other sample's paired spots.

    A pair counts exp(-likeness D), D its squared distance in *guide* (spots, axes) as a multiple of the median pair's.
    The own sample counts 1, each other one min(1, pairs there / (k / 4)), all divided by their sum.
    Row-stochastic CSR float32, shape (spots, spots).
    """
    n, codes = len(sample), np.unique(sample)
    row = np.repeat(np.arange(n), np.diff(pairs.indptr))
    squared = np.zeros(len(row))
    for axis in guide.T:
        squared += (axis[row] - axis[pairs.indices]) ** 2
    weight = np.exp(-likeness * squared / (np.median(squared) if len(squared) else 1.0))
    of = row * len(codes) + np.searchsorted(codes, sample[pairs.indices])  # the spot and the other's sample
    count = np.bincount(of, minlength=n * len(codes))
    share = np.minimum(1, count / (FULL_SHARE * k))
    weight *= (share / np.maximum(np.bincount(of, weights=weight, minlength=n * len(codes)), 1e-300))[of]
    total = 1 + share.reshape(n, -1).sum(1)
    others = sparse.csr_matrix((weight, pairs.indices, pairs.indptr), shape=(n, n))
    return (sparse.diags(1 / total) @ (mix + others)).tocsr().astype(np.float32)


def partners(guide: np.ndarray, pairs: sparse.csr_matrix, sample: np.ndarray) -> sparse.csr_matrix:
    """Of *pairs* those by which each spot has at most one partner in every other sample: the nearest in *guide* (spots,
    axes) first, then the nearest of spots that are both still free. Symmetric CSR of ones, shape (spots, spots)."""
    upper = sparse.triu(pairs).tocoo()
    apart = np.zeros(upper.nnz)
    for axis in guide.T:
        apart += (axis[upper.row] - axis[upper.col]) ** 2
    order = np.argsort(apart, kind="stable")
    rows, columns = upper.row[order], upper.col[order]
    taken = np.zeros((len(sample), int(sample.max()) + 1), bool).tolist()  # lists: read one by one
    of, kept = sample.tolist(), np.zeros(len(rows), bool)
    for at, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if not (taken[i][of[j]] or taken[j][of[i]]):
            taken[i][of[j]] = taken[j][of[i]] = kept[at] = True
    found = sparse.csr_matrix((np.ones(kept.sum(), np.float32), (rows[kept], columns[kept])), shape=pairs.shape)
    return found + found.T


def shared(mix: sparse.csr_matrix, partner: sparse.csr_matrix) -> sparse.csr_matrix:
    """Weights that give each spot the mean of what *mix* (row-stochastic) gives it and its partners, CSR float32."""
    group = partner + sparse.identity(len(partner.indptr) - 1, dtype=np.float32)
    return (sparse.diags(1 / np.asarray(group.sum(1)).ravel()) @ group @ mix).tocsr().astype(np.float32)


@torch.no_grad()
def fit_shifts(
    matrices: Mapping[str, sparse.csr_matrix],
    transforms: Mapping[str, Transforming],
    mix: sparse.csr_matrix,
    pairs: sparse.csr_matrix,
    sample: np.ndarray,
) -> dict[str, np.ndarray]:
    """Shifts of the encoder inputs that *mix* (within samples) makes, by modality (samples, features), float32; see
    :func:`least_squares_shifts`. Values are made in pieces."""
    laplacian, coefficients = _contrast(pairs, sample)
    inverse, shares = np.linalg.pinv(laplacian, hermitian=True), torch.from_numpy(coefficients)
    found = {}
    for name, matrix in matrices.items():
        side = np.zeros((len(inverse), matrix.shape[1]))
        for start in range(0, len(sample), AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, len(sample)))
            side += (shares[rows].T @ smoothed(matrix, mix, rows, transforms[name]).double()).numpy()
        found[name] = (inverse @ side).astype(np.float32)
    return found
