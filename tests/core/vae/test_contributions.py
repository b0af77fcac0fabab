"""Contributions by hand, what must not change them, and their extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import ortho_group
from sklearn.metrics import roc_auc_score

from core.vae import IntegrateConfig, integrate, load
from core.vae.contributions import SPLITS, Contrasts, about_origin, learn, shares
from core.vae.data import Dataset
from core.vae.neighbours import smoother
from tests.core.vae.conftest import make_pair
from tests.core.vae.test_train import QUICK, Recorder


class AsTheyAre(torch.nn.Module):
    def forward(self, x, _totals):
        return x


def dataset(values: dict[str, np.ndarray], mix: sparse.csr_matrix | None = None) -> Dataset:
    n = len(next(iter(values.values())))
    made = Dataset(
        {name: sparse.csr_matrix(v, dtype=np.float32) for name, v in values.items()}, np.zeros((n, 0), int), mix
    )
    made.prepare(dict.fromkeys(values, AsTheyAre()))
    return made


def tissue(side: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix]:
    """Quadrant and embedding of the spots of a square, and the weights of 18 neighbours."""
    xy = np.stack(np.divmod(np.arange(side**2), side), axis=1).astype(float)
    quadrant = 2 * (xy[:, 0] >= side / 2).astype(int) + (xy[:, 1] >= side / 2)
    places = np.random.default_rng(seed).normal(0, 1, (4, 10))
    return quadrant, places[quadrant], smoother(xy, np.zeros(len(xy), int), k=18, weight=0.95)


def noise(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape)


def test_about_the_origin_by_hand():
    joint = np.array([[1.0, 0.0], [1.0, 0.0]])
    single = {"ST": np.array([[2.0, 0.0], [-1.0, 0.0]]), "SM": np.array([[0.0, 3.0], [0.5, 0.5]])}
    share = about_origin(joint, single)
    np.testing.assert_allclose(share["ST"], [1 / (1 + 0.5), 0.0], atol=1e-8)
    np.testing.assert_allclose(share["SM"], [0.5 / 1.5, 1.0], atol=1e-8)


def test_contrasts_by_hand():
    """The spot is at (1, 0), a kind of its own. ST sees it there. SM sees it at (0, 1): at a right angle to its step
    from (0, 0), and in the direction of its step from (1, -1), which SM sees at (0, -1)."""
    centres = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    as_is = np.broadcast_to(np.eye(2), (SPLITS, 2, 2, 2))
    seen = {"ST": centres, "SM": np.array([[9.0, 9.0], [0.0, 0.0], [0.0, -1.0]])}
    contrasts = Contrasts(np.eye(2), centres, {"ST": as_is, "SM": as_is}, seen)
    spots = dataset({"ST": np.array([[1.0, 0.0]]), "SM": np.array([[0.0, 1.0]])})
    found = contrasts.contributions(spots, np.array([[1.0, 0.0]]))
    np.testing.assert_allclose([found["ST"][0], found["SM"][0]], [1 / 1.5, 0.5 / 1.5], atol=1e-8)


def test_where_no_modality_tells_anything_the_shares_are_equal():
    found = shares({"ST": np.array([0.0, 0.5]), "SM": np.zeros(2)})
    np.testing.assert_allclose(found["ST"], [0.5, 1.0], atol=1e-8)
    np.testing.assert_allclose(found["ST"] + found["SM"], 1)


def test_turning_moving_and_stretching_the_embedding_changes_nothing():
    quadrant, z, mix = tissue()
    z = z + 0.3 * noise(z.shape, 1)
    spots = dataset({"ST": np.eye(4)[quadrant] + noise((len(z), 4), 2), "SM": noise((len(z), 6), 3)}, mix)
    turned = z @ ortho_group.rvs(10, random_state=0) * np.linspace(0.5, 2, 10) + 7
    before, after = (learn(spots, each)[1] for each in (z, turned))
    np.testing.assert_allclose(after["ST"], before["ST"], atol=1e-6)
    assert before["ST"].std() > 0.01


@pytest.mark.parametrize(("neighbours", "spots_below_half"), [(True, 0.99), (False, 0.95)])
def test_a_modality_of_noise_has_a_low_share_all_over(neighbours, spots_below_half):
    """Averaged over neighbours, noise is alike within a quadrant; that must not count. Spots alone are less certain."""
    quadrant, z, mix = tissue()
    z = z + 0.3 * noise(z.shape, 1)
    told = np.random.default_rng(4).normal(0, 1, (4, 100))[quadrant] + noise((len(z), 100), 2)
    spots = dataset({"ST": told, "SM": noise((len(z), 100), 3)}, mix if neighbours else None)
    share = learn(spots, z)[1]["SM"]
    assert np.median(share) < 0.15
    assert (share < 0.5).mean() > spots_below_half


def test_the_modality_that_tells_a_quadrant_apart_has_the_larger_share_there():
    """ST can not tell 2 from 3, SM not 0 from 1."""
    quadrant, z, mix = tissue()
    z = z + 0.3 * noise(z.shape, 1)
    profile = np.random.default_rng(4).normal(0, 0.5, (2, 4, 50))
    st = profile[0][np.array([0, 1, 2, 2])[quadrant]] + noise((len(z), 50), 2)
    sm = profile[1][np.array([0, 0, 2, 3])[quadrant]] + noise((len(z), 50), 3)
    spots = dataset({"ST": st, "SM": sm}, mix)
    share = learn(spots, z)[1]["ST"]
    assert roc_auc_score(quadrant < 2, share) > 0.95


def test_inputs_kept_or_made_twice_say_the_same(monkeypatch):
    _, z, mix = tissue()
    spots = dataset({"ST": noise((len(z), 20), 2), "SM": noise((len(z), 20), 3)}, mix)
    monkeypatch.setattr("core.vae.contributions.FITTED_ON", 500)
    kept = learn(spots, z)[1]["ST"]
    monkeypatch.setattr("core.vae.contributions.KEPT_BYTES", 0)
    np.testing.assert_allclose(learn(spots, z)[1]["ST"], kept, atol=1e-6)


def test_few_spots_that_are_all_alike():
    spots = dataset({"ST": np.ones((3, 4)), "SM": np.ones((3, 2))})
    z = np.ones((3, 10))
    np.testing.assert_allclose(learn(spots, z)[1]["ST"], 0.5)


@pytest.mark.parametrize("setting", [{}, {"neighbours": 0}, {"contributions": "origin"}], ids=str)
def test_a_saved_model_says_the_same_of_its_spots(tmp_path, setting):
    joint = make_pair(n=300, samples=2)
    out = integrate(joint, IntegrateConfig(**(QUICK | setting)), Recorder(tmp_path))
    placed = load(tmp_path / "model.pt").place(joint)
    np.testing.assert_allclose(placed.obs["contribution_st"], out.obs["contribution_st"], atol=1e-6)
    assert out.obs["contribution_st"].between(0, 1).all()


def test_the_papers_preset_is_the_angle_about_the_origin():
    out = integrate(make_pair(n=200), IntegrateConfig(**QUICK, preset="paper-single"))
    single = {"ST": out.obsm["X_emb_st"], "SM": out.obsm["X_emb_sm"]}
    np.testing.assert_array_equal(out.obs["contribution_st"], about_origin(out.obsm["X_emb"], single)["ST"])
