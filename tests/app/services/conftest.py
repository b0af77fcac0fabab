"""A small pair of sections in a workspace, taken through the cheap steps by the real methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from core import io, keys, pipeline
from spatialmeta_app.workspace import Result, Workspace
from spatialmeta_app.workspace.viewing import write_view
from spatialmeta_app.workspace.views import counts

PITCH_PX = 200.0  # of ST spots, 100 µm


def hexagons(rows: int = 12, columns: int = 14) -> np.ndarray:
    """Spots of a Visium-like grid, (rows * columns, 2)."""
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    return np.column_stack([(x + 0.5 * (y % 2)).ravel(), (y * np.sqrt(0.75)).ravel()]) * PITCH_PX + 500


@pytest.fixture(scope="session")
def st() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    xy = hexagons()
    gradient = (xy[:, 0] - xy[:, 0].min()) / np.ptp(xy[:, 0])
    X = rng.poisson(np.outer(1 + 9 * gradient, [1.0, 0.2, 2.0]) + rng.random((len(xy), 3)))
    adata = anndata.AnnData(X.astype(np.float32), var=pd.DataFrame(index=["Sox2", "mt-Nd1", "Actb"]))
    adata.var[keys.TYPE] = keys.ST
    adata.obs_names = [f"spot{i}" for i in range(len(xy))]
    adata.obsm[keys.SPATIAL] = xy
    adata.uns[keys.UNS] = {keys.UM_PER_PX: 0.5, keys.UM_PER_PX_SOURCE: "test"}
    return adata


@pytest.fixture(scope="session")
def sm(st: anndata.AnnData) -> anndata.AnnData:
    """A denser grid over the left three quarters of ST, in the ST frame already."""
    rng = np.random.default_rng(1)
    low, high = st.obsm[keys.SPATIAL].min(axis=0), st.obsm[keys.SPATIAL].max(axis=0)
    x = np.arange(low[0], low[0] + 0.75 * (high[0] - low[0]), 110.0)
    xy = np.stack(np.meshgrid(x, np.arange(low[1], high[1], 110.0)), axis=-1).reshape(-1, 2)
    values = np.column_stack([xy[:, 1], rng.random(len(xy)) * 50 + 1]).astype(np.float32)
    adata = anndata.AnnData(values, var=pd.DataFrame({keys.MZ: [154.0863, 421.191]}, index=["Dopamine", "FMP, 421.19"]))
    adata.var[keys.TYPE] = keys.SM
    adata.obsm[keys.SPATIAL] = xy
    return adata


@pytest.fixture
def keep(workspace: Workspace, sample: Any) -> Callable[..., Result]:
    """``keep(step, adata, config, inputs)`` stores a result as the child does."""

    def store(
        step: str, adata: anndata.AnnData, *, config: dict | None = None, job: str | None = None, **summary: Any
    ) -> Result:
        sources = {} if step in ("st", "sm") else workspace.inputs_of(sample, step)

        def write(directory) -> dict[str, Any]:
            io.write_h5ad(adata, directory / "data.h5ad")
            write_view(adata, directory / "view")
            return counts(adata) | summary

        inputs = {name: result.id for name, result in sources.items()}
        return workspace.add_result(sample, step, writer=write, config=config or {}, inputs=inputs, job=job)

    return store


@pytest.fixture
def imported(keep: Callable[..., Result], st: anndata.AnnData, sm: anndata.AnnData) -> None:
    keep("st", st)
    keep("sm", sm)


@pytest.fixture
def aligned(imported: None, keep: Callable[..., Result], sm: anndata.AnnData) -> anndata.AnnData:
    moved = sm.copy()
    moved.obsm[keys.SPATIAL_RAW] = moved.obsm[keys.SPATIAL].copy()
    quality = {"outline_mean_um": 41.5, "dice": 0.91}
    moved.uns[keys.UNS] = {
        keys.ALIGNMENT: {"quality": quality, "stopped": "converged", "history": np.array([9.0, 4.0])}
    }
    keep("align", moved)
    return moved


@pytest.fixture
def reassigned(aligned: anndata.AnnData, keep: Callable[..., Result], st: anndata.AnnData) -> anndata.AnnData:
    joint = pipeline.run_step("reassign", {"st": st, "sm": aligned})
    keep("reassign", joint, config={"k": 5, "max_distance_factor": 1.5})
    return joint


@pytest.fixture
def selected(reassigned: anndata.AnnData, keep: Callable[..., Result]) -> anndata.AnnData:
    joint = pipeline.run_step("features", {"joint": reassigned}, pipeline.step("features").config({"n_genes": 2}))
    keep("features", joint, config={"n_genes": 2})
    return joint
