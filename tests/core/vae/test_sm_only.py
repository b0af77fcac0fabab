"""Metabolites alone: the latent must not collapse (the authors' model leaves 9 of 10 dimensions dead, ARI 0.01)."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from core import keys
from core.analysis.clusters import ClusterConfig, cluster
from core.datasets import SimulateConfig, simulate
from core.preprocessing import select_features
from core.vae import IntegrateConfig, integrate

ALIVE = 0.01  # variance of a dimension's posterior mean over the data (Burda et al. 2016, active units)


@pytest.mark.parametrize("preset", ["sm-only", "paper-sm-only"])
def test_the_latent_of_metabolites_alone_does_not_collapse(preset: str) -> None:
    sm = simulate(SimulateConfig(spots=200, genes=20, metabolites=60, seed=0)).samples[0].sm
    config = IntegrateConfig(preset=preset, epochs=24, reconstruct=False)
    found = cluster(
        integrate(select_features(sm), config), ClusterConfig(n_clusters=sm.obs["visible_domain"].nunique())
    )
    alive = found.obsm[keys.X_EMB].var(axis=0) > ALIVE
    assert alive.sum() >= 5
    assert adjusted_rand_score(sm.obs["visible_domain"], found.obs[keys.LEIDEN]) > 0.4
    assert keys.X_EMB_MODALITY[keys.ST] not in found.obsm
    assert np.isfinite(found.obsm[keys.X_EMB]).all()
