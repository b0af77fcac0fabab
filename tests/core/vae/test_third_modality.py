"""A third modality is one more entry of the list: it is encoded, decoded, weighed, saved, and no class is new."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from core.context import Context
from core.vae import IntegrateConfig, load
from core.vae.config import resolve
from core.vae.contributions import about_origin
from core.vae.data import Dataset, column_moments
from core.vae.modality import Modality
from core.vae.model import Model, encode
from core.vae.module import Module
from core.vae.train import fit

N, DOMAINS = 360, 3


def features(name: str, n: int) -> tuple[str, ...]:
    return tuple(f"{name}{i}" for i in range(n))


@pytest.fixture(scope="module")
def measured() -> tuple[dict[str, sparse.csr_matrix], np.ndarray]:
    """Genes and metabolites of which none tells the domains apart, and proteins that do."""
    rng = np.random.default_rng(0)
    domain = np.arange(N) % DOMAINS
    genes = rng.poisson(1.5, (N, 20))
    metabolites = rng.lognormal(1.0, 0.4, (N, 12))
    proteins = np.exp(1 + 1.5 * np.eye(DOMAINS)[domain].repeat(3, axis=1) + 0.4 * rng.standard_normal((N, 9)))
    values = {"ST": genes, "SM": metabolites, "protein": proteins}
    return {name: sparse.csr_matrix(v.astype(np.float32)) for name, v in values.items()}, domain


@pytest.mark.parametrize("preset", ["single", "paper-single"])
def test_a_third_modality_is_an_entry_of_the_list(measured, tmp_path, preset):
    matrices, domain = measured
    chosen = IntegrateConfig(preset=preset, epochs=30, n_hidden=32, n_latent=5, batch_size=64, learning_rate=5e-3)
    config = resolve(chosen, n_samples=1, has_st=True, has_spatial=False)
    modalities = [
        Modality("ST", "zinb", "log1p", features("g", 20)),
        Modality("SM", "gaussian", "log1p_standardize", features("m", 12)),
        Modality("protein", "gaussian", "log1p_standardize", features("p", 9), weight=2.0),
    ]
    torch.manual_seed(0)
    module = Module(modalities, (), config)
    for name in ("SM", "protein"):
        mean, sd = column_moments(matrices[name], log=True)
        module.transforms[name].shift.copy_(torch.from_numpy(mean))
        module.transforms[name].scale.copy_(torch.from_numpy(sd))
    dataset = Dataset(matrices, np.zeros((N, 0), dtype=np.int64))
    history = fit(module, dataset, config, Context())
    curve = history.terms["protein"]  # a term of its own
    assert curve[-1] < curve[0]

    found = encode(module, dataset)
    assert set(found.single) == {"ST", "SM", "protein"}
    kinds = KMeans(DOMAINS, n_init=5, random_state=0).fit_predict(found.joint)
    assert adjusted_rand_score(domain, kinds) > 0.9  # what the proteins alone see
    shares = about_origin(found.joint, found.single)
    np.testing.assert_allclose(sum(shares.values()), 1, rtol=1e-5)

    model = Model(module, config, (), ())
    decoded = model.decode(found.joint)["protein"]
    truth = np.stack([matrices["protein"].toarray()[domain == d].mean(axis=0) for d in domain])
    assert np.corrcoef(decoded.ravel(), truth.ravel())[0, 1] > 0.9
    model.save(tmp_path / "model.pt")
    again = load(tmp_path / "model.pt")
    assert [m.name for m in again.module.modalities] == ["ST", "SM", "protein"]
    np.testing.assert_array_equal(encode(again.module, dataset).single["protein"], found.single["protein"])
