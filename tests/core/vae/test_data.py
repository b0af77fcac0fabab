import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from core.vae.data import Dataset, batches, column_moments, smoothed
from core.vae.modality import TRANSFORMS, Transform
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
    mixed = (mix @ matrix).toarray()[rows]
    expected = np.log1p(mixed / mixed.sum(1, keepdims=True))
    np.testing.assert_array_equal(kept.take(rows, CPU).inputs["ST"].numpy(), made.take(rows, CPU).inputs["ST"].numpy())
    for dataset in (kept, made):
        np.testing.assert_allclose(dataset.take(rows, CPU).inputs["ST"].numpy(), expected, rtol=1e-3)
        np.testing.assert_array_equal(dataset.take(rows, CPU).targets["ST"].values.numpy(), matrix.toarray()[rows])


def test_smoothed_inputs_do_not_depend_on_the_threads():
    matrix, rows = random_matrix(1200, 5), np.random.default_rng(1).permutation(1200)[:1100]
    mix = smoother(np.random.default_rng(0).random((1200, 2)), np.zeros(1200, int), k=4, weight=0.5)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(smoothed(matrix, mix, rows, lambda x, totals: x / totals[:, None]).numpy())
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_transforms_are_numpys_formulas(kind: str):
    rng = np.random.default_rng(0)
    x = (rng.random((7, 37)) ** 8 * 1000).astype(np.float32)  # more features than a vector register has lanes
    x[0, :2] = 0, 1e6
    totals = x.sum(1)
    totals[1] = 0
    transform = Transform(kind, 37)
    transform.shift.copy_(torch.from_numpy(rng.random(37)))
    transform.scale.copy_(torch.from_numpy(rng.random(37) + 0.5))
    transform.target_total.fill_(20.0)
    values = x.astype(float)
    if "rate" in kind:
        values *= 20 / np.maximum(totals, 1e-12).astype(float)[:, None]
    if "log1p" in kind:
        values = np.log1p(values)
    values = (values - transform.shift.double().numpy()) / transform.scale.double().numpy()
    for kept in (torch.float32, torch.float64):  # the loop, and what runs where there is none
        found = transform(torch.from_numpy(x).to(kept), torch.from_numpy(totals).to(kept))
        assert found.dtype == kept
        np.testing.assert_allclose(found.numpy(), values, rtol=2e-6, atol=1e-6)
    transform.shift.zero_()
    small = torch.tensor([[1e-20, 1e-7, 1e-3]]).repeat(1, 13)[:, :37].contiguous()
    found = transform(small, torch.full((1,), 20.0)) * transform.scale
    np.testing.assert_allclose(found.numpy(), np.log1p(small.numpy()) if "log1p" in kind else small.numpy(), rtol=2e-6)


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
