import numpy as np
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from core.vae.data import Dataset, batches, column_moments
from core.vae.neighbours import smoother

CPU = torch.device("cpu")


def random_matrix(n: int = 30, p: int = 8, seed: int = 0) -> sparse.csr_matrix:
    return sparse.random(n, p, density=0.4, format="csr", dtype=np.float32, random_state=seed)


def test_take_gives_the_rows_asked_for():
    matrix, batch = random_matrix(), np.arange(30)[:, None] % 3
    rows = np.array([4, 0, 29])
    minibatch = Dataset({"ST": matrix}, batch).take(rows, CPU)
    found = minibatch.targets["ST"]
    np.testing.assert_array_equal(found.values.numpy(), matrix.toarray()[rows])
    np.testing.assert_allclose(found.totals.numpy(), matrix.toarray()[rows].sum(1), rtol=1e-6)
    np.testing.assert_array_equal(minibatch.batch.numpy(), batch[rows])


class Rates(torch.nn.Module):
    def forward(self, x, totals):
        return torch.log1p(x / totals[:, None])


def test_smoothed_inputs_are_the_same_kept_or_made_on_the_way(monkeypatch):
    matrix, batch = random_matrix(600), np.zeros((600, 0), dtype=int)
    mix = smoother(np.random.default_rng(0).random((600, 2)), np.zeros(600, int), k=4, weight=0.5)
    kept, made = Dataset({"ST": matrix}, batch, mix), Dataset({"ST": matrix}, batch, mix)
    kept.prepare({"ST": Rates()})
    monkeypatch.setattr("core.vae.data.PREPARED_BYTES", 0)
    made.prepare({"ST": Rates()})
    rows = np.array([3, 599, 7])
    smoothed = (mix @ matrix).toarray()[rows]
    expected = np.log1p(smoothed / smoothed.sum(1, keepdims=True))
    np.testing.assert_array_equal(kept.take(rows, CPU).inputs["ST"].numpy(), made.take(rows, CPU).inputs["ST"].numpy())
    for dataset in (kept, made):
        np.testing.assert_allclose(dataset.take(rows, CPU).inputs["ST"].numpy(), expected, rtol=1e-3)
        np.testing.assert_array_equal(dataset.take(rows, CPU).targets["ST"].values.numpy(), matrix.toarray()[rows])


def test_batches_keep_every_spot():
    pieces = batches(np.arange(257), 128)
    assert [len(p) for p in pieces] == [128, 128, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), np.arange(257))


def test_column_moments_are_those_of_the_dense_matrix():
    matrix = random_matrix()
    matrix.data = matrix.data * 1e4 + 1e5  # large values with a small spread
    for log in (False, True):
        dense = matrix.toarray().astype(float)
        dense = np.log1p(dense) if log else dense
        mean, sd = column_moments(matrix, log=log)
        np.testing.assert_allclose(mean, dense.mean(0), rtol=1e-10)
        np.testing.assert_allclose(sd, dense.std(0), rtol=1e-10)


def test_column_moments_of_a_constant_column_do_not_divide_by_zero():
    _, sd = column_moments(sparse.csr_matrix(np.array([[2.0, 0.0], [2.0, 0.0]])), log=False)
    np.testing.assert_array_equal(sd, [1.0, 1.0])


def test_smoother_takes_the_nearest_of_the_same_sample():
    rng = np.random.default_rng(1)
    xy, sample = rng.random((60, 2)), rng.integers(2, size=60)
    mix = smoother(xy, sample, k=5, weight=0.4).toarray()
    np.testing.assert_allclose(mix.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.diag(mix), 0.6, rtol=1e-6)
    for code in (0, 1):
        spots = np.flatnonzero(sample == code)
        found = NearestNeighbors(n_neighbors=5).fit(xy[spots]).kneighbors(return_distance=False)
        for row, near in zip(spots, found, strict=True):
            assert set(np.flatnonzero(mix[row])) - {row} == set(spots[near])


def test_smoother_with_coinciding_and_lone_spots():
    mix = smoother(np.zeros((5, 2)), np.array([0, 0, 0, 0, 1]), k=6, weight=0.5).toarray()
    np.testing.assert_allclose(mix.sum(1), 1, rtol=1e-6)
    assert mix[4, 4] == 1
    np.testing.assert_allclose(np.diag(mix)[:4], 0.5)
