"""How well an integration did, against what is known of its spots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, roc_auc_score, silhouette_samples
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from benchmarks.joint_samples import Pair

NEIGHBOURS = 30  # of iLISI
AXES = 20  # of a mixture
SIGNAL = 0.1  # standard deviation of a feature's log level over the spots, below which there is nothing to denoise


@dataclass(frozen=True)
class Score:
    """NaN where a thing can not be said of this method or pair."""

    ari_kmeans: float
    ari_mixture: float
    ilisi: float
    cilisi: float
    batch_asw: float
    shuffled_asw: float
    genes: float
    metabolites: float
    contribution_auc: float
    cpu_s: float
    mb: float

    @property
    def values(self) -> tuple[float, ...]:
        return astuple(self)


def score(pair: Pair, arrays: dict[str, np.ndarray], *, cpu_s: float, mb: float) -> Score:
    """Score the arrays of a method: ``embedding``, and where it has them ``st``, ``sm``, ``contribution`` (of ST)."""
    z = arrays["embedding"]
    rows = slice(len(z))  # the authors' model may lack the last spot
    sample = pair.joint.obs["sample"].astype(str).to_numpy()[rows]
    mixed = len(np.unique(sample)) > 1
    domain = pair.domain[rows]
    return Score(
        ari_kmeans=ari(z, domain, k_means),
        ari_mixture=ari(z, domain, mixture),
        ilisi=ilisi(z, sample) if mixed else np.nan,
        cilisi=cilisi(z, sample, domain) if mixed else np.nan,
        batch_asw=batch_asw(z, sample, domain) if mixed else np.nan,
        shuffled_asw=batch_asw(z, shuffled(sample, domain), domain) if mixed else np.nan,
        genes=denoising(arrays.get("st"), pair.log_mean.get("ST"), sample),
        metabolites=denoising(arrays.get("sm"), pair.log_mean.get("SM"), sample),
        contribution_auc=contribution_auc(arrays.get("contribution"), pair.seen_by[rows]),
        cpu_s=cpu_s,
        mb=mb,
    )


def ari(z: np.ndarray, domain: np.ndarray, clusters: Callable[[np.ndarray, int], np.ndarray]) -> float:
    """Adjusted Rand index of clusters of *z* (n, d) at the true number of domains; spots without a domain are left
    out."""
    known = domain != ""
    return adjusted_rand_score(domain[known], clusters(z[known], len(np.unique(domain[known]))))


def k_means(z: np.ndarray, n: int) -> np.ndarray:
    """Labels (spots,) of *n* clusters: the best of ten starts."""
    return KMeans(n, n_init=10, random_state=0).fit_predict(z)


def mixture(z: np.ndarray, n: int) -> np.ndarray:
    """Labels (spots,) of a mixture of *n* Gaussians with one covariance, of ten starts, on at most 20 principal axes:
    as SpatialGlue's and GraphST's tutorials cluster (mclust's EEE)."""
    if z.shape[1] > AXES:
        z = PCA(AXES, random_state=0).fit_transform(z)
    z = (z / z.std()).astype(np.float64)
    return GaussianMixture(n, covariance_type="tied", n_init=10, random_state=0, reg_covar=1e-4).fit_predict(z)


def ilisi(z: np.ndarray, sample: np.ndarray) -> float:
    """Median inverse Simpson index of the samples among 30 neighbours, scaled to [0, 1] (Luecken et al. 2022)."""
    return float(np.median(_lisi(z, sample, len(np.unique(sample)))))


def cilisi(z: np.ndarray, sample: np.ndarray, domain: np.ndarray) -> float:
    """iLISI among the spots of each true domain alone, mean over spots (CiLISI; Andreatta et al., Nat. Commun. 15, 872,
    2024): embeddings that lay different domains onto each other get nothing for it. Domains of one sample are left
    out."""
    found = []
    for name in np.unique(domain[domain != ""]):
        spots = domain == name
        if len(np.unique(sample[spots])) > 1:
            found.append(_lisi(z[spots], sample[spots], len(np.unique(sample))))
    return float(np.concatenate(found).mean()) if found else np.nan


def _lisi(z: np.ndarray, sample: np.ndarray, n: int) -> np.ndarray:
    """Inverse Simpson index of each spot's neighbours (spots,), scaled to [0, 1] with *n* samples in all."""
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(z) - 1)).fit(z).kneighbors(return_distance=False)
    share = np.stack([(sample[near] == code).mean(axis=1) for code in np.unique(sample)])
    return (1 / (share**2).sum(axis=0) - 1) / (n - 1)


def shuffled(sample: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """*sample* at random among the spots of each domain: how a mixing measure judges an embedding of this shape whose
    samples do not differ at all."""
    rng, found = np.random.default_rng(0), sample.copy()
    for name in np.unique(domain):
        spots = np.flatnonzero(domain == name)
        found[spots] = sample[rng.permutation(spots)]
    return found


def batch_asw(z: np.ndarray, sample: np.ndarray, domain: np.ndarray) -> float:
    """Mean over domains of 1 - |silhouette of the samples| (Luecken et al. 2022); 1: mixed."""
    found = []
    for name in np.unique(domain[domain != ""]):
        spots = domain == name
        if len(np.unique(sample[spots])) > 1 and spots.sum() > len(np.unique(sample[spots])):
            found.append(1 - np.abs(silhouette_samples(z[spots], sample[spots])).mean())
    return float(np.mean(found)) if found else np.nan


def denoising(values: np.ndarray | None, log_mean: np.ndarray | None, sample: np.ndarray) -> float:
    """Median over features with a signal of the rank correlation with the noiseless level, mean over samples: what
    differs between samples alone is to be corrected. Ranks, as the methods give logarithms, rates and scaled values."""
    if values is None or log_mean is None:
        return np.nan
    log_mean = log_mean[: len(values)]
    return float(np.mean([_denoising(values[s], log_mean[s]) for s in (sample == name for name in np.unique(sample))]))


def _denoising(values: np.ndarray, log_mean: np.ndarray) -> float:
    signal = log_mean.std(axis=0) > SIGNAL
    a, b = (rankdata(x[:, signal], axis=0) for x in (values, log_mean))
    a, b = ((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12) for x in (a, b))
    return float(np.median((a * b).mean(axis=0)))


def contribution_auc(contribution: np.ndarray | None, seen_by: np.ndarray) -> float:
    """Area under the curve: contribution of ST in domains that only ST sees against those that only SM sees."""
    hidden = seen_by != ""
    if contribution is None or len(np.unique(seen_by[hidden])) < 2:
        return np.nan
    return float(roc_auc_score(seen_by[hidden] == "ST", contribution[hidden]))
