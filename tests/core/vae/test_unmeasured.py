"""Places that the reassignment kept without values: a training sees the nearest place there, and learns nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from core.errors import DataError
from core.quality import measured
from core.vae import IntegrateConfig, integrate, load
from core.vae.inputs import filled
from tests.core.vae.conftest import make_pair
from tests.core.vae.test_byhand import N, assert_like_torch
from tests.core.vae.test_train import QUICK, Recorder

SM_COLUMNS = slice(120, None)


def without(joint, spots: np.ndarray, value: float):
    """*joint* whose *spots* have *value* for every metabolite, and say that no pixel was near."""
    joint = joint.copy()
    for layer in ("counts", "normalized"):
        values = joint.layers[layer].toarray()
        values[spots, SM_COLUMNS] = value
        joint.layers[layer] = sparse.csr_matrix(values)
    joint.obs["n_sm_pixels"] = 5
    joint.obs.iloc[spots, joint.obs.columns.get_loc("n_sm_pixels")] = 0
    return joint


@pytest.mark.parametrize("settings", [{}, {"neighbours": 0}, {"sm_likelihood": "mse"}], ids=str)
def test_what_stands_there_is_not_read(pair, tmp_path, settings):
    spots = np.random.default_rng(0).permutation(pair.n_obs)[:90]
    config = IntegrateConfig(**(QUICK | settings))
    given = [without(pair, spots, value) for value in (0.0, 1000.0)]
    zeros, others = (integrate(joint, config, Recorder(tmp_path / str(k))) for k, joint in enumerate(given))
    for name in ("X_emb", "X_emb_st", "X_emb_sm"):
        np.testing.assert_array_equal(zeros.obsm[name], others.obsm[name])
    np.testing.assert_array_equal(zeros.layers["reconstruction"], others.layers["reconstruction"])
    placed = load(tmp_path / "0" / "model.pt").place(given[1])
    np.testing.assert_allclose(placed.obsm["X_emb"], zeros.obsm["X_emb"], atol=1e-5)


def test_they_do_not_become_a_kind_of_their_own():
    """Zeros that count as measured set the spots apart from their own domain; kept apart from the loss they do not."""
    joint = make_pair(n=400)
    spots = np.random.default_rng(0).permutation(400)[:100]
    kept = without(joint, spots, 0.0)
    counted = kept.copy()
    counted.obs["n_sm_pixels"] = 5
    config = IntegrateConfig(epochs=40, seed=1)
    apart = {}
    for name, given in (("kept", kept), ("counted", counted)):
        z = integrate(given, config).obsm["X_emb"]
        of = NearestNeighbors(n_neighbors=11).fit(z).kneighbors(z[spots], return_distance=False)[:, 1:]
        apart[name] = np.isin(of, spots).mean()
    assert apart["kept"] < 0.35  # by chance a quarter
    assert apart["counted"] > apart["kept"] + 0.05


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "settings", [{}, {"shared_decoders": False}, {"sm_likelihood": "mse", "dispersion": "spot"}], ids=str
)
def test_loss_and_gradients_are_those_of_torch(settings, threads):
    has_st, has_sm = np.random.default_rng(4).random((2, N)) < [[0.9], [0.6]]
    known = {"ST": has_st, "SM": has_sm}
    assert_like_torch(np.arange(N), threads, "ST", "SM", known=known, **settings)
    nothing = np.flatnonzero(~has_sm)[:7]  # a minibatch in which nobody has it
    assert_like_torch(nothing, threads, "ST", "SM", known=known, **settings)


def test_the_nearest_measured_spot_of_the_sample_stands_in():
    rng = np.random.default_rng(3)
    xy, sample = rng.random((80, 2)), np.repeat(["a", "b", "c"], [30, 30, 20])
    known = rng.random(80) < 0.6
    known[60:] = False
    matrix = sparse.random(80, 6, 0.5, format="csr", dtype=np.float32, random_state=1)
    found, expected = filled(matrix, known, xy, sample).toarray(), matrix.toarray()
    for name in ("a", "b"):
        have, lack = (np.flatnonzero((sample == name) & which) for which in (known, ~known))
        near = NearestNeighbors(n_neighbors=1).fit(xy[have]).kneighbors(xy[lack], return_distance=False)[:, 0]
        expected[lack] = expected[have[near]]
    np.testing.assert_array_equal(found, expected)  # c, without any, keeps what it has
    np.testing.assert_array_equal(filled(matrix, known, None, sample).toarray(), matrix.toarray())


def test_a_section_without_any_is_refused(pair):
    joint = without(pair, np.arange(pair.n_obs), 0.0)
    with pytest.raises(DataError, match="n_sm_pixels"):
        measured(joint, "SM")
    with pytest.raises(DataError, match="n_sm_pixels"):
        integrate(joint, IntegrateConfig(**QUICK))
