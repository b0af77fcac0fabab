"""The AnnData edge: slots, scales, refusals, files, and whether the embedding finds what was put in."""

from __future__ import annotations

import subprocess
import sys

import anndata as ad
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, roc_auc_score, silhouette_score

from core.errors import ConfigError, DataError, FormatError
from core.vae import IntegrateConfig, integrate, load
from core.vae.config import PRESETS, resolve
from tests.core.vae.conftest import make_pair
from tests.core.vae.test_train import QUICK, Recorder


@pytest.fixture(scope="module")
def trained() -> ad.AnnData:
    return integrate(make_pair(n=500), IntegrateConfig(epochs=40, n_hidden=64))


def ari(embedding: np.ndarray, truth) -> float:
    return adjusted_rand_score(truth, KMeans(4, n_init=5, random_state=0).fit_predict(embedding))


def pca(values, n: int = 10) -> np.ndarray:
    dense = values.toarray()
    return PCA(min(n, dense.shape[1]), random_state=0).fit_transform((dense - dense.mean(0)) / (dense.std(0) + 1e-9))


def test_slots_and_input_untouched(pair):
    before = pair.copy()
    out = integrate(pair, IntegrateConfig(**QUICK))
    for slot in ("X_emb", "X_emb_st", "X_emb_sm"):
        assert out.obsm[slot].shape == (pair.n_obs, 4)
        assert out.obsm[slot].dtype == np.float32
    assert set(pair.obsm) == set(before.obsm)
    assert list(pair.obs) == list(before.obs)
    assert set(pair.layers) == set(before.layers)
    assert "spatialmeta" not in pair.uns
    np.testing.assert_array_equal(pair.layers["counts"].toarray(), before.layers["counts"].toarray())
    np.testing.assert_allclose(out.obs["contribution_st"] + out.obs["contribution_sm"], 1)


def test_result_is_written_and_read_back(pair, tmp_path):
    out = integrate(pair, IntegrateConfig(**QUICK))
    del out.uns["truth"]
    out.write_h5ad(tmp_path / "out.h5ad")
    back = ad.read_h5ad(tmp_path / "out.h5ad")
    terms = back.uns["spatialmeta"]["training"]["terms"]
    np.testing.assert_array_equal(terms["loss"], out.uns["spatialmeta"]["training"]["terms"]["loss"])
    assert back.uns["spatialmeta"]["training"]["config"]["preset"] == "single"


def test_domains_that_one_modality_alone_cannot_tell_apart(trained):
    st = trained[:, trained.var["type"] == "ST"].layers["normalized"]
    sm = trained[:, trained.var["type"] == "SM"].layers["normalized"]
    truth = trained.obs["domain"]
    joint = ari(trained.obsm["X_emb"], truth)
    assert joint > max(ari(pca(st), truth), ari(pca(sm), truth)) + 0.1
    assert joint > 0.8


def test_the_latent_space_is_alive(trained):
    spread = trained.obsm["X_emb"].std(0)
    assert (spread > 0.1).sum() >= 3


def test_contribution_points_at_the_modality_that_sees(trained):
    told_by_st = trained.obs["domain"].isin(["0", "1"])  # SM sees these two as one, ST sees 2 and 3 as one
    assert roc_auc_score(told_by_st, trained.obs["contribution_st"]) > 0.8
    assert roc_auc_score(~told_by_st, trained.obs["contribution_sm"]) > 0.8


def test_reconstruction_is_nearer_to_the_noiseless_truth_than_the_measurement(trained):
    truth = trained.uns["truth"]
    is_st = (trained.var["type"] == "ST").to_numpy()
    normalized, denoised = trained.layers["normalized"].toarray(), trained.layers["reconstruction"]
    for mask, clean in (
        (is_st, np.log1p(truth["st_rate"] * 1e4)),
        (~is_st, truth["sm_mean"] / truth["sm_mean"].sum(1, keepdims=True) * 100),
    ):
        measured = np.mean((normalized[:, mask] - clean) ** 2)
        assert np.mean((denoised[:, mask] - clean) ** 2) < 0.5 * measured
    np.testing.assert_allclose(np.expm1(denoised[:, is_st]).sum(1), 1e4, rtol=1e-3)


def test_features_that_are_not_selected_have_no_reconstruction(pair):
    part = pair.copy()
    part.var["selected"] = np.arange(part.n_vars) % 3 != 0
    layer = integrate(part, IntegrateConfig(**QUICK)).layers["reconstruction"]
    assert sparse.issparse(layer)
    assert layer.shape == part.shape
    assert layer[:, ~part.var["selected"].to_numpy()].nnz == 0
    assert (layer[:, part.var["selected"].to_numpy()].toarray().sum(0) > 0).all()


@pytest.mark.parametrize(("kind", "slot"), [("SM", "X_emb_sm"), ("ST", "X_emb_st")])
def test_one_modality_alone(kind, slot):
    joint = make_pair(n=400)
    alone = joint[:, joint.var["type"] == kind].copy()
    # one ring: the domains are bands of five spots
    out = integrate(alone, IntegrateConfig(epochs=30, n_hidden=64, neighbours=6))
    np.testing.assert_array_equal(out.obsm["X_emb"], out.obsm[slot])
    assert (out.obsm["X_emb"].std(0) > 0.1).sum() >= 5
    seen = joint.obs["domain"].map({"ST": dict(zip("0123", "0122")), "SM": dict(zip("0123", "0012"))}[kind])  # noqa: B905
    found = KMeans(3, n_init=5, random_state=0).fit_predict(out.obsm["X_emb"])
    assert adjusted_rand_score(seen, found) > 0.8
    assert (out.obs[f"contribution_{kind.lower()}"] == 1).all()


def test_the_sm_only_preset_leaves_the_genes_out(pair):
    out = integrate(pair, IntegrateConfig(**QUICK, preset="sm-only"))
    assert "X_emb_st" not in out.obsm
    assert out.uns["spatialmeta"]["training"]["config"]["preset"] == "sm-only"


def test_samples_are_mixed():
    joint = make_pair(n=500, samples=2)
    out = integrate(joint, IntegrateConfig(epochs=40, n_hidden=64))
    raw = pca(joint.layers["normalized"])
    assert out.uns["spatialmeta"]["training"]["config"]["preset"] == "multi"
    assert silhouette_score(out.obsm["X_emb"], joint.obs["sample"]) < 0.02 < silhouette_score(raw, joint.obs["sample"])
    assert ari(out.obsm["X_emb"], joint.obs["domain"]) > 0.6


def test_several_batch_columns_and_a_chosen_level():
    joint = make_pair(n=200, samples=2)
    joint.obs["slide"] = np.where(np.arange(200) % 3 == 0, "a", "b")
    config = IntegrateConfig(**QUICK, batch_keys="sample, slide")
    mean = integrate(joint, config).layers["reconstruction"]
    chosen = integrate(joint, IntegrateConfig(**QUICK, batch_keys="sample, slide", correct_to="s1"))
    assert not np.allclose(mean, chosen.layers["reconstruction"])
    with pytest.raises(DataError, match="s0, s1"):
        integrate(joint, IntegrateConfig(**QUICK, correct_to="s9"))


@pytest.mark.parametrize(
    "setting",
    [
        {"sm_likelihood": "mse"},
        {"shared_decoders": False},
        {"normalize_sm": False},
        {"dispersion": "spot"},
        {"st_input": "log1p"},
        {"sm_input": "log1p_standardize"},
        {"neighbours": 0},
        {"n_layers": 2, "dropout": 0.0},
        *({"preset": name} for name in PRESETS),
    ],
    ids=str,
)
def test_each_setting_trains(pair, setting):
    out = integrate(pair, IntegrateConfig(**{**QUICK, **setting}))
    terms = out.uns["spatialmeta"]["training"]["terms"]
    assert terms["loss"][-1] < terms["loss"][0]
    assert np.isfinite(out.obsm["X_emb"]).all()


def spoiled(pair: ad.AnnData, value: float) -> ad.AnnData:
    dense = pair.layers["counts"].toarray()
    dense[7, 3] = value
    out = pair.copy()
    out.layers["counts"] = sparse.csr_matrix(dense)
    return out


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_values_that_cannot_be_are_named(pair, value):
    with pytest.raises(DataError, match=r"g3 in spot spot7"):
        integrate(spoiled(pair, value), IntegrateConfig(**QUICK))


def test_missing_slots_are_named(pair):
    without_layer = pair.copy()
    del without_layer.layers["normalized"]
    with pytest.raises(DataError, match="normalized"):
        integrate(without_layer, IntegrateConfig(**QUICK))
    with pytest.raises(DataError, match="batch column lab"):
        integrate(pair, IntegrateConfig(**QUICK, batch_keys="lab"))
    none = pair.copy()
    none.var["selected"] = False
    with pytest.raises(DataError, match="Select features"):
        integrate(none, IntegrateConfig(**QUICK))
    with pytest.raises(ConfigError, match="dropout"):
        integrate(pair, IntegrateConfig(dropout=2.0))


def test_a_saved_model_encodes_new_spots(tmp_path):
    joint = make_pair(n=300, samples=2)
    out = integrate(joint, IntegrateConfig(**QUICK, neighbours=0), Recorder(tmp_path))
    model = load(tmp_path / "model.pt")
    shuffled = joint[::-1, ::-1].copy()  # features are found by name
    found = model.encode(shuffled)
    np.testing.assert_allclose(found.joint[::-1], out.obsm["X_emb"], atol=1e-5)
    np.testing.assert_allclose(found.single["SM"][::-1], out.obsm["X_emb_sm"], atol=1e-5)
    with pytest.raises(DataError, match="features of the model"):
        model.encode(joint[:, 5:].copy())
    model.save(tmp_path / "again.pt")
    np.testing.assert_array_equal(load(tmp_path / "again.pt").encode(shuffled).joint, found.joint)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_load_runs_no_code_and_refuses_other_files(tmp_path, capsys):
    torch.save({"format": 1, "config": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "text.pt").write_text("not a model")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("evil.pt", "text.pt", "list.pt"):
        with pytest.raises(FormatError):
            load(tmp_path / name)
    assert "run" not in capsys.readouterr().out


def test_the_config_needs_no_torch():
    code = "import sys, core.vae; core.vae.IntegrateConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_paper_presets_are_the_published_form():
    """Weights and inputs of the authors' ``ConditionalVAESTSM`` (spatialmeta 0.0.3.0), modes single and multi."""
    settled = {
        name: resolve(IntegrateConfig(preset=name), n_samples=1, has_st=True, has_spatial=True)
        for name in ("paper-single", "paper-multi", "paper-sm-only")
    }
    weights = {name: (c.weight_st, c.weight_sm, c.weight_kl, c.weight_mmd) for name, c in settled.items()}
    assert weights == {
        "paper-single": (5.0, 1.0, 0.5, 0.0),
        "paper-multi": (8.0, 2.0, 1.0, 10.0),
        "paper-sm-only": (0.0, 1.0, 1.0, 0.0),
    }
    for config in settled.values():
        assert (config.st_input, config.sm_input, config.dispersion) == ("log1p", "standardize", "spot")
        assert (config.neighbours, config.weight_agreement, config.validation) == (0, 0.0, 0.0)
        assert config.kl_warmup_epochs == config.epochs  # the KL weight grows until the end
