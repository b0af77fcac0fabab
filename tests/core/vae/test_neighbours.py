import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA

from core.vae.neighbours import guides, smoother


def grid(side: int = 12) -> np.ndarray:
    return np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(float)


ONE = np.zeros(144, int)


def test_a_neighbour_across_a_border_counts_by_its_unlikeness():
    guide = (np.arange(144) % 2)[:, None] * 3.0  # stripes: of the four nearest, two are alike and two are not
    mix = smoother(grid(), ONE, k=4, weight=0.8, guides=[guide], likeness=0.7).toarray()
    inside = 5 * 12 + 5
    # squared distances among the four adjoining spots are 0 or 9, and their median over the sample is
    squared = [(guide[i] - guide[j]) ** 2 for i in range(144) for j in np.argsort(_far(i), kind="stable")[1:5]]
    likeness = np.exp(-0.7 * 9 / (np.median(squared) or np.mean(squared)))
    total = 0.2 + 2 * 0.2 + 2 * 0.2 * likeness
    assert mix[inside, inside] == pytest.approx(0.2 / total, rel=1e-5)
    assert mix[inside, inside + 12] == pytest.approx(0.2 / total, rel=1e-5)
    assert mix[inside, inside + 1] == pytest.approx(0.2 * likeness / total, rel=1e-5)
    np.testing.assert_allclose(mix.sum(1), 1, rtol=1e-5)


def _far(i: int) -> np.ndarray:
    return ((grid() - grid()[i]) ** 2).sum(1)


def test_spots_that_all_look_alike_are_meant_plainly():
    plain = smoother(grid(), ONE, k=6, weight=0.8)
    alike = smoother(grid(), ONE, k=6, weight=0.8, guides=[np.ones((144, 3))], likeness=2.0)
    np.testing.assert_allclose(alike.toarray(), plain.toarray(), rtol=1e-6)


def test_the_order_of_the_spots_does_not_matter():
    rng = np.random.default_rng(0)
    xy, guide, sample = rng.random((90, 2)), rng.standard_normal((90, 4)), rng.integers(2, size=90)
    order = rng.permutation(90)
    settings = {"k": 7, "weight": 0.9, "likeness": 0.5}
    mix = smoother(xy, sample, guides=[guide], **settings).toarray()
    moved = smoother(xy[order], sample[order], guides=[guide[order]], **settings).toarray()
    np.testing.assert_allclose(moved, mix[np.ix_(order, order)], rtol=1e-5, atol=1e-7)


def test_a_line_of_one_spot_keeps_more_of_its_own_than_a_plain_mean_leaves_it():
    rng = np.random.default_rng(1)
    line = grid()[:, 0] == 6
    guide = line[:, None] * 6.0 + rng.standard_normal((144, 3))
    plain = smoother(grid(), ONE, k=18, weight=0.95)
    edged = smoother(grid(), ONE, k=18, weight=0.95, guides=[guide], likeness=0.5)
    assert (plain @ line)[line].mean() < 0.35
    assert (edged @ line)[line].mean() > 0.8


class Same(torch.nn.Module):
    def forward(self, x, _):
        return x


def test_guides_are_principal_axes_of_the_means_of_the_first_ring():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((144, 3)) @ rng.standard_normal((3, 20)) + 5
    matrix = sparse.csr_matrix(values.astype(np.float32))
    ring = smoother(grid(), ONE, k=6, weight=6 / 7)
    found = guides({"ST": matrix}, {"ST": Same()}, grid(), ONE)[0]
    expected = PCA(3).fit_transform(ring @ values)
    found -= found.mean(0)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=0.02, atol=0.05)
