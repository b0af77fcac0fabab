"""A tiny paired sample with known domains, drawn here so that these tests depend on nothing but numpy."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

DOMAINS = 4


def make_pair(  # noqa: PLR0917
    n: int = 300, genes: int = 120, metabolites: int = 40, samples: int = 1, seed: int = 0, depth: float = 400.0
) -> ad.AnnData:
    """Spots of four domains as bands; ST tells {0, 1, 2+3} apart, SM tells {0+1, 2, 3}; samples shift both."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    xy = np.stack(np.divmod(np.arange(n), side), axis=1).astype(float)
    domain = np.minimum((xy[:, 0] / (xy[:, 0].max() + 1) * DOMAINS).astype(int), DOMAINS - 1)
    sample = rng.integers(samples, size=n)
    seen_by_st, seen_by_sm = np.array([0, 1, 2, 2])[domain], np.array([0, 0, 1, 2])[domain]

    base = rng.gamma(0.7, 1.0, genes) + 0.02
    effect = np.where(rng.random((3, genes)) < 0.2, rng.normal(0, 1.2, (3, genes)), 0)
    shift = rng.normal(0, 0.3, (samples, genes)) * (samples > 1)
    rate = base * np.exp(effect[seen_by_st] + shift[sample])
    rate /= rate.sum(1, keepdims=True)
    library = rng.lognormal(np.log(depth), 0.3, n)
    mean = rate * library[:, None]
    counts = rng.poisson(rng.gamma(4.0, mean / 4.0)).astype(np.float32)
    counts[counts.sum(1) == 0, 0] = 1

    height = rng.lognormal(1, 0.5, metabolites)
    sm_effect = np.where(rng.random((3, metabolites)) < 0.3, rng.normal(0, 0.8, (3, metabolites)), 0)
    sm_shift = rng.normal(0, 0.2, (samples, metabolites)) * (samples > 1)
    clean = height * np.exp(sm_effect[seen_by_sm] + sm_shift[sample])
    intensity = (clean * rng.lognormal(0, 0.5, (n, metabolites))).astype(np.float32)

    normalized_st = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    normalized_sm = intensity / intensity.sum(1, keepdims=True) * 100
    raw = sparse.csr_matrix(np.hstack([counts, intensity]))
    joint = ad.AnnData(
        X=raw,
        obs=pd.DataFrame(
            {"sample": [f"s{k}" for k in sample], "domain": domain.astype(str)}, index=[f"spot{i}" for i in range(n)]
        ),
        var=pd.DataFrame(
            {"type": ["ST"] * genes + ["SM"] * metabolites},
            index=[f"g{i}" for i in range(genes)] + [f"m{i}" for i in range(metabolites)],
        ),
        layers={"counts": raw, "normalized": sparse.csr_matrix(np.hstack([normalized_st, normalized_sm]), dtype="f4")},
        obsm={"spatial": xy * 100},
    )
    joint.uns["truth"] = {"st_rate": rate, "sm_mean": clean}
    return joint


@pytest.fixture(scope="session")
def pair() -> ad.AnnData:
    return make_pair()
