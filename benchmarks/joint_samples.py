"""Reassigned samples with known truth: what every method of a comparison is given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from core import keys
from core.datasets import SimulateConfig, SimulatedSample, simulate
from core.preprocessing import FeaturesConfig, select_features
from core.reassignment import reassign

#: share of the counts kept by thinning, and standard deviation of the log-normal noise on intensities: the simulator's
#: own data are so clean that all methods find all domains. Hard: a PCA of both finds 0.74 (adjusted Rand index, median
#: of seeds 10 to 14, the better of two ways to cluster); mild: 0.94.
HARD, MILD = (0.02, 2.4), (0.03, 2.0)
DATA = Path(os.environ.get("SPATIALMETA_TEST_DATA", Path(__file__).parents[2] / "shared/data"))


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
    seed: int, *, spots: int, samples: int = 1, thinned: float = HARD[0], noise: float = HARD[1], **settings
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


def ideals(pair: Pair) -> dict[str, np.ndarray]:
    """Embeddings (spots, axes) beside which mixing is read: the true domains with noise that no sample has of its own
    (as much as leaves an adjusted Rand index of 0.9), the noiseless levels without a batch effect, random numbers."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    domains = np.unique(pair.domain, return_inverse=True)[1]
    exact = np.eye(domains.max() + 1)[domains]
    levels = np.hstack([pair.log_mean[kind] for kind in (keys.ST, keys.SM)])
    return {
        "true domains": exact + 0.3 * rng.standard_normal(exact.shape),
        "true levels": PCA(20, random_state=0).fit_transform(levels),
        "random numbers": rng.standard_normal((len(exact), 10)),
    }


def dlpfc() -> Pair | None:
    """`dlpfc_151673_pair` reassigned with the true alignment; the manual layers are the domains, '' where there is
    none. None where the data are not there."""
    folder = DATA / "dlpfc_151673_pair"
    if not folder.exists():
        return None
    st, sm = ad.read_h5ad(folder / "st.h5ad"), ad.read_h5ad(folder / "sm.h5ad")
    sm.obsm[keys.SPATIAL] = sm.obsm["true_st_xy"]
    joint = select_features(reassign(st, sm), FeaturesConfig(n_genes=2000, n_metabolites=800))
    return _known(joint, "layer")


def vicari() -> Pair | None:
    """`vicari_B1` and `vicari_A1` as two samples, reassigned with the experts' alignment; the regions of B1 are domains
    (A1 has none)."""
    folders = [DATA / name for name in ("vicari_B1", "vicari_A1")]
    if not all(folder.exists() for folder in folders):
        return None
    parts = []
    for folder in folders:
        joint = reassign(ad.read_h5ad(folder / "st.h5ad"), ad.read_h5ad(folder / "sm.h5ad"))
        joint.obs[keys.SAMPLE] = folder.name
        if "RegionLoupe" not in joint.obs:
            joint.obs["RegionLoupe"] = "NA"
        joint.obs["RegionLoupe"] = joint.obs["RegionLoupe"].astype(str).replace({"NA": "", "nan": ""})
        joint = joint[np.asarray(joint.X[:, (joint.var[keys.TYPE] == keys.ST).to_numpy()].sum(1)).ravel() > 0].copy()
        parts.append(joint)
    joint = ad.concat(parts, merge="same", index_unique="-")
    joint.obs[keys.SAMPLE] = joint.obs[keys.SAMPLE].astype("category")
    return _known(select_features(joint, FeaturesConfig()), "RegionLoupe")


def _known(joint: ad.AnnData, column: str) -> Pair:
    joint = joint[:, joint.var[keys.SELECTED].to_numpy()].copy()
    if keys.SAMPLE not in joint.obs:
        joint.obs[keys.SAMPLE] = pd.Categorical(["sample"] * joint.n_obs)
    domain = joint.obs[column].astype(object).where(joint.obs[column].notna(), "").astype(str).to_numpy()
    return Pair(joint, domain, np.full(joint.n_obs, ""), {})
