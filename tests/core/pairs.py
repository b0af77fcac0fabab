"""Small sections for tests, made here and not by the simulator, so that one's mistakes do not hide the other's."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from core import keys


def hexagon(rows: int, columns: int, pitch: float = 200.0) -> np.ndarray:
    """Centres of a hexagonal grid, shape (rows * columns, 2), every nearest distance being *pitch*."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([(column + 0.5 * (row % 2)) * pitch, row * pitch * np.sqrt(3) / 2]) + 1000.0


def section(xy: np.ndarray, n_features: int, seed: int, *, modality: str) -> AnnData:
    """Counts (ST) or intensities (SM) at *xy*, smooth in space for the first half of the features."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(xy.min(axis=0), xy.max(axis=0), (n_features, 2))
    squared = ((xy[:, None, :] - centre) ** 2).sum(axis=2)
    mean = 2.0 + 20.0 * np.exp(-squared / (2 * np.ptp(xy[:, 0]) ** 2 / 16))
    mean[:, n_features // 2 :] = 3.0
    values = rng.poisson(mean) if modality == keys.ST else rng.gamma(2.0, mean / 2) * (rng.random(mean.shape) > 0.1)
    prefix, var = ("Gene", {}) if modality == keys.ST else ("mz", {keys.MZ: np.linspace(100, 900, n_features)})
    index = [f"{prefix}{i}" for i in range(n_features)]
    adata = AnnData(sparse.csr_matrix(values, dtype=np.float32), var=pd.DataFrame(var, index=index))
    adata.obs_names = [f"{modality}-{i}" for i in range(len(xy))]
    adata.obsm[keys.SPATIAL] = xy
    return adata


def pair(seed: int = 0) -> tuple[AnnData, AnnData]:
    """An ST section of 12 x 14 spots with 20 genes and, over most of it, a dense aligned SM section."""
    st = section(hexagon(12, 14), 20, seed, modality=keys.ST)
    st.obs["quality"] = pd.Categorical(["good", "poor"] * (st.n_obs // 2))
    st.uns[keys.UNS] = {keys.UM_PER_PX: 0.5, keys.UM_PER_PX_SOURCE: "test"}
    x, y = np.meshgrid(np.arange(1000, 3400, 90.0), np.arange(1000, 2900, 90.0))
    grid = np.column_stack([x.ravel(), y.ravel()])
    grid += np.random.default_rng(seed + 2).uniform(-5, 5, grid.shape)  # no two pixels equally far from a spot
    sm = section(grid, 12, seed + 1, modality=keys.SM)
    return st, sm
