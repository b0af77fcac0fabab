"""Reassigned samples with known truth: what every method of a comparison is given."""

from __future__ import annotations

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from core import keys
from core.datasets import SimulateConfig, SimulatedSample, simulate
from core.preprocessing import FeaturesConfig, select_features
from core.reassignment import reassign

#: counts kept by thinning, and standard deviation of the log-normal noise on intensities: the simulator's own data are
#: so clean that all methods find all domains
THINNED, NOISE = 0.04, 1.6


@dataclass(frozen=True)
class Pair:
    """A joint object and its truth, in the order of its spots.

    Attributes
    ----------
    domain
        True domain of each spot.
    seen_by
        'ST' or 'SM' in the domains that only one modality sees, '' elsewhere.
    log_mean
        Noiseless log level by modality, (spots, features), in the order of the joint object's features.
    """

    joint: ad.AnnData
    domain: np.ndarray
    seen_by: np.ndarray
    log_mean: dict[str, np.ndarray]


def simulated(
    seed: int, *, spots: int, samples: int = 1, thinned: float = THINNED, noise: float = NOISE, **settings
) -> Pair:
    """Simulated pairs, made hard, reassigned with the true alignment; all samples in one object."""
    rng = np.random.default_rng([seed, 77])
    made = simulate(SimulateConfig(spots=spots, samples=samples, seed=seed, **settings)).samples
    parts = [_reassigned(sample, thinned, noise, rng) for sample in made]
    joint = ad.concat([p.joint for p in parts], merge="same", index_unique="-" if samples > 1 else None)
    joint.obs[keys.SAMPLE] = joint.obs[keys.SAMPLE].astype("category")
    joint = select_features(joint, FeaturesConfig(n_genes=100_000, n_metabolites=100_000, min_spots=0))
    log_mean = {kind: np.concatenate([p.log_mean[kind] for p in parts]) for kind in (keys.ST, keys.SM)}
    return Pair(joint, *(np.concatenate([getattr(p, name) for p in parts]) for name in ("domain", "seen_by")), log_mean)


def _reassigned(sample: SimulatedSample, thinned: float, noise: float, rng: np.random.Generator) -> Pair:
    st, sm = sample.st.copy(), sample.sm.copy()
    if thinned < 1:
        st.X.data[:] = rng.binomial(st.X.data.astype(int), thinned)
        st.X.eliminate_zeros()
    if noise > 0:
        sm.X.data *= np.exp(noise * rng.standard_normal(sm.X.nnz)).astype(np.float32)
    st.layers[keys.COUNTS], sm.layers[keys.COUNTS] = st.X.copy(), sm.X.copy()
    sm.obsm[keys.SPATIAL] = sm.obsm["true_st_xy"]
    joint = reassign(st, sm)
    joint = joint[np.asarray(joint.X[:, : st.n_vars].sum(1)).ravel() > 0].copy()
    rows = st.obs_names.get_indexer(joint.obs_names)
    domain = joint.obs["domain"].astype(str).to_numpy()
    visible = sample.truth.domains["visible_in"]
    seen_by = visible.reindex(domain).replace("both", "").to_numpy(dtype=str)
    log_mean = {keys.ST: sample.truth.st_log_mean[rows], keys.SM: sample.truth.sm_log_mean[rows]}
    return Pair(joint, domain, seen_by, log_mean)
