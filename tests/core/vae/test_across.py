import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from core.datasets import SimulateConfig, simulate
from core.preprocessing import FeaturesConfig, select_features
from core.reassignment import reassign
from core.vae import IntegrateConfig, integrate, load, loops
from core.vae.across import across, aligned, least_squares_shifts, mutual_pairs, partners, shared
from core.vae.data import Correction
from core.vae.mixing import mixing
from core.vae.modality import Transform
from tests.core.vae.conftest import make_pair
from tests.core.vae.test_train import Recorder


def test_pairs_are_mutual_nearest_neighbours_of_scikit_learn():
    rng = np.random.default_rng(0)
    guide, sample = rng.standard_normal((70, 5)), np.arange(70) % 3
    found = mutual_pairs(guide, sample, 6).toarray()
    expected = np.zeros((70, 70))
    for theirs in range(3):
        spots = np.flatnonzero(sample == theirs)
        near = NearestNeighbors(n_neighbors=6).fit(guide[spots]).kneighbors(guide, return_distance=False)
        for i in np.flatnonzero(sample != theirs):
            expected[i, spots[near[i]]] = 1
    np.testing.assert_array_equal(found, expected * expected.T)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 7), (40, 300, 18)])
def test_least_values_are_those_of_sorting(shape):
    n, m, k = shape
    values = np.random.default_rng(0).standard_normal((n, m)).astype(np.float32).round(1)  # with ties
    found = np.empty((n, k), np.float32)
    loops.least_values(values, found)
    np.testing.assert_array_equal(found, np.sort(values, axis=1)[:, :k])


def test_shifts_are_the_least_squares_of_the_paired_differences():
    rng = np.random.default_rng(1)
    values, sample = rng.standard_normal((60, 4)), np.arange(60) % 3
    pairs = mutual_pairs(values[:, :2], sample, 5)
    i, j = sparse.triu(pairs).nonzero()
    rows = np.eye(3)[sample[i]] - np.eye(3)[sample[j]]
    expected = np.linalg.lstsq(rows, values[i] - values[j], rcond=None)[0]  # of the smallest norm: their mean is 0
    np.testing.assert_allclose(least_squares_shifts(values, pairs, sample), expected, atol=1e-10)


def test_weights_of_a_tiny_example_by_hand():
    # spots 0, 1 of the first sample, 2, 3 of the second, 4 of a third that resembles nobody
    sample, guide = np.array([0, 0, 1, 1, 2]), np.array([[0.0], [3.0], [1.0], [2.0], [99.0]])
    pairs = sparse.csr_matrix(
        np.array([[0, 0, 1, 1, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5], "f4")
    )
    mix = sparse.csr_matrix(np.kron(np.diag([1, 1, 0]), np.full((2, 2), 0.5))[:5, :5] + np.diag([0, 0, 0, 0, 1.0]))
    found = across(mix, guide, pairs, sample, k=8, likeness=0.5).toarray()
    a, b = np.exp(-0.5 * np.array([1, 4]) / 1)  # squared distances of the pairs are 1, 4, 1 and the median is 1
    # two of the wanted eight pairs are a quarter: the other sample counts in full; with one pair it counts half
    np.testing.assert_allclose(found[0], [0.25, 0.25, 0.5 * a / (a + b), 0.5 * b / (a + b), 0], rtol=1e-6)
    np.testing.assert_allclose(found[1], [1 / 3, 1 / 3, 0, 1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(found[4], [0, 0, 0, 0, 1])


def test_partners_are_a_stable_matching():
    # nearest first among free ones gives the matching in which no two spots would both rather have each other
    # (Gale & Shapley 1962); with symmetric distances there is one
    rng = np.random.default_rng(4)
    guide, sample = rng.standard_normal((90, 3)), np.arange(90) % 3
    pairs = mutual_pairs(guide, sample, 8)
    found = partners(guide, pairs, sample)
    assert (found != found.T).nnz == 0
    assert found.multiply(pairs).nnz == found.nnz > 0
    assert (found @ np.eye(3)[sample]).max() == 1  # at most one in every other sample
    apart = np.linalg.norm(guide[:, None] - guide[None], axis=2)
    own = np.full((90, 3), np.inf)
    i, j = found.nonzero()
    own[i, sample[j]] = apart[i, j]
    i, j = pairs.nonzero()
    assert (apart[i, j] >= np.minimum(own[i, sample[j]], own[j, sample[i]])).all()


def test_partners_share_what_they_see_and_others_keep_theirs():
    mix = sparse.csr_matrix(np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.25, 0.75]], "f4"))
    partner = sparse.csr_matrix(np.array([[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], "f4"))
    found = shared(mix, partner).toarray()
    np.testing.assert_allclose(found[[0, 3]], [[0.25, 0.25, 0.125, 0.375]] * 2)
    np.testing.assert_allclose(found[1:3], np.eye(4)[1:3])


def test_the_rest_of_a_domain_that_is_larger_in_one_sample_stays_by_itself():
    rng = np.random.default_rng(5)
    domain = np.repeat([0, 1, 0, 1], [150, 50, 50, 150])  # three quarters of one sample, a quarter of the other
    sample = np.repeat([0, 1], 200)
    guide = 8 * np.eye(2)[domain] + 0.5 * rng.standard_normal((400, 2)) + 3.0 * sample[:, None]
    moved = aligned([guide], sample, 30)
    i, j = partners(moved, mutual_pairs(moved, sample, 30), sample).nonzero()
    assert (domain[i] == domain[j]).all()
    assert 60 < len(i) / 2 <= 100  # of 200: not more than the smaller share of each domain


def domains(rng: np.random.Generator, missing: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Guide (spots, 4), domain and sample: four domains, of which the second sample may lack one; it is shifted."""
    domain = np.repeat([0, 1, 2, 3] * 2, 60)
    sample = np.repeat([0, 1], 240)
    keep = (sample == 0) | (domain != missing)
    guide = 8 * np.eye(4)[domain] + rng.standard_normal((480, 4)) + 3.0 * sample[:, None]
    return guide[keep], domain[keep], sample[keep]


@pytest.mark.parametrize("missing", [None, 2])
def test_a_domain_that_another_sample_lacks_is_paired_with_nothing(missing):
    guide, domain, sample = domains(np.random.default_rng(2), missing)
    moved = aligned([guide], sample, 18)
    i, j = mutual_pairs(moved, sample, 18).nonzero()
    alone = (domain[i] == missing) | (domain[j] == missing)
    assert alone.mean() < 0.02
    assert (domain[i] == domain[j])[~alone].mean() > 0.99
    scale = np.linalg.norm(guide[0] - guide[100]) / np.linalg.norm(moved[0] - moved[100])
    for d in (0, 1, 3):  # the samples' means differ where one lacks a domain; those of the same domain must not
        apart = moved[(domain == d) & (sample == 0)].mean(0) - moved[(domain == d) & (sample == 1)].mean(0)
        assert np.abs(apart).max() * scale < 0.6


def test_the_shift_of_a_sample_is_found_and_taken_off():
    rng = np.random.default_rng(3)
    n, p = 200, 30
    domain, sample = rng.integers(3, size=n), np.array(["a", "b"])[np.arange(n) % 2]
    level = rng.standard_normal((3, p)) * 2
    true = rng.standard_normal(p) * (sample == "b")[:, None]
    values = np.exp(level[domain] + true + 9 + 0.1 * rng.standard_normal((n, p)))
    xy = np.stack([domain * 1000.0 + rng.random(n) * 10, rng.random(n) * 10], axis=1)
    transform = Transform("log1p_standardize", p)
    config = IntegrateConfig(neighbours=6, neighbour_weight=0.9, neighbour_likeness=0.5, neighbours_across=10)
    found = mixing({"SM": sparse.csr_matrix(values.astype("f4"))}, {"SM": transform}, xy, sample, config=config)
    shifts = found.shifts.of(["b"])["SM"] - found.shifts.of(["a"])["SM"]
    np.testing.assert_allclose(shifts[0], true[sample == "b"][0], atol=0.08)
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-5)
    assert not found.shifts.of(["unheard of"])["SM"].any()


def test_a_correction_is_the_shifts_in_the_share_of_the_samples():
    correction = Correction(np.array([0, 1, 1]), {"ST": np.array([[4.0, 0], [0, 8]], "f4")})
    weights = sparse.csr_matrix(np.array([[0.25, 0.75], [1, 0]], "f4"))
    np.testing.assert_allclose(correction.of("ST", weights, np.array([0, 2])), [[1, 6], [4, 0]])


def test_one_sample_is_as_without():
    pair = make_pair(120)
    first, second = (
        integrate(pair, IntegrateConfig(preset="multi", neighbours_across=k, epochs=2, reconstruct=False))
        for k in (0, 18)
    )
    np.testing.assert_array_equal(first.obsm["X_emb"], second.obsm["X_emb"])


def test_a_saved_model_of_several_samples_places_them_and_a_new_one(tmp_path):
    pair = make_pair(300, samples=3)
    out = integrate(pair, IntegrateConfig(epochs=2, reconstruct=False), Recorder(tmp_path))
    model = load(tmp_path / "model.pt")
    np.testing.assert_allclose(model.encode(pair).joint, out.obsm["X_emb"], atol=1e-5)
    new = pair[pair.obs["sample"] == "s1"].copy()
    assert model.shifts.samples == ("s0", "s1", "s2")
    assert np.isfinite(model.encode(new).joint).all()
    renamed = new.copy()
    renamed.obs["sample"] = "unheard of"
    assert np.isfinite(model.encode(renamed).joint).all()
    assert np.abs(model.encode(renamed).joint - model.encode(new).joint).max() > 1e-3


def test_a_domain_that_one_simulated_sample_lacks_stays_a_cluster_of_its_own():
    made = simulate(SimulateConfig(spots=350, samples=2, genes=150, metabolites=80, seed=3)).samples
    parts = []
    for sample in made:
        sm = sample.sm.copy()
        sm.obsm["spatial"] = sm.obsm["true_st_xy"]
        parts.append(reassign(sample.st, sm))
    joint = ad.concat(parts, merge="same", index_unique="-")
    lacking = (joint.obs["domain"] == "domain 4") & (joint.obs["sample"] == "sim2")
    joint = select_features(joint[~lacking].copy(), FeaturesConfig(n_genes=1000, n_metabolites=1000, min_spots=0))
    out = integrate(joint, IntegrateConfig(epochs=16, n_hidden=64, reconstruct=False))
    found = KMeans(7, n_init=5, random_state=0).fit_predict(out.obsm["X_emb"])
    true = (joint.obs["domain"] == "domain 4").to_numpy()
    jaccard = max((true & (found == c)).sum() / (true | (found == c)).sum() for c in range(7))
    assert jaccard > 0.75
    domain, sample = joint.obs["domain"].to_numpy(), joint.obs["sample"].to_numpy()
    for name in np.setdiff1d(np.unique(domain), ["domain 4"]):  # and the others are found in both samples as one
        cluster = np.bincount(found[domain == name]).argmax()
        assert all((found[(domain == name) & (sample == s)] == cluster).mean() > 0.5 for s in ("sim1", "sim2"))
