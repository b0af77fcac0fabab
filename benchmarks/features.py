"""Scores and weights before the model: Moran's I beside squidpy (aim: at most 1/8 of its time), reassignment (1 s)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from core import keys
from core.reassignment import ReassignConfig, plan
from core.spatial import gearys_c, grid_graph, morans_i, row_standardised

SPOTS, FEATURES, PIXELS = 10_000, 2_000, 50_000
PITCH = 200.0  # px
REPEATS = 3


def main() -> None:
    rng = np.random.default_rng(0)
    xy = _hexagons(SPOTS)
    _moran(xy, rng)
    _reassign(xy, rng)


def _moran(xy: np.ndarray, rng: np.random.Generator) -> None:
    """CPU time, warm, in the same process: squidpy's on one core, which is what both use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import squidpy

    mean = np.exp(rng.normal(-1.5, 1.2, FEATURES)) * (1 + np.sin(xy[:, :1] / 3000 + rng.uniform(0, 6, FEATURES)))
    X = sparse.csr_matrix(np.log1p(rng.poisson(mean)).astype(np.float32))
    graph = grid_graph(xy)
    adata = AnnData(X, obsp={"spatial_connectivities": graph})
    weights = row_standardised(graph)
    filled = X.nnz / (SPOTS * FEATURES)
    print(f"{SPOTS:,} spots x {FEATURES:,} features, {filled:.0%} not zero; CPU seconds, best of {REPEATS}")
    for name, mode, column, ours in (("Moran's I", "moran", "I", morans_i), ("Geary's C", "geary", "C", gearys_c)):

        def theirs(adata: AnnData = adata, mode: str = mode) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return squidpy.gr.spatial_autocorr(adata, mode=mode, copy=True, n_jobs=1, show_progress_bar=False)

        theirs(adata[:, :5].copy())  # compiles
        reference, table = _cpu(theirs)
        seconds, found = _cpu(lambda ours=ours: ours(X, weights))
        apart = float(np.abs(found.score - table.loc[adata.var_names, column].to_numpy()).max())
        print(
            f"{name}: squidpy {reference:.2f} s, this project {seconds:.2f} s: {reference / seconds:.1f} times fewer "
            f"(aim: 8); largest difference {apart:.1e} (aim: 1e-6)"
        )


def _reassign(xy: np.ndarray, rng: np.random.Generator) -> None:
    pixels = rng.uniform(xy.min(axis=0), xy.max(axis=0), (PIXELS, 2))
    for direction in ("sm-to-st", "st-to-sm", "grid"):
        config = ReassignConfig(direction=direction)
        start = time.perf_counter()
        seconds, found = _cpu(lambda config=config: plan(xy, pixels, config), repeats=1)
        links = sum(w.nnz for w in found.weights.values() if w is not None)
        wall = time.perf_counter() - start
        took = f"{wall:.2f} s, {seconds:.2f} s CPU (aim: 1 s)"
        print(f"reassign {direction}: {SPOTS:,} x {PIXELS:,}, {links:,} weights in {took}")
    intensities = sparse.random(PIXELS, 400, density=0.5, format="csr", rng=rng)
    matrix = plan(xy, pixels, ReassignConfig()).weights[keys.SM]
    seconds, _ = _cpu(lambda: matrix @ intensities)
    print(f"… and 400 metabolites by it: {seconds:.2f} s CPU")


def _cpu(call: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """The smallest CPU time (s) of *repeats* calls, and the last result."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return best, result


def _hexagons(n: int) -> np.ndarray:
    row, column = np.divmod(np.arange(n), int(np.sqrt(n)))
    return np.column_stack([(column + 0.5 * (row % 2)) * PITCH, row * PITCH * np.sqrt(0.75)])


if __name__ == "__main__":
    main()
