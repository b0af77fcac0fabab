"""Our side of the comparison, alone in a process: `integrate FOLDER SETTINGS` or `large FOLDER SPOTS`."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.peers.joint import peak_mb
from core.vae import IntegrateConfig, integrate


def main(what: str, folder: str, given: str) -> None:
    # imports are before the clock, as those of the peers are
    import sklearn.neighbors  # noqa: F401
    import torch

    from core.vae import byhand  # noqa: F401

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    said = _integrate(Path(folder), json.loads(given)) if what == "integrate" else _large(int(given))
    used = resource.getrusage(resource.RUSAGE_SELF)
    whole = {"cpu_s": round(used.ru_utime + used.ru_stime, 1), "train_mb": peak_mb()}
    print(json.dumps({**said, **whole}))


def _integrate(folder: Path, settings: dict) -> dict:
    joint = ad.read_h5ad(folder / "in.h5ad")
    start, start_wall = time.process_time(), time.perf_counter()
    out = integrate(joint, IntegrateConfig(**settings))
    said = {
        "train_s": round(time.process_time() - start, 2),
        "train_wall_s": round(time.perf_counter() - start_wall, 2),
    }
    said["mixed_precision"] = out.uns["spatialmeta"]["training"]["mixed_precision"]
    arrays = {"embedding": out.obsm["X_emb"], "contribution": out.obs["contribution_st"].to_numpy()}
    if settings.get("reconstruct", True):
        layer = out.layers["reconstruction"]
        for kind in ("ST", "SM"):
            part = layer[:, (out.var["type"] == kind).to_numpy()]
            arrays[kind.lower()] = part.toarray() if sparse.issparse(part) else part
    np.savez(folder / "out.npz", **arrays)
    return said


def _large(spots: int, *, genes: int = 2000, metabolites: int = 800, epochs: int = 2) -> dict:
    """Two epochs; a fifth of the counts and half of the intensities are not zero. Made in pieces, never dense."""
    rng = np.random.default_rng(0)
    pieces = []
    for start in range(0, spots, 1000):
        n = min(1000, spots - start)
        counts = rng.poisson(rng.gamma(0.25, 1.0, (n, genes))).astype(np.float32)
        intensities = rng.lognormal(1, 1, (n, metabolites)).astype(np.float32) * (rng.random((n, metabolites)) < 0.5)
        pieces.append(sparse.csr_matrix(np.hstack([counts, intensities], dtype=np.float32)))
    matrix = sparse.vstack(pieces, format="csr")
    del pieces
    side = int(np.ceil(np.sqrt(spots)))
    joint = ad.AnnData(
        matrix,
        obs=pd.DataFrame(index=np.arange(spots).astype(str)),
        var=pd.DataFrame(
            {"type": ["ST"] * genes + ["SM"] * metabolites}, index=np.arange(genes + metabolites).astype(str)
        ),
        layers={"counts": matrix, "normalized": matrix},
        obsm={"spatial": np.stack(np.divmod(np.arange(spots), side), axis=1).astype(float)},
    )
    start_s = time.process_time()
    integrate(joint, IntegrateConfig(epochs=epochs, reconstruct=False))
    return {"train_s": time.process_time() - start_s, "epochs": epochs}


if __name__ == "__main__":
    main(*sys.argv[1:4])
