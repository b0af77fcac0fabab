"""A small simulated pair in the data folder of a running application, imported as the child would import it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from anndata import AnnData

from core import io, keys, pipeline
from core.context import Context
from core.datasets import SimulateConfig, SimulatedSample, simulate
from core.errors import StorageError
from spatialmeta_app.config import Settings
from spatialmeta_app.workspace import Result, Sample, Workspace, overview, viewing, views
from tests.e2e.serving import Server

SPOTS = 420


@dataclass(frozen=True)
class Seeded:
    """A sample of the application with the pair that was put into it."""

    workspace: Workspace
    sample: Sample
    pair: SimulatedSample

    def path(self, page: str) -> str:
        return f"/p/{self.sample.project}/{self.sample.id}/{page}"

    def chosen(self, step: str) -> Result:
        return self.workspace.chosen(self.sample, step)

    def read(self, step: str) -> AnnData:
        return io.read_h5ad(self.workspace.path(self.chosen(step), "data.h5ad"))


@lru_cache(maxsize=2)
def small_pair(genes: int = 40, metabolites: int = 12) -> SimulatedSample:
    """About 420 spots and three times as many pixels per area, turned by 130 degrees and mirrored."""
    config = SimulateConfig(spots=SPOTS, genes=genes, metabolites=metabolites, rotation_deg=130.0, flip=True, warp=0.0)
    return imported(simulate(config).samples[0])


def imported(made: SimulatedSample) -> SimulatedSample:
    """*made* with its sections read from files, as an import reads them."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.h5ad" for name in ("st", "sm")]
        for path, section in zip(paths, (made.st, made.sm), strict=True):
            io.write_h5ad(section, path)
        return replace(made, st=io.read_st(paths[0]), sm=io.read_sm(paths[1]))


def seed(server: Server, *, aligned: bool = False, pair: SimulatedSample | None = None, **features: int) -> Seeded:
    """A new sample with both sections, and with the true alignment where *aligned*: *pair*, or a small_pair."""
    workspace = Workspace(Settings(data=Path(server.data), min_free_bytes=0, demo=False))
    project = workspace.create_project("Simulated", "tester")
    sample, pair = workspace.create_sample(project, "section 1"), pair or small_pair(**features)
    _keep(workspace, sample, "st", pair.st)
    _keep(workspace, sample, "sm", pair.sm)
    if aligned:
        moved = pair.sm.copy()
        moved.obsm[keys.SPATIAL_RAW] = moved.obsm[keys.SPATIAL].copy()
        moved.obsm[keys.SPATIAL] = np.asarray(pair.truth.true_st_xy)
        _keep(workspace, sample, "align", moved)
    return Seeded(workspace, sample, pair)


def keep(seeded: Seeded, step: str, adata: AnnData) -> Result:
    """A result of *step*, as the child writes it, from the results in use before it."""
    return _keep(seeded.workspace, seeded.sample, step, adata)


def follow(seeded: Seeded, *steps: str) -> Seeded:
    """Run *steps* with their defaults, here and not as jobs, and keep what they give."""
    for step in steps:
        sources = seeded.workspace.inputs_of(seeded.sample, step).items()
        inputs = {name: io.read_h5ad(seeded.workspace.path(result, "data.h5ad")) for name, result in sources}
        keep(seeded, step, pipeline.run_step(step, inputs, pipeline.STEPS[step].config({}), Context()))
    return seeded


def _keep(workspace: Workspace, sample: Sample, step: str, adata: AnnData) -> Result:
    inputs = {} if step in ("st", "sm") else {n: r.id for n, r in workspace.inputs_of(sample, step).items()}

    def write(directory: Path) -> dict[str, Any]:
        io.write_h5ad(adata, directory / "data.h5ad")
        viewing.write_view(adata, directory / "view")
        if step == "st":
            overview.write_histology(adata, directory / "image")
        return views.counts(adata) | {"checks": []}

    given = {"writer": write, "config": {}, "inputs": inputs}
    try:
        return workspace.add_result(sample, step, **given)
    except StorageError:  # the runner that has just started swept the half written folder away
        return workspace.add_result(sample, step, **given)
