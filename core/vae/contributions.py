"""How much each modality tells of the joint embedding, by angular similarity (paper, eq. 20-21).

Published is the angle about the origin between a spot's joint and single embeddings. Where the origin lies is chance,
and a network has seen the noise that it embeds, by which it tells domains apart that its modality can not. So here

- what a modality alone tells is its input projected on the covariance with the joint embedding (the first step of
  partial least squares, which has nothing to fit), taken from one half of the spots and applied to means over the
  other half, so that no noise is met twice;
- the angle is taken about the centres of other kinds of spots: between the step from there to the spot in the joint
  embedding and the same step as the modality alone sees it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.cluster.vq import kmeans2

from core.vae.data import AT_ONCE, KEPT_BYTES, Dataset

SPLITS = 2  # ways to cut the spots in halves; more steady the more, at their cost
CENTRES = 20  # kinds of spots that a spot is compared with; 7 to 80 say much the same
FITTED_ON = 5000  # spots that covariances and centres are taken from
DEAD = 1e-3  # variance of a direction, as a share of the mean one, from which it counts less


def about_origin(joint: np.ndarray, single: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The published form: shares of the similarities 1 - angle / pi of *joint* to each of *single*, all of shape
    (spots, n_latent)."""
    return shares({name: 1 - _angle(joint, mean) / np.pi for name, mean in single.items()})


def shares(similarity: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Similarities (spots,) of at least 0, scaled to a sum of 1 in each spot; equal where all are 0."""
    least = 1e-9
    total = sum(similarity.values()) + least * len(similarity)
    return {name: (value + least) / total for name, value in similarity.items()}


@dataclass(frozen=True)
class Contrasts:
    """What was learned of one training to say the contributions of its spots and of new ones.

    Attributes
    ----------
    scale
        Turns the joint embedding so that it has equal variance in all directions, shape (n_latent, axes).
    centres
        Of kinds of spots in that space, shape (kinds, axes).
    projections
        By modality: encoder inputs to what they tell of the joint embedding, from each half of each cut, shape
        (SPLITS, 2, features, axes).
    seen_centres
        By modality: the *centres* as it sees them, shape (kinds, axes).
    """

    scale: np.ndarray
    centres: np.ndarray
    projections: dict[str, np.ndarray]
    seen_centres: dict[str, np.ndarray]

    def contributions(self, dataset: Dataset, joint: np.ndarray) -> dict[str, np.ndarray]:
        """Shares (spots,) of the modalities, in [0, 1] with sum 1, of spots with *joint* embeddings (spots, n_latent).

        The similarity of a modality is 1 - 2 angle / pi, mean over all kinds of spots but the spot's own, at least 0:
        a right angle is what chance gives.
        """
        return self._shares(dataset, joint, _seen(_Halves(dataset), self.projections))

    def _shares(self, dataset: Dataset, joint: np.ndarray, seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        where = _smooth(dataset, joint @ self.scale)
        own = ((where[:, None] - self.centres[None]) ** 2).sum(2).argmin(1)
        similarity = {name: self._similarity(where, own, name, _smooth(dataset, at)) for name, at in seen.items()}
        return shares(similarity)

    def as_tensors(self) -> dict:
        """Content of a file; :meth:`from_tensors` reads it."""
        return _each(torch.from_numpy, vars(self))

    @classmethod
    def from_tensors(cls, content: Mapping) -> Contrasts:
        """Undo :meth:`as_tensors`."""
        return cls(**_each(torch.Tensor.numpy, content))

    def _similarity(self, where: np.ndarray, own: np.ndarray, name: str, seen: np.ndarray) -> np.ndarray:
        total = np.zeros(len(where))
        for kind, (centre, seen_centre) in enumerate(zip(self.centres, self.seen_centres[name], strict=True)):
            angle = _angle(where - centre, seen - seen_centre)
            total += np.where(own == kind, 0.0, 1 - 2 * angle / np.pi)
        return np.clip(total / max(len(self.centres) - 1, 1), 0, 1)


def learn(dataset: Dataset, joint: np.ndarray, seed: int = 0) -> tuple[Contrasts, dict[str, np.ndarray]]:
    """Projections and centres from the spots of a training and their *joint* embeddings (spots, n_latent), and what
    :meth:`Contrasts.contributions` says of these spots."""
    joint = joint.astype(np.float64)
    few = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:FITTED_ON])
    scale = _scale(joint[few])
    target = torch.from_numpy(_within(joint @ scale, dataset.batch).astype(np.float32)) / len(few)
    projections = {name: np.zeros((SPLITS, 2, m.shape[1], scale.shape[1])) for name, m in dataset.matrices.items()}
    halves = _Halves(dataset, asked_twice=True)
    for cut, half in halves.weights:
        for name, values in projections.items():
            for rows, inputs in halves.inputs(cut, half, name, few):
                values[cut, half] += (inputs.float().t() @ target[rows]).numpy()
    where = _smooth(dataset, joint @ scale)[few]
    kind = _kinds(where, seed)
    seen = _seen(halves, projections)
    seen_centres = {name: _means(values[few], kind) for name, values in seen.items()}
    contrasts = Contrasts(scale, _means(where, kind), projections, seen_centres)
    return contrasts, contrasts._shares(dataset, joint, seen)


Pieces = Iterable[tuple[np.ndarray, torch.Tensor]]


class _Halves:
    """What encoders see by a random half of the spots alone; made once where it is *asked_twice* and small.

    Attributes
    ----------
    weights
        By cut and half: the smoother's weights on that half, rows summing to 1, or to 0 where a spot has no neighbour
        in it, CSR (spots, spots). Without a smoother a spot is its own and only neighbour.
    """

    def __init__(self, dataset: Dataset, *, asked_twice: bool = False) -> None:
        n, p = len(dataset), sum(matrix.shape[1] for matrix in dataset.matrices.values())
        self.dataset, self._keeps = dataset, asked_twice and 2 * n * p * 2 * SPLITS <= KEPT_BYTES
        self._kept: dict[tuple[int, int, str], Pieces] = {}
        smoother = sparse.identity(n, format="csr", dtype=np.float32) if dataset.smoother is None else dataset.smoother
        self.weights = {}
        for cut in range(SPLITS):
            side = np.random.default_rng(cut).permutation(n) % 2
            for half in (0, 1):
                kept = sparse.csr_matrix(smoother @ sparse.diags_array((side == half).astype(np.float32)))
                kept.eliminate_zeros()
                total = np.asarray(kept.sum(1)).ravel()
                kept.data /= np.repeat(total, np.diff(kept.indptr))
                self.weights[cut, half] = kept

    def inputs(self, cut: int, half: int, name: str, spots: np.ndarray) -> Pieces:
        """Pieces of *spots* (n,), without those that have no weights, and their inputs, float16 (piece, features)."""
        key = cut, half, name
        if not self._keeps:
            return self._made(*key, spots)
        if key not in self._kept:
            self._kept[key] = list(self._made(*key, np.arange(len(self.dataset))))
        if len(spots) == len(self.dataset):
            return self._kept[key]
        wanted = [(rows, inputs, np.isin(rows, spots)) for rows, inputs in self._kept[key]]
        return [(rows[these], inputs[torch.from_numpy(these)]) for rows, inputs, these in wanted]

    def _made(self, cut: int, half: int, name: str, spots: np.ndarray) -> Pieces:
        weights = self.weights[cut, half]
        filled = spots[np.diff(weights.indptr)[spots] > 0]
        for start in range(0, len(filled), AT_ONCE):
            rows = filled[start : start + AT_ONCE]
            yield rows, self.dataset.inputs_by(weights, name, rows)


def _seen(halves: _Halves, projections: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What each modality tells of the joint embedding of the spots, shape (spots, axes): means over one half of a
    spot's neighbours by the projections of the other half, averaged."""
    n = len(halves.dataset)
    found = {name: np.zeros((n, values.shape[-1])) for name, values in projections.items()}
    times = np.zeros((n, 1))
    for (cut, half), weights in halves.weights.items():
        times[np.diff(weights.indptr) > 0] += 1
        for name, values in projections.items():
            projection = torch.from_numpy(values[cut, 1 - half].astype(np.float32))
            for rows, inputs in halves.inputs(cut, half, name, np.arange(n)):
                found[name][rows] += (inputs.float() @ projection).numpy()
    return {name: values / times for name, values in found.items()}


def _smooth(dataset: Dataset, values: np.ndarray) -> np.ndarray:
    return values if dataset.smoother is None else dataset.smoother @ values


def _scale(joint: np.ndarray) -> np.ndarray:
    """(n_latent, n_latent) that gives *joint* (n, n_latent) equal variance in all directions that are not dead."""
    centred = joint - joint.mean(0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(joint))
    return axes / np.sqrt(np.maximum(variance, DEAD * max(variance.mean(), 1e-12)))


def _within(values: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """*values* (spots, axes) less the mean of their batch, so that batches do not count as kinds of spots."""
    group = np.unique(batch, axis=0, return_inverse=True)[1].ravel() if batch.shape[1] else np.zeros(len(values), int)
    return values - _means(values, group)[group]


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean of *values* (n, d) in each group, shape (groups, d)."""
    member = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))))
    return np.asarray(member @ values) / np.asarray(member.sum(1)).reshape(-1, 1)


def _kinds(where: np.ndarray, seed: int) -> np.ndarray:
    """Kind of each spot of *where* (n, axes) by k-means, numbered without a gap."""
    start = np.random.default_rng(seed).permutation(len(where))[:CENTRES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a kind that lost its spots
        found = kmeans2(where, where[start], minit="matrix", iter=20)[1]
    return np.unique(found, return_inverse=True)[1]


def _each(change: Callable, content: Mapping) -> dict:
    """*content* with each value changed, also those of mappings in it."""
    return {k: _each(change, v) if isinstance(v, Mapping) else change(v) for k, v in content.items()}


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle (n,) between the rows of two arrays (n, d), radians; a right one where a row is 0."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.arccos(np.clip((a * b).sum(1) / np.maximum(norms, 1e-300), -1, 1))
